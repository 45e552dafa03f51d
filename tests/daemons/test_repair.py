"""Machines are lost, bits flip, laptops sleep: stripes return to their promise by themselves, or are left in peace."""

from __future__ import annotations

import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from p2pstore.cli.demo import Machine, _find_shard, household
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


def put(machine: Machine, machines: list[Machine], folder: Path, size: int) -> None:
    """Put a file, and wait until everybody knows everybody's inventory: only the uploader counts its receipts."""
    (folder / "f").write_bytes(content(size))
    done = p2p(machine.home, "put", str(folder / "f"), "/f", "--json")
    assert done.code == 0, done.out
    rows = sum(len(chunk["shards"]) for chunk in where(machine))
    for each in machines:
        wait_until(
            lambda each=each: (
                sum(len(chunk["shards"]) for chunk in where(each)) == rows and each.ask("safe")["state"] == "safe"
            ),
            f"the others' inventories have come to {each.name}",
        )
    wait_until(
        lambda: machine.ask("repair")["due"] == 0, "no receipt counts here, and the inventories have come all the same"
    )


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
        put(machines[1], machines, folder, 12_000_000)
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


def flip_a_bit(machine: Machine) -> tuple[str, int]:
    """One bit of the first shard in a machine's packs; (encoding, index)."""
    for path in sorted((machine.home / "store" / "packs").iterdir()):
        found = _find_shard(path)
        if found is None:
            continue
        position, encoding, index = found
        with path.open("r+b") as pack:
            pack.seek(position)
            byte = pack.read(1)[0]
            pack.seek(position)
            pack.write(bytes([byte ^ 0x10]))
        return encoding, index
    raise AssertionError("no shard")


def test_a_flipped_bit_is_found_by_a_scrub_and_rebuilt_in_its_place_at_once(folder: Path) -> None:
    with household(folder, "ABCD") as machines:
        put(machines[0], machines, folder, 6_000_000)
        rotten = machines[2]
        before = sorted((shard["peer"], shard["index"]) for shard in where(machines[0])[0]["shards"])
        flip_a_bit(rotten)
        scrubbed = p2p(rotten.home, "scrub", "--now", "--json")
        assert scrubbed.code == 8
        assert scrubbed.json["damaged"] == 1
        wait_until(lambda: rotten.ask("scrub", {"action": "status"})["quarantined"] == 0, "it is rebuilt")
        assert rotten.ask("repair")["repaired"]["shards"] == 1
        assert p2p(rotten.home, "scrub", "--now", "--json").code == 0
        wait_until(lambda: machines[0].ask("safe")["state"] == "safe", "the others know")
        after = sorted((shard["peer"], shard["index"]) for shard in where(machines[0])[0]["shards"])
        assert after == before, "in its place, and nothing elsewhere"
        assert repaired_bytes([machine for machine in machines if machine is not rotten]) == 0


def test_a_sleeping_laptop_causes_no_repair_and_its_shards_count(folder: Path) -> None:
    with household(folder, "ABCDEF") as machines:
        put(machines[0], machines, folder, 4_000_000)
        sleeper = machines[5].process
        assert sleeper is not None
        sleeper.send_signal(signal.SIGSTOP)
        awake = machines[:5]
        try:
            wait_until(lambda: not hears(machines[0], 6), "the others notice", timeout_s=60)
            report = p2p(machines[0].home, "repair", "--now", "--json")
            assert report.code == 0
            assert report.json["machines"] == [{"name": "F", "standing": "asleep", "stripes": 0}]
            assert machines[0].ask("safe")["state"] == "safe"
            assert repaired_bytes(awake) == 0
        finally:
            sleeper.send_signal(signal.SIGCONT)


def test_what_would_be_left_and_who_can_leave_and_whether_files_come_back(folder: Path) -> None:
    with household(folder, "ABCDEF") as machines:
        asker = machines[1]
        put(asker, machines, folder, 5_000_000)
        one = p2p(asker.home, "safe", "--what-if", "C", "--json")
        assert (one.code, one.json["what_if"]["state"]) == (20, "thin")
        assert one.json["state"] == "safe"
        three = p2p(asker.home, "safe", "--what-if", "A,C,E", "--json")
        assert three.code == 22
        assert p2p(asker.home, "safe", "--what-if", "site:home", "--json").code == 22
        assert p2p(asker.home, "safe", "--what-if", "nobody", "--json").code == 4
        assert p2p(asker.home, "peers", "can-leave", "C", "--json").code == 0
        refused = p2p(asker.home, "peers", "can-leave", "C", "D", "E", "--json")
        assert refused.code == 5
        assert any("could not be read" in reason for reason in refused.json["reasons"])
        assert p2p(asker.home, "peers", "can-leave", "A", "--json").code == 5, "the only admin"
        restored = p2p(asker.home, "test-restore", "--files", "3", "--json")
        assert (restored.code, restored.json["files"], restored.json["bytes"]) == (0, 1, 5_000_000)
        assert p2p(asker.home, "safe", "--json").json["test_restore"]["files"] == 1
        for machine in machines[2:5]:
            machine.kill()
        lost = p2p(asker.home, "test-restore", "--json")
        assert lost.code == 7
        assert lost.json["failed"][0]["path"] == "/f"
