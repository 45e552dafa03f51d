"""Single cases of recovery that random crashes meet too seldom, and rot."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from blake3 import blake3

from p2pstore.errors import Corrupt, DiskAsleep, NotHeld
from p2pstore.ids import ShardId
from p2pstore.storage.entries import Drop, Put, ShardState
from p2pstore.storage.index import INDEX_NAME, Index
from p2pstore.storage.opening import make_store, opening, rebuilding_index
from p2pstore.storage.packs import PACKS_FOLDER, pack_name
from p2pstore.storage.records import (
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    Record,
    RecordKind,
    align_group,
    encode_record,
)
from p2pstore.storage.recovery import RecoveryReport
from p2pstore.storage.shelf import Shelf, StoreLimits
from simulations.disk import SimulatedDisk
from tests.storage.houses import header_of, payload_of, shard_id

LIMITS = StoreLimits(given_bytes=10**9, reserve_bytes=0, pack_bytes_max=10**6)
HEADER_BYTES = len(header_of(0))


def new_disk(seed: int = 0) -> SimulatedDisk:
    disk = SimulatedDisk(random.Random(seed))
    make_store(disk, random.Random(seed))
    return disk


def open_shelf(disk: SimulatedDisk, report: RecoveryReport | None = None) -> Shelf:
    *_, shelf = opening(disk, LIMITS, random.Random(disk.life), None, report or RecoveryReport())
    assert shelf is not None
    return shelf


def put_all(shelf: Shelf, *numbers: int, size: int = 3000) -> None:
    """Put these shards in one group."""
    payloads = {number: payload_of(number, size) for number in numbers}
    shelf.commit(
        [
            Put(shard_id(number), header_of(number), payload, blake3(payload).digest())
            for number, payload in payloads.items()
        ]
    )


def is_held(shelf: Shelf, number: int, size: int = 3000) -> bool:
    try:
        return bytes(shelf.read(shard_id(number)).payload) == payload_of(number, size)
    except NotHeld:
        return False


def rebuild(disk: SimulatedDisk, shelf: Shelf) -> RecoveryReport:
    report = RecoveryReport()
    for _ in rebuilding_index(disk, shelf, random.Random(8), report):
        pass
    return report


def without_index(disk: SimulatedDisk) -> None:
    disk.restart(power_cut=False)
    Index.remove(disk)


def test_a_clean_end_leaves_nothing_to_scan() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2)
    shelf.close()
    report = RecoveryReport()
    assert is_held(open_shelf(disk, report), 1)
    assert report.scanned_bytes == 0


@pytest.mark.parametrize("damage", ["lost", "rubbish", "other store", "empty"])
def test_an_index_that_is_of_no_use_is_made_anew(damage: str) -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2)
    shelf.commit([Drop(shard_id(1))])
    epoch = shelf.epoch
    shelf.close()
    disk.restart(power_cut=False)
    file = disk.open(INDEX_NAME)
    match damage:
        case "lost":
            disk.remove(INDEX_NAME)
        case "rubbish":
            file.write(0, [b"rubbish" * 100])
        case "other store":
            file.truncate(0)
            other = new_disk(1)
            open_shelf(other).close()
            file.write(0, [other.snapshot()[INDEX_NAME]])
        case "empty":
            file.truncate(0)
    shelf = open_shelf(disk)
    assert [is_held(shelf, number) for number in (1, 2)] == [False, True]
    assert shelf.epoch != epoch
    put_all(shelf, 3)
    assert is_held(shelf, 3)


def test_an_older_index_is_brought_up_to_the_packs() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2)
    shelf.close()
    old = disk.snapshot()[INDEX_NAME]
    shelf = open_shelf(disk)
    put_all(shelf, 3)
    shelf.commit([Drop(shard_id(1))])
    shelf.close()
    file = disk.open(INDEX_NAME)
    file.truncate(0)
    file.write(0, [old])
    shelf = open_shelf(disk)
    assert [is_held(shelf, number) for number in (1, 2, 3)] == [False, True, True]


def test_a_pack_that_lost_its_end_puts_its_shards_into_quarantine() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    put_all(shelf, 2)
    counter = shelf.index.last_stamp()
    shelf.close()
    disk.open(pack_name(1)).truncate(10_000)
    report = RecoveryReport()
    shelf = open_shelf(disk, report)
    assert report.damaged == 1
    assert is_held(shelf, 1)
    with pytest.raises(Corrupt):
        shelf.read(shard_id(2))
    assert [(entry.shard, entry.state) for entry in shelf.index.after(counter, 9)] == [
        (shard_id(2), ShardState.DAMAGED)
    ]
    put_all(shelf, 2)
    assert is_held(shelf, 2)


def test_a_pack_that_is_gone_puts_its_shards_into_quarantine() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    shelf.close()
    disk.remove(pack_name(1))
    shelf = open_shelf(disk)
    with pytest.raises(Corrupt):
        shelf.read(shard_id(1))
    assert shelf.usage().damaged_count == 1
    assert shelf.usage().used_bytes == 0


def test_what_a_killed_process_wrote_is_synced_before_it_counts() -> None:
    lost = 0
    for seed in range(30):
        disk = new_disk(seed)
        shelf = open_shelf(disk)
        put_all(shelf, 1)
        disk.dies_at_step = disk.steps + 2  # the group is written, perhaps not synced
        with pytest.raises(Exception):  # noqa: B017
            put_all(shelf, 2)
        disk.restart(power_cut=False)
        held = is_held(open_shelf(disk), 2)
        disk.restart(power_cut=True)
        assert is_held(open_shelf(disk), 2) == held
        lost += not held
    assert lost < 30


def test_the_name_of_a_pack_is_synced_before_it_counts() -> None:
    for seed in range(30):
        disk = new_disk(seed)
        shelf = open_shelf(disk)
        disk.dies_at_step = disk.steps + 4  # the first pack is written and synced, its name is not
        with pytest.raises(Exception):  # noqa: B017
            put_all(shelf, 1)
        disk.restart(power_cut=False)
        assert is_held(open_shelf(disk), 1)
        disk.restart(power_cut=True)
        assert is_held(open_shelf(disk), 1)


@pytest.mark.parametrize("keep", [10, 200, 3500, 6000])
def test_a_torn_group_is_cut_off_and_nobody_is_sent_to_repair_it(keep: int) -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    shelf.close()
    size = disk.open(pack_name(1)).size()
    old = disk.snapshot()[INDEX_NAME]
    shelf = open_shelf(disk)
    put_all(shelf, 2, 3)
    shelf.close()
    disk.open(pack_name(1)).truncate(align_group(size) + keep)
    index = disk.open(INDEX_NAME)
    index.truncate(0)
    index.write(0, [old])
    report = RecoveryReport()
    shelf = open_shelf(disk, report)
    assert [is_held(shelf, number) for number in (1, 2, 3)] == [True, keep > 3200, False]
    assert report.cut_bytes
    put_all(shelf, 4)
    assert rebuild(disk, shelf).damaged == 0


def test_a_packs_header_may_rot() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2)
    for offset in (0, 9, 14, 20, 40, 3000):
        disk.flip_bit(pack_name(1), offset=offset)
    without_index(disk)
    shelf = open_shelf(disk)
    assert is_held(shelf, 1)
    assert is_held(shelf, 2)


def test_a_pack_of_another_store_puts_the_disk_to_sleep_and_is_left_alone() -> None:
    disk, other = new_disk(0), new_disk(1)
    for machine in (disk, other):
        shelf = open_shelf(machine)
        put_all(shelf, 1)
        shelf.close()
    image = other.snapshot()[pack_name(1)]
    foreign = disk.open(pack_name(2), create=True)
    foreign.write(0, [image])
    with pytest.raises(DiskAsleep):
        open_shelf(disk)
    assert disk.open(pack_name(2)).size() == len(image)


@pytest.mark.parametrize("offset", [0, 5, 20, 40, 70, 100, 115])
def test_a_scan_goes_on_behind_a_rotten_record_header(offset: int) -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2, 3)
    put_all(shelf, 4)
    disk.flip_bit(pack_name(1), offset=PACK_HEADER_BYTES + RECORD_HEADER_BYTES + HEADER_BYTES + 3000 + offset)
    without_index(disk)
    shelf = open_shelf(disk)
    assert [is_held(shelf, number) for number in (1, 3, 4)] == [True, True, True]
    with pytest.raises((NotHeld, Corrupt)):
        shelf.read(shard_id(2))


def test_a_rebuild_names_the_shards_whose_payload_is_rotten() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1, 2)
    put_all(shelf, 3)
    disk.flip_bit(pack_name(1), offset=PACK_HEADER_BYTES + RECORD_HEADER_BYTES + 50)
    report = rebuild(disk, shelf)
    assert report.damaged == 1
    assert shelf.index.damaged(9) == [shard_id(1)]
    assert is_held(shelf, 2)


def plant(disk: SimulatedDisk, shelf: Shelf, make: Callable[[int], bytes]) -> None:
    """Put shard 1 with a payload that is `make`(its own offset in the pack), spoil its record header, and lose the
    index: now a scan looks into that payload for the next record."""
    payload = make(PACK_HEADER_BYTES + RECORD_HEADER_BYTES)
    shelf.commit([Put(shard_id(1), b"", payload, blake3(payload).digest())])
    put_all(shelf, 3)
    disk.flip_bit(pack_name(1), offset=PACK_HEADER_BYTES)
    without_index(disk)


def test_a_record_planted_in_a_payload_is_never_taken_for_one() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    drop = Record(RecordKind.DROP, shard_id(3), 0, 0, 10**6, 1, 1, bytes(32))

    def stolen_format(offset: int) -> bytes:
        key = type(shelf.key)(shelf.key.store, bytes(32))  # all that a peer knows: the format and the store's name
        return encode_record(drop, b"", key, pack=1, offset=offset)

    plant(disk, shelf, stolen_format)
    assert is_held(open_shelf(disk), 3)


def test_a_record_is_valid_in_its_place_only() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    drop = Record(RecordKind.DROP, shard_id(3), 0, 0, 10**6, 1, 1, bytes(32))
    plant(disk, shelf, lambda offset: encode_record(drop, b"", shelf.key, pack=1, offset=offset + 8))
    assert is_held(open_shelf(disk), 3)
    disk = new_disk()
    shelf = open_shelf(disk)
    plant(disk, shelf, lambda offset: encode_record(drop, b"", shelf.key, pack=2, offset=offset))
    assert is_held(open_shelf(disk), 3)
    disk = new_disk()
    shelf = open_shelf(disk)
    plant(disk, shelf, lambda offset: encode_record(drop, b"", shelf.key, pack=1, offset=offset))
    assert not is_held(open_shelf(disk), 3), "the test plants at the right place"


def append_records(disk: SimulatedDisk, shelf: Shelf, pack: int, records: list[tuple[Record, bytes]]) -> None:
    """Append a group to `pack` behind the store's back."""
    file = disk.open(pack_name(pack), create=True)
    offset = align_group(max(file.size(), PACK_HEADER_BYTES))
    buffers: list[bytes] = []
    start = offset
    for record, payload in records:
        buffers += [encode_record(record, b"", shelf.key, pack=pack, offset=offset), payload]
        offset += record.length
    file.write(start, buffers)
    disk.sync_folder(PACKS_FOLDER)


def shard_record(shard: ShardId, payload: bytes, stamp: int, block: int) -> tuple[Record, bytes]:
    return Record(RecordKind.SHARD, shard, 0, len(payload), stamp, block, 0, blake3(payload).digest()), payload


def test_of_two_records_the_later_stamp_counts_wherever_it_lies() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    new, old = shard_record(shard_id(1), b"new", 20, 1), shard_record(shard_id(1), b"old", 10, 1)
    append_records(disk, shelf, 1, [new, old])
    append_records(disk, shelf, 2, [shard_record(shard_id(1), b"oldest", 5, 1)])
    disk.restart(power_cut=False)
    shelf = open_shelf(disk)
    assert bytes(shelf.read(shard_id(1)).payload) == b"new"
    rebuild(disk, shelf)
    assert bytes(shelf.read(shard_id(1)).payload) == b"new"
    put_all(shelf, 2)
    assert shelf.index.last_stamp() == 21


def test_a_moved_record_is_found_in_its_new_place_when_the_old_pack_is_gone() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    append_records(disk, shelf, 1, [shard_record(shard_id(1), b"x", 10, 1)])
    disk.restart(power_cut=False)
    shelf = open_shelf(disk)
    shelf.close()
    append_records(disk, shelf, 2, [shard_record(shard_id(1), b"x", 10, 1)])
    disk.remove(pack_name(1))
    shelf = open_shelf(disk)
    assert bytes(shelf.read(shard_id(1)).payload) == b"x"
    assert shelf.usage().damaged_count == 0


def test_two_shards_with_one_stamp_are_both_kept() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    append_records(
        disk, shelf, 1, [shard_record(shard_id(1), b"one", 10, 1), shard_record(shard_id(2), b"two", 10, 1)]
    )
    disk.restart(power_cut=False)
    shelf = open_shelf(disk)
    assert bytes(shelf.read(shard_id(1)).payload) == b"one"
    assert bytes(shelf.read(shard_id(2)).payload) == b"two"
    assert len(shelf.index.after(0, 9)) == 2


@pytest.mark.parametrize("size", [0, 1, 4095, 4096])
@pytest.mark.parametrize("index_lost", [False, True])
def test_a_pack_that_is_no_longer_than_its_header_takes_records_that_are_found_again(
    size: int, index_lost: bool
) -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    shelf.close()
    if index_lost:
        without_index(disk)
    disk.open(pack_name(1)).truncate(size)
    shelf = open_shelf(disk)
    put_all(shelf, 2)
    without_index(disk)
    assert is_held(open_shelf(disk), 2)


def test_the_place_of_a_quarantine_in_the_feed_is_never_given_out_again() -> None:
    for seed in range(20):
        disk = new_disk(seed)
        shelf = open_shelf(disk)
        put_all(shelf, 1)
        disk.flip_bit(pack_name(1), offset=PACK_HEADER_BYTES + RECORD_HEADER_BYTES + 50)
        with pytest.raises(Corrupt):
            shelf.read(shard_id(1))
        told = shelf.last_change
        disk.restart(power_cut=True)
        shelf = open_shelf(disk)
        put_all(shelf, 2)
        entry = shelf.index.find(shard_id(2))
        assert entry is not None
        assert entry.change > told


def test_after_a_failed_sync_nothing_more_is_appended_to_that_pack() -> None:
    for seed in range(20):
        disk = new_disk(seed)
        shelf = open_shelf(disk)
        put_all(shelf, 1)
        disk.fail_next("sync", OSError(5, "input/output error"))
        put_all(shelf, 2)
        put_all(shelf, 3)
        disk.restart(power_cut=True)
        shelf = open_shelf(disk)
        assert [is_held(shelf, number) for number in (1, 2, 3)] == [True, False, True]


def test_a_store_whose_disk_went_away_stays_asleep_until_it_is_opened_anew() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    disk.unplug()
    with pytest.raises(DiskAsleep):
        shelf.read(shard_id(1))
    disk.plug()
    before = disk.steps
    assert isinstance(shelf.commit([Drop(shard_id(1))])[0], DiskAsleep)
    assert disk.steps == before
    shelf.close()
    assert is_held(open_shelf(disk), 1)


def test_a_rolled_back_disk_is_a_sound_store_of_that_time() -> None:
    disk = new_disk()
    shelf = open_shelf(disk)
    put_all(shelf, 1)
    image = disk.snapshot()
    put_all(shelf, 2)
    shelf.commit([Drop(shard_id(1))])
    disk.restore(image)
    shelf = open_shelf(disk)
    assert [is_held(shelf, number) for number in (1, 2)] == [True, False]
