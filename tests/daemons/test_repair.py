"""Machines are lost, bits flip, laptops sleep: stripes return to their promise by themselves, or are left in peace."""

from __future__ import annotations

import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from p2pstore.cli.demo import Machine, household
from p2pstore.daemon.setup import decode_roster, encode_roster
from p2pstore.keys.keyfile import KeyFile
from p2pstore.metadata.roster_changes import remove
from tests.daemons.conftest import p2p

pytestmark = pytest.mark.daemons


def start(machine: Machine) -> None:
    machine.start()
    machine.wait_ready()


def wait_until(true: Callable[[], object], what: str, *, timeout_s: float = 20.0) -> None:
    """Poll daemons, which are other processes; ends."""
    deadline_s = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline_s, f"waited {timeout_s:g} s: {what}"
        time.sleep(0.1)


def hears(machine: Machine, count: int) -> bool:
    return sum(peer["state"] != "away" for peer in machine.ask("peers")["peers"]) >= count


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed + size).randbytes(size)


def put(machine: Machine, folder: Path, size: int) -> None:
    (folder / "f").write_bytes(content(size))
    done = p2p(machine.home, "put", str(folder / "f"), "/f", "--json")
    assert done.code == 0, done.out
    wait_until(lambda: machine.ask("safe")["state"] == "safe", "the others' inventories have come")


def where(machine: Machine, path: bytes = b"/f") -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = machine.ask("where", {"path": path})["chunks"]
    return chunks


def survives(chunk: dict[str, Any], members: set[str]) -> int:
    """How many of `members` may fail, whichever they are: every set is tried, on what `where` lists."""
    held = [(shard["peer"], shard["index"]) for shard in chunk["shards"] if shard["peer"] in members]
    for failures in range(len(members) + 1):
        for failed in combinations(sorted(members), failures):
            if len({index for peer, index in held if peer not in failed}) < chunk["needed"]:
                return failures - 1
    return len(members)


def repaired_bytes(machines: list[Machine]) -> int:
    return sum(machine.ask("repair")["repaired"]["bytes"] for machine in machines)


def remove_for_good(admin: Machine, name: str) -> None:
    """What an admin signs when a machine is dead: read, signed and written while its daemon is down."""
    admin.kill()
    keys = KeyFile.decode((admin.home / "keys").read_bytes())
    roster = decode_roster((admin.home / "roster").read_bytes())
    with closing(sqlite3.connect(f"file:{admin.home}/ledger/ledger.db?mode=ro", uri=True)) as database:
        roster = roster.with_statements([row[0] for row in database.execute("SELECT raw FROM statements")])
    victim = roster.by_name(name)
    assert victim is not None
    statement = remove(keys.identity, roster, victim.peer_id, now_s=time.time())
    (admin.home / "roster").write_bytes(encode_roster(roster.with_statements([statement])))
    start(admin)


def test_a_machine_that_is_wiped_and_removed_is_made_up_for_without_anyone_asking(folder: Path) -> None:
    with household(folder, "ABCDEF") as machines:
        put(machines[1], folder, 12_000_000)
        before = where(machines[1])
        assert all(survives(chunk, set("ABCDEF")) >= 2 for chunk in before)
        machines[5].kill()
        shutil.rmtree(machines[5].home)
        left = machines[:5]
        remove_for_good(machines[0], "F")
        for machine in left:
            wait_until(lambda machine=machine: hears(machine, 5), f"{machine.name} hears the others")
        members = set("ABCDE")
        began_s = time.monotonic()
        wait_until(
            lambda: all(survives(chunk, members) >= 2 for chunk in where(machines[1])),
            "every stripe survives any two of the five",
            timeout_s=40,
        )
        print(f"promise restored after {time.monotonic() - began_s:.1f} s")
        for machine in left:
            wait_until(lambda machine=machine: machine.ask("repair")["due"] == 0, f"{machine.name}: nothing due")
            assert machine.ask("safe")["state"] == "safe"
        lost = sum(shard["peer"] == "F" for chunk in before for shard in chunk["shards"])
        floor = sum(chunk["length"] // chunk["needed"] for chunk in before) * 3  # any two of five needs 8 rows, not 5
        placed = repaired_bytes(left)
        assert lost
        assert 0 < placed <= 1.2 * floor, "no stripe is repaired twice"
        machines[3].kill()
        machines[4].kill()
        assert p2p(machines[1].home, "cat", "/f").out == content(12_000_000)
