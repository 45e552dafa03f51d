"""What only the simulated disk does: it crashes, fills, rots and goes away, as honestly as a real one."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable

import pytest
import trio.testing

from p2pstore.edges.clock import RealClock
from p2pstore.errors import NoSpace
from simulations.disk import PowerCut, SimulatedDisk
from simulations.workers import InlineWorkers


def disks(count: int = 60, **options: int) -> list[SimulatedDisk]:
    return [SimulatedDisk(random.Random(seed), **options) for seed in range(count)]


def after_power_cut(work: Callable[[SimulatedDisk], None]) -> list[bytes | None]:
    """What file "a" holds after a power cut that follows `work`, for several seeds; None: it is gone."""
    found = []
    for disk in disks():
        work(disk)
        disk.restart(power_cut=True)
        found.append(disk.open("a").read(0, 10**6) if "a" in disk.names() else None)
    return found


def write(disk: SimulatedDisk, text: bytes, *, offset: int = 0, sync: bool = False, sync_folder: bool = False) -> None:
    file = disk.open("a", create=True)
    file.write(offset, [text])
    if sync:
        file.sync()
    if sync_folder:
        disk.sync_folder()


def test_what_was_synced_with_its_name_survives() -> None:
    text = bytes(range(256)) * 10
    assert set(after_power_cut(lambda disk: write(disk, text, sync=True, sync_folder=True))) == {text}


def test_a_new_name_without_a_folder_sync_may_be_gone() -> None:
    assert set(after_power_cut(lambda disk: write(disk, b"x", sync=True))) == {None, b"x"}


def test_unsynced_bytes_are_kept_lost_or_torn_by_sectors() -> None:
    def work(disk: SimulatedDisk) -> None:
        write(disk, b"o" * 4096, sync=True, sync_folder=True)
        write(disk, b"n" * 4096)

    found = {content for content in after_power_cut(work) if content}
    assert b"o" * 4096 in found
    assert b"n" * 4096 in found
    assert any(content[:512] != content[512:1024] for content in found)


def test_what_was_cut_off_may_come_back_and_what_was_appended_may_be_zeros() -> None:
    def cut(disk: SimulatedDisk) -> None:
        write(disk, b"o" * 2048, sync=True, sync_folder=True)
        disk.open("a").truncate(100)

    assert {len(content or b"") for content in after_power_cut(cut)} >= {100, 2048}

    def append(disk: SimulatedDisk) -> None:
        write(disk, b"o" * 512, sync=True, sync_folder=True)
        write(disk, b"n" * 512, offset=512)

    found = set(after_power_cut(append))
    assert found >= {b"o" * 512, b"o" * 512 + b"n" * 512, b"o" * 512 + bytes(512)}


def test_a_rename_happens_wholly_or_not_at_all() -> None:
    found = set()
    for disk in disks():
        write(disk, b"old", sync=True, sync_folder=True)
        draft = disk.open("b", create=True)
        draft.write(0, [b"new"])
        draft.sync()
        disk.sync_folder()
        disk.rename("b", "a")
        disk.restart(power_cut=True)
        found.add((disk.open("a").read(0, 9), "b" in disk.names()))
    assert found == {(b"old", True), (b"new", False)}


def test_a_killed_process_loses_nothing_but_what_it_wrote_is_no_more_durable() -> None:
    found = set()
    for disk in disks():
        write(disk, b"x" * 512, sync_folder=True)
        disk.restart(power_cut=False)
        assert disk.open("a").read(0, 600) == b"x" * 512
        disk.restart(power_cut=True)
        found.add(disk.open("a").read(0, 600))
    assert len(found) > 1


def test_nothing_that_runs_after_the_death_reaches_the_disk() -> None:
    disk = SimulatedDisk(random.Random(1))
    file = disk.open("a", create=True)
    database = disk.open_database("d")
    disk.kill()
    for call in (
        lambda: file.write(0, [b"x"]),
        file.sync,
        lambda: disk.open("b", create=True),
        lambda: disk.remove("a"),
        lambda: database.execute("CREATE TABLE t (v)"),
    ):
        with pytest.raises(PowerCut):
            call()
    disk.restart(power_cut=False)
    with pytest.raises(PowerCut):
        file.write(0, [b"x"])
    with pytest.raises(PowerCut):
        database.execute("CREATE TABLE t (v)")
    assert disk.open("a").size() == 0


@pytest.mark.parametrize("rebuildable", [False, True])
def test_sqlite_loses_committed_rows_only_if_it_was_allowed_to(rebuildable: bool) -> None:
    lost = 0
    for disk in disks(40):
        database = disk.open_database("d", rebuildable=rebuildable)
        database.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
        database.execute("PRAGMA wal_checkpoint(FULL)")
        disk.dies_at_step = disk.steps + disk.rng.randrange(1, 300)
        committed = 0
        with pytest.raises(PowerCut):
            for number in range(1, 500):
                with database.transaction():
                    database.execute("INSERT INTO t VALUES (?, ?)", (number, bytes(200)))
                committed = number
        disk.restart(power_cut=True)
        database = disk.open_database("d", rebuildable=rebuildable)
        assert database.execute("PRAGMA integrity_check") == [("ok",)]
        rows = database.execute("SELECT k FROM t ORDER BY k")
        assert rows == [(number,) for number in range(1, len(rows) + 1)]
        lost += len(rows) < committed
    assert bool(lost) == rebuildable


def test_a_full_disk_takes_a_part_and_says_so() -> None:
    disk = SimulatedDisk(random.Random(1), capacity_bytes=1000)
    file = disk.open("a", create=True)
    file.write(0, [bytes(900)])
    with pytest.raises(NoSpace):
        file.write(900, [bytes(200)])
    assert file.size() == 1000
    assert disk.free_bytes() == 0
    file.truncate(500)
    assert disk.free_bytes() == 500
    with pytest.raises(NoSpace):
        disk.open_database("d")


def test_a_file_whose_sync_failed_never_becomes_durable() -> None:
    found = set()
    for disk in disks():
        write(disk, b"o" * 512, sync=True, sync_folder=True)
        disk.fail_next("sync", OSError(5, "bad"))
        with pytest.raises(OSError):
            write(disk, b"n" * 512, sync=True)
        disk.open("a").sync()
        disk.restart(power_cut=True)
        found.add(disk.open("a").read(0, 600))
    assert b"o" * 512 in found


def test_a_snapshot_brings_back_what_was() -> None:
    disk = SimulatedDisk(random.Random(1))
    write(disk, b"then")
    image = disk.snapshot()
    write(disk, b"now!")
    disk.restore(image)
    assert disk.open("a").read(0, 9) == b"then"
    disk.wipe()
    assert disk.names() == []


def test_rot_flips_one_bit_that_no_sync_brings_back() -> None:
    disk = SimulatedDisk(random.Random(1))
    write(disk, bytes(100), sync=True, sync_folder=True)
    at = disk.flip_bit("a")
    content = disk.open("a").read(0, 100)
    assert content[at].bit_count() == 1
    assert content.count(0) == 99


def test_an_unplugged_disk_has_no_names_and_comes_back_whole() -> None:
    disk = SimulatedDisk(random.Random(1))
    write(disk, b"x")
    file = disk.open("a")
    disk.unplug()
    assert disk.names() == []
    with pytest.raises(OSError):
        file.read(0, 1)
    with pytest.raises(FileNotFoundError):
        disk.open("a")
    disk.plug()
    assert disk.open("a").read(0, 1) == b"x"


async def test_jobs_take_the_disks_time_and_wait_while_it_is_stuck(autojump_clock: trio.testing.MockClock) -> None:
    disk = SimulatedDisk(random.Random(1))
    disk.slowness = 1000
    workers = InlineWorkers(RealClock(), disk)
    started_s = trio.current_time()
    await workers.run(lambda: write(disk, b"x", sync=True))
    assert trio.current_time() - started_s == pytest.approx(3, abs=0.1)
    disk.stick()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(functools.partial(workers.run, disk.names))
        await trio.sleep(1000)
        disk.unstick()
    assert trio.current_time() - started_s >= 1000
