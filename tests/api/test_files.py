"""Open files: they behave as local ones do, read one version, and never leave half a file behind."""

from __future__ import annotations

import gc
import io
import os
import random
import time
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.api import Exists, IsAFolder, NotFound, Store
from p2pstore.cli.demo import Machine
from p2pstore.control.blocking import Client
from p2pstore.control.frames import Request

pytestmark = pytest.mark.daemons

LARGE = random.Random(1).randbytes(6_000_000)


@pytest.fixture(scope="module")
def large(machine: Machine) -> tuple[Store, str]:
    from p2pstore.api import connect

    store = connect(machine.home)
    store.write_bytes("/large", LARGE)
    return store, "/large"


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, len(LARGE) + 9), st.integers(0, 2_000_000)), max_size=6))
def test_seeks_and_reads_see_what_a_local_file_shows(large: tuple[Store, str], steps: list[tuple[int, int]]) -> None:
    store, path = large
    local = io.BytesIO(LARGE)
    with store.open(path, "rb") as file:
        for position, size in steps:
            assert file.seek(position) == local.seek(position)
            assert file.read(size) == local.read(size)
            assert file.read(7) == local.read(7)
            assert file.tell() == local.tell()


@pytest.mark.parametrize("size", [1, 4095, 70_001, 1 << 20, 5_000_000])
def test_reading_on_in_pieces_gives_every_byte_once(large: tuple[Store, str], size: int) -> None:
    store, path = large
    wanted = LARGE if size > 1 else LARGE[:3000]
    with store.open(path, "rb") as file:
        found = bytearray()
        while len(found) < len(wanted) and (piece := file.read(size)):
            found += piece
    assert found == wanted


def test_reading_on_takes_few_requests(large: tuple[Store, str], monkeypatch: pytest.MonkeyPatch) -> None:
    store, path = large
    asked: list[tuple[int, int]] = []
    ask = store._connections.ask

    def counting(op: str, args: dict[str, int], **options: object) -> object:
        if op == "read":
            asked.append((args["offset"], args["length"]))
        return ask(op, args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(store._connections, "ask", counting)
    with store.open(path, "rb") as file:
        while file.read(10_000):
            pass
    assert asked == [(0, 1 << 20), (1 << 20, 4 << 20), (5 << 20, len(LARGE) - (5 << 20))]
    asked.clear()
    with store.open(path, "rb") as file:
        assert len(file.read()) == len(LARGE)
    assert len(asked) == 1


def test_whole_file_seekers_such_as_zip_work_both_ways(store: Store, folder: str) -> None:
    with store.open(f"{folder}/x.zip", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a", LARGE[:1_500_000])
        archive.writestr("b", b"b")
    with store.open(f"{folder}/x.zip", "rb") as file, zipfile.ZipFile(file) as archive:
        assert archive.read("b") == b"b"
        assert archive.read("a") == LARGE[:1_500_000]


def test_an_open_file_is_the_version_that_was_opened(store: Store, folder: str) -> None:
    for size in (1000, 3_000_000):
        store.write_bytes(f"{folder}/x", LARGE[:size])
        with store.open(f"{folder}/x", "rb") as file:
            store.write_bytes(f"{folder}/x", b"another")
            store.remove(f"{folder}/x")
            assert file.read() == LARGE[:size]


def test_text_is_utf8_and_lines_are_lines(store: Store, folder: str) -> None:
    with store.open(f"{folder}/t", "w") as file:
        file.write("größe\n")
        print("two", file=file)
    assert store.read_bytes(f"{folder}/t") == "größe\ntwo\n".encode()
    with store.open(f"{folder}/t") as file:
        assert list(file) == ["größe\n", "two\n"]


def test_nothing_is_seen_before_it_is_closed_and_all_of_it_after(store: Store, folder: str) -> None:
    with store.open(f"{folder}/w", "wb") as file:
        for start in range(0, len(LARGE), 100_000):
            file.write(LARGE[start : start + 100_000])
        assert not store.exists(f"{folder}/w")
    assert store.read_bytes(f"{folder}/w") == LARGE
    assert file.stored is not None  # type: ignore[attr-defined]
    assert file.stored.bytes == len(LARGE)  # type: ignore[attr-defined]


@pytest.mark.parametrize("mode", ["w", "wb"])
@pytest.mark.parametrize("size", [10, 3_000_000])
def test_a_block_that_ends_with_an_exception_stores_nothing(store: Store, folder: str, mode: str, size: int) -> None:
    data = "x" * size if mode == "w" else b"x" * size
    with pytest.raises(ZeroDivisionError), store.open(f"{folder}/half", mode) as file:  # type: ignore[call-overload]
        file.write(data)
        raise ZeroDivisionError
    assert file.closed
    assert not store.exists(f"{folder}/half")


@pytest.mark.parametrize("mode", ["w", "wb"])
def test_a_file_that_is_dropped_unclosed_stores_nothing(store: Store, folder: str, mode: str) -> None:
    file = store.open(f"{folder}/half", mode)  # type: ignore[call-overload]
    file.write("x" * 10 if mode == "w" else b"x" * 10)
    del file
    gc.collect()
    assert not store.exists(f"{folder}/half")
    assert store.listdir(folder) == []


def test_opening_what_cannot_be_opened_fails_at_once(store: Store, folder: str) -> None:
    with pytest.raises(NotFound):
        store.open(f"{folder}/none", "rb")
    with pytest.raises(IsAFolder):
        store.open(folder, "rb")
    with pytest.raises(IsAFolder):
        store.open(folder, "wb")
    store.write_bytes(f"{folder}/there", b"")
    with pytest.raises(Exists):
        store.open(f"{folder}/there", "xb")
    with pytest.raises(ValueError, match="mode 'ab'"):
        store.open(f"{folder}/there", "ab")  # type: ignore[call-overload]


def test_closed_files_refuse_and_many_can_be_open_at_once(store: Store, folder: str) -> None:
    paths = [f"{folder}/{number}" for number in range(10)]
    writers = [store.open(path, "wb") for path in paths]
    for number, writer in enumerate(writers):
        writer.write(bytes([number]) * 300_000)
    for writer in writers:
        writer.close()
    readers = [store.open(path, "rb") for path in paths]
    assert [reader.read(1) for reader in readers] == [bytes([number]) for number in range(10)]
    for reader in readers:
        reader.close()
    with pytest.raises(ValueError, match="closed"):
        readers[0].read()
    with pytest.raises(ValueError, match="closed"):
        writers[0].write(b"")


def test_readers_that_stop_in_the_middle_hold_up_nobody(large: tuple[Store, str]) -> None:
    store, path = large
    readers = [store.open(path, "rb") for _ in range(20)]
    for reader in readers:
        reader.read(1 << 20)
        reader.read(1)  # begins a range of 4 MiB
    assert store.read_bytes(path) == LARGE
    assert [reader.read(3) for reader in readers] == [LARGE[(1 << 20) + 1 :][:3]] * 20
    for reader in readers:
        reader.close()


def test_a_client_that_asks_for_much_and_reads_nothing_holds_up_nobody(machine: Machine, store: Store) -> None:
    store.write_bytes("/huge", LARGE * 16)  # more than all reads together may hold
    stalled = [Client.connect(machine.home) for _ in range(3)]
    for client in stalled:
        client._send(Request(1, "cat", {"path": b"/huge", "offset": 0, "length": None}), None)
        client._next_message(10.0 + time.monotonic())
    started_s = time.monotonic()
    assert store.read_bytes("/huge", 90_000_000, 1000) == (LARGE * 16)[90_000_000:90_001_000]
    assert time.monotonic() - started_s < 10
    for client in stalled:
        client.close()
    store.remove("/huge")


def test_writers_that_stop_in_the_middle_hold_up_nobody(store: Store, folder: str) -> None:
    writers = [store.open(f"{folder}/{number}", "wb") for number in range(6)]
    for writer in writers:
        writer.write(LARGE[:2_000_000])
    store.write_bytes(f"{folder}/other", LARGE)
    assert store.read_bytes(f"{folder}/other") == LARGE
    for writer in writers:
        writer.close()
    assert store.stat(f"{folder}/5").size == 2_000_000


def test_an_empty_file_is_read_as_nothing(store: Store, folder: str) -> None:
    store.open(f"{folder}/empty", "wb").close()
    with store.open(f"{folder}/empty", "rb") as file:
        assert file.read() == b""
        assert file.seek(0, os.SEEK_END) == 0
