"""The store as a service: receipts, refusals, reads, the change feed, space."""

from __future__ import annotations

import functools
import random

import pytest
import trio
import trio.testing
from blake3 import blake3
from trio.testing import MockClock

from p2pstore.errors import (
    Busy,
    Corrupt,
    DifferentPayload,
    DiskAsleep,
    Forged,
    Misuse,
    NoSpace,
    NotHeld,
    Unavailable,
)
from p2pstore.limits import BULK_PAYLOAD_BYTES_MAX, KIB, MIB, SHARD_HEADER_BYTES_MAX
from p2pstore.storage.packs import pack_name
from p2pstore.storage.space import StoreState
from tests.storage.houses import Machine, header_of, holds_right_bytes, payload_of, put, shard_id


async def test_gives_back_what_was_put(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        receipt = await put(store, 1, index=3)
        assert receipt.store == store.store
        assert await holds_right_bytes(store, 1, index=3)
        assert await store.holds(shard_id(1, 3))
        assert not await store.holds(shard_id(1, 4))
        assert bytes(await store.get_range(shard_id(1, 3), 100, 50)) == payload_of(1)[100:150]
        held = await store.look(shard_id(1, 3))
        assert held is not None
        assert (held.counter, held.payload_bytes) == (receipt.counter, 3000)
        assert held.payload_hash == blake3(payload_of(1)).digest()
        with pytest.raises(NotHeld):
            await store.get(shard_id(2))


async def test_a_receipt_is_for_bytes_that_survive_a_power_cut_at_once(autojump_clock: MockClock) -> None:
    for seed in range(10):
        machine = Machine(seed)
        await machine.create()
        store = await machine.open()
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            for number in range(5):
                await put(store, number)
            machine.disk.kill()
            nursery.cancel_scope.cancel()
        machine.disk.restart(power_cut=True)
        async with machine.running() as store:
            for number in range(5):
                assert await holds_right_bytes(store, number)


async def test_takes_any_buffer(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        payload = bytearray(payload_of(1, 4000))
        views = memoryview(payload).cast("I")
        await store.put(shard_id(1), bytearray(header_of(1)), views, payload_hash=blake3(payload).digest())
        assert await holds_right_bytes(store, 1, 4000)
        await store.put(shard_id(2), b"", b"", payload_hash=blake3(b"").digest())
        assert bytes((await store.get(shard_id(2))).payload) == b""


async def test_the_same_shard_again_gets_the_same_receipt_and_takes_no_space(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        first = await put(store, 1)
        used = store.usage().used_bytes
        assert await put(store, 1) == first
        assert store.usage().used_bytes == used


async def test_two_puts_of_one_shard_in_one_group_store_it_once(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        receipts = []

        async def again() -> None:
            receipts.append(await put(store, 1))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(again)
        assert len(set(receipts)) == 1
        assert store.usage().live_bytes < 2 * 3000


async def test_another_payload_or_header_for_a_held_shard_is_refused(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        await put(store, 1)
        other = payload_of(2)
        with pytest.raises(DifferentPayload):
            await store.put(shard_id(1), header_of(1), other, payload_hash=blake3(other).digest())
        with pytest.raises(DifferentPayload):
            await store.put(shard_id(1), b"?", payload_of(1), payload_hash=blake3(payload_of(1)).digest())
        assert await holds_right_bytes(store, 1)


async def test_a_payload_with_another_hash_is_forged_and_its_neighbours_are_stored(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:

        async def forge() -> None:
            with pytest.raises(Forged):
                await store.put(shard_id(9), b"", b"abc", payload_hash=bytes(32))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(put, store, 1)
            nursery.start_soon(forge)
            nursery.start_soon(put, store, 2)
        assert await holds_right_bytes(store, 1)
        assert await holds_right_bytes(store, 2)
        assert not await store.holds(shard_id(9))


async def test_what_is_too_long_is_refused_at_the_door(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        for header, payload in ((bytes(SHARD_HEADER_BYTES_MAX + 1), b""), (b"", bytes(BULK_PAYLOAD_BYTES_MAX + 1))):
            with pytest.raises(Misuse):
                await store.put(shard_id(1), header, payload, payload_hash=blake3(payload).digest())
        with pytest.raises(Misuse):
            await store.put(shard_id(1, 255), b"", b"", payload_hash=blake3(b"").digest())


async def test_a_dropped_shard_is_gone_and_may_come_back_changed(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        await put(store, 1)
        await store.drop(shard_id(1))
        await store.drop(shard_id(1))
        await store.drop(shard_id(2))
        with pytest.raises(NotHeld):
            await store.get(shard_id(1))
        other = payload_of(2)
        await store.put(shard_id(1), b"", other, payload_hash=blake3(other).digest())
        assert bytes((await store.get(shard_id(1))).payload) == other


async def test_lists_the_shards_of_a_stripe(autojump_clock: MockClock) -> None:
    async with Machine().running() as store:
        for index in (7, 0, 3):
            await put(store, 1, index=index)
        await put(store, 2, index=5)
        await store.drop(shard_id(1, 0))
        assert await store.shards_of(shard_id(1).encoding) == [3, 7]
        assert await store.shards_of(shard_id(3).encoding) == []


async def test_the_change_feed_tells_each_shards_last_change_in_order(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        for number in range(5):
            await put(store, number)
        await store.drop(shard_id(1))
        changes = await store.changes_since(0, 100)
        assert [(change.shard, change.held) for change in changes] == [
            *((shard_id(number), True) for number in (0, 2, 3, 4)),
            (shard_id(1), False),
        ]
        assert [change.counter for change in changes] == sorted(change.counter for change in changes)
        assert await store.changes_since(0, 2) == changes[:2]
        assert await store.changes_since(changes[1].counter, 100) == changes[2:]
        assert await store.changes_since(changes[-1].counter, 100) == []
        epoch, last = store.epoch, changes[-1].counter
    async with machine.running() as store:
        assert store.epoch == epoch
        assert (await put(store, 9)).counter > last
        assert [change.shard for change in await store.changes_since(last, 100)] == [shard_id(9)]
        await store.rebuild_index()
        assert store.epoch != epoch
        assert {change.shard for change in await store.changes_since(0, 100) if change.held} == {
            shard_id(number) for number in (0, 2, 3, 4, 9)
        }


async def test_a_reader_of_the_feed_waits_for_what_it_does_not_know_yet(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        seen: list[int] = []

        async def follow() -> None:
            counter = 0
            while True:
                await store.wait_changes(store.epoch, counter)
                for change in await store.changes_since(counter, 1):
                    counter = change.counter
                    seen.append(counter)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            receipts = [await put(store, number) for number in range(3)]
            await trio.sleep(1)
            machine.disk.flip_bit(pack_name(1), offset=4096 + 112 + 50)
            with pytest.raises(Corrupt):
                await store.get(shard_id(0))
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert seen == [*(receipt.counter for receipt in receipts), receipts[-1].counter + 1]
        epoch = store.epoch
        await store.rebuild_index()
        await store.wait_changes(epoch, 10**9)


async def test_many_puts_share_few_syncs(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        before = machine.disk.syncs
        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(put, store, number, 2000)
        assert machine.disk.syncs - before < 20
        assert store.usage().shard_count == 500


async def test_packs_stay_below_their_size_and_files_are_closed(autojump_clock: MockClock) -> None:
    machine = Machine(pack_bytes_max=64 * KIB)
    async with machine.running() as store:
        for number in range(40):
            await put(store, number, 10_000)
        sizes = [machine.disk.open(f"packs/{name}").size() for name in machine.disk.names("packs")]
        assert len(sizes) > 5
        assert max(sizes) <= 64 * KIB
        for number in range(40):
            assert await holds_right_bytes(store, number, 10_000)


async def test_a_shard_larger_than_a_pack_gets_one_of_its_own(autojump_clock: MockClock) -> None:
    async with Machine(pack_bytes_max=64 * KIB).running() as store:
        await put(store, 1, 200_000)
        await put(store, 2, 10)
        assert await holds_right_bytes(store, 1, 200_000)


async def test_a_cancelled_put_leaves_the_buffers_alone_once_it_returns(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.disk.slowness = 1000
    async with machine.running() as store:
        payload = bytearray(payload_of(1))
        right = blake3(payload).digest()
        with trio.move_on_after(0.5):
            await store.put(shard_id(1), header_of(1), payload, payload_hash=right)
        payload[:] = bytes(len(payload))
        await put(store, 2)
        assert not await store.holds(shard_id(1)) or await holds_right_bytes(store, 1)
        assert (await store.check_all()).damaged == ()


async def test_a_cancelled_put_returns_when_its_buffers_are_free(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        machine.disk.stick()
        started_s = trio.current_time()
        returned_s = []

        async def cancelled() -> None:
            with trio.move_on_after(0.5):
                await put(store, 1)
            returned_s.append(trio.current_time() - started_s)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancelled)
            await trio.sleep(5)
            machine.disk.unstick()
    assert returned_s[0] >= 5


async def test_a_put_cancelled_in_the_queue_leaves_no_trace(autojump_clock: MockClock) -> None:
    machine = Machine()
    machine.disk.slowness = 1000
    async with machine.running() as store:
        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(put, store, number)
                await trio.sleep(0.01)
            with trio.move_on_after(0.001):
                await put(store, 3)
        assert not await store.holds(shard_id(3))
        assert await store.holds(shard_id(2))


async def test_the_queue_is_bounded_and_everybody_gets_in(autojump_clock: MockClock) -> None:
    machine = Machine(given_bytes=10**9, pack_bytes_max=256 * MIB)
    async with machine.running() as store:
        payload = bytes(8 * MIB)
        right = blake3(payload).digest()
        async with trio.open_nursery() as nursery:
            for number in range(12):
                job = functools.partial(store.put, shard_id(number), b"", payload, payload_hash=right)
                nursery.start_soon(job)
        assert store.usage().shard_count == 12


async def test_a_store_that_does_not_run_takes_nothing_and_lets_nobody_wait(autojump_clock: MockClock) -> None:
    machine = Machine()
    await machine.create()
    store = await machine.open()
    with pytest.raises(Unavailable):
        await put(store, 1)
    machine.disk.slowness = 1e6
    failures = []

    async def waits() -> None:
        try:
            await put(store, 1)
        except Unavailable as error:
            failures.append(error)

    async with trio.open_nursery() as outer:
        async with trio.open_nursery() as nursery:
            await nursery.start(store.run)
            for _ in range(3):
                outer.start_soon(waits)
                await trio.sleep(0.1)
            nursery.cancel_scope.cancel()
    assert failures
    await store.close()


async def test_an_open_store_cannot_be_opened_again(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running():
        with pytest.raises(Busy):
            await machine.open()


# --- space --------------------------------------------------------------------------------------------------------


async def test_the_space_ladder_takes_placements_then_only_repairs_then_nothing(autojump_clock: MockClock) -> None:
    machine = Machine(given_bytes=1_000_000)
    async with machine.running() as store:
        number = 0
        while store.usage().state is StoreState.ACCEPTING:
            await put(store, number, 20_000)
            number += 1
        assert 0.85 <= store.usage().used_bytes / 1_000_000 < 0.9
        assert store.usage().state is StoreState.REPAIR_ONLY
        with pytest.raises(NoSpace):
            await put(store, number, 20_000)
        while store.usage().state is StoreState.REPAIR_ONLY:
            await put(store, number, 20_000, for_repair=True)
            number += 1
        with pytest.raises(NoSpace):
            await put(store, number, 20_000, for_repair=True)
        assert store.usage().state is StoreState.FULL
        assert store.usage().used_bytes <= 1_000_000
        assert await put(store, 0, 20_000)  # is held already
        await store.drop(shard_id(0))


async def test_the_reserve_of_the_disk_is_never_taken(autojump_clock: MockClock) -> None:
    machine = Machine(capacity_bytes=3 * MIB, reserve_bytes=2 * MIB)
    async with machine.running() as store:
        number = 0
        with pytest.raises(NoSpace):
            while True:
                await put(store, number, 50_000, for_repair=True)
                number += 1
        assert number > 5
        assert machine.disk.free_bytes() > 1.8 * MIB
        for held in range(number):
            assert await holds_right_bytes(store, held, 50_000)


@pytest.mark.parametrize("seed", range(5))
async def test_a_disk_that_fills_up_behind_our_back_breaks_nothing(seed: int, autojump_clock: MockClock) -> None:
    machine = Machine(seed, capacity_bytes=600_000)
    rng = random.Random(seed)
    async with machine.running() as store:
        stored = []
        for number in range(60):
            try:
                await put(store, number, rng.randrange(1, 40_000))
                stored.append(number)
            except NoSpace:
                pass
            machine.disk.capacity_bytes = 600_000 - rng.choice((0, 0, 300_000))
    assert 5 < len(stored) < 60
    machine.disk.capacity_bytes = None
    machine.disk.restart(power_cut=True)
    rng = random.Random(seed)
    async with machine.running() as store:
        assert store.usage().shard_count == len(stored)
        for number in range(60):
            size = rng.randrange(1, 40_000)
            rng.choice((0, 0, 300_000))
            if number in stored:
                assert await holds_right_bytes(store, number, size)
            else:
                assert not await store.holds(shard_id(number))


async def test_a_full_disk_still_takes_drops(autojump_clock: MockClock) -> None:
    machine = Machine(capacity_bytes=1_000_000, reserve_bytes=200_000)
    async with machine.running() as store:
        number = 0
        with pytest.raises(NoSpace):
            while True:
                await put(store, number, 20_000)
                number += 1
        answers = []

        async def too_much() -> None:
            with pytest.raises(NoSpace):
                await put(store, 99, 200_000)
            answers.append("full")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(too_much)
            nursery.start_soon(store.drop, shard_id(1))
        assert answers == ["full"]
        assert not await store.holds(shard_id(1))


# --- disks that are away ------------------------------------------------------------------------------------------


async def test_an_empty_folder_is_a_disk_asleep_not_an_empty_store(autojump_clock: MockClock) -> None:
    with pytest.raises(DiskAsleep):
        await Machine().open()


async def test_another_store_in_its_place_is_a_disk_asleep(autojump_clock: MockClock) -> None:
    mine, other = Machine(1), Machine(2)
    await mine.create()
    await other.create()
    store = await mine.open()
    with pytest.raises(DiskAsleep):
        await other.open_expecting(store.store)


async def test_a_store_is_not_made_over_another(autojump_clock: MockClock) -> None:
    machine = Machine()
    await machine.create()
    with pytest.raises(Misuse):
        await machine.create()


async def test_a_disk_that_goes_away_takes_no_shard_with_it(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        await put(store, 1)
        machine.disk.unplug()
        for call in (store.get(shard_id(1)), put(store, 2), store.drop(shard_id(1)), store.holds(shard_id(1))):
            with pytest.raises(DiskAsleep):
                await call
        assert store.usage().state is StoreState.ASLEEP
        machine.disk.plug()
    async with machine.running() as store:
        assert await holds_right_bytes(store, 1)
        assert await store.damaged(10) == []


async def test_one_damaged_copy_of_the_sentinel_is_mended_two_put_the_store_to_sleep(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        name = store.store
    machine.disk.flip_bit("store.id", offset=20)
    async with machine.running() as store:
        assert store.store == name
    machine.disk.flip_bit("store.id", offset=20)
    machine.disk.flip_bit("store.id", offset=4096 + 20)
    with pytest.raises(DiskAsleep):
        await machine.open()


@pytest.mark.parametrize("call", ["write", "sync", "sync_folder", "truncate"])
@pytest.mark.parametrize("seed", range(4))
async def test_one_failed_call_loses_nothing_that_was_acknowledged(
    call: str, seed: int, autojump_clock: MockClock
) -> None:
    machine = Machine(seed, pack_bytes_max=32 * KIB)
    async with machine.running() as store:
        stored = []
        for number in range(30):
            if number % 7 == 3:
                machine.disk.fail_next(call, OSError(5, "input/output error"))
            try:
                await put(store, number, 5000)
                stored.append(number)
            except (Unavailable, DiskAsleep):
                pass
        machine.disk._faults.clear()
        assert len(stored) >= 20
    machine.disk.restart(power_cut=True)
    async with machine.running() as store:
        for number in stored:
            assert await holds_right_bytes(store, number, 5000)


# --- rot ----------------------------------------------------------------------------------------------------------


async def test_a_rotten_shard_is_quarantined_never_returned_and_can_be_put_again(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        for number in range(4):
            await put(store, number)
        before = (await store.changes_since(0, 10))[-1].counter
        machine.disk.flip_bit(pack_name(1), offset=4096 + 112 + 50)
        with pytest.raises(Corrupt):
            await store.get(shard_id(0))
        assert not await store.holds(shard_id(0))
        assert await store.damaged(10) == [shard_id(0)]
        assert store.usage().damaged_count == 1
        assert [(change.shard, change.held) for change in await store.changes_since(before, 10)] == [
            (shard_id(0), False)
        ]
        await put(store, 0, for_repair=True)
        assert await holds_right_bytes(store, 0)
        assert await store.damaged(10) == []
        assert store.usage().shard_count == 4


async def test_a_second_put_of_a_rotten_shard_stores_it_anew(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        first = await put(store, 0)
        machine.disk.flip_bit(pack_name(1), offset=4096 + 112 + 50)
        assert await put(store, 0) != first
        assert await holds_right_bytes(store, 0)


async def test_a_scrub_finds_every_rotten_shard(autojump_clock: MockClock) -> None:
    machine = Machine(3)
    async with machine.running() as store:
        for number in range(20):
            await put(store, number)
        machine.disk.flip_bit(pack_name(1), offset=5 * 8192 + 1000)
        machine.disk.flip_bit(pack_name(1), offset=7 * 8192 + 1000)
        report = await store.check_all()
        assert len(report.damaged) == 2
        assert report.checked == 18
        assert (await store.check_all()).checked == 18


async def test_a_bad_place_on_a_disk_that_is_there_is_damage(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        await put(store, 0)
        machine.disk.fail_next("read", OSError(5, "bad sector"))
        machine.disk.fail_next("read", OSError(5, "bad sector"))
        with pytest.raises((Corrupt, DiskAsleep)):
            await store.get(shard_id(0))


async def test_a_damaged_index_is_rebuilt_while_the_store_runs(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        for number in range(300):
            await put(store, number, 100)
        epoch = store.epoch
        store._shelf.index._database.execute("UPDATE shards SET payload_bytes = 99 WHERE change = 5")
        with pytest.raises(DiskAsleep):
            await store.get(shard_id(4))
        await trio.sleep(1)
        assert store.usage().state is StoreState.ACCEPTING
        assert await holds_right_bytes(store, 4, 100)
        assert store.epoch != epoch
        assert store.usage().shard_count == 300
