"""Whether old contents can still be read: by what inventories say, never by hope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from p2pstore.errors import Corrupt
from p2pstore.ids import ChunkId, EncodingId, GenerationId, ManifestId, PeerId
from p2pstore.metadata.operations import StripeStatement
from p2pstore.metadata.version import Content, ManifestRef
from p2pstore.pipeline.manifest import Page, Root

CHUNKS_MAX: Final = 2000
"""Chunks looked at for one answer, of all its contents together: about 4 GB of files and 50 ms. What is beyond them is
not looked at, and said to be unknown."""


class Manifests(Protocol):
    """The exporter, as far as this needs it."""

    async def manifest(self, manifest: ManifestId, generation: GenerationId) -> Page | Root:
        """A content's manifest. Raises Corrupt."""
        ...


class Stripes(Protocol):
    """The ledger, as far as this needs it."""

    async def stripes_for(self, chunks: Sequence[ChunkId]) -> dict[ChunkId, list[StripeStatement]]:
        """What was stated of each chunk's stripes."""
        ...


class Holders(Protocol):
    """The catalog, as far as this needs it."""

    async def holders_of(self, encodings: Sequence[EncodingId]) -> Mapping[EncodingId, Mapping[PeerId, Sequence[int]]]:
        """Who is said to hold which shards of each stripe."""
        ...


class Readability:
    """Looks at contents for one answer."""

    def __init__(self, manifests: Manifests, stripes: Stripes, holders: Holders) -> None:
        self._manifests = manifests
        self._stripes = stripes
        self._holders = holders
        self._left = CHUNKS_MAX
        self._known: dict[ManifestId, bool | None] = {}

    async def holders_by_chunk(self, content: ManifestRef) -> dict[ChunkId, set[PeerId]] | None:
        """For each chunk of a content the peers that hold something of it; none for a chunk that cannot be rebuilt.
        None if there are too many chunks to look at.

        Raises:
            Corrupt: its list of chunks is not here.
        """
        top = await self._manifests.manifest(content.manifest, content.generation)
        if not isinstance(top, Page) or len(top.parts) > self._left:
            return None
        self._left -= len(top.parts)
        chunks = [part.id for part in top.parts]
        stated = await self._stripes.stripes_for(chunks)
        needed = {each.encoding: each.needed for chunk in chunks for each in stated[chunk]}
        holders = await self._holders.holders_of(sorted(needed))
        found: dict[ChunkId, set[PeerId]] = {}
        for chunk in chunks:
            peers: set[PeerId] = set()
            for each in stated[chunk]:
                shards = {index for indices in holders[each.encoding].values() for index in indices}
                if len(shards) >= needed[each.encoding]:
                    peers.update(holders[each.encoding])
            found[chunk] = peers
        return found

    async def can_read(self, content: Content) -> bool | None:
        """Whether enough shards of all chunks are said to be held; None for what was too large to look at."""
        if not isinstance(content, ManifestRef):
            return True
        if content.manifest not in self._known:
            try:
                chunks = await self.holders_by_chunk(content)
                self._known[content.manifest] = None if chunks is None else all(chunks.values())
            except Corrupt:
                self._known[content.manifest] = False
        return self._known[content.manifest]
