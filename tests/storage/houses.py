"""What the tests of a store share: a machine in memory, and shards to put on it."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from blake3 import blake3

from p2pstore.edges.clock import RealClock
from p2pstore.ids import EncodingId, ShardId, StoreId
from p2pstore.limits import MIB
from p2pstore.storage.entries import StoredShard
from p2pstore.storage.store import ShardStore
from simulations.disk import SimulatedDisk
from simulations.workers import InlineWorkers

GIVEN_BYTES = 64 * MIB


def shard_id(number: int, index: int = 0) -> ShardId:
    return ShardId(EncodingId(blake3(str(number).encode()).digest()), index)


def payload_of(number: int, size: int = 3000) -> bytes:
    return random.Random(number).randbytes(size)


def header_of(number: int) -> bytes:
    return f"header {number}".encode()


class Machine:
    """A simulated disk and the store on it, through crashes and restarts."""

    def __init__(self, seed: int = 0, *, capacity_bytes: int | None = None, **limits: int) -> None:
        self.rng = random.Random(seed)
        self.disk = SimulatedDisk(random.Random(self.rng.random()), capacity_bytes=capacity_bytes)
        self.clock = RealClock()
        self.workers = InlineWorkers(self.clock, self.disk)
        self.limits = {"given_bytes": GIVEN_BYTES, "reserve_bytes": 0, "pack_bytes_max": MIB, **limits}

    async def create(self) -> None:
        await ShardStore.create(self.disk, self.workers, rng=self.rng)

    async def open(self) -> ShardStore:
        return await self.open_expecting(None)

    async def open_expecting(self, store: StoreId | None) -> ShardStore:
        return await ShardStore.open(
            self.disk, self.workers, self.clock, rng=self.rng, expected=store, **self.limits
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[ShardStore]:
        """The store, running; closed cleanly at the end."""
        if not self.disk.names():
            await self.create()
        store = await self.open()
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            yield store
            nursery.cancel_scope.cancel()
        await store.close()


async def put(store: ShardStore, number: int, size: int = 3000, index: int = 0, **options: bool) -> StoredShard:
    payload = payload_of(number, size)
    return await store.put(
        shard_id(number, index), header_of(number), payload, payload_hash=blake3(payload).digest(), **options
    )


async def holds_right_bytes(store: ShardStore, number: int, size: int = 3000, index: int = 0) -> bool:
    stored = await store.get(shard_id(number, index))
    return bytes(stored.payload) == payload_of(number, size) and bytes(stored.header) == header_of(number)
