"""The sentence backwards: holders are asked, any k shards decoded, the chunk opened, the bytes delivered in order.

Shards are verified in the same worker job that decodes them. A shard that lies, or a holder that is slow, costs one
more fetch, never a wrong byte: what is delivered has the chunk id that the manifest names.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

import trio

from p2pstore.errors import Corrupt, Forged, Malformed, P2PStoreError, PeerFault, TooFewShards, Unavailable
from p2pstore.ids import ChunkId, EncodingId, PeerId, ShardId
from p2pstore.limits import CHUNK_BYTES_MAX
from p2pstore.pipeline.sealing import KeysByGeneration
from p2pstore.pipeline.shard import Shard, verify_payload
from p2pstore.pipeline.stripe import EncodedShard, decode_chunk, lying_shards, rebuild_shards
from p2pstore.seams.clock import Clock
from p2pstore.seams.workers import Workers
from p2pstore.services.budget import ByteBudget
from p2pstore.services.liveness import Liveness
from p2pstore.services.shards import FetchedShard, ShardClient

T = TypeVar("T")

HEDGE_AFTER_S: Final = 0.5
"""A shard that has not come by then gets company: one more is asked for, and the first k win."""

DECODE_COST_S_PER_BYTE: Final = 0.6e-9
"""CPU seconds to verify, decode and open a byte (docs/measurements.md: pipeline)."""

EXTRA_TO_FIND_A_LIAR: Final = 2
"""Shards beyond k with which Reed-Solomon locates one that is wrong (pipeline/erasure/salvage.py)."""

CHUNKS_AHEAD_MAX: Final = 32
"""Chunks fetched ahead of the one that is delivered; the byte budget bounds them more tightly when they are large."""


@dataclass(frozen=True, slots=True)
class KnownStripe:
    """What this machine knows of a stripe before it asks anybody.

    Attributes:
        encoding: which.
        needed: k.
        shard_length: bytes of one payload.
        holders: which indices each machine has announced.
    """

    encoding: EncodingId
    needed: int
    shard_length: int
    holders: Mapping[PeerId, Sequence[int]]


@dataclass(frozen=True, slots=True)
class WantedChunk:
    """One chunk to be read."""

    chunk: ChunkId
    length: int


class Downloader:
    """Reads chunks."""

    def __init__(
        self,
        *,
        me: PeerId,
        workers: Workers,
        clock: Clock,
        shards: ShardClient,
        liveness: Liveness,
        budget: ByteBudget,
        stripes_of: Callable[[ChunkId], Awaitable[Sequence[KnownStripe]]],
        keys_of: KeysByGeneration,
    ) -> None:
        self._me = me
        self._workers = workers
        self._clock = clock
        self._shards = shards
        self._liveness = liveness
        self._budget = budget
        self._stripes_of = stripes_of
        self._keys_of = keys_of

    async def chunk(self, wanted: WantedChunk) -> memoryview:
        """The plain bytes of one chunk, proven to be those that its id names.

        Raises:
            TooFewShards: no stripe of it has k readable shards now.
            Corrupt: enough shards are there, and they contradict each other.
        """
        stripes = await self._stripes_of(wanted.chunk)
        failure: P2PStoreError = TooFewShards(1, 0)
        for stripe in stripes:
            try:
                plain = await self._read(stripe, partial(_decode, wanted.chunk, self._keys_of), wanted.length)
            except (TooFewShards, Corrupt) as error:
                failure = error
                continue
            if len(plain) != wanted.length:
                raise Corrupt("a chunk of another length than its manifest says")
            return plain
        raise failure

    async def rebuild(self, stripe: KnownStripe, wanted: Sequence[int]) -> tuple[EncodedShard, ...]:
        """Rows of a stripe made anew from any k others, proven against its encoding id. Needs no key.

        Raises:
            TooFewShards: k of it cannot be read now.
            Corrupt: they contradict each other.
        """
        return await self._read(stripe, partial(_rebuild, tuple(wanted)), stripe.needed * stripe.shard_length)

    async def _read(self, stripe: KnownStripe, job: Callable[[Sequence[Shard]], T], size: int) -> T:
        """Fetch k good shards of a stripe and do `job` with them, in one worker hop."""
        return await _StripeReader(self, stripe, job, size * DECODE_COST_S_PER_BYTE).read()

    async def deliver(self, wanted: Sequence[WantedChunk], sink: Callable[[int, memoryview], Awaitable[None]]) -> None:
        """Call `sink(number, plain bytes)` for each of `wanted`, in order, fetching ahead within the byte budget.

        Raises what `chunk` raises, at the first chunk that cannot be read, and what `sink` raises.
        """
        window = _Window()
        failure: list[Exception] = []

        async def fetch(number: int, cost: int) -> None:
            try:
                plain = await self.chunk(wanted[number])
            except P2PStoreError as error:
                window.arrive(number, error)
            except BaseException:
                self._budget.give_back(cost)
                raise
            else:
                window.arrive(number, plain)

        async def fetch_all(nursery: trio.Nursery) -> None:
            for number, chunk in enumerate(wanted):
                await window.wait_room(number)
                cost = _cost(chunk)
                await self._budget.take(cost)
                nursery.start_soon(fetch, number, cost)

        async def deliver_all() -> None:
            for number, chunk in enumerate(wanted):
                result = await window.wait_for(number)
                self._budget.give_back(_cost(chunk))
                if isinstance(result, P2PStoreError):
                    raise result
                await sink(number, result)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetch_all, nursery)
                try:
                    await deliver_all()
                except Exception as error:  # noqa: BLE001  raised again below, out of the nursery, as itself
                    failure.append(error)
                    nursery.cancel_scope.cancel()
        finally:
            for number in window.left():
                self._budget.give_back(_cost(wanted[number]))
        if failure:
            raise failure[0]


class _Window:
    """Chunks that have arrived and wait for their turn."""

    def __init__(self) -> None:
        self._arrived: dict[int, memoryview | P2PStoreError] = {}
        self._delivered = 0
        self._news = trio.Event()

    def _announce(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def arrive(self, number: int, result: memoryview | P2PStoreError) -> None:
        """A chunk is here, or never will be."""
        self._arrived[number] = result
        self._announce()

    async def wait_room(self, number: int) -> None:
        """Wait until `number` is not too far ahead."""
        while number - self._delivered >= CHUNKS_AHEAD_MAX:
            await self._news.wait()

    async def wait_for(self, number: int) -> memoryview | P2PStoreError:
        """Wait for a chunk and take it out."""
        while number not in self._arrived:
            await self._news.wait()
        result = self._arrived.pop(number)
        self._delivered = number + 1
        self._announce()
        return result

    def left(self) -> list[int]:
        """What was never taken out."""
        return sorted(self._arrived)


def _cost(chunk: WantedChunk) -> int:
    return 3 * min(chunk.length, CHUNK_BYTES_MAX)


class _StripeReader(Generic[T]):
    """Reads one stripe: keeps k good shards coming, whoever fails or lies."""

    def __init__(
        self, downloader: Downloader, stripe: KnownStripe, job: Callable[[Sequence[Shard]], T], cost_s: float
    ) -> None:
        self._d = downloader
        self._stripe = stripe
        self._job = job
        self._cost_s = cost_s
        self._good: dict[int, FetchedShard] = {}
        self._untried = self._order(stripe.holders)
        self._running = 0
        self._news = trio.Event()
        self._asked_everybody = False
        self._extra = 0

    def _order(self, holders: Mapping[PeerId, Sequence[int]]) -> list[tuple[PeerId, int]]:
        """Whom to ask for what, best last: ours, then data shards of those who answer, then parity, then the silent."""
        d = self._d
        pairs = [(peer, index) for peer, indices in sorted(holders.items()) for index in sorted(indices)]
        pairs.sort(
            key=lambda pair: (
                pair[0] != d._me and not d._liveness.answers(pair[0]),
                pair[1] >= self._stripe.needed,
                pair[0] != d._me,
                pair[1],
                pair[0],
            ),
            reverse=True,
        )
        return pairs

    async def read(self) -> T:
        """What the job makes of k good shards. Raises TooFewShards or Corrupt."""
        result: list[T] = []
        failure: list[P2PStoreError] = []

        async def drive() -> None:
            try:
                result.append(await self._drive(nursery))
            except (TooFewShards, Corrupt) as error:
                failure.append(error)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drive)
        if failure:
            raise failure[0]
        return result[0]

    async def _drive(self, nursery: trio.Nursery) -> T:
        needed = self._stripe.needed
        while True:
            needed = self._stripe.needed + self._extra
            while len(self._good) + self._running < needed and self._start_next(nursery):
                pass
            if len(self._good) >= needed:
                outcome = await self._work()
                if isinstance(outcome, _BadShards):
                    for index in outcome.indices:
                        del self._good[index]
                elif isinstance(outcome, _Contradiction):
                    # every shard has the hash that its header says, and yet they make nothing: somebody lies
                    if self._extra:
                        raise Corrupt("shards that contradict each other, and none can be told from the rest")
                    self._extra = EXTRA_TO_FIND_A_LIAR
                else:
                    return outcome
                continue
            if not self._running:
                if await self._learn_more_holders():
                    continue
                raise TooFewShards(needed, len(self._good))
            news = self._news
            with self._d._clock.move_on_after(HEDGE_AFTER_S) as patience:
                await news.wait()
            if patience.cancelled_caught:
                self._start_next(nursery)

    def _start_next(self, nursery: trio.Nursery) -> bool:
        while self._untried:
            peer, index = self._untried.pop()
            if index not in self._good:
                self._running += 1
                nursery.start_soon(self._fetch, peer, index)
                return True
        return False

    async def _fetch(self, peer: PeerId, index: int) -> None:
        shard = ShardId(self._stripe.encoding, index)
        try:
            fetched = await self._d._shards.get(peer, shard, size_hint=self._stripe.shard_length)
            if fetched.header.needed == self._stripe.needed:
                self._good[index] = fetched
        except (Unavailable, PeerFault, Corrupt):
            pass
        finally:
            self._running -= 1
            self._news.set()
            self._news = trio.Event()

    async def _work(self) -> T | _BadShards | _Contradiction:
        wanted = self._stripe.needed + self._extra
        chosen = [fetched for _, fetched in sorted(self._good.items())[:wanted]]
        if self._extra:
            outcome = await self._d._workers.run(_find_liars, chosen, cost_s=2 * self._cost_s)
            self._extra = 0 if isinstance(outcome, _BadShards) and outcome.indices else self._extra
            return outcome
        return await self._d._workers.run(_verify_and_do, chosen, self._job, cost_s=self._cost_s)

    async def _learn_more_holders(self) -> bool:
        """Nobody that we know of has enough: ask everybody who answers, once."""
        if self._asked_everybody:
            return False
        self._asked_everybody = True
        found: dict[PeerId, list[int]] = {}

        async def ask(peer: PeerId) -> None:
            try:
                found[peer] = await self._d._shards.find(peer, self._stripe.encoding)
            except (Unavailable, PeerFault, Corrupt):
                return

        async with trio.open_nursery() as nursery:
            for peer in [self._d._me, *self._d._liveness.answering()]:
                nursery.start_soon(ask, peer)
        self._untried = [pair for pair in self._order(found) if pair[1] not in self._good]
        return bool(self._untried)


@dataclass(frozen=True, slots=True)
class _BadShards:
    """Shards whose bytes are not what their headers say."""

    indices: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Contradiction:
    """Every shard is what its header says, and yet they do not make the chunk."""


def _verify_and_do(
    fetched: Sequence[FetchedShard], job: Callable[[Sequence[Shard]], T]
) -> T | _BadShards | _Contradiction:
    """One worker job: verify the payloads, then decode or rebuild."""
    bad = []
    for shard in fetched:
        try:
            verify_payload(shard.header, shard.payload)
        except (Malformed, Forged):
            bad.append(shard.header.index)
    if bad:
        return _BadShards(tuple(bad))
    try:
        return job([Shard(shard.header, shard.payload) for shard in fetched])
    except (Forged, Malformed):
        return _Contradiction()


def _find_liars(fetched: Sequence[FetchedShard]) -> _BadShards | _Contradiction:
    """One worker job: the code itself says which shards contradict the rest, given two more than k."""
    try:
        liars = lying_shards([Shard(shard.header, shard.payload) for shard in fetched])
    except (Forged, Malformed, Corrupt, TooFewShards):
        return _Contradiction()
    return _BadShards(tuple(liars)) if liars else _Contradiction()


def _decode(chunk: ChunkId, keys_of: KeysByGeneration, shards: Sequence[Shard]) -> memoryview:
    return decode_chunk(shards, keys_of, expect=chunk)


def _rebuild(wanted: Sequence[int], shards: Sequence[Shard]) -> tuple[EncodedShard, ...]:
    return rebuild_shards(shards, wanted=wanted)
