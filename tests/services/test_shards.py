"""Shards between two machines: handed over together, receipted with one signature, refused one by one."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
import trio
import trio.lowlevel

from p2pstore.errors import Forged, Malformed, NoSpace, NotHeld, Refused, Unreachable
from p2pstore.ids import GenerationId, NetworkId, PeerId, ShardId, StoreId
from p2pstore.keys.identity import Identity, verify
from p2pstore.packing import Buffer
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.pipeline.stripe import EncodedShard, encode_chunk
from p2pstore.seams.network import Message, Plane
from p2pstore.services.shards import ShardClient, ShardServer
from p2pstore.storage.entries import StoredBytes, StoredShard

KEYS = SealingKeys(GenerationId(b"g" * 16), b"c" * 32, b"d" * 32)
NETWORK = NetworkId(b"n" * 32)
STORE = StoreId(b"s" * 16)


class Wall:
    def wall_s(self) -> float:
        return 1_700_000_000.0

    def now_s(self) -> float:
        return 0.0


@dataclass
class Shelf:
    """A fake store."""

    store: StoreId = STORE
    held: dict[ShardId, tuple[bytes, bytes]] = field(default_factory=dict)
    room: int = 10**9
    groups: int = 0

    async def put(
        self, shard: ShardId, header: Buffer, payload: Buffer, *, payload_hash: bytes, for_repair: bool = False
    ) -> StoredShard:
        await trio.sleep(0.01)
        if len(payload) > self.room:
            raise NoSpace("full")
        self.room -= len(payload)
        self.held[shard] = (bytes(header), bytes(payload))
        return StoredShard(self.store, len(self.held))

    async def get(self, shard: ShardId) -> StoredBytes:
        await trio.lowlevel.checkpoint()
        if shard not in self.held:
            raise NotHeld(shard)
        header, payload = self.held[shard]
        return StoredBytes(memoryview(header), memoryview(payload))


@dataclass
class Wire:
    """A fake network to one peer."""

    handler: Callable[[Message], Awaitable[Message]]
    requests: list[Message] = field(default_factory=list)
    broken: bool = False

    async def request(
        self, peer: PeerId, message: Message, *, plane: Plane = Plane.CONTROL, timeout_s: float = 15.0
    ) -> Message:
        self.requests.append(message)
        await trio.sleep(0.05)
        if self.broken:
            raise Unreachable("gone")
        return await self.handler(message)


@dataclass
class Pair:
    """A client and the server that it talks to."""

    holder: Identity
    shelf: Shelf
    wire: Wire
    client: ShardClient
    shards: list[EncodedShard]

    async def put(self, number: int) -> None:
        shard = self.shards[number]
        await self.client.put(self.holder.peer_id, shard.parsed, shard.header, shard.payload)


def pair() -> Pair:
    rng = random.Random(1)
    me, holder = Identity.generate(rng), Identity.generate(rng)
    shelf = Shelf()
    server = ShardServer(
        me=holder.peer_id,
        network_id=NETWORK,
        store=shelf,  # type: ignore[arg-type]
        sign=holder.sign,
        clock=Wall(),  # type: ignore[arg-type]
    )
    wire = Wire(server.handle)
    client = ShardClient(
        me=me.peer_id,
        network_id=NETWORK,
        network=wire,  # type: ignore[arg-type]
        server=None,
        public_of=lambda peer: holder.public if peer == holder.peer_id else None,
        verify=verify,
    )
    encoded = encode_chunk(rng.randbytes(400_000), KEYS, needed=4, total=20)
    return Pair(holder, shelf, wire, client, list(encoded.shards))


async def test_a_shard_is_on_the_disk_when_put_returns(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    await p.put(3)
    header, payload = p.shelf.held[p.shards[3].parsed.shard_id]
    assert (header, payload) == (p.shards[3].header, bytes(p.shards[3].payload))
    await p.client.confirm(p.holder.peer_id, p.shards[3].parsed.shard_id, p.shards[3].parsed.payload_hash)
    fetched = await p.client.get(p.holder.peer_id, p.shards[3].parsed.shard_id)
    assert bytes(fetched.payload) == payload


async def test_while_requests_are_under_way_the_next_shards_travel_together(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(p.client.run)
        async with trio.open_nursery() as puts:
            for number in range(20):
                puts.start_soon(p.put, number)
        nursery.cancel_scope.cancel()
    assert len(p.shelf.held) == 20
    assert len(p.wire.requests) == 3, "two that went at once, and one for all that came meanwhile"


async def test_what_does_not_fit_is_refused_and_the_rest_is_taken(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    p.shelf.room = 10 * len(p.shards[0].payload)
    refused = 0

    async def put(number: int) -> None:
        nonlocal refused
        try:
            await p.put(number)
        except Refused as error:
            refused += error.code == "full"

    async with trio.open_nursery() as nursery:
        await nursery.start(p.client.run)
        async with trio.open_nursery() as puts:
            for number in range(20):
                puts.start_soon(put, number)
        nursery.cancel_scope.cancel()
    assert refused == 10
    assert len(p.shelf.held) == 10


async def test_one_shard_put_twice_at_once_is_stored_once_and_receipted_twice(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    async with trio.open_nursery() as nursery:
        await nursery.start(p.client.run)
        async with trio.open_nursery() as puts:
            for number in [0, 1, 2, 2, 2, 3]:
                puts.start_soon(p.put, number)
        nursery.cancel_scope.cancel()
    assert len(p.shelf.held) == 4


async def test_a_broken_line_fails_every_shard_of_the_request(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    p.wire.broken = True
    failed = 0

    async def put(number: int) -> None:
        nonlocal failed
        with pytest.raises(Unreachable):
            await p.put(number)
        failed += 1

    async with trio.open_nursery() as nursery:
        await nursery.start(p.client.run)
        async with trio.open_nursery() as puts:
            for number in range(12):
                puts.start_soon(put, number)
        nursery.cancel_scope.cancel()
    assert failed == 12


async def test_whoever_gives_up_leaves_the_others_alone(autojump_clock: trio.abc.Clock) -> None:
    p = pair()

    async def impatient(number: int) -> None:
        with trio.move_on_after(0.001 * number):
            await p.put(number)

    async with trio.open_nursery() as nursery:
        await nursery.start(p.client.run)
        async with trio.open_nursery() as puts:
            for number in range(10):
                puts.start_soon(impatient, number)
            for number in range(10, 20):
                puts.start_soon(p.put, number)
        nursery.cancel_scope.cancel()
    assert {shard.parsed.shard_id for shard in p.shards[10:]} <= set(p.shelf.held)


async def test_an_answer_without_a_right_receipt_counts_for_nothing(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    honest = p.wire.handler
    for lie, error in (
        ({"refused": [""], "receipt": b""}, Malformed),
        ({"refused": []}, Malformed),
        ({"refused": [""], "receipt": b"x" * 80}, Malformed),
    ):

        async def liar(_: Message, lie: dict[str, object] = lie) -> Message:
            return Message("ok", lie)

        p.wire.handler = liar
        with pytest.raises(error):
            await p.put(0)

    async def about_another(message: Message) -> Message:
        other = p.shards[1]
        return await honest(Message("shard.put", {"headers": [other.header]}, other.payload))

    p.wire.handler = about_another
    with pytest.raises(Forged):
        await p.put(0)


async def test_a_request_whose_payload_is_too_short_is_refused_whole(autojump_clock: trio.abc.Clock) -> None:
    p = pair()
    shard = p.shards[0]
    for payload in (b"", bytes(shard.payload)[:-1], bytes(shard.payload) + b"x"):
        with pytest.raises(Malformed):
            await p.wire.handler(Message("shard.put", {"headers": [shard.header]}, payload))
    for headers in (None, [], [b"x"], [shard.header] * 257, "text"):
        with pytest.raises(Malformed):
            await p.wire.handler(Message("shard.put", {"headers": headers}, shard.payload))
