"""The store on the real edges: threads, the standard library's SQLite, a folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
from blake3 import blake3

from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Busy, DiskAsleep
from p2pstore.limits import KIB, PACK_BYTES_MAX
from p2pstore.storage.store import ShardStore
from tests.storage.houses import header_of, holds_right_bytes, payload_of, put, shard_id

RNG = random.Random(1)


async def open_store(folder: Path, *, pack_bytes_max: int = PACK_BYTES_MAX) -> ShardStore:
    return await ShardStore.open(
        RealDisk(folder),
        ThreadWorkers(),
        RealClock(),
        rng=RNG,
        given_bytes=10**9,
        reserve_bytes=0,
        pack_bytes_max=pack_bytes_max,
    )


async def test_puts_drops_reads_and_compactions_go_on_side_by_side_on_threads(tmp_path: Path) -> None:
    await ShardStore.create(RealDisk(tmp_path), ThreadWorkers(), rng=RNG)
    store = await open_store(tmp_path, pack_bytes_max=256 * KIB)

    async def live_of(number: int) -> None:
        await put(store, number, 4000)
        assert await holds_right_bytes(store, number, 4000)
        if number % 6:
            await store.drop(shard_id(number))

    async with trio.open_nursery() as outer:
        await outer.start(store.run)
        for start in range(0, 300, 100):
            async with trio.open_nursery() as nursery:
                for number in range(start, start + 100):
                    nursery.start_soon(live_of, number)
        await store.compact()
        for number in range(0, 300, 6):
            assert await holds_right_bytes(store, number, 4000)
        assert store.usage().used_bytes < 3 * store.usage().live_bytes
        outer.cancel_scope.cancel()
    await store.close()
    store = await open_store(tmp_path)
    assert store.recovery.scanned_bytes == 0
    assert store.usage().shard_count == 50
    await store.rebuild_index()
    assert store.usage().shard_count == 50
    assert (await store.check_all(rest=0)).checked == 50
    await store.close()


async def test_a_store_is_open_in_one_place_only(tmp_path: Path) -> None:
    await ShardStore.create(RealDisk(tmp_path), ThreadWorkers(), rng=RNG)
    store = await open_store(tmp_path)
    with pytest.raises(Busy):
        await open_store(tmp_path)
    await store.close()
    await (await open_store(tmp_path)).close()


async def test_a_missing_folder_is_a_disk_asleep(tmp_path: Path) -> None:
    with pytest.raises(DiskAsleep):
        await open_store(tmp_path / "not mounted")


async def test_a_folder_that_is_swapped_for_an_empty_one_takes_no_shard(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    await ShardStore.create(RealDisk(folder), ThreadWorkers(), rng=RNG)
    store = await open_store(folder, pack_bytes_max=8 * KIB)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await put(store, 1)
        folder.rename(tmp_path / "away")
        folder.mkdir()
        payload = payload_of(2, 8000)
        with pytest.raises(DiskAsleep):
            await store.put(shard_id(2), header_of(2), payload, payload_hash=blake3(payload).digest())
        assert list(folder.iterdir()) == []
        nursery.cancel_scope.cancel()
    await store.close()


async def test_a_folder_that_is_swapped_for_another_store_takes_no_shard(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    await ShardStore.create(RealDisk(folder), ThreadWorkers(), rng=RNG)
    store = await open_store(folder, pack_bytes_max=8 * KIB)
    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        await put(store, 1)
        folder.rename(tmp_path / "away")
        folder.mkdir()
        await ShardStore.create(RealDisk(folder), ThreadWorkers(), rng=RNG)
        with pytest.raises(DiskAsleep):
            await put(store, 2, 8000)
        assert list((folder / "packs").iterdir()) == []
        nursery.cancel_scope.cancel()
    await store.close()
