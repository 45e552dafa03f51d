"""The sentence: bytes become chunks, chunks are sealed and coded, shards are placed, receipts come back.

One worker hop reads and cuts a block, one seals and codes a chunk; everything between is waiting. Memory is bounded by
a byte budget however long the file is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Protocol, runtime_checkable

import trio

from p2pstore.errors import Misuse, NoSpace, P2PStoreError
from p2pstore.ids import ChunkId, EncodingId, GenerationId
from p2pstore.limits import KIB, MIB
from p2pstore.pipeline.arena import Arena, Arenas
from p2pstore.pipeline.chunking import cut_lengths
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.pipeline.stripe import EncodedChunk, EncodedShard, encode_chunk, encode_more
from p2pstore.placement.layout import cheapest_layout
from p2pstore.placement.planner import plan_stripe
from p2pstore.placement.promise import Promise
from p2pstore.placement.ranking import Candidate, Offer, offers_of
from p2pstore.seams.workers import Workers
from p2pstore.services.budget import ByteBudget
from p2pstore.services.placing import PlacedStripe, Placing

READ_BYTES: Final = 16 * MIB
"""One read: several chunks for one hop; twice the longest chunk, so that at least one is always decided."""

BUFFERS_KEPT: Final = 3
"""Idle blocks kept: one being read, one being coded, one of whose chunks the last is still under way."""

ARENAS_KEPT: Final = 8
"""Idle arenas kept for the next chunks: the usual number in flight on two cores."""

ARENA_BYTES_KEPT: Final = 5 * MIB
"""An arena that a long chunk has made larger than this is let go: the usual chunk is 2 MiB, with its parity 3."""

ENCODE_COST_S_PER_BYTE: Final = 1.0e-9
"""CPU seconds to cut, seal, code and hash a byte (docs/measurements.md: pipeline)."""


class ChangedWhileRead(Misuse):
    """The file changed while it was read: what was read belongs to no single moment."""


class ByteSource(Protocol):
    """Bytes to be stored, from front to back. Blocking; called from worker jobs, one at a time.

    Attributes:
        size_hint: about how many bytes will come; only buffers are sized by it.
    """

    size_hint: int

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer`; fewer bytes than asked only at the end."""
        ...

    def unchanged(self) -> bool:
        """Whether all that was read belongs to one moment."""
        ...


@runtime_checkable
class LiveSource(ByteSource, Protocol):
    """A source whose bytes come from somebody, who may take long: they are gathered before a worker reads them, for a
    worker that waits for a person is missing everywhere else."""

    async def gather(self, count: int) -> None:
        """Return when `read_into` of so many bytes needs to wait for nobody. A worker that reads more than was gathered
        does wait."""
        ...


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """One chunk of a content, and where its stripe went."""

    chunk: ChunkId
    length: int
    stripe: PlacedStripe


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A whole content, chunk by chunk, in order.

    Attributes:
        size: plain bytes.
        chunks: what it consists of.
        generation: whose keys sealed and named its chunks.
        dedupe_key: of that generation, to name its manifest.
    """

    size: int
    chunks: tuple[StoredChunk, ...]
    generation: GenerationId
    dedupe_key: bytes = field(repr=False)


class Watcher(Protocol):
    """Is told how an upload gets on."""

    def read(self, size: int) -> None:
        """So many bytes of the source were coded."""
        ...

    def placed(self, size: int) -> None:
        """So many bytes of the source are as safe as they will be."""
        ...


class NotPlaced(P2PStoreError):
    """A chunk found fewer than k machines to lie on.

    Attributes:
        stripe: what was placed of it.
    """

    def __init__(self, stripe: PlacedStripe) -> None:
        super().__init__(f"{sum(map(len, stripe.held.values()))} of {stripe.needed} shards placed")
        self.stripe = stripe


class _Buffers:
    """Blocks of READ_BYTES between two reads: a fresh one costs as much in page faults as reading fills it with."""

    def __init__(self) -> None:
        self._idle: list[bytearray] = []

    def borrow(self, size: int) -> bytearray:
        """A buffer of exactly `size` bytes, with whatever is in it."""
        if size == READ_BYTES and self._idle:
            return self._idle.pop()
        return bytearray(size)

    def give_back(self, buffer: bytearray) -> None:
        """Nobody reads its views any more."""
        if len(buffer) == READ_BYTES and len(self._idle) < BUFFERS_KEPT:
            self._idle.append(buffer)


class _Block:
    """What one read gave, cut: chunks, the undecided rest, and the buffer that all of them lie in."""

    def __init__(self, buffer: bytearray, buffers: _Buffers, *, chunks: list[memoryview], rest: memoryview) -> None:
        self.chunks = chunks
        self.rest = rest
        self._buffer = buffer
        self._buffers = buffers
        self._readers = len(chunks) + 1  # the rest is read by the next block

    def done(self) -> None:
        """One of its readers needs it no more; the last one frees the buffer."""
        self._readers -= 1
        if not self._readers:
            self._buffers.give_back(self._buffer)


class Uploader:
    """Turns sources into placed stripes."""

    def __init__(
        self,
        *,
        workers: Workers,
        placing: Placing,
        budget: ByteBudget,
        keys: Callable[[], SealingKeys],
        machines_at_hand: Callable[[], Awaitable[Sequence[Candidate]]],
    ) -> None:
        self._workers = workers
        self._placing = placing
        self._budget = budget
        self._keys = keys
        self._machines_at_hand = machines_at_hand
        self._buffers = _Buffers()
        self._arenas = Arenas(ARENAS_KEPT, kept_bytes_max=ARENA_BYTES_KEPT)

    async def store(
        self,
        source: ByteSource,
        promise: Promise,
        watcher: Watcher,
        *,
        here: bool = False,
        note: Callable[[EncodingId], None] = lambda _: None,
    ) -> StoredContent:
        """Store all that `source` gives.

        Args:
            source: the bytes.
            promise: what each stripe must survive.
            watcher: is told of progress.
            here: only make it durable on this machine; the placer spreads it later.
            note: told of each stripe before anything is asked or done about it.

        Raises:
            ChangedWhileRead: what was placed stays placed (and is found again by a retry), nothing refers to it.
            NotPlaced: a chunk could not be stored readably.
        """
        stored: dict[int, StoredChunk] = {}
        failures: list[P2PStoreError | OSError] = []
        keys = self._keys()
        size = 0

        async def one(number: int, block: _Block, plain: memoryview) -> None:
            try:
                stored[number] = await self._store_chunk(block, plain, keys, promise, watcher, here=here, note=note)
            except (P2PStoreError, OSError) as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            try:
                before: _Block | None = None
                number = 0
                final = False
                while not final:
                    rest = memoryview(b"") if before is None else before.rest
                    if isinstance(source, LiveSource):
                        await source.gather(_room(source, before) - len(rest))
                    read = partial(_read_and_cut, source, before, keys.dedupe, self._buffers)
                    block, final = await self._workers.run(read, cost_s=READ_BYTES * ENCODE_COST_S_PER_BYTE / 4)
                    if before is not None:
                        before.done()
                    before = block
                    for plain in block.chunks:
                        size += len(plain)
                        await self._budget.take(_cost(plain))
                        nursery.start_soon(one, number, block, plain)
                        number += 1
            except (P2PStoreError, OSError) as error:
                failures.append(error)
                nursery.cancel_scope.cancel()
        if failures:
            raise failures[0]
        if not await self._workers.run(source.unchanged):
            raise ChangedWhileRead
        in_order = tuple(stored[number] for number in range(len(stored)))
        return StoredContent(size, in_order, keys.generation, keys.dedupe)

    async def _store_chunk(
        self,
        block: _Block,
        plain: memoryview,
        keys: SealingKeys,
        promise: Promise,
        watcher: Watcher,
        *,
        here: bool,
        note: Callable[[EncodingId], None],
    ) -> StoredChunk:
        """Encode and place one chunk, for which the budget was taken; its block is let go once it is coded."""
        length, cost = len(plain), _cost(plain)
        arena = self._arenas.borrow()
        try:
            encoded = await self._encode(plain, keys, promise, arena)
            block.done()
            watcher.read(length)
            note(encoded.encoding)
            placed = await self._place(encoded, promise, here=here)
        finally:
            # Whoever still sends from it has been given up: what it sends will not have the hash that it names.
            self._arenas.give_back(arena)
            self._budget.give_back(cost)
        watcher.placed(length)
        return StoredChunk(encoded.chunk, length, placed)

    async def _encode(
        self, plain: memoryview, keys: SealingKeys, promise: Promise, arena: Arena
    ) -> EncodedChunk:
        offers = offers_of(b"", await self._machines_at_hand(), shard_bytes=1)
        if not offers:
            raise NoSpace("no machine accepts shards")
        plan = plan_stripe(offers, promise)
        copies = _copies(offers, plan.keeps or Promise.ANY_1)
        job = partial(encode_chunk, keys=keys, needed=plan.needed, total=plan.total, copies=copies, arena=arena)
        return await self._workers.run(job, plain, cost_s=len(plain) * ENCODE_COST_S_PER_BYTE)

    async def _place(self, encoded: EncodedChunk, promise: Promise, *, here: bool) -> PlacedStripe:
        cost_s = encoded.plain_length * ENCODE_COST_S_PER_BYTE

        async def more(indices: Sequence[int]) -> Sequence[EncodedShard]:
            return await self._workers.run(encode_more, encoded, indices, cost_s=cost_s)

        if not here:
            placed = await self._placing.place(encoded, promise, more)
            if placed.health().readable:
                return placed
        placed = await self._placing.place_here(encoded, promise)
        if not placed.health().readable:
            raise NotPlaced(placed)
        return placed


def _copies(offers: Sequence[Offer], promise: Promise) -> int:
    """How many machines hold a copy of a chunk too small to be worth coding."""
    layout = cheapest_layout(1, promise, offers)
    return 1 if layout is None else layout.total


def _cost(plain: memoryview) -> int:
    """What a chunk takes of the budget: its bytes, and up to twice as much in shards."""
    return 3 * len(plain)


def _room(source: ByteSource, before: _Block | None) -> int:
    """The bytes of the block that follows `before`: small for a small file."""
    return READ_BYTES if before is not None else min(READ_BYTES, max(source.size_hint, 64 * KIB) + 1)


def _read_and_cut(
    source: ByteSource, before: _Block | None, dedupe_key: bytes, buffers: _Buffers
) -> tuple[_Block, bool]:
    """Read on after what the block before left undecided, and cut what is decided now; whether that was all."""
    rest = memoryview(b"") if before is None else before.rest
    buffer = buffers.borrow(_room(source, before))
    view = memoryview(buffer)
    view[: len(rest)] = rest
    filled = len(rest) + source.read_into(view[len(rest) :])
    final = filled < len(buffer)
    view = view[:filled]
    chunks = []
    start = 0
    for length in cut_lengths(view, dedupe_key=dedupe_key, final=final):
        chunks.append(view[start : start + length])
        start += length
    return _Block(buffer, buffers, chunks=chunks, rest=view[start:]), final
