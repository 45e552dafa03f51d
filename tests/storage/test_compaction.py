"""Compaction: gives space back, loses nothing, honours drops."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from blake3 import blake3
from trio.testing import MockClock

from p2pstore.errors import NoSpace
from p2pstore.limits import KIB
from p2pstore.storage import compaction
from p2pstore.storage.entries import NO_PACK, Drop, Put, ShardState, StoredShard
from p2pstore.storage.index import Index
from p2pstore.storage.packs import pack_name
from p2pstore.storage.store import ShardStore
from tests.storage.houses import Machine, header_of, holds_right_bytes, payload_of, put, shard_id
from tests.storage.test_recovery import is_held, new_disk, open_shelf, put_all, rebuild

SIZE = 5000
COUNT = 120


async def put_many(store: ShardStore, numbers: range) -> None:
    async with trio.open_nursery() as nursery:
        for number in numbers:
            nursery.start_soon(put, store, number, SIZE)


async def test_dead_space_comes_back_and_every_living_shard_stays(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB)
    async with machine.running() as store:
        await put_many(store, range(COUNT))
        for number in range(COUNT):
            if number % 8:
                await store.drop(shard_id(number))
        await trio.sleep(60)
        usage = store.usage()
        assert usage.used_bytes < 2.5 * usage.live_bytes
        for number in range(0, COUNT, 8):
            assert await holds_right_bytes(store, number, SIZE)
        assert usage.shard_count == len(range(0, COUNT, 8))
        assert len(machine.disk.names("packs")) < 6
        await store.rebuild_index()
        assert store.usage().shard_count == usage.shard_count


async def test_a_compaction_does_not_change_the_feed(autojump_clock: MockClock) -> None:
    async with Machine(pack_bytes_max=64 * KIB).running() as store:
        await put_many(store, range(60))
        for number in range(50):
            await store.drop(shard_id(number))
        before = await store.changes_since(0, 1000)
        await trio.sleep(60)
        assert await store.compact() == 0
        assert await store.changes_since(0, 1000) == before


async def test_reads_and_puts_go_on_during_a_compaction(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB)
    machine.disk.slowness = 10
    async with machine.running() as store:
        await put_many(store, range(COUNT))

        async def read_all() -> None:
            for number in range(0, COUNT, 8):
                assert await holds_right_bytes(store, number, SIZE)

        async with trio.open_nursery() as nursery:
            for number in range(COUNT):
                if number % 8:
                    nursery.start_soon(store.drop, shard_id(number))
            for _ in range(10):
                nursery.start_soon(read_all)
                await trio.sleep(0.1)
            nursery.start_soon(put_many, store, range(1000, 1040))
        await read_all()
        for number in range(1000, 1040):
            assert await holds_right_bytes(store, number, SIZE)


async def test_a_rotten_shard_in_a_compacted_pack_is_quarantined_not_copied(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB)
    async with machine.running() as store:
        await put_many(store, range(24))
        entry = store._shelf.index.find(shard_id(0))
        assert entry is not None
        machine.disk.flip_bit(pack_name(entry.pack), offset=entry.offset + 2000)
        for number in range(1, 24):
            if number not in (5, 6):
                await store.drop(shard_id(number))
        await put_many(store, range(100, 112))
        await trio.sleep(60)
        await store.compact()
        assert await store.damaged(10) == [shard_id(0)]
        assert await holds_right_bytes(store, 5, SIZE)
        assert await holds_right_bytes(store, 6, SIZE)


async def test_a_bad_new_place_leaves_the_shard_where_it_was(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB)
    await machine.create()
    store = await machine.open()
    shelf = store._shelf
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await put_many(store, range(12))
        nursery.cancel_scope.cancel()
    shelf.close_pack(1)
    moves = compaction.read_batch(shelf, 1)
    assert shelf.commit(moves) == [None] * len(moves)
    moved = shelf.index.find(moves[0].entry.shard)
    assert moved is not None
    assert moved.pack != 1
    machine.disk.flip_bit(pack_name(moved.pack), offset=moved.offset + 1000)
    with pytest.raises(Exception, match="payload hash"):
        compaction.verify_batch(shelf, moves)
    back = shelf.index.find(moved.shard)
    assert back is not None
    assert (back.pack, back.offset) == (1, moves[0].entry.offset)
    assert len(shelf.read(moved.shard).payload) == SIZE
    assert shelf.usage().damaged_count == 0
    with pytest.raises(AssertionError):
        shelf.remove_pack(1)


async def test_a_full_disk_stops_compaction_and_nothing_else(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB, capacity_bytes=900_000)
    async with machine.running() as store:
        await put_many(store, range(60))
        machine.disk.capacity_bytes = 900_000 - machine.disk.free_bytes() + 30_000
        for number in range(0, 60, 2):
            with suppress(NoSpace):
                await store.drop(shard_id(number))
        await trio.sleep(60)
        for number in range(1, 60, 2):
            assert await holds_right_bytes(store, number, SIZE)
        machine.disk.capacity_bytes = None
        receipt = await put(store, 99, SIZE)
        assert isinstance(receipt, StoredShard)


def test_a_drop_that_was_forgotten_stays_dropped_when_power_and_index_are_lost() -> None:
    for seed in range(60):
        disk = new_disk(seed)
        shelf = open_shelf(disk)
        put_all(shelf, 1)
        shelf.close_pack(1)
        shelf.commit([Drop(shard_id(1))])
        shelf.close_pack(2)
        put_all(shelf, 3)
        for pack in (1, 2):
            while moves := compaction.read_batch(shelf, pack):
                assert shelf.commit(moves) == [None] * len(moves)
            shelf.remove_pack(pack)
        entry = shelf.index.find(shard_id(1))
        assert entry is not None
        assert (entry.state, entry.pack) == (ShardState.DROPPED, NO_PACK), "the drop was forgotten"
        disk.restart(power_cut=True)
        Index.remove(disk)
        shelf = open_shelf(disk)
        assert not is_held(shelf, 1)
        assert is_held(shelf, 3)


def test_a_put_in_the_same_group_as_the_move_of_its_drop_counts() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    shelf.close_pack(1)
    shelf.commit([Drop(shard_id(1))])
    shelf.close_pack(2)
    put_all(shelf, 3)
    for move in compaction.read_batch(shelf, 1):
        shelf.commit([move])
    shelf.remove_pack(1)
    (move,) = compaction.read_batch(shelf, 2)
    assert move.forgotten
    payload = payload_of(1)
    shelf.commit([move, Put(shard_id(1), header_of(1), payload, blake3(payload).digest()), move])
    assert is_held(shelf, 1)
    shelf.remove_pack(2)
    assert is_held(shelf, 1)
    rebuild(disk, shelf)
    assert is_held(shelf, 1)
    before = shelf.index.packs()
    shelf.index.recount_packs()
    assert shelf.index.packs() == before


def test_a_second_put_in_the_same_group_as_a_move_gets_the_old_receipt() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    shelf.close_pack(1)
    (move,) = compaction.read_batch(shelf, 1)
    payload = payload_of(1)
    told = shelf.commit([move, Put(shard_id(1), header_of(1), payload, blake3(payload).digest())])
    assert told == [None, StoredShard(shelf.key.store, 1)]
    assert is_held(shelf, 1)
