"""Brings back what was: always as new versions, so that nothing of what is there now is lost either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from p2pstore.errors import PathFault
from p2pstore.ledger.drafts import AddVersion, Draft, MakeFolder, Path, Put
from p2pstore.ledger.history import Position
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Held, Kind
from p2pstore.services.comparing import same_file

BATCH: Final = 500
"""Entries in one commit: an import's size."""


@dataclass(slots=True)
class Restored:
    """What became of a restore.

    Attributes:
        path: where it is now.
        entries: new versions written.
        same: entries that were as wanted already.
        failed: what could not be restored where it was.
    """

    path: Path
    entries: int = 0
    same: int = 0
    failed: list[PathFault] = field(default_factory=list)


class Restorer:
    """Writes old states anew."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- out of the trash -----------------------------------------------------------------------------------------

    async def put_back(self, path: Path, to: Path | None) -> Restored:
        """Put back what was removed last from `path`, with what went with it; to where it lay or to `to`.

        Raises:
            PathFault: "not-found" if nothing was removed from there, "taken" if something else is there now.
        """
        buried = await self._ledger.buried_at(path)
        shown = await self._ledger.resolve(path)
        if shown is not None and shown.version.deleted:
            buried = shown.held  # a removed folder that something alive below it keeps in sight
        elif buried is None:
            raise PathFault("not-found" if shown is None else "not-removed", path)
        target = await self.target(path, to)
        there = await self._ledger.resolve(target)
        if there is not None and not (there.kind is Kind.FOLDER and buried.version.kind is Kind.FOLDER):
            raise PathFault("taken", target)
        restored = Restored(target)
        version = buried.version
        if to is not None:
            folder = await self._folder(target[:-1])
            version = replace(version, parent=folder.entry, name=target[-1], former_parent=version.parent)
        if version.kind is Kind.FOLDER:
            await self._put_back_below(buried, restored)
        await self._commit([AddVersion(replace(version, deleted=False))], restored)
        return restored

    async def _put_back_below(self, folder: Held, restored: Restored) -> None:
        """What is in a folder comes before the folder: until all is back, the trash still shows the rest."""
        drafts: list[Draft] = []
        waiting: list[tuple[Held, Position | None]] = [(folder, None)]
        while waiting:
            above, after = waiting.pop()
            page, following = await self._ledger.removed_with(above, after=after, limit=BATCH)
            if following is not None:
                waiting.append((above, following))
            for held in page:
                drafts.append(AddVersion(replace(held.version, deleted=False)))
                if held.version.kind is Kind.FOLDER:
                    waiting.append((held, None))
            if len(drafts) >= BATCH:
                await self._commit(drafts, restored)
                drafts = []
        await self._commit(drafts, restored)

    async def target(self, path: Path, to: Path | None) -> Path:
        """Where `path` goes: into `to` if that is a folder, under the name `to` otherwise."""
        if to is None:
            return path
        there = await self._ledger.resolve(to)
        if there is not None and there.kind is Kind.FOLDER:
            return (*to, path[-1]) if path else to
        await self._folder(to[:-1])
        return to

    async def _folder(self, path: Path) -> Item:
        folder = await self._ledger.resolve(path)
        if folder is None:
            raise PathFault("not-found", path)
        if folder.kind is not Kind.FOLDER:
            raise PathFault("not-a-folder", path)
        return folder

    # --- out of history -----------------------------------------------------------------------------------------------

    async def restore(self, path: Path, item: Item, to: Path | None) -> Restored:
        """Make what `item` was at some moment the newest version of `path`, or a file or folder at `to`.

        Of a folder everything that was in it then; what came since stays where it is.
        """
        restored = Restored(await self.target(path, to))
        if item.kind is not Kind.FOLDER:
            if not restored.path:
                raise PathFault("is-a-folder", ())
            await self._commit(await self._drafts_for(item, restored.path, restored), restored)
            return restored
        if restored.path:
            await self._commit([MakeFolder(restored.path, item.mode, item.mtime_ns)], restored)
        drafts: list[Draft] = []
        async for below, found in self._ledger.walk(path, at=item.at):
            drafts += await self._drafts_for(found, (*restored.path, *below[len(path) :]), restored)
            if len(drafts) >= BATCH:
                await self._commit(drafts, restored)
                drafts = []
        await self._commit(drafts, restored)
        return restored

    async def _drafts_for(self, item: Item, target: Path, restored: Restored) -> Sequence[Draft]:
        """What has to be written so that `target` is as `item` was."""
        there = await self._ledger.resolve(target)
        if item.kind is Kind.FOLDER:
            if there is not None and there.kind is Kind.FOLDER and not there.version.deleted:
                return []
            return [MakeFolder(target, item.mode, item.mtime_ns, update=True)]
        if there is not None and same_file(there, item):
            restored.same += 1
            return []
        return [Put(target, item.kind, item.content, item.size, item.mtime_ns, item.mode)]

    async def _commit(self, drafts: Sequence[Draft], restored: Restored) -> None:
        """All of `drafts`; if one of them cannot be, each by itself."""
        if not drafts:
            return
        try:
            done = await self._ledger.commit(drafts)
        except PathFault as error:
            if len(drafts) == 1:
                restored.failed.append(error)
                return
            for draft in drafts:
                await self._commit([draft], restored)
            return
        restored.entries += sum(outcome.dot is not None for outcome in done.outcomes)
