"""All watched folders of this machine: what is watched is remembered, and goes on after a restart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio

from p2pstore.errors import Misuse
from p2pstore.ledger.drafts import MakeFolder
from p2pstore.limits import WATCHED_FOLDERS_MAX
from p2pstore.metadata.version import Kind
from p2pstore.metadata.watching import Watch
from p2pstore.services.watched_folder import Means, WatchedFolder


class CannotWatch(Misuse):
    """A folder that cannot be watched.

    Attributes:
        code: "not-a-folder", "watched" (it, one above or one below is watched), "taken" (another watched folder goes
            there, or above or below), "too-many" or "is-a-file" (what is at the target).
        what: the path that is in the way.
    """

    def __init__(self, code: str, what: bytes) -> None:
        super().__init__(f"{code}: {what!r}")
        self.code = code
        self.what = what


class NotWatched(Misuse):
    """No watched folder of that path or number."""


@dataclass(slots=True)
class _Running:
    folder: WatchedFolder
    scope: trio.CancelScope
    ended: trio.Event


class WatchedFolders:
    """Runs a `WatchedFolder` for each that is remembered."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._folders: dict[int, _Running] = {}
        self._nursery: trio.Nursery | None = None
        self._changing = trio.Lock()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch all of them until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for watch in await self._means.store.watches():
                self._begin(watch)
            task_status.started()
            await trio.sleep_forever()

    async def close(self) -> None:
        """Let go of the memory, after `run` has ended."""
        await self._means.store.close()

    def _begin(self, watch: Watch) -> WatchedFolder:
        assert self._nursery is not None, "it runs"
        running = _Running(WatchedFolder(watch, self._means), trio.CancelScope(), trio.Event())
        self._folders[watch.number] = running
        self._nursery.start_soon(self._run_one, running)
        return running.folder

    async def _run_one(self, running: _Running) -> None:
        try:
            with running.scope:
                await running.folder.run()
        finally:
            running.ended.set()

    def folders(self) -> list[WatchedFolder]:
        """Every watched folder, oldest first."""
        return [self._folders[number].folder for number in sorted(self._folders)]

    def find(self, local: bytes) -> WatchedFolder:
        """The watched folder at a local path. Raises NotWatched."""
        for folder in self.folders():
            if folder.watch.local == local:
                return folder
        raise NotWatched(f"{local!r} is not watched")

    async def add(
        self, local: bytes, target: tuple[bytes, ...], *, ignored: Sequence[str]
    ) -> WatchedFolder:
        """Watch a folder from now on; remembered on return.

        Args:
            local: absolute path of a folder, without links in it.
            target: where it goes; made if it is not there.
            ignored: names, or paths with a slash, that are passed over.

        Raises:
            CannotWatch: it cannot.
            PathFault: the target cannot be made.
        """
        async with self._changing:
            await self._demand_watchable(local, target)
            means = self._means
            wall_s = means.clock.wall_s()
            await means.tree.commit([MakeFolder(target, mtime_ns=int(wall_s * 1e9))] if target else [])
            watch = await means.store.add(local, target, ignored=tuple(ignored), added_s=wall_s)
            return self._begin(watch)

    async def _demand_watchable(self, local: bytes, target: tuple[bytes, ...]) -> None:
        means = self._means
        if len(self._folders) >= WATCHED_FOLDERS_MAX:
            raise CannotWatch("too-many", local)
        if not await means.workers.run(means.files.is_folder, local):
            raise CannotWatch("not-a-folder", local)
        for folder in self.folders():
            watch = folder.watch
            if _overlap(_parts(local), _parts(watch.local)):
                raise CannotWatch("watched", watch.local)
            if _overlap(target, watch.target):
                raise CannotWatch("taken", watch.local)
        item = await means.tree.resolve(target)
        if item is not None and item.kind is not Kind.FOLDER:
            raise CannotWatch("is-a-file", b"/" + b"/".join(target))

    async def remove(self, local: bytes) -> WatchedFolder:
        """Watch a folder no more; what is stored stays, and so does what lies there. Raises NotWatched."""
        async with self._changing:
            folder = self.find(local)
            running = self._folders[folder.watch.number]
            running.scope.cancel()
            await running.ended.wait()
            await self._means.store.remove(folder.watch)
            del self._folders[folder.watch.number]
            return folder


def _parts(path: bytes) -> tuple[bytes, ...]:
    return tuple(part for part in path.split(b"/") if part)


def _overlap(one: Sequence[bytes], other: Sequence[bytes]) -> bool:
    """Whether one path is the other, or lies above it."""
    shorter = min(len(one), len(other))
    return list(one[:shorter]) == list(other[:shorter])
