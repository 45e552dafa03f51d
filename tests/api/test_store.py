"""The blocking store against a real daemon: what is written is read, and names behave as the docstrings say."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from p2pstore.api import (
    Entry,
    Exists,
    IsAFolder,
    NotAFolder,
    NotFound,
    PartlyDone,
    Progress,
    Store,
    StoreError,
    connect,
)
from p2pstore.api.errors import BadPath

pytestmark = pytest.mark.daemons

LARGE = os.urandom(3_000_000)


def test_bytes_that_were_written_are_read_whole_and_in_part(store: Store, folder: str) -> None:
    stored = store.write_bytes(f"{folder}/x", LARGE)
    assert (stored.files, stored.bytes, stored.failed) == (1, len(LARGE), ())
    assert store.read_bytes(f"{folder}/x") == LARGE
    assert store.read_bytes(f"{folder}/x", 2_000_000, 5) == LARGE[2_000_000:2_000_005]
    assert store.read_bytes(f"{folder}/x", len(LARGE) + 1) == b""


def test_writing_makes_missing_folders_and_says_that_one_machine_is_thin(store: Store, folder: str) -> None:
    stored = store.write_bytes(f"{folder}/a/b/c", b"")
    assert (stored.level, stored.state, stored.below_level) == ("here", "thin", 1)
    assert store.read_bytes(f"{folder}/a/b/c") == b""
    assert store.write_bytes(f"{folder}/d", b"1", ack="here").below_level == 0


def test_what_exists_is_overwritten_only_when_asked(store: Store, folder: str) -> None:
    store.write_bytes(f"{folder}/x", b"one")
    store.write_bytes(f"{folder}/y", b"y")
    with pytest.raises(Exists):
        store.write_bytes(f"{folder}/x", b"two", exclusive=True)
    with pytest.raises(FileExistsError):
        store.copy(f"{folder}/y", f"{folder}/x")
    with pytest.raises(Exists):
        store.rename(f"{folder}/y", f"{folder}/x")
    assert store.read_bytes(f"{folder}/x") == b"one"
    store.rename(f"{folder}/y", f"{folder}/x", replace=True)
    assert (store.read_bytes(f"{folder}/x"), store.listdir(folder)) == (b"y", ["x"])


def test_of_many_who_create_one_name_exactly_one_does(store: Store, folder: str) -> None:
    outcomes: list[str] = []

    def create(number: int) -> None:
        try:
            store.write_bytes(f"{folder}/lock", str(number).encode(), exclusive=True, ack="here")
            outcomes.append(str(number))
        except Exists:
            pass

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.read_bytes(f"{folder}/lock").decode()] == outcomes


def test_rename_is_exact_and_copy_costs_no_bytes(store: Store, folder: str) -> None:
    store.write_bytes(f"{folder}/a", LARGE)
    store.mkdir(f"{folder}/d")
    used = store.status().usage.used
    store.copy(f"{folder}/a", f"{folder}/d/copy")
    with pytest.raises(Exists):
        store.rename(f"{folder}/a", f"{folder}/d")
    store.rename(f"{folder}/d", f"{folder}/e")
    assert (store.read_bytes(f"{folder}/e/copy"), store.exists(f"{folder}/d")) == (LARGE, False)
    assert store.status().usage.used == used
    with pytest.raises(IsAFolder):
        store.copy(f"{folder}/e", f"{folder}/f")


def test_folders_list_stat_and_walk(store: Store, folder: str) -> None:
    store.mkdir(f"{folder}/p/q", parents=True)
    store.write_bytes(f"{folder}/p/.hidden", b"123")
    store.write_bytes(f"{folder}/p/q/z", b"z")
    assert store.listdir(f"{folder}/p") == [".hidden", "q"]
    entry = store.stat(f"{folder}/p/.hidden")
    assert (entry.path, entry.name, entry.kind, entry.size) == (f"{folder}/p/.hidden", ".hidden", "file", 3)
    assert entry.version != store.stat(f"{folder}/p/q/z").version
    assert [one.is_folder for one in store.scandir(f"p2p:{folder}/p")] == [False, True]
    assert list(store.walk(folder)) == [
        (folder, ["p"], []),
        (f"{folder}/p", ["q"], [".hidden"]),
        (f"{folder}/p/q", [], ["z"]),
    ]
    root = store.stat("/")
    assert (root.path, root.name, root.is_folder) == ("/", "", True)
    assert [store.is_file(f"{folder}/p"), store.is_folder(f"{folder}/p"), store.exists("/none")] == [False, True, False]


def test_making_folders_again(store: Store, folder: str) -> None:
    store.mkdir(folder, exist_ok=True)
    store.mkdir(folder, parents=True, exist_ok=True)
    for parents in (False, True):
        with pytest.raises(Exists):
            store.mkdir(folder, parents=parents)
    with pytest.raises(NotFound):
        store.mkdir(f"{folder}/a/b")
    store.write_bytes(f"{folder}/file", b"")
    with pytest.raises(NotAFolder):
        store.mkdir(f"{folder}/file/b")
    with pytest.raises(Exists):
        store.mkdir(f"{folder}/file", exist_ok=True)


def test_removing(store: Store, folder: str) -> None:
    store.write_bytes(f"{folder}/a/b", b"")
    with pytest.raises(IsADirectoryError):
        store.remove(f"{folder}/a")
    store.remove(f"{folder}/a/b")
    store.remove(f"{folder}/a", recursive=True)
    assert store.listdir(folder) == []
    with pytest.raises(FileNotFoundError):
        store.remove(f"{folder}/a")


def test_names_of_any_bytes_go_both_ways(store: Store, folder: str) -> None:
    odd = folder.encode() + b"/caf\xe9\n\\x"
    store.write_bytes(odd, b"odd")
    (name,) = store.listdir(folder)
    assert os.fsencode(name) == b"caf\xe9\n\\x"
    assert store.read_bytes(f"{folder}/{name}") == store.read_bytes(odd) == b"odd"


@pytest.mark.parametrize("path", ["x", "", "/a/../b", "/a\0b", "p2p:x/.."])
def test_what_is_no_path_is_refused_here(store: Store, path: str) -> None:
    with pytest.raises(BadPath) as caught:
        store.stat(path)
    assert caught.value.code == "bad-path"
    assert isinstance(caught.value, ValueError)


def test_local_files_and_folders_go_in_and_come_out_with_progress(store: Store, folder: str, tmp_path: Path) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "large").write_bytes(LARGE)
    (tmp_path / "in" / "sub" / "small").write_bytes(b"small")
    heard: list[Progress] = []
    stored = store.put(tmp_path / "in", folder, on_progress=heard.append)
    assert (stored.files, stored.bytes) == (2, len(LARGE) + 5)
    assert (heard[-1].phase, heard[-1].bytes_safe) == ("done", len(LARGE) + 5)
    fetched = store.get(f"{folder}/in", tmp_path / "out", on_progress=heard.append)
    assert fetched.files == 2
    assert (tmp_path / "out" / "large").read_bytes() == LARGE
    assert (tmp_path / "out" / "sub" / "small").read_bytes() == b"small"
    store.put([tmp_path / "in" / "large", str(tmp_path / "in" / "sub" / "small")], f"{folder}/")
    assert store.listdir(folder) == ["in", "large", "small"]


def test_what_fails_in_part_raises_with_the_rest_done(store: Store, folder: str, tmp_path: Path) -> None:
    (tmp_path / "good").write_bytes(b"good")
    with pytest.raises(PartlyDone) as caught:
        store.put([tmp_path / "good", tmp_path / "missing"], folder)
    assert (caught.value.result.files, caught.value.result.failed[0].code) == (1, "not-found")
    assert store.listdir(folder) == ["good"]
    with pytest.raises(NotFound):
        store.put(tmp_path / "missing", folder)
    with pytest.raises(NotFound):
        store.get(f"{folder}/missing", tmp_path)


def test_how_things_stand(store: Store, folder: str) -> None:
    store.write_bytes(f"{folder}/x", LARGE)
    status = store.status()
    assert (status.name, status.peers[0].state, status.verdict.state) == ("A", "self", store.safe().state)
    assert not store.safe().is_safe
    assert [peer.name for peer in store.peers() if peer.answers] == ["A"]
    where = store.where(f"{folder}/x")
    assert sum(chunk.length for chunk in where.chunks) == len(LARGE)
    assert {shard.peer for chunk in where.chunks for shard in chunk.shards} == {"A"}


def test_an_error_says_what_why_and_what_to_type(store: Store) -> None:
    with pytest.raises(StoreError) as caught:
        store.read_bytes("/nothing/here")
    error = caught.value
    assert (error.code, error.fix) == ("not-found", ("p2pstore ls '/nothing'",))
    assert str(error) == "there is nothing at '/nothing/here'; type: p2pstore ls '/nothing'"
    assert isinstance(error, FileNotFoundError)


def test_without_a_household_connecting_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("P2PSTORE_HOME", str(tmp_path))
    with pytest.raises(ConnectionError) as caught:
        connect()
    assert isinstance(caught.value, StoreError)
    assert caught.value.code == "no-household"


def test_a_connection_that_the_daemon_closed_is_not_used_again(store: Store, folder: str) -> None:
    store.listdir(folder)
    for client in store._connections._idle:
        client._socket.shutdown(2)
    assert store.listdir(folder) == []


def test_a_listing_that_is_not_read_to_its_end_holds_up_nothing(store: Store, folder: str) -> None:
    for number in range(3):
        store.write_bytes(f"{folder}/{number}", b"", ack="here")
    entries = store.scandir(folder)
    first = next(entries)
    assert isinstance(first, Entry)
    assert store.read_bytes(first.path) == b""
    del entries
    assert len(store.listdir(folder)) == 3
