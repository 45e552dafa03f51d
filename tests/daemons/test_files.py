"""Any file goes in on one machine and comes out on another, byte for byte."""

from __future__ import annotations

import os
import random
import stat
import threading
import time
from pathlib import Path

import pytest

from p2pstore.cli.demo import Machine
from tests.daemons.conftest import p2p

pytestmark = pytest.mark.daemons

SIZES = [0, 1, 4095, 4096, 4097, 60_000, 65_536, 600_000, 3_000_000, 20_000_001]


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed + size).randbytes(size)


def test_files_of_every_size_come_back_with_mode_and_time(six: list[Machine], folder: Path) -> None:
    source = folder / "sizes"
    source.mkdir()
    for size in SIZES:
        path = source / f"{size}.bin"
        path.write_bytes(content(size))
        path.chmod(0o640 if size % 2 else 0o444)
        os.utime(path, ns=(1_600_000_000_123_456_789, 1_600_000_000_123_456_789 + size))
    put = p2p(six[0].home, "put", "-r", str(source), "/", "--json")
    assert put.code == 0, put.err
    assert put.json["state"] == "safe"
    assert put.json["files"] == len(SIZES)
    get = p2p(six[3].home, "get", "-r", "/sizes", str(folder / "back"), "--json")
    assert get.code == 0, get.err
    for size in SIZES:
        path = folder / "back" / f"{size}.bin"
        assert path.read_bytes() == content(size)
        assert stat.S_IMODE(path.stat().st_mode) == (0o640 if size % 2 else 0o444)
        assert path.stat().st_mtime_ns == 1_600_000_000_123_456_789 + size


def test_names_that_are_not_text_or_very_long_or_hold_newlines_survive(six: list[Machine], folder: Path) -> None:
    source = os.fsencode(folder / "names")
    os.mkdir(source)
    names = [
        b"with space",
        b"new\nline",
        "emoji \U0001f980".encode(),
        b"not utf-8 \xff\xfe",
        b"n" * 255,
        b"-dash",
        b"quote'\"\\",
        b"...",
        b"tab\tand\x1b[31mescape",
    ]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.path.join(source, name))).write_bytes(b"%d" % number)
    os.symlink(b"with space", os.path.join(source, b"link"))
    os.symlink(b"/nowhere/\xff", os.path.join(source, b"dangling"))
    os.makedirs(os.path.join(source, *[b"deep"] * 60))
    assert p2p(six[1].home, "put", "-r", source, "/").code == 0
    assert p2p(six[4].home, "get", "-r", "/names", str(folder / "back")).code == 0
    back = os.fsencode(folder / "back")
    for number, name in enumerate(names):
        assert Path(os.fsdecode(os.path.join(back, name))).read_bytes() == b"%d" % number
    assert os.readlink(os.path.join(back, b"link")) == b"with space"
    assert os.readlink(os.path.join(back, b"dangling")) == b"/nowhere/\xff"
    assert os.path.isdir(os.path.join(back, *[b"deep"] * 60))
    listing = p2p(six[2].home, "ls", "/names")
    assert b"\x1b" not in listing.out, "a name must not talk to the terminal"


def test_thousands_of_small_files(six: list[Machine], folder: Path) -> None:
    source = folder / "many"
    source.mkdir()
    for number in range(2000):
        (source / f"{number:04}").write_bytes(content(number % 700, seed=number))
    put = p2p(six[0].home, "put", "-r", str(source), "/", "--json")
    assert put.code == 0, put.err
    assert put.json["files"] == 2000
    assert p2p(six[5].home, "get", "-r", "/many", str(folder / "back")).code == 0
    for number in range(2000):
        assert (folder / "back" / f"{number:04}").read_bytes() == content(number % 700, seed=number)


def test_where_things_land_follows_cp(six: list[Machine], folder: Path) -> None:
    home = six[0].home
    (folder / "tree").mkdir()
    (folder / "tree" / "leaf").write_text("leaf")
    (folder / "one").write_text("one")
    (folder / "two").write_text("two")
    assert p2p(home, "mkdir", "/cp").code == 0
    assert p2p(home, "put", str(folder / "one"), "/cp").code == 0
    assert p2p(home, "put", str(folder / "one"), "/cp/renamed").code == 0
    assert p2p(home, "put", str(folder / "one"), str(folder / "two"), "/cp/").code == 0
    assert p2p(home, "put", "-r", str(folder / "tree"), "/cp").code == 0
    assert p2p(home, "put", "-r", str(folder / "tree"), "/cp/other").code == 0
    assert p2p(home, "put", "-r", str(folder / "tree") + "/.", "/cp").code == 0
    names = p2p(home, "tree", "/cp", "--plain").out.decode().splitlines()
    assert sorted(names) == [
        "/cp/leaf",
        "/cp/one",
        "/cp/other/",
        "/cp/other/leaf",
        "/cp/renamed",
        "/cp/tree/",
        "/cp/tree/leaf",
        "/cp/two",
    ]
    assert p2p(home, "put", str(folder / "tree"), "/cp/x").code != 0, "a folder needs -r"
    assert p2p(home, "put", str(folder / "one"), str(folder / "two"), "/cp/one").code == 2
    assert p2p(home, "put", str(folder / "one"), "/missing/folder/x").code == 4
    assert p2p(home, "get", "/cp/one", str(folder / "fetched")).code == 0
    assert (folder / "fetched").read_text() == "one"
    assert p2p(home, "get", "/cp/one", "/cp/two", str(folder / "tree")).code == 0
    assert (folder / "tree" / "two").read_text() == "two"


def test_standard_input_and_output_and_ranges(six: list[Machine], folder: Path) -> None:
    data = content(9_000_000)
    put = p2p(six[2].home, "put", "-", "/streamed.bin", "--json", stdin=data)
    assert put.code == 0, put.err
    assert p2p(six[0].home, "cat", "/streamed.bin").out == data
    assert p2p(six[0].home, "cat", "/streamed.bin", "--range", "5000000-5000099").out == data[5_000_000:5_000_100]
    assert p2p(six[1].home, "cat", "/streamed.bin", "--range", "8999990+100").out == data[8_999_990:]
    assert p2p(six[1].home, "get", "/streamed.bin", "-").out == data


def test_moving_renaming_and_removing(six: list[Machine], folder: Path) -> None:
    home = six[0].home
    (folder / "f").write_bytes(content(50_000))
    assert p2p(home, "mkdir", "-p", "/mv/a/b").code == 0
    assert p2p(home, "mkdir", "/mv/a").code == 5
    assert p2p(home, "put", str(folder / "f"), "/mv/a/f").code == 0
    assert p2p(home, "mv", "/mv/a/f", "/mv/g").code == 0
    assert p2p(home, "mv", "/mv/g", "/mv/a/b").code == 0
    assert p2p(home, "mv", "/mv/a", "/mv/a/b").code != 0, "a folder does not go into itself"
    assert p2p(home, "cat", "/mv/a/b/g").out == content(50_000)
    assert p2p(home, "rm", "/mv/a").code != 0, "a folder needs -r"
    assert p2p(home, "rm", "-r", "/mv/a").code == 0
    assert p2p(home, "ls", "/mv", "--json").json["entries"] == []
    assert p2p(home, "cat", "/mv/a/b/g").code == 4


def test_a_file_is_replaced_and_the_others_see_the_new_one(six: list[Machine], folder: Path) -> None:
    for round_ in range(3):
        (folder / "f").write_bytes(content(5_000 + round_ * 1_000_000))
        assert p2p(six[round_].home, "put", str(folder / "f"), "/replaced").code == 0
        assert p2p(six[5 - round_].home, "cat", "/replaced").out == content(5_000 + round_ * 1_000_000)


def test_the_same_bytes_are_not_sent_again(six: list[Machine], folder: Path) -> None:
    (folder / "f").write_bytes(content(6_000_000, seed=77))
    assert p2p(six[0].home, "put", str(folder / "f"), "/first").code == 0
    before = sum(m.ask("status")["store"]["used"] for m in six)
    assert p2p(six[0].home, "put", str(folder / "f"), "/second").code == 0
    after = sum(m.ask("status")["store"]["used"] for m in six)
    assert after - before < 100_000
    assert p2p(six[3].home, "cat", "/second").out == content(6_000_000, seed=77)


def test_what_cannot_be_stored_is_named_and_the_rest_is(six: list[Machine], folder: Path) -> None:
    source = folder / "mixed"
    source.mkdir()
    (source / "good").write_text("good")
    os.mkfifo(source / "pipe")
    put = p2p(six[0].home, "put", "-r", str(source), "/", "--json")
    assert put.code == 3
    assert [one["path"].rpartition("/")[2] for one in put.json["failed"]] == ["pipe"]
    assert p2p(six[1].home, "cat", "/mixed/good").out == b"good"
    assert p2p(six[0].home, "put", str(folder / "absent"), "/").code == 4
    assert p2p(six[0].home, "get", "/absent", str(folder)).code == 4


def test_a_failed_get_leaves_nothing_behind(six: list[Machine], folder: Path) -> None:
    (folder / "f").write_bytes(b"keep me")
    assert p2p(six[0].home, "get", "/absent", str(folder / "f")).code == 4
    assert (folder / "f").read_bytes() == b"keep me"
    assert sorted(path.name for path in folder.iterdir()) == ["f"]


def test_a_file_that_does_not_hold_still_is_refused_with_a_reason(six: list[Machine], folder: Path) -> None:
    path = folder / "log"
    path.write_bytes(content(40_000_000))
    stop = threading.Event()

    def scribble() -> None:
        with path.open("ab") as file:
            while not stop.is_set():
                file.write(b"one more line\n")
                file.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        put = p2p(six[0].home, "put", str(path), "/log", "--json")
    finally:
        stop.set()
        writer.join()
    assert put.code == 3
    assert "changed" in put.json["failed"][0]["what"] + put.json["failed"][0]["why"]
    assert p2p(six[0].home, "cat", "/log").code == 4
    assert p2p(six[0].home, "put", str(path), "/log").code == 0
    assert p2p(six[1].home, "cat", "/log").out == path.read_bytes()


def test_a_sparse_file_comes_back_sparse(six: list[Machine], folder: Path) -> None:
    path = folder / "sparse"
    with path.open("wb") as file:
        file.seek(60_000_000)
        file.write(b"end")
    assert p2p(six[0].home, "put", str(path), "/sparse").code == 0
    assert p2p(six[1].home, "get", "/sparse", str(folder / "back")).code == 0
    assert (folder / "back").read_bytes() == path.read_bytes()
    assert (folder / "back").stat().st_blocks * 512 < 2_000_000
