"""Compares two folders, now or at some moment: what is only in one of them, and what differs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from p2pstore.ids import EntryId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.tree_view import Listing
from p2pstore.metadata.tree import Item, content_key
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Kind

PAGE: Final = 500
"""Names compared in one job."""


class Trees(Protocol):
    """The ledger, as far as this needs it."""

    async def children(
        self, entries: Sequence[EntryId], *, after: bytes | None = None, limit: int = PAGE, at: Vector | None = None
    ) -> Listing:
        """A page of a folder."""
        ...

    async def children_named(
        self, entries: Sequence[EntryId], names: Sequence[bytes], *, at: Vector | None = None
    ) -> list[Item | None]:
        """What is shown under each of some names in a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Difference:
    """One name that is not the same in both.

    Attributes:
        path: below the folders compared.
        change: "removed" for what is only in the first, "added" for what is only in the second, else "changed".
        item: what is in the second; in the first, if it was removed.
    """

    path: Path
    change: Literal["added", "removed", "changed"]
    item: Item


async def compare_folders(trees: Trees, a: Item, b: Item) -> AsyncGenerator[list[Difference], None]:
    """What differs below two folders, in pages; of a folder that is only in one of them the folder alone."""
    waiting: list[tuple[Path, Item, Item]] = [((), a, b)]
    while waiting:
        path, one, other = waiting.pop()
        async for pairs in _pairs(trees, one, other):
            page: list[Difference] = []
            for here, there in pairs:
                below = (*path, here.name)
                if there is None:
                    page.append(Difference(below, "removed", here))
                elif here.kind is there.kind is Kind.FOLDER:
                    waiting.append((below, here, there))
                elif not same_file(here, there):
                    page.append(Difference(below, "changed", there))
            yield page
        async for pairs in _pairs(trees, other, one):
            yield [Difference((*path, here.name), "added", here) for here, there in pairs if there is None]


async def _pairs(trees: Trees, folder: Item, other: Item) -> AsyncGenerator[list[tuple[Item, Item | None]], None]:
    """Each item of a folder, with what has its name in another one."""
    after: bytes | None = None
    while True:
        listing = await trees.children(folder.entries, after=after, limit=PAGE, at=folder.at)
        names = [item.name for item in listing.items]
        yield list(zip(listing.items, await trees.children_named(other.entries, names, at=other.at), strict=True))
        after = listing.after
        if after is None:
            return


def same_file(one: Item, other: Item) -> bool:
    """Whether two items have the same content, permissions and time."""
    same_content = one.kind is other.kind and content_key(one.version) == content_key(other.version)
    return same_content and (one.mode, one.mtime_ns) == (other.mode, other.mtime_ns)
