"""History with real daemons: versions come back, nothing is lost, and every machine says the same."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from p2pstore.cli.demo import Machine, household
from tests.daemons.conftest import p2p

pytestmark = pytest.mark.daemons

T = TypeVar("T")


@pytest.fixture(scope="module")
def three() -> Iterator[list[Machine]]:
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
    assert listed["entries"][0]["path"] == "/album"
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
    today = datetime.now().astimezone()
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


def wait_for(ask: Callable[[], T], good: Callable[[T], bool]) -> T:
    """What `ask` says once it is good; gossip takes its time."""
    ends_s = time.monotonic() + 20
    while True:
        answer = ask()
        if good(answer):
            return answer
        assert time.monotonic() < ends_s, answer
        time.sleep(0.1)


def test_tags_and_searches_find_the_same_on_every_machine(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    assert p2p(a.home, "mkdir", "-p", "/scans/2024").code == 0
    for name in ("Passport-2019.pdf", "passport 2024.pdf", "invoice.txt", "Überweisung.txt"):
        store(a, folder, f"/scans/2024/{name}", name.encode())
    store(a, folder, "/scans/2024/film.mp4", random.Random(3).randbytes(200_000))
    assert p2p(a.home, "tag", "add", "/scans/2024/invoice.txt", "Tax").code == 0
    settle(b, "/scans/2024/film.mp4", 1)
    tags = wait_for(lambda: p2p(b.home, "tag", "ls", "--json").json["tags"], bool)
    assert tags == [{"word": "tax", "count": 1}]

    def found(*arguments: str) -> list[str]:
        done = p2p(b.home, "search", *arguments, "--json")
        assert done.code == 0, done.err
        return sorted(os.path.basename(one["path"]) for one in done.json["entries"])

    assert found("passport") == ["Passport-2019.pdf", "passport 2024.pdf"]
    assert found("PASS", "2024") == ["passport 2024.pdf"]
    assert found("*2019.pdf") == ["Passport-2019.pdf"]
    assert found("überw") == ["Überweisung.txt"]
    assert found("--tag", "tax") == ["invoice.txt"]
    assert found("--type", "video") == ["film.mp4"]
    assert found("--larger", "100K", "film") == ["film.mp4"]
    assert found("passport", "--smaller", "5") == []
    assert found("24", "--type", "folder") == ["2024"]
    today = datetime.now().astimezone().strftime("%Y-%m-%d")
    assert found("invoice", "--since", today) == ["invoice.txt"]
    assert found("invoice", "--until", "1999-12-31") == []
    assert found("invoice", "--deleted") == []
    wait_for(lambda: found("film", "--on-machine", "C"), lambda names: names == ["film.mp4"])
    assert p2p(b.home, "search", "x", "--on-machine", "nobody").code == 2
    assert p2p(b.home, "search").code == 2
    assert p2p(b.home, "mv", "/scans/2024/invoice.txt", "/scans/bill.txt").code == 0
    assert found("--tag", "tax") == ["bill.txt"]
    assert p2p(b.home, "tag", "rm", "/scans/bill.txt", "tax").code == 0
    assert found("--tag", "tax") == []
    assert p2p(b.home, "rm", "/scans/bill.txt").code == 0
    assert found("bill", "--deleted") == ["bill.txt"]


def test_a_conflict_is_listed_and_resolved_and_nothing_is_lost(three: list[Machine], folder: Path) -> None:
    a, b, c = three
    store(a, folder, "/plan", b"base")
    settle(b, "/plan", 1)
    settle(c, "/plan", 1)
    # two machines that do not hear each other for a moment, as a laptop on the road
    for machine in (a, b):
        machine.stop()
    c.stop()
    for machine, text in ((a, b"from A"), (b, b"from B")):
        machine.start()
        machine.wait_ready()
        file = folder / "source"
        file.write_bytes(text)
        assert p2p(machine.home, "put", "--ack", "here", str(file), "/plan").code == 0
        machine.stop()
    for machine in three:
        machine.start()
        machine.wait_ready()
    [conflict] = wait_for(lambda: p2p(a.home, "conflicts", "--json").json["conflicts"], bool)
    assert conflict["path"] == "/plan"
    assert {one["machine"] for one in conflict["versions"]} == {"A", "B"}
    _, copy = conflict["versions"]
    assert copy["conflict"] is True
    assert copy["name"].startswith("plan (conflict, ")
    assert p2p(a.home, "search", "plan", "--conflict", "--json").json["entries"][0]["path"] == "/plan"
    kept = cat(a, "/" + copy["name"])
    assert p2p(a.home, "resolve", "/" + copy["name"], "--keep", "this").code == 0
    assert cat(a, "/plan") == kept
    assert p2p(a.home, "conflicts", "--json").json["conflicts"] == []
    assert p2p(a.home, "resolve", "/plan", "--keep", "both").code == 2, "it is over"
    contents = {cat(a, f"/plan@{number}") for number in (1, 2, 3, 4)}
    assert contents == {b"base", b"from A", b"from B"}
    wait_for(lambda: p2p(b.home, "conflicts", "--json").json["conflicts"], lambda found: not found)


def test_the_log_says_who_did_what_and_that_nobody_changed_it(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    store(a, folder, "/logged", b"1")
    settle(b, "/logged", 1)
    assert p2p(b.home, "rm", "/logged").code == 0
    settle(a, "/logged", 2)
    commits = p2p(a.home, "log", "--json").json["commits"]
    deeds = [
        (commit["machine"], deed["change"])
        for commit in commits
        for deed in commit["deeds"]
        if {"path": "/logged"} in deed["paths"]
    ]
    assert deeds == [("B", "deleted"), ("A", "created")]
    only = p2p(a.home, "log", "--machine", "B", "--limit", "3", "--json").json["commits"]
    assert {commit["machine"] for commit in only} == {"B"}
    assert p2p(a.home, "log", "--since", "2099-01-01", "--json").json["commits"] == []

    def ends(machine: Machine) -> dict[str, str]:
        answer = p2p(machine.home, "log", "--verify", "--json")
        assert answer.code == 0, answer
        assert answer.json["sound"] is True
        return {one["life"]: one["end"] for one in answer.json["writers"]}

    wait_for(lambda: (ends(a), ends(b)), lambda both: both[0] == both[1])


def test_the_log_is_followed(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    store(b, folder, "/before", b"0")
    command = [sys.executable, "-P", "-m", "p2pstore.cli", "--home", str(b.home), "log", "-f", "-n", "1", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as following:
        assert following.stdout is not None
        give_up = threading.Timer(30, following.kill)
        give_up.start()
        try:
            assert json.loads(following.stdout.readline())["type"] == "commit"
            store(a, folder, "/followed", b"1")
            while b"/followed" not in (line := following.stdout.readline()):
                assert line
            assert json.loads(line)["machine"] == "A"
        finally:
            following.send_signal(signal.SIGINT)
            assert following.wait(10) == 130
            give_up.cancel()


def test_two_states_of_a_folder_are_compared(three: list[Machine], folder: Path) -> None:
    a, b, _ = three
    assert p2p(a.home, "mkdir", "-p", "/compared").code == 0
    for name in ("same", "edited", "gone"):
        store(a, folder, f"/compared/{name}", b"1")
    assert p2p(a.home, "snapshot", "create", "compared").code == 0
    store(a, folder, "/compared/edited", b"2")
    store(a, folder, "/compared/new", b"3")
    assert p2p(a.home, "rm", "/compared/gone").code == 0
    settle(b, "/compared/gone", 2)
    answer = p2p(b.home, "diff", "/compared@compared", "--json")
    assert answer.code == 0, answer.err
    assert {(one["change"], one["path"]) for one in answer.json["entries"]} == {
        ("changed", "/edited"), ("added", "/new"), ("removed", "/gone"),
    }  # fmt: skip
    assert "content" in answer.json["differs"]
