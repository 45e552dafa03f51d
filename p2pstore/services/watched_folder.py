"""One watched folder: what changes in it is stored when it has come to rest, what is deleted goes to the trash.

```
news > look into the folders that it names > renames > store what is at rest > deletions, unless they are doubtful
```

What is known of each path is written after the store has it. A process that dies in between finds the same size and
time in the store afterwards, and stores nothing twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import trio

from p2pstore.errors import P2PStoreError, PathFault
from p2pstore.ids import Dot, EntryId
from p2pstore.ledger.drafts import Committed, Draft, Move, Remove
from p2pstore.ledger.drafts import Path as StorePath
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind
from p2pstore.metadata.watching import (
    Hold,
    Known,
    Rename,
    Trouble,
    Watch,
    folder_trouble,
    hold_of,
    is_below,
    join,
    parent_of,
    renames,
)
from p2pstore.placement.levels import Level
from p2pstore.seams.clock import Clock
from p2pstore.seams.folder_events import FolderEvents
from p2pstore.seams.local_files import LocalEntry, LocalFiles, Stamp, Unreadable
from p2pstore.seams.workers import Workers
from p2pstore.services.importer import Importer, PutOutcome
from p2pstore.services.transfers import Failed, Transfers
from p2pstore.services.upload import ChangedWhileRead
from p2pstore.services.watch_store import WatchStore

REST_S: Final = 2.0
"""A file that nobody has written to for so long is at rest. Downloads and exports pause for less."""

GONE_S: Final = 5.0
"""So long something must be missing: many programs save by deleting and writing anew."""

FULL_SCAN_S: Final = 6 * 3600.0
"""How often, of this machine's waking time, everything is looked at, in case news was lost."""

POLL_S: Final = 60.0
"""How often everything is looked at where the system gives no news, and how often an absent folder is looked for."""

SCAN_SHARE: Final = 20
"""A scan that took long is not made again before so many times its length have passed."""

RETRY_S: Final = 60.0
"""What could not be stored is tried again after so long, then after twice as long, and so on."""

RETRY_MOST_S: Final = 3600.0

BATCH_PATHS: Final = 500
"""Stored, and learned, in one go."""

NAMES_A_LOOK: Final = 2000
"""Names stamped in one worker job: about 20 ms."""

NEWS_MAX: Final = 10_000
"""Folders with news; beyond it, everything is looked at."""

WAVE_S: Final = 3600.0
"""Deletions within so long count as one flood."""

FAILED_KEPT: Final = 50
"""Failures that are listed; the others are counted."""


class Tree(Protocol):
    """The ledger, as far as a watched folder needs it."""

    async def commit(self, drafts: Sequence[Draft]) -> Committed:
        """Make drafts durable here."""
        ...

    async def resolve(self, path: StorePath) -> Item | None:
        """What is at a path."""
        ...

    async def children_named(self, entries: Sequence[EntryId], names: Sequence[bytes]) -> list[Item | None]:
        """What is shown under names in a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What every watched folder of a node uses.

    Attributes:
        scans: held while everything in a folder is looked at: one folder at a time.
        can_write: whether this machine may store anything now.
    """

    store: WatchStore
    files: LocalFiles
    events: FolderEvents
    importer: Importer
    tree: Tree
    transfers: Transfers
    clock: Clock
    workers: Workers
    scans: trio.Lock
    can_write: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Seen:
    """Something that differs from what is known.

    Attributes:
        stamp: how it was.
        since_s: since when nothing was seen to change in it.
    """

    stamp: Stamp
    since_s: float


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that is known and not there.

    Attributes:
        known: how it was.
        since_s: since when it is missing.
    """

    known: Known
    since_s: float


@dataclass(frozen=True, slots=True)
class Refused:
    """Something that could not be stored.

    Attributes:
        stamp: how it was then; a change is tried at once. None for a folder that cannot be listed.
        error: why.
        times: how often it was tried.
        again_s: when it is tried again.
    """

    stamp: Stamp | None
    error: Exception
    times: int
    again_s: float


@dataclass(frozen=True, slots=True)
class _Look:
    """A folder and the names in it, at one moment."""

    stamp: Stamp
    found: dict[bytes, Stamp]


class WatchedFolder:
    """Keeps the store in step with one local folder.

    Attributes:
        watch: which.
        state: "starting", "watching", "scanning", "polling" (no news from the system), "absent" (no such folder now),
            "asks" (deletions wait for a person) or "idle" (this machine may not store).
        hold: deletions that wait, if any.
        known_count: how many paths the store has the same as here.
        scanned_s: when everything was last looked at, wall time; None for never.
        trashed: how many things went to the trash since the start.
        problem: why the last round ended early, if it did.
        deaf_because: why the system gives no news, if it does not.
    """

    def __init__(self, watch: Watch, means: Means) -> None:
        self.watch = watch
        self.hold: Hold | None = None
        self.known_count = 0
        self.scanned_s: float | None = None
        self.trashed = 0
        self.problem: Exception | None = None
        self.deaf_because: OSError | None = None
        self.absent = False
        self._means = means
        self._scanning = False
        self._hears = False
        self._news: set[bytes] = set()
        self._everything = True
        self._wake = trio.Event()
        self._full_due_s = 0.0
        self._seen: dict[bytes, Seen] = {}
        self._missing: dict[bytes, Missing] = {}
        self._refused: dict[bytes, Refused] = {}
        self._troubles: dict[bytes, Trouble] = {}
        self._allowed: frozenset[bytes] = frozenset()
        self._lately: deque[tuple[float, int]] = deque()
        self._busy = trio.Lock()
        self._tried_to_hear = trio.Event()

    @property
    def state(self) -> str:
        """In one word."""
        if not self._means.can_write():
            return "idle"
        if self.absent:
            return "absent"
        if self.hold is not None:
            return "asks"
        if self._scanning:
            return "starting" if self.scanned_s is None else "scanning"
        return "watching" if self._hears else "polling"

    @property
    def waiting(self) -> int:
        """How many changes are not stored yet."""
        return sum(path not in self._refused for path in self._seen)

    def refused(self) -> list[tuple[bytes, Exception]]:
        """What could not be stored, and why; at most FAILED_KEPT of them."""
        return [(path, each.error) for path, each in sorted(self._refused.items())[:FAILED_KEPT]]

    @property
    def refused_count(self) -> int:
        """How many could not be stored."""
        return len(self._refused)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            nursery.start_soon(self._keep)

    # --- news -----------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Hear of changes; where the system gives no news, everything is looked at now and then."""
        while True:
            try:
                await self._means.events.follow(self.watch.local, self._told, task_status=_Once(self._follows))
            except OSError as error:
                self.deaf_because = error
            self._hears = False
            self._tried_to_hear.set()
            await self._means.clock.sleep(POLL_S)

    def _follows(self) -> None:
        self._hears, self.deaf_because = True, None
        self._told(None)  # what changed before we listened
        self._tried_to_hear.set()

    def _told(self, paths: frozenset[bytes] | None) -> None:
        root = self.watch.local.rstrip(b"/") + b"/"
        if paths is None:
            self._everything = True
        else:
            below = [path[len(root) :] for path in paths if path.startswith(root)]
            self._news.update(parent_of(path) for path in below if not self._is_ignored(path))
            if len(self._news) > NEWS_MAX:
                self._everything = True
            elif not self._news and not self._everything:
                return
        self._wake.set()

    def _is_ignored(self, path: bytes) -> bool:
        """Whether a path, or a folder above it, is passed over."""
        names = path.split(b"/")
        return any(self.watch.ignores(b"/".join(names[: count + 1])) for count in range(len(names)))

    # --- the loop -------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        clock = self._means.clock
        await self._tried_to_hear.wait()  # one look at everything then suffices
        while True:
            due_s = clock.now_s() + POLL_S
            if self._means.can_write():
                async with self._busy:
                    due_s = await self._one_round()
            with clock.move_on_after(max(0.0, due_s - clock.now_s())):
                await self._wake.wait()
            self._wake = trio.Event()

    async def _one_round(self) -> float:
        """Look, store, delete; when to come again if nothing is told before."""
        clock = self._means.clock
        try:
            await self._look()
            if not self.absent:
                await self._follow_renames()
                await self._store_rested()
                await self._delete()
                self.known_count = await self._means.store.count(self.watch)
            self.problem = None
        except (P2PStoreError, OSError) as error:  # a full disk, a store that is away: the next round tries again
            self.problem = error
            return clock.now_s() + RETRY_S
        return self._next_due_s()

    def _next_due_s(self) -> float:
        now_s = self._means.clock.now_s()
        due = [self._full_due_s]
        if self.absent:
            due.append(now_s + POLL_S)
        due += [
            max(seen.since_s + REST_S, self._tried_again_s(path))
            for path, seen in self._seen.items()
            if not self._must_wait(path)
        ]
        if self.hold is None:
            due += [missing.since_s + GONE_S for missing in self._missing.values()]
        return max(min(due), now_s + 0.1)

    def _tried_again_s(self, path: bytes) -> float:
        refused = self._refused.get(path)
        return 0.0 if refused is None else refused.again_s

    # --- looking --------------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Look into the folders that there is news of, or into all."""
        clock = self._means.clock
        try:
            root = await self._means.workers.run(self._means.files.stamp, self.watch.local)
        except OSError:
            root = None
        self.absent = root is None or root.kind != "folder"
        if self.absent:
            self._everything = True
            return
        if not self._everything and clock.now_s() < self._full_due_s:
            news, self._news = self._news, set()
            pending = sorted(news, reverse=True)
            while pending:
                pending += await self._look_into(pending.pop(), everything=False)
            return
        async with self._means.scans:
            self._scanning = True
            begun_s = clock.now_s()
            try:
                await self._look_everywhere()
            finally:
                self._scanning = False
            took_s = clock.now_s() - begun_s
            every_s = FULL_SCAN_S if self._hears else POLL_S
            self._full_due_s = clock.now_s() + max(every_s, SCAN_SHARE * took_s)
            self.scanned_s = clock.wall_s()

    async def _look_everywhere(self) -> None:
        self._everything = False
        self._news = set()
        self._troubles.clear()
        pending = [b""]
        try:
            while pending:
                pending += await self._look_into(pending.pop(), everything=True)
                if len(self._seen) >= 2 * BATCH_PATHS:
                    await self._store_rested()
        except BaseException:
            self._everything = True
            raise

    async def _look_into(self, folder: bytes, *, everything: bool) -> list[bytes]:
        """Note what differs in one folder from what is known; the folders to look into next."""
        means = self._means
        known = await means.store.inside(self.watch, folder)
        own = await means.store.known(self.watch, folder)
        try:
            look = await self._look_at(folder)
        except (FileNotFoundError, NotADirectoryError):
            return [parent_of(folder)] if folder else []
        except OSError as error:
            if known:
                self._troubles[folder] = Trouble.UNREADABLE
            else:
                self._refuse(folder, None, error)
            return []
        self._refused.pop(folder, None)
        if self._troubles.get(folder) is Trouble.UNREADABLE:
            del self._troubles[folder]
        now_s = means.clock.now_s()
        deeper = []
        for path, stamp in look.found.items():
            before = known.get(path)
            came_back = path in self._missing and before is not None and before.stamp.kind == stamp.kind
            if came_back:
                del self._missing[path]
            self._note(path, stamp, before, now_s)
            if stamp.kind == "folder" and (
                everything or came_back or before is None or _is_another(before.stamp, stamp)
            ):
                deeper.append(path)
        gone = [
            each for path, each in known.items() if path not in look.found or look.found[path].kind != each.stamp.kind
        ]
        for each in gone:
            if each.path not in look.found:
                self._seen.pop(each.path, None)
        await self._note_missing(gone, now_s)
        await self._note_folder(folder, own, look, had=len(known), lost=len(gone))
        return sorted(deeper, reverse=True)

    async def _look_at(self, folder: bytes) -> _Look:
        """Raises OSError."""
        means, watch = self._means, self.watch
        place = watch.local_path(folder)
        stamp = await means.workers.run(means.files.stamp, place)
        names = await means.workers.run(means.files.names_in, place)
        paths = [path for name in names if not watch.ignores(path := join(folder, name))]
        found: dict[bytes, Stamp] = {}
        for start in range(0, len(paths), NAMES_A_LOOK):
            found.update(await means.workers.run(self._stamps, paths[start : start + NAMES_A_LOOK]))
        return _Look(stamp, found)

    def _stamps(self, paths: Iterable[bytes]) -> dict[bytes, Stamp]:
        """A worker job. What is gone meanwhile is left out."""
        found = {}
        for path in paths:
            try:
                found[path] = self._means.files.stamp(self.watch.local_path(path))
            except FileNotFoundError:
                continue
        return found

    async def _stamp_of(self, path: bytes) -> Stamp:
        return await self._means.workers.run(self._means.files.stamp, self.watch.local_path(path))

    def _note(self, path: bytes, stamp: Stamp, before: Known | None, now_s: float) -> None:
        if before is not None and (before.stamp.is_same(stamp) or _has_same_mode(before.stamp, stamp)):
            self._seen.pop(path, None)
            if stamp.kind != "folder":
                self._refused.pop(path, None)
            return
        seen = self._seen.get(path)
        if seen is None or seen.stamp != stamp:
            self._seen[path] = Seen(stamp, now_s)

    async def _note_missing(self, gone: Iterable[Known], now_s: float) -> None:
        for known in gone:
            lost = {known.path: known}
            if known.stamp.kind == "folder":
                lost |= await self._means.store.below(self.watch, known.path)
            for path, each in lost.items():
                self._missing.setdefault(path, Missing(each, now_s))
                if path != known.path:
                    self._seen.pop(path, None)

    async def _note_folder(self, folder: bytes, own: Known | None, look: _Look, *, had: int, lost: int) -> None:
        """Whether the folder is still what it was; if nothing speaks against it, how it is now is known."""
        before = None if own is None else own.stamp
        trouble = folder_trouble(before, look.stamp, had=had, has=len(look.found)) if lost else None
        if trouble is not None:
            self._troubles[folder] = trouble
            return
        self._troubles.pop(folder, None)
        if folder in self._seen:
            return  # it is learned when it is stored
        if before is None and folder:
            return
        if before is None or _is_another(before, look.stamp):
            await self._means.store.learn(self.watch, [Known(folder, look.stamp)])

    # --- renames --------------------------------------------------------------------------------------------------

    async def _follow_renames(self) -> None:
        if not self._missing or not self._seen:
            return
        missing = {path: each.known for path, each in self._missing.items()}
        fresh = {path: seen.stamp for path, seen in self._seen.items() if path not in missing}
        for rename in renames(missing, fresh):
            await self._rename(rename, missing, fresh)

    async def _rename(self, rename: Rename, missing: Mapping[bytes, Known], fresh: Mapping[bytes, Stamp]) -> None:
        """One operation in the store, which so keeps the history; where it cannot be done, the new is stored as new."""
        old, new = self.watch.store_path(rename.old), self.watch.store_path(rename.new)
        known = missing[rename.old]
        item = await self._means.tree.resolve(old)
        is_folder = known.stamp.kind == "folder"
        if item is None or (item.kind is Kind.FOLDER) is not is_folder or (not is_folder and item.dots != known.dots):
            return
        if await self._means.tree.resolve(new) is not None:
            return
        above = parent_of(rename.new)
        if above in self._seen and not await self._put([above]):
            return
        try:
            committed = await self._means.tree.commit([Move(old, new)])
        except PathFault:
            return
        dots = known.dots if is_folder or committed.outcomes[0].dot is None else (committed.outcomes[0].dot,)
        carried = [Known(rename.new, fresh[rename.new], dots)]
        if not is_folder:
            self._seen.pop(rename.new, None)
        gone = [rename.old]
        for path, each in missing.items():
            if is_below(path, rename.old) and is_folder:
                gone.append(path)
                carried.append(each.at(rename.new + path[len(rename.old) :]))
        await self._means.store.learn(self.watch, carried, forget=gone)
        for path in gone:
            self._missing.pop(path, None)
        if is_folder:
            self._seen.pop(rename.new, None)
            for each in carried:
                self._seen.pop(each.path, None)
            pending = [rename.new]
            while pending:
                pending += await self._look_into(pending.pop(), everything=True)

    # --- storing --------------------------------------------------------------------------------------------------

    async def _store_rested(self) -> None:
        now_s, wall_s = self._means.clock.now_s(), self._means.clock.wall_s()
        ready = sorted(
            path
            for path, seen in self._seen.items()
            if not self._must_wait(path) and self._may_try(path, seen, now_s) and _rests(seen, now_s, wall_s)
        )
        for start in range(0, len(ready), BATCH_PATHS):
            await self._put(ready[start : start + BATCH_PATHS])

    def _must_wait(self, path: bytes) -> bool:
        """Whether something else that had this path, or that of a folder above, is still to be deleted."""
        while self._missing and path:
            if path in self._missing:
                return True
            path = parent_of(path)
        return False

    def _may_try(self, path: bytes, seen: Seen, now_s: float) -> bool:
        refused = self._refused.get(path)
        return refused is None or refused.stamp != seen.stamp or now_s >= refused.again_s

    async def _put(self, paths: Sequence[bytes]) -> bool:
        """Store these paths, as they are now; whether all of them are."""
        means = self._means
        now_s = means.clock.now_s()
        described = await means.workers.run(self._describe, paths)
        still: dict[bytes, tuple[Stamp, LocalEntry]] = {}
        for path, (stamp, entry) in described.items():
            if isinstance(entry, Unreadable):
                if stamp is None:
                    self._seen.pop(path, None)  # gone again: the next look says so
                    self._news.add(parent_of(path))
                else:
                    self._refuse(path, stamp, OSError(0, entry.why, entry.path))
            elif stamp is None or not stamp.is_same(self._seen[path].stamp):
                if stamp is not None:
                    self._seen[path] = Seen(stamp, now_s)  # it is being written
            else:
                still[path] = stamp, entry
        learned = await self._stored_already(still)
        wanted = [entry for path, (_, entry) in sorted(still.items()) if path not in learned]
        learned |= await self._import(wanted, still)
        await means.store.learn(self.watch, [await self._as_before(learned[path]) for path in sorted(learned)])
        for path in learned:
            self._seen.pop(path, None)
            self._refused.pop(path, None)
        return all(path in learned for path in paths)

    async def _as_before(self, known: Known) -> Known:
        """A folder that was known stays the one that it was: whether it still is, only a look into it tells."""
        if known.stamp.kind != "folder":
            return known
        before = await self._means.store.known(self.watch, known.path)
        if before is None or before.stamp.kind != "folder":
            return known
        stamp = replace(known.stamp, device=before.stamp.device, inode=before.stamp.inode)
        return replace(known, stamp=stamp)

    def _describe(self, paths: Iterable[bytes]) -> dict[bytes, tuple[Stamp | None, LocalEntry | Unreadable]]:
        """A worker job: a stamp from before the description, so that a change in between is seen later."""
        found: dict[bytes, tuple[Stamp | None, LocalEntry | Unreadable]] = {}
        for path in paths:
            place = self.watch.local_path(path)
            try:
                stamp = self._means.files.stamp(place)
            except OSError:
                stamp = None
            found[path] = stamp, self._means.files.describe(place, self.watch.store_path(path))
        return found

    async def _stored_already(self, still: Mapping[bytes, tuple[Stamp, LocalEntry]]) -> dict[bytes, Known]:
        """What the store has already: a folder; a file or link of the same size and time that is not known here yet."""
        by_folder: dict[bytes, list[bytes]] = {}
        for path in sorted(still):
            by_folder.setdefault(parent_of(path), []).append(path)
        found: dict[bytes, Known] = {}
        for folder, paths in by_folder.items():
            known = await self._means.store.inside(self.watch, folder)
            above = await self._means.tree.resolve(self.watch.store_path(folder))
            if above is None or above.kind is not Kind.FOLDER:
                continue
            names = [path.rpartition(b"/")[2] for path in paths]
            items = await self._means.tree.children_named(above.entries, names)
            for path, item in zip(paths, items, strict=True):
                stamp, entry = still[path]
                if item is not None and _is_as(item, entry) and (path not in known or entry.kind == "folder"):
                    found[path] = Known(path, stamp, () if entry.kind == "folder" else item.dots)
        return found

    async def _import(
        self, wanted: Sequence[LocalEntry], still: Mapping[bytes, tuple[Stamp, LocalEntry]]
    ) -> dict[bytes, Known]:
        """Put these; what became of each that is stored."""
        if not wanted:
            return {}
        below = {entry.path: path for path, (_, entry) in still.items()}
        learned: dict[bytes, Known] = {}

        def stored(entry: LocalEntry, dot: Dot | None) -> None:
            path = below[entry.path]
            dots = () if dot is None or entry.kind == "folder" else (dot,)
            learned[path] = Known(path, still[path][0], dots)

        number, transfer = self._means.transfers.begin("watch")
        transfer.command = "p2pstore watch ls"
        try:
            outcome = PutOutcome(on_stored=stored)
            await self._means.importer.put_found(wanted, Level.SAFE, transfer, outcome)
        finally:
            self._means.transfers.end(number)
        for failed in transfer.failed:
            self._failed(below.get(failed.path), failed, still)
        return learned

    def _failed(self, path: bytes | None, failed: Failed, still: Mapping[bytes, tuple[Stamp, LocalEntry]]) -> None:
        if path is None:
            return
        if isinstance(failed.error, ChangedWhileRead):
            self._seen[path] = Seen(still[path][0], self._means.clock.now_s())
        else:
            self._refuse(path, still[path][0], failed.error)

    def _refuse(self, path: bytes, stamp: Stamp | None, error: Exception) -> None:
        before = self._refused.get(path)
        times = 1 if before is None else before.times + 1
        wait_s = min(RETRY_S * 2.0 ** (times - 1), RETRY_MOST_S)
        self._refused[path] = Refused(stamp, error, times, self._means.clock.now_s() + wait_s)

    # --- deleting -------------------------------------------------------------------------------------------------

    async def _delete(self) -> None:
        """Put into the trash what is missing for long enough, unless there is doubt."""
        now_s = self._means.clock.now_s()
        while self._lately and self._lately[0][0] < now_s - WAVE_S:
            self._lately.popleft()
        if not self._missing:
            self.hold, self._allowed = None, frozenset()
            return
        if not self._allowed.issuperset(self._missing):
            known = await self._means.store.count(self.watch)
            lately = sum(count for _, count in self._lately)
            missing = set(self._missing)
            troubles = {
                folder: each
                for folder, each in self._troubles.items()
                if each is Trouble.UNREADABLE or any(is_below(path, folder) for path in missing)
            }
            self.hold = hold_of(missing, known, lately, troubles)
            if self.hold is not None:
                return
        self.hold = None
        due = [path for path, each in self._missing.items() if now_s - each.since_s >= GONE_S or path in self._allowed]
        gone = await self._means.workers.run(self._still_missing, sorted(due, reverse=True))
        for path in set(due) - set(gone):
            self._missing.pop(path, None)
            self._news.add(parent_of(path))
        for start in range(0, len(gone), BATCH_PATHS):
            await self._trash(gone[start : start + BATCH_PATHS])
        if gone:
            self._lately.append((now_s, len(gone)))

    def _still_missing(self, paths: Sequence[bytes]) -> list[bytes]:
        """A worker job: those that are not there, or are of another kind now."""
        gone = []
        for path in paths:
            try:
                stamp = self._means.files.stamp(self.watch.local_path(path))
            except (FileNotFoundError, NotADirectoryError):
                gone.append(path)
            except OSError:
                continue
            else:
                if stamp.kind != self._missing[path].known.stamp.kind:
                    gone.append(path)
        return gone

    async def _trash(self, paths: Sequence[bytes]) -> None:
        """What lies in a folder comes before it. What others have changed since it was stored from here stays."""
        drafts = []
        for path in paths:
            known = self._missing[path].known
            item = await self._means.tree.resolve(self.watch.store_path(path))
            if item is None or (item.kind is Kind.FOLDER) is not (known.stamp.kind == "folder"):
                continue
            if item.kind is not Kind.FOLDER and item.dots != known.dots:
                continue
            drafts.append(Remove(self.watch.store_path(path), None if item.kind is Kind.FOLDER else known.dots))
        await self._commit_removals(drafts)
        await self._means.store.learn(self.watch, [], forget=paths)
        for path in paths:
            del self._missing[path]

    async def _commit_removals(self, drafts: Sequence[Remove]) -> None:
        if not drafts:
            return
        try:
            await self._means.tree.commit(drafts)
        except PathFault:
            if len(drafts) > 1:
                for draft in drafts:
                    await self._commit_removals([draft])
            return  # it is not empty, or has changed: it stays
        self.trashed += len(drafts)

    # --- answers --------------------------------------------------------------------------------------------------

    async def allow(self) -> int:
        """Delete what waits; how many."""
        async with self._busy:
            await self._believe_folders()
            self._allowed = frozenset(self._missing)
            count = len(self._allowed)
        self._wake.set()
        return count

    async def keep(self) -> int:
        """What waits stays in the store, and is not asked about again; how many."""
        async with self._busy:
            await self._believe_folders()
            count = len(self._missing)
            await self._means.store.learn(self.watch, [], forget=sorted(self._missing))
            self._missing.clear()
            self.hold = None
        self._wake.set()
        return count

    async def _believe_folders(self) -> None:
        for folder in sorted(self._troubles):
            try:
                stamp = await self._stamp_of(folder)
            except OSError:
                continue
            await self._means.store.learn(self.watch, [Known(folder, stamp)])
        self._troubles.clear()

    def hurry(self) -> None:
        """Look at everything now."""
        self._everything = True
        self._wake.set()


class _Once:
    """A task status that calls somebody."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call

    def started(self, value: Any = None) -> None:  # noqa: ARG002 - trio's signature
        """It has started."""
        self._call()


def _has_same_mode(before: Stamp, now: Stamp) -> bool:
    """Whether both are folders of one mode: all that the store knows of a folder itself."""
    return before.kind == now.kind == "folder" and before.mode == now.mode


def _is_another(before: Stamp, now: Stamp) -> bool:
    """Whether a folder is another one, or has another mode."""
    return (before.device, before.inode, before.mode) != (now.device, now.inode, now.mode)


def _rests(seen: Seen, now_s: float, wall_s: float) -> bool:
    """Whether nobody has written to it for long enough: by our own watching, or by what the disk says."""
    if seen.stamp.kind != "file" or now_s - seen.since_s >= REST_S:
        return True
    return wall_s - max(seen.stamp.mtime_ns, seen.stamp.ctime_ns) / 1e9 >= REST_S


def _is_as(item: Item, entry: LocalEntry) -> bool:
    """Whether the store has what lies here, as far as size and time tell."""
    if entry.kind == "folder":
        return item.kind is Kind.FOLDER and item.mode == entry.mode
    if entry.kind == "link":
        return item.kind is Kind.LINK and getattr(item.content, "target", None) == entry.target
    same = (item.size, item.mtime_ns, item.mode) == (entry.size, entry.mtime_ns, entry.mode)
    return item.kind is Kind.FILE and same
