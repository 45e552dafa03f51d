"""Ends conflicts: one operation supersedes all that were in it; every version stays in the history."""

from __future__ import annotations

from dataclasses import replace

from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import Dot
from p2pstore.ledger.conflicts import Conflict
from p2pstore.ledger.drafts import AddVersion, Draft, Path, Put
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind


def resolution(conflict: Conflict, this: Item, keep: str) -> list[Draft]:
    """What to write so that a conflict is over.

    Args:
        conflict: the conflict.
        this: the one of its items that was named.
        keep: "this", "other" (of two), or "both": then each copy becomes a file of its own, under the name it is shown
            by.

    Raises:
        Misuse: `keep` does not say which one is meant, or a folder would have to go.
    """
    others = [item for item in conflict.items if item.name != this.name]
    if keep == "both":
        return [_own_file(conflict.folder, item) for item in conflict.items if item.conflict]
    if keep == "other":
        if len(others) != 1:
            raise Misuse(f"there are {len(others)} others: name the one to keep, with --keep this")
        kept = others[0]
    else:
        kept = this
    first = conflict.items[0]
    if kept.kind is Kind.FOLDER:
        return [AddVersion(replace(item.version, deleted=True), item.dots) for item in conflict.items if item.conflict]
    if first.kind is Kind.FOLDER:
        raise Misuse("a folder has the name: mv the file to another name, or keep both")
    superseded: set[Dot] = {dot for item in conflict.items for dot in item.dots}
    # in place of the one that had the name, so that nothing moves; its entry lives on
    version = replace(kept.version, parent=first.version.parent, name=first.name, former_parent=None)
    return [AddVersion(version, tuple(sorted(superseded)))]


def _own_file(folder: Path, item: Item) -> Draft:
    return Put((*folder, item.name), item.kind, item.content, item.size, item.mtime_ns, item.mode)


async def resolve(ledger: Ledger, path: Path, keep: str) -> Conflict:
    """End the conflict that `path` is in; what it was.

    Raises:
        PathFault: "not-found", or "no-conflict".
        Misuse: as `resolution`.
    """
    found = await ledger.conflict_around(path)
    if found is None:
        raise PathFault("not-found", path)
    item, conflict = found
    if conflict is None:
        raise PathFault("no-conflict", path)
    await ledger.commit(resolution(conflict, item, keep))
    return conflict
