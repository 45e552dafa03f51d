"""Reading: any k shards, whoever is slow, silent or lies."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
import trio

from p2pstore.errors import Corrupt, Refused, TooFewShards
from p2pstore.ids import EncodingId, GenerationId, PeerId, ShardId
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.pipeline.shard import ShardHeader, payload_hash
from p2pstore.pipeline.stripe import EncodedChunk, encode_chunk
from p2pstore.services.budget import ByteBudget
from p2pstore.services.download import HEDGE_AFTER_S, Downloader, KnownStripe, WantedChunk
from p2pstore.services.shards import FetchedShard

ME = PeerId(b"\0" * 32)
KEYS = SealingKeys(GenerationId(b"g" * 16), b"c" * 32, b"d" * 32)


class TrioClock:
    def now_s(self) -> float:
        return trio.current_time()

    def wall_s(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        return trio.move_on_after(seconds)


class Inline:
    async def run(self, job: Callable[..., object], *args: object, cost_s: float = 0.0) -> object:
        await trio.lowlevel.checkpoint()
        return job(*args)


@dataclass
class Holders:
    """Fake holders: what they have, and how long they take."""

    held: dict[tuple[PeerId, int], FetchedShard] = field(default_factory=dict)
    delays: dict[PeerId, float] = field(default_factory=dict)
    asked: list[tuple[PeerId, int]] = field(default_factory=list)
    found: dict[PeerId, list[int]] = field(default_factory=dict)

    async def get(self, holder: PeerId, shard: ShardId, *, size_hint: int = 0) -> FetchedShard:
        self.asked.append((holder, shard.index))
        await trio.sleep(self.delays.get(holder, 0.01))
        if (holder, shard.index) not in self.held:
            raise Refused("not-found")
        return self.held[holder, shard.index]

    async def find(self, holder: PeerId, encoding: EncodingId) -> list[int]:
        return self.found.get(holder, [])


class Everybody:
    def __init__(self, peers: Sequence[PeerId]) -> None:
        self._peers = list(peers)

    def answers(self, peer: PeerId) -> bool:
        return peer in self._peers

    def answering(self) -> list[PeerId]:
        return self._peers


@dataclass
class Bench:
    """A chunk in a 4+2 stripe on six machines, and a downloader."""

    plain: bytes
    encoded: EncodedChunk
    peers: list[PeerId]
    holders: Holders
    stripe: KnownStripe
    downloader: Downloader

    @property
    def wanted(self) -> WantedChunk:
        return WantedChunk(self.encoded.chunk, len(self.plain))

    def spoil(self, index: int, *, honest_hash: bool) -> None:
        """Change a byte; with `honest_hash` the header says the old hash, else the liar made it fit."""
        fetched = self.holders.held[self.peers[index], index]
        payload = bytearray(fetched.payload)
        payload[len(payload) // 2] ^= 1
        header: ShardHeader = fetched.header
        if not honest_hash:
            header = replace(header, payload_hash=payload_hash(payload))
        self.holders.held[self.peers[index], index] = FetchedShard(header, bytes(payload))

    def lose(self, *indices: int) -> None:
        for index in indices:
            del self.holders.held[self.peers[index], index]


def bench(*, announced: Mapping[PeerId, Sequence[int]] | None = None) -> Bench:
    plain = random.Random(7).randbytes(700_000)
    encoded = encode_chunk(plain, KEYS, needed=4, total=6)
    peers = [PeerId(bytes([number + 1]) * 32) for number in range(6)]
    holders = Holders()
    for shard in encoded.shards:
        holders.held[peers[shard.index], shard.index] = FetchedShard(shard.parsed, bytes(shard.payload))
    stripe = KnownStripe(
        encoded.encoding,
        encoded.needed,
        encoded.shard_length,
        {peer: [index] for index, peer in enumerate(peers)} if announced is None else announced,
    )

    async def stripes_of(_: object) -> list[KnownStripe]:
        return [stripe]

    downloader = Downloader(
        me=ME,
        workers=Inline(),  # type: ignore[arg-type]
        clock=TrioClock(),
        shards=holders,  # type: ignore[arg-type]
        liveness=Everybody(peers),  # type: ignore[arg-type]
        budget=ByteBudget(10_000_000),
        stripes_of=stripes_of,
        keys_of=lambda generation: KEYS if generation == KEYS.generation else None,
    )
    return Bench(plain, encoded, peers, holders, stripe, downloader)


async def test_data_shards_are_asked_for_and_no_more_than_k(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain
    assert sorted(index for _, index in b.holders.asked) == [0, 1, 2, 3]


async def test_two_that_have_nothing_are_made_up_for(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.lose(0, 3)
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain


async def test_a_slow_one_gets_company_and_is_not_waited_for(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.holders.delays[b.peers[1]] = 60.0
    started = trio.current_time()
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain
    assert trio.current_time() - started < HEDGE_AFTER_S + 1


async def test_rotten_bytes_are_thrown_away_and_another_shard_is_fetched(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.spoil(2, honest_hash=True)
    b.spoil(0, honest_hash=True)
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain


async def test_a_liar_whose_hash_fits_is_found_by_the_code_itself(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.spoil(1, honest_hash=False)
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain


async def test_a_liar_among_too_few_is_an_error_and_never_wrong_bytes(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.spoil(1, honest_hash=False)
    b.lose(4)
    with pytest.raises((Corrupt, TooFewShards)):
        await b.downloader.chunk(b.wanted)


async def test_fewer_than_k_is_an_error_that_says_how_many(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.lose(0, 1, 5)
    with pytest.raises(TooFewShards) as caught:
        await b.downloader.chunk(b.wanted)
    assert (caught.value.needed, caught.value.found) == (4, 3)


async def test_holders_that_announced_nothing_are_asked_before_giving_up(autojump_clock: trio.abc.Clock) -> None:
    b = bench(announced={})
    b.holders.found = {peer: [index] for index, peer in enumerate(b.peers)}
    assert bytes(await b.downloader.chunk(b.wanted)) == b.plain


async def test_chunks_are_delivered_in_order_and_a_failing_sink_ends_it(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    order: list[int] = []

    async def sink(number: int, plain: memoryview) -> None:
        assert bytes(plain) == b.plain
        order.append(number)
        if number == 20:
            raise Corrupt("enough")

    with pytest.raises(Corrupt, match="enough"):
        await b.downloader.deliver([b.wanted] * 50, sink)
    assert order == list(range(21))
    assert b.downloader._budget.held == 0


async def test_rebuilding_needs_no_key(autojump_clock: trio.abc.Clock) -> None:
    b = bench()
    b.lose(0, 4)
    shards = await b.downloader.rebuild(b.stripe, [0, 7])
    assert [shard.index for shard in shards] == [0, 7]
    assert bytes(shards[0].payload) == bytes(b.encoded.shards[0].payload)
