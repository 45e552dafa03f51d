"""Machines die, freeze, are wiped and return; what was acknowledged stays."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from p2pstore.cli.demo import Machine, household
from p2pstore.control.listening import remove_left_socket
from tests.cli.schema import load, problems
from tests.daemons.conftest import p2p

pytestmark = pytest.mark.daemons

P2PSTORE = [sys.executable, "-P", "-m", "p2pstore.cli"]


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed + size).randbytes(size)


def start(machine: Machine) -> None:
    machine.start()
    machine.wait_ready()


def wait_linked(asker: Machine, count: int) -> None:
    for _ in range(300):
        peers = asker.ask("peers")["peers"]
        if sum(peer["state"] != "away" for peer in peers) >= count:
            return
        time.sleep(0.1)
    raise AssertionError(f"{asker.name} hears {peers}")


def test_a_lone_machine_stores_says_thin_and_spreads_when_others_come(folder: Path) -> None:
    from p2pstore.daemon.setup import create_household, join_household

    alone = Machine("alone", folder / "alone")
    second = Machine("second", folder / "second")
    create_household(
        alone.home, household="h", name="alone", site="home", size_bytes=2**33, steadiness="always-on"
    )
    try:
        start(alone)
        (folder / "f").write_bytes(content(3_000_000))
        put = p2p(alone.home, "put", str(folder / "f"), "/f", "--json")
        assert put.code == 6
        assert put.json["state"] == "thin"
        assert p2p(alone.home, "cat", "/f").out == content(3_000_000)
        assert p2p(alone.home, "safe").code == 21
        code = p2p(alone.home, "invite", "--no-wait", "--json").json["code"]
        host, _, port = alone.ask("status")["address"].rpartition(":")
        join_household(
            second.home,
            code=code,
            at=(host, int(port)),
            name="second",
            site="home",
            size_bytes=2**33,
            steadiness="desktop",
            timeout_s=30,
        )
        start(second)
        for _ in range(300):
            if alone.ask("status")["owed"] == 0:
                break
            time.sleep(0.1)
        for _ in range(100):
            if p2p(alone.home, "safe").code == 0:
                break
        assert p2p(alone.home, "safe").code == 0
        alone.kill()
        assert p2p(second.home, "cat", "/f").out == content(3_000_000)
    finally:
        for machine in (alone, second):
            machine.kill()
            remove_left_socket(machine.home)


def test_the_uploaders_machine_burns_right_after_safe(folder: Path) -> None:
    with household(folder, "ABCDEF") as machines:
        (folder / "small").write_bytes(b"inline")
        (folder / "large").write_bytes(content(5_000_000))
        put = p2p(machines[2].home, "put", str(folder / "small"), str(folder / "large"), "/", "--json")
        assert put.code == 0, put.out
        machines[2].kill()
        shutil.rmtree(machines[2].home)
        machines[4].kill()
        for reader in (machines[0], machines[5]):
            assert p2p(reader.home, "cat", "/small").out == b"inline"
            assert p2p(reader.home, "cat", "/large").out == content(5_000_000)


def test_a_daemon_killed_in_the_middle_of_its_own_upload_leaves_no_entry_and_goes_on_from_there(folder: Path) -> None:
    with household(folder, "ABC") as machines:
        (folder / "big").write_bytes(content(120_000_000))
        uploader = machines[0]
        client = subprocess.Popen(
            [*P2PSTORE, "--home", str(uploader.home), "put", str(folder / "big"), "/"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            transfers = uploader.ask("status")["transfers"]
            if transfers and transfers[0]["bytes_safe"] > 30_000_000:
                break
            time.sleep(0.02)
        uploader.kill()
        client.wait(30)
        assert p2p(machines[1].home, "ls", "/", "--json").json["entries"] == []
        time.sleep(3.0)  # the others tell each other what they hold
        start(uploader)
        wait_linked(uploader, 3)
        assert p2p(uploader.home, "ls", "/", "--json").json["entries"] == []
        time.sleep(3.0)
        before = sum(machine.ask("status")["store"]["used"] for machine in machines)
        assert before > 20_000_000
        assert p2p(uploader.home, "put", str(folder / "big"), "/", "--json").code == 0
        after = sum(machine.ask("status")["store"]["used"] for machine in machines)
        assert after < 120_000_000 * 1.5 * 1.15, "what was placed before is not placed again"
        assert p2p(machines[2].home, "cat", "/big").out == content(120_000_000)


def test_ctrl_c_leaves_no_entry(folder: Path) -> None:
    with household(folder, "ABC") as machines:
        (folder / "big").write_bytes(content(150_000_000))
        client = subprocess.Popen(
            [*P2PSTORE, "--home", str(machines[0].home), "put", str(folder / "big"), "/"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(600):
            transfers = machines[0].ask("status")["transfers"]
            if transfers and transfers[0]["bytes_sent"]:
                break
            time.sleep(0.01)
        client.send_signal(signal.SIGINT)
        assert client.wait(30) == 130
        assert machines[0].ask("status")["transfers"] == []
        assert p2p(machines[0].home, "ls", "/", "--json").json["entries"] == []


def test_a_frozen_machine_does_not_hold_up_a_put(folder: Path) -> None:
    with household(folder, "ABCDEF") as machines:
        frozen = machines[3].process
        assert frozen is not None
        (folder / "f").write_bytes(content(4_000_000))
        frozen.send_signal(signal.SIGSTOP)
        try:
            started = time.monotonic()
            put = p2p(machines[0].home, "put", str(folder / "f"), "/f", "--json")
            assert put.code == 0, put.out
            assert put.json["state"] == "safe"
            assert time.monotonic() - started < 15, "nobody waits for a request's full deadline"
            assert p2p(machines[1].home, "cat", "/f").out == content(4_000_000)
        finally:
            frozen.send_signal(signal.SIGCONT)


def test_everything_is_there_after_all_machines_restart(folder: Path) -> None:
    with household(folder, "ABC") as machines:
        (folder / "f").write_bytes(content(2_000_000))
        assert p2p(machines[0].home, "put", str(folder / "f"), "/f").code == 0
        addresses = [machine.ask("status")["address"] for machine in machines]
        for machine in machines:
            machine.kill()
        for machine in machines:
            start(machine)
        assert [machine.ask("status")["address"] for machine in machines] == addresses
        wait_linked(machines[1], 3)
        assert p2p(machines[1].home, "cat", "/f").out == content(2_000_000)


def test_here_is_durable_with_nobody_else_there_and_spreads_later(folder: Path) -> None:
    with household(folder, "ABC") as machines:
        first, *others = machines
        for machine in others:
            machine.kill()
        (folder / "f").write_bytes(content(2_500_000))
        assert p2p(first.home, "put", "--ack", "here", str(folder / "f"), "/f", "--json").code == 0
        first.kill()
        for machine in machines:
            start(machine)
        wait_linked(first, 3)
        for _ in range(300):
            if first.ask("status")["owed"] == 0:
                break
            time.sleep(0.1)
        assert first.ask("status")["owed"] == 0
        for _ in range(50):
            if p2p(others[0].home, "ls", "/", "--json").json["entries"]:
                break
        first.kill()
        assert p2p(others[0].home, "cat", "/f").out == content(2_500_000)


def test_up_and_down_by_hand(folder: Path) -> None:
    home = folder / "home"
    kit = folder / "kit"
    init = p2p(home, "init", "--name", "nas", "--site", "home", "--size", "1G", "--kit-file", str(kit), "--json")
    assert init.code == 0, init.err
    assert kit.stat().st_mode & 0o777 == 0o600
    assert p2p(home, "status").code == 69
    up = p2p(home, "up", "--listen", "127.0.0.1", "--json")
    assert up.code == 0, up.err
    try:
        again = p2p(home, "up", "--json")
        assert again.json["pid"] == up.json["pid"]
        assert again.json["already_running"] is True
        assert up.json["address"].startswith("127.0.0.1:")
        second = p2p(home, "init", "--name", "x", "--site", "y", "--size", "1G", "--kit-file", str(folder / "k2"))
        assert second.code == 5
    finally:
        down = p2p(home, "down", "--json")
    assert down.code == 0, down.err
    assert down.json["clean"] is True
    assert p2p(home, "down").code == 0
    status = Path(f"/proc/{up.json['pid']}/status")
    assert not status.exists() or "State:\tZ" in status.read_text(), "at most its init has not noticed yet"
    assert p2p(folder, "status").code == 10


def test_the_demo_ends_well_and_leaves_nothing(folder: Path) -> None:
    source = folder / "files"
    source.mkdir()
    for number in range(12):
        (source / f"{number}.bin").write_bytes(content(1_500_000, seed=number))
    env = {"TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()
    demo = p2p(folder, "demo", str(source), "--json", env=env)
    assert demo.code == 0, demo.err
    assert demo.json["files"] == 12
    assert problems(demo.json, load("demo")) == []
    assert os.listdir(folder / "tmp") == []


def test_the_demo_names_what_cannot_be_read_when_more_fails_than_was_promised(folder: Path) -> None:
    source = folder / "files"
    source.mkdir()
    for number in range(12):
        (source / f"{number}.bin").write_bytes(content(1_500_000, seed=number))
    demo = p2p(folder, "demo", str(source), "--kill", "3", "--json", env={"TMPDIR": str(folder)})
    assert demo.code == 7, demo.err
    assert problems(demo.json, load("demo")) == []
    assert demo.json["unreadable"]
    assert demo.json["files"] + len(demo.json["unreadable"]) == 12
