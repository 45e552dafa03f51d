"""What both twins of the disk seam promise: the real folder and the simulated one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from p2pstore.edges.disk import RealDisk
from p2pstore.errors import Busy, DatabaseDamaged
from p2pstore.seams.disk import Disk
from simulations.disk import SimulatedDisk


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    if request.param == "real":
        return RealDisk(tmp_path)
    return SimulatedDisk(random.Random(1))


def test_reads_back_what_was_written_from_several_buffers(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.write(3, [b"one", bytearray(b"two"), memoryview(b"three"), b""])
    assert file.read(0, 100) == b"\0\0\0onetwothree"
    assert file.size() == 14
    file.write(4, [b"NE"])
    assert file.read(3, 6) == b"oNEtwo"
    file.close()


@pytest.mark.parametrize("count", [1, 3, 2500])
def test_writes_many_and_large_buffers_whole(disk: Disk, count: int) -> None:
    rng = random.Random(count)
    buffers = [rng.randbytes(3_000_000 // count) for _ in range(count)]
    file = disk.open("a", create=True)
    file.write(0, buffers)
    file.sync()
    assert file.read(0, 4_000_000) == b"".join(buffers)
    file.close()


def test_a_read_beyond_the_end_is_short(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.write(0, [b"abc"])
    assert file.read(1, 10) == b"bc"
    assert file.read(3, 10) == b""
    assert file.read(30, 10) == b""
    file.close()


def test_truncate_cuts_and_what_is_written_after_a_gap_follows_zeros(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.write(0, [b"x" * 2000])
    file.truncate(1000)
    assert file.size() == 1000
    file.write(1500, [b"y"])
    assert file.read(990, 600) == b"x" * 10 + b"\0" * 500 + b"y"
    file.close()


def test_a_missing_file_is_not_found_and_a_missing_folder_is_not_made(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open("a")
    with pytest.raises(FileNotFoundError):
        disk.open("folder/a", create=True)
    with pytest.raises(FileNotFoundError):
        disk.open_database("folder/a")


def test_a_second_handle_sees_what_the_first_wrote(disk: Disk) -> None:
    first = disk.open("a", create=True)
    first.write(0, [b"abc"])
    second = disk.open("a")
    assert second.read(0, 3) == b"abc"
    first.close()
    second.close()


def test_a_closed_file_serves_no_more_and_closes_twice(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.close()
    file.close()
    with pytest.raises(OSError):
        file.read(0, 1)


def test_names_are_sorted_and_of_one_folder(disk: Disk) -> None:
    disk.make_folder("b/deep")
    disk.make_folder("b/deep")
    for name in ("c", "a", "b/y", "b/x"):
        disk.open(name, create=True).close()
    assert disk.names() == ["a", "b", "c"]
    assert disk.names("b") == ["deep", "x", "y"]
    assert disk.names("b/deep") == []
    assert disk.names("none") == []


def test_rename_replaces(disk: Disk) -> None:
    for name, text in (("a", b"A"), ("b", b"B")):
        file = disk.open(name, create=True)
        file.write(0, [text])
        file.close()
    disk.rename("a", "b")
    disk.sync_folder()
    assert disk.names() == ["b"]
    assert disk.open("b").read(0, 9) == b"A"
    with pytest.raises(FileNotFoundError):
        disk.rename("a", "c")


def test_a_removed_file_can_be_read_by_who_has_it_open(disk: Disk) -> None:
    file = disk.open("a", create=True)
    file.write(0, [b"abc"])
    disk.remove("a")
    disk.remove("a")
    disk.sync_folder()
    assert disk.names() == []
    assert file.read(0, 3) == b"abc"
    file.close()


def test_some_space_is_free(disk: Disk) -> None:
    assert disk.free_bytes() > 0


@pytest.mark.parametrize("rebuildable", [False, True])
def test_a_database_keeps_what_was_committed(disk: Disk, rebuildable: bool) -> None:
    database = disk.open_database("d.sqlite", rebuildable=rebuildable)
    database.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)")
    with database.transaction():
        database.execute_many("INSERT INTO t VALUES (?, ?)", [(1, b"one"), (2, None)])
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.execute("INSERT INTO t VALUES (3, 'three')")
        raise ZeroDivisionError
    database.execute("PRAGMA wal_checkpoint(FULL)")
    database.close()
    database = disk.open_database("d.sqlite", rebuildable=rebuildable)
    assert database.execute("SELECT * FROM t ORDER BY k") == [(1, b"one"), (2, None)]
    assert database.execute("SELECT v FROM t WHERE k = ?", (1,)) == [(b"one",)]
    database.close()


def test_a_database_is_open_once(disk: Disk) -> None:
    database = disk.open_database("d.sqlite")
    with pytest.raises(Busy):
        disk.open_database("d.sqlite")
    database.close()
    disk.open_database("d.sqlite").close()


def test_text_that_is_none_comes_out_of_a_database_as_it_is(disk: Disk) -> None:
    database = disk.open_database("rotten.db")
    database.execute("CREATE TABLE t(k INTEGER, v BLOB)")
    database.execute("INSERT INTO t VALUES(1, CAST(x'61ff62' AS TEXT)), (2, x'ff'), (3, 'text'), (4, NULL)")
    rows = database.execute("SELECT k, v FROM t WHERE k > ? ORDER BY k", (0,))
    assert rows == [(1, "a\udcffb"), (2, b"\xff"), (3, "text"), (4, None)]
    database.close()


def test_a_file_that_is_no_database_is_named_so(disk: Disk) -> None:
    file = disk.open("d.sqlite", create=True)
    file.write(0, [b"this is not a database" * 1000])
    file.close()
    with pytest.raises(DatabaseDamaged):
        disk.open_database("d.sqlite")


def test_a_damaged_page_is_named_so(disk: Disk) -> None:
    database = disk.open_database("d.sqlite")
    database.execute("CREATE TABLE t (v BLOB)")
    database.execute_many("INSERT INTO t VALUES (?)", [(bytes(500),)] * 200)
    database.close()
    file = disk.open("d.sqlite")
    file.write(4096, [b"\xff" * (file.size() - 4096)])
    file.close()
    database = disk.open_database("d.sqlite")
    with pytest.raises(DatabaseDamaged):
        database.execute("SELECT count(v) FROM t")
    database.close()
