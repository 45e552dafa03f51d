"""What files cost: the bytes of all shards on all machines, parity included, by folder and by machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from p2pstore.errors import P2PStoreError
from p2pstore.ids import ChunkId, PeerId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.reference_search import References
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind, ManifestRef
from p2pstore.services.chunk_lists import ChunkLists

PAGE_CHUNKS: Final = 500
"""Chunks asked about in one job of the ledger: about 20 ms."""


@dataclass(slots=True)
class Cost:
    """What some files cost.

    Attributes:
        files: how many.
        bytes: their plain bytes, shared ones as often as they appear.
        stored: bytes of their shards on all machines; what several files share is counted where it is met first.
        unknown: files of which this machine cannot tell: their chunk lists have not arrived.
        machines: the same bytes by holder.
    """

    files: int = 0
    bytes: int = 0
    stored: int = 0
    unknown: int = 0
    machines: Counter[PeerId] = field(default_factory=Counter)

    def add(self, other: Cost) -> None:
        """Both together."""
        self.files += other.files
        self.bytes += other.bytes
        self.stored += other.stored
        self.unknown += other.unknown
        self.machines.update(other.machines)


class Usage:
    """Adds up. Changes nothing."""

    def __init__(self, *, ledger: Ledger, chunk_lists: ChunkLists, rng: Random) -> None:
        self._ledger = ledger
        self._chunk_lists = chunk_lists
        self._rng = rng

    async def of(self, path: Path, watcher: Callable[[Path], None]) -> list[tuple[Path, Cost]]:
        """The cost of each thing in a folder, by name; of a file, its own. Raises PathFault.

        What was counted is kept in a Bloom filter of two bytes a chunk: one chunk in a thousand may be left out.

        Args:
            path: the folder or file.
            watcher: told of each file that is about to be looked at.
        """
        counted = References(await self._ledger.stripe_count(), self._rng.randbytes(32))
        item = await self._ledger.resolve(path)
        if item is not None and item.kind is not Kind.FOLDER:
            return [(path, await self._cost(item, counted))]
        costs: dict[Path, Cost] = {}
        async for at, below in self._ledger.walk(path):
            cost = costs.setdefault(at[: len(path) + 1], Cost())
            if below.kind is not Kind.FOLDER:
                watcher(at)
                cost.add(await self._cost(below, counted))
        return sorted(costs.items(), key=lambda each: each[0])

    async def _cost(self, item: Item, counted: References) -> Cost:
        cost = Cost(files=1, bytes=item.version.size)
        if not isinstance(item.content, ManifestRef):
            return cost
        page: list[ChunkId] = []
        try:
            async for chunk in self._chunk_lists.chunks_of(item.content):
                if counted.may_have(chunk):
                    continue
                counted.add(chunk)
                page.append(chunk)
                if len(page) == PAGE_CHUNKS:
                    cost.machines.update(await self._ledger.bytes_by_holder(page))
                    page = []
        except P2PStoreError:
            cost.unknown = 1
        cost.machines.update(await self._ledger.bytes_by_holder(page))
        cost.stored = sum(cost.machines.values())
        return cost
