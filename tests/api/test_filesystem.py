"""The fsspec file system: fsspec's own suite against a real machine, and what goes beyond it."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import entry_points

import fsspec
import pytest
from fsspec.tests.abstract import (
    AbstractCopyTests,
    AbstractFixtures,
    AbstractGetTests,
    AbstractOpenTests,
    AbstractPipeTests,
    AbstractPutTests,
)

from p2pstore.api.filesystem import StoreFileSystem
from p2pstore.cli.demo import Machine

pytestmark = pytest.mark.daemons


@pytest.fixture
def fs(machine: Machine) -> StoreFileSystem:
    return StoreFileSystem(str(machine.home), ack="here")


class StoreFixtures(AbstractFixtures):  # type: ignore[misc]
    """What fsspec's suite needs to know of this file system."""

    @pytest.fixture
    def fs(self, machine: Machine) -> StoreFileSystem:
        return StoreFileSystem(str(machine.home), ack="here")

    @pytest.fixture
    def fs_path(self, folder: str) -> str:
        return folder

    @pytest.fixture
    def fs_join(self) -> Callable[..., str]:
        return lambda *parts: "/".join(parts)


class TestCopy(StoreFixtures, AbstractCopyTests):  # type: ignore[misc]
    """fsspec's suite."""


class TestGet(StoreFixtures, AbstractGetTests):  # type: ignore[misc]
    """fsspec's suite."""


class TestPut(StoreFixtures, AbstractPutTests):  # type: ignore[misc]
    """fsspec's suite."""


class TestOpen(StoreFixtures, AbstractOpenTests):  # type: ignore[misc]
    """fsspec's suite."""


class TestPipe(StoreFixtures, AbstractPipeTests):  # type: ignore[misc]
    """fsspec's suite."""


def test_fsspec_finds_it_by_its_protocol(machine: Machine, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (point,) = entry_points(group="fsspec.specs", name="p2pstore")
    assert point.load() is StoreFileSystem
    assert fsspec.get_filesystem_class("p2pstore") is StoreFileSystem
    monkeypatch.setenv("P2PSTORE_HOME", str(machine.home))
    StoreFileSystem.clear_instance_cache()
    with fsspec.open(f"p2pstore://{folder}/x.csv", "w") as file:
        file.write("name,size\nnas,8\n")
    with fsspec.open(f"p2pstore://{folder}/x.csv") as file:
        assert file.read() == b"name,size\nnas,8\n"
    with fsspec.open(f"p2pstore://{folder}/x.json.gz", "wt", compression="infer") as file:
        json.dump({"a": 1}, file)
    with fsspec.open(f"p2pstore://{folder}/x.json.gz", "rt", compression="infer") as file:
        assert json.load(file) == {"a": 1}


@pytest.mark.parametrize("path", ["p2pstore:///a/b", "p2pstore://a/b/", "/a/b", "a/b", "a/b/"])
def test_a_path_is_written_in_several_ways(path: str) -> None:
    assert StoreFileSystem._strip_protocol(path) == "/a/b"


def test_listing_finding_and_globbing(fs: StoreFileSystem, folder: str) -> None:
    fs.pipe({f"{folder}/a.csv": b"1", f"{folder}/sub/b.csv": b"22", f"{folder}/sub/c.txt": b""})
    assert [(one["name"], one["type"], one["size"]) for one in fs.ls(folder)] == [
        (f"{folder}/a.csv", "file", 1), (f"{folder}/sub", "directory", 0),
    ]
    assert fs.glob(f"{folder}/**/*.csv") == [f"{folder}/a.csv", f"{folder}/sub/b.csv"]
    assert fs.find(folder) == [f"{folder}/a.csv", f"{folder}/sub/b.csv", f"{folder}/sub/c.txt"]
    assert fs.du(folder) == 3
    assert fs.ls(f"{folder}/a.csv", detail=False) == [f"{folder}/a.csv"]
    with pytest.raises(FileNotFoundError):
        fs.ls(f"{folder}/none")


def test_ranges_count_from_either_end(fs: StoreFileSystem, folder: str) -> None:
    path = f"{folder}/x"
    fs.pipe_file(path, bytes(range(100)))
    for start, end in [(None, None), (0, 10), (10, None), (-10, None), (None, -90), (-20, -10), (50, 40), (90, 200)]:
        assert fs.cat_file(path, start, end) == bytes(range(100))[start:end]
    assert fs.tail(path, 5) == bytes(range(95, 100))
    assert fs.cat_ranges([path, path], [0, 50], [2, 52]) == [b"\x00\x01", b"23"]


def test_a_change_shows_in_key_checksum_and_time(fs: StoreFileSystem, folder: str) -> None:
    fs.pipe_file(f"{folder}/x", b"1")
    key, checksum = fs.ukey(f"{folder}/x"), fs.checksum(f"{folder}/x")
    fs.pipe_file(f"{folder}/x", b"2")
    assert (fs.ukey(f"{folder}/x") != key, fs.checksum(f"{folder}/x") != checksum) == (True, True)
    assert abs((datetime.now(UTC) - fs.modified(f"{folder}/x")).total_seconds()) < 60


def test_moving_and_removing(fs: StoreFileSystem, folder: str) -> None:
    fs.pipe({f"{folder}/a": b"a", f"{folder}/d/b": b"b"})
    fs.mv(f"{folder}/a", f"{folder}/new/a2")
    fs.mv(f"{folder}/d", f"{folder}/new")
    assert fs.find(folder) == [f"{folder}/new/a2", f"{folder}/new/d/b"]
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(f"{folder}/new")
    fs.rm(f"{folder}/new", recursive=True)
    assert fs.ls(folder) == []


def test_a_transaction_is_all_or_nothing(fs: StoreFileSystem, folder: str) -> None:
    with fs.transaction:
        with fs.open(f"{folder}/a", "wb") as file:
            file.write(b"a" * 1_000_000)
        assert not fs.exists(f"{folder}/a")
    assert fs.cat(f"{folder}/a") == b"a" * 1_000_000
    with pytest.raises(ZeroDivisionError), fs.transaction:
        with fs.open(f"{folder}/b", "wb") as file:
            file.write(b"b")
        raise ZeroDivisionError
    assert not fs.exists(f"{folder}/b")


def test_it_travels_to_other_processes_and_knows_its_household(fs: StoreFileSystem, folder: str) -> None:
    fs.pipe_file(f"{folder}/x", b"1")
    StoreFileSystem.clear_instance_cache()
    again = pickle.loads(pickle.dumps(fs))
    assert again.cat_file(f"{folder}/x") == b"1"
    assert again.fsid == fs.fsid == f"p2pstore-{fs.store.status().network_id}"


def test_appending_is_refused_in_words(fs: StoreFileSystem, folder: str) -> None:
    with pytest.raises(ValueError, match="never changes"):
        fs.open(f"{folder}/x", "ab")
    with fs.open(f"{folder}/y", "w") as file:
        assert isinstance(file, io.TextIOWrapper)
