"""What a path with a version means: `x.jpg@3`, `Photos@2026-10-01/x.jpg`, `@spring`.

A name that is there as it stands always wins; only where nothing is found is an `@` read. Of several `@` in a path the
last counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from p2pstore.errors import PathFault
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.history import Numbered
from p2pstore.ledger.marks import MadeSnapshot
from p2pstore.metadata.tree import Item
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Kind

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_MOMENT: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(?:[T ]([0-9]{2}:[0-9]{2}))?")


class PastTree(Protocol):
    """The ledger, as far as addresses need it."""

    async def resolve(self, path: Path, *, at: Vector | None = None) -> Item | None:
        """What is, or was, at a path."""
        ...

    async def cut_at(self, ms: int) -> Vector:
        """The cut of a time."""
        ...

    async def versions_of(self, path: Path, *, skip: int = 0, limit: int = 1000) -> tuple[list[Numbered], int]:
        """The versions of a path, newest first, and how many there are."""
        ...

    async def snapshots(self) -> list[MadeSnapshot]:
        """Every snapshot."""
        ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to.

    Attributes:
        path: the path without any version.
        item: what is, or was, there.
        past: whether a version was asked for.
    """

    path: Path
    item: Item
    past: bool


def moment(text: str) -> tuple[int, int] | None:
    """The first and the last millisecond of a local day ("2026-10-01") or minute ("2026-10-01T18:30"); None for what is
    neither."""
    match = _MOMENT.fullmatch(text)
    if match is None:
        return None
    try:
        begins = datetime.fromisoformat(f"{match[1]}T{match[2] or '00:00'}")
        # the next midnight by the calendar, not 24 hours on: a day with a change of the clocks has 23 or 25
        ends = begins + (timedelta(minutes=1) if match[2] else timedelta(days=1))
        return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000) - 1
    except (ValueError, OverflowError):
        return None


class Addresses:
    """Finds what paths lead to, now and in the past."""

    def __init__(self, tree: PastTree) -> None:
        self._tree = tree

    async def find(self, path: Path) -> Found:
        """What `path` leads to.

        Raises:
            PathFault: "not-found"; "no-version" for a version that is not known; "not-then" for nothing at that time;
                "removed-then" for a version that says it was removed; "is-a-folder" for a number of a folder.
        """
        item = await self._tree.resolve(path)
        if item is not None:
            return Found(path, item, past=False)
        fault: PathFault | None = None
        for depth in reversed(range(len(path))):
            name, mark, suffix = path[depth].rpartition(b"@")
            if not mark or not suffix:
                continue
            plain = (*path[:depth], *((name,) if name else ()), *path[depth + 1 :])
            try:
                item = await self._at(plain, suffix.decode("utf-8", "replace"), last=depth == len(path) - 1)
            except PathFault as error:
                fault = fault or error
                continue
            return Found(plain, item, past=True)
        raise fault or PathFault("not-found", path)

    async def cut_of(self, suffix: str) -> Vector | None:
        """The cut that a date or a snapshot's name stands for; None for neither."""
        if (span := moment(suffix)) is not None:
            return await self._tree.cut_at(span[1])
        for made in await self._tree.snapshots():
            if made.snapshot.name == suffix:
                return made.snapshot.cut
        return None

    async def _at(self, path: Path, suffix: str, *, last: bool) -> Item:
        if _NUMBER.fullmatch(suffix) and last:
            return await self._numbered(path, int(suffix))
        cut = await self.cut_of(suffix)
        if cut is None:
            raise PathFault("no-version", path)
        item = await self._tree.resolve(path, at=cut)
        if item is None:
            raise PathFault("not-then", path)
        return item

    async def _numbered(self, path: Path, number: int) -> Item:
        _, total = await self._tree.versions_of(path, limit=0)
        if not 1 <= number <= total:
            raise PathFault("no-version" if total else "not-found", path)
        [version], _ = await self._tree.versions_of(path, skip=total - number, limit=1)
        held = version.held
        if held.version.kind is Kind.FOLDER:
            raise PathFault("is-a-folder", path)
        if held.version.deleted:
            raise PathFault("removed-then", path)
        return Item(path[-1], held.version.entry, held, (held.version.entry,), (held.dot,))
