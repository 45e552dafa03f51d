"""History with real daemons: versions come back, nothing is lost, and every machine says the same."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from p2pstore.cli.demo import Machine, household
from tests.daemons.conftest import p2p

pytestmark = pytest.mark.daemons


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Machine]]:
    import shutil
    import tempfile

    path = Path(tempfile.mkdtemp(prefix="p2p-h-"))
    try:
        with household(path, "ABC") as machines:
            yield machines
    finally:
        shutil.rmtree(path, ignore_errors=True)


def store(machine: Machine, folder: Path, where: str, data: bytes) -> None:
    file = folder / "source"
    file.write_bytes(data)
    done = p2p(machine.home, "put", str(file), where)
    assert done.code == 0, done.err


def cat(machine: Machine, where: str) -> bytes:
    done = p2p(machine.home, "cat", where)
    assert done.code == 0, done.err
    return done.out


def settle(machine: Machine, where: str, count: int) -> list[dict[str, object]]:
    """The versions of a path on a machine, once it has heard of so many, and of who holds their bytes."""
    ends_s = time.monotonic() + 20
    while True:
        answer = p2p(machine.home, "history", where, "--json")
        if answer.code == 0 and answer.json["total"] == count:
            versions: list[dict[str, object]] = answer.json["versions"]
            if all(one["restorable"] for one in versions):
                return versions
        assert time.monotonic() < ends_s, answer
        time.sleep(0.1)


def test_an_old_version_is_read_restored_and_compared_on_another_machine(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    big = random.Random(1).randbytes(3_000_000)
    store(a, folder, "/report", big)
    store(b, folder, "/report", b"second\n")
    store(a, folder, "/report", b"third\n")
    versions = settle(b, "/report", 3)
    assert [one["number"] for one in versions] == [3, 2, 1]
    assert [one["change"] for one in versions] == ["edited", "edited", "created"]
    assert [one["machine"] for one in versions] == ["A", "B", "A"]
    assert [one["current"] for one in versions] == [True, False, False]
    assert cat(b, "/report@1") == big
    assert cat(b, "/report@2") == b"second\n"
    assert p2p(b.home, "get", "/report@1", str(folder)).code == 0
    assert (folder / "report").read_bytes() == big
    different = p2p(b.home, "diff", "/report@2", "--json")
    assert "content" in different.json["differs"]
    assert "-second" in different.json["lines"]
    assert "+third" in different.json["lines"]
    assert p2p(b.home, "restore", "/report@1").code == 0
    assert cat(b, "/report") == big
    assert [one["number"] for one in settle(a, "/report", 4)] == [4, 3, 2, 1]
    assert p2p(b.home, "restore", "/report@2", "--to", "/older").code == 0
    assert cat(b, "/older") == b"second\n"
    for wrong, code in (("/report@9", 4), ("/report@1999-01-01", 4), ("/report@nothing", 4), ("/nowhere@1", 4)):
        assert p2p(b.home, "cat", wrong).code == code, wrong


def test_what_was_removed_comes_back_where_it_was_and_elsewhere(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    assert p2p(a.home, "mkdir", "-p", "/album/sub").code == 0
    for name in ("1", "2", "sub/3"):
        store(a, folder, f"/album/{name}", name[-1:].encode())
    settle(b, "/album/sub/3", 1)
    assert p2p(b.home, "rm", "-r", "/album").code == 0
    listed = p2p(b.home, "trash", "ls", "--json").json
    assert [one["path"] for one in listed["entries"]][0] == "/album"
    assert listed["entries"][0]["with_contents"] is True
    assert p2p(b.home, "ls", "/album").code == 4
    back = p2p(b.home, "trash", "put-back", "/album", "--json")
    assert back.code == 0, back.err
    assert back.json["entries"] == 5
    assert cat(b, "/album/sub/3") == b"3"
    assert cat(b, "/album/1") == b"1"
    assert "/album" not in [one["path"] for one in p2p(b.home, "trash", "--json").json["entries"]]
    assert p2p(b.home, "rm", "/album/1").code == 0
    store(b, folder, "/album/1", b"new")
    taken = p2p(b.home, "trash", "put-back", "/album/1", "--json")
    assert (taken.code, taken.json["code"]) == (5, "exists")
    assert p2p(b.home, "trash", "put-back", "/album/1", "--to", "/album/1-old").code == 0
    assert cat(b, "/album/1-old") == b"1"
    assert cat(b, "/album/1") == b"new"
    assert p2p(b.home, "restore", "/album/1").code == 2, "it is there: which version?"
    assert p2p(b.home, "restore", "/never").code == 4


def test_a_snapshot_and_a_date_show_the_tree_as_it_was(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    assert p2p(a.home, "mkdir", "-p", "/year/spring").code == 0
    store(a, folder, "/year/spring/photo", b"blossom")
    store(a, folder, "/year/notes", b"draft")
    assert p2p(a.home, "snapshot", "create", "april").code == 0
    assert p2p(a.home, "snapshot", "create", "april").code == 5
    assert p2p(a.home, "snapshot", "create", "2026-04-01").code == 2
    store(a, folder, "/year/notes", b"final")
    assert p2p(a.home, "mv", "/year/spring", "/year/early").code == 0
    assert p2p(a.home, "rm", "-r", "/year/early").code == 0
    store(a, folder, "/year/late", b"late")
    settle(b, "/year/late", 1)
    [made] = p2p(b.home, "snapshot", "--json").json["snapshots"]
    assert (made["name"], made["machine"]) == ("april", "A")
    names = [one["name"] for one in p2p(b.home, "ls", "/year@april", "--json").json["entries"]]
    assert names == ["notes", "spring"]
    assert cat(b, "/year@april/spring/photo") == b"blossom"
    assert cat(b, "/year/notes@april") == b"draft"
    assert "year" in [one["name"] for one in p2p(b.home, "ls", "/@april", "--json").json["entries"]]
    assert p2p(b.home, "get", "-r", "/year@april", str(folder / "then")).code == 0
    assert sorted(os.listdir(folder / "then")) == ["notes", "spring"]
    assert (folder / "then" / "spring" / "photo").read_bytes() == b"blossom"
    today = datetime.now()
    yesterday = (today - timedelta(days=1)).strftime("%Y-%m-%d")
    assert p2p(b.home, "ls", f"/year@{yesterday}").code == 4
    assert cat(b, f"/year/notes@{(today + timedelta(days=1)).strftime('%Y-%m-%d')}") == b"final"
    restored = p2p(b.home, "restore", "/year@april", "--json")
    assert restored.code == 0, restored.err
    assert cat(b, "/year/notes") == b"draft"
    assert cat(b, "/year/spring/photo") == b"blossom"
    assert cat(b, "/year/late") == b"late"
    assert p2p(b.home, "snapshot", "rm", "april").code == 0
    assert p2p(b.home, "ls", "/year@april").code == 4


def test_a_name_with_an_at_sign_wins_over_a_version(three: list[Machine], folder: Path) -> None:
    a, _, _ = three
    store(a, folder, "/mail", b"v1")
    store(a, folder, "/mail", b"v2")
    store(a, folder, "/mail@1", b"a name of its own")
    assert cat(a, "/mail@1") == b"a name of its own"
    assert cat(a, "/mail@2") == b"v2"
    assert cat(a, "/mail@1@1") == b"a name of its own"
