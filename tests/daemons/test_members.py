"""Machines come, change and go: names, roles, sizes, thefts, deaths, and storage peers that see nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from p2pstore.cli.demo import Machine
from tests.cli.schema import load, problems
from tests.daemons.conftest import Answer, p2p
from tests.daemons.families import (
    digests,
    family,
    make_files,
    names_on,
    start,
    tree_on,
    wait_linked,
    wait_until,
)

pytestmark = pytest.mark.daemons


def peers(machine: Machine, *arguments: str, stdin: bytes | None = None) -> Answer:
    """`p2pstore peers ...`, its result held to the published schema."""
    answer = p2p(machine.home, "peers", *arguments, "--yes", "--json", stdin=stdin)
    if answer.code in (0, 3):
        assert problems(answer.json, load(f"peers-{arguments[0]}")) == []
    return answer


def put(machine: Machine, folder: Path, name: str, data: bytes) -> Answer:
    (folder / name).write_bytes(data)
    return p2p(machine.home, "put", str(folder / name), f"/{name}", "--json")


def role_of(machine: Machine, name: str) -> str:
    return next(str(peer["role"]) for peer in machine.ask("peers")["peers"] if peer["name"] == name)


def test_names_places_and_sizes_change_everywhere_and_stay(folder: Path) -> None:
    with family(folder, "AB") as found:
        a, b = found["A"], found["B"]
        assert peers(a, "rename", "B", "attic").code == 0
        assert peers(a, "site", "attic", "cabin").code == 0
        assert peers(b, "limit", "5G").code == 0
        for machine in (a, b):
            wait_until(lambda machine=machine: names_on(machine) == {"A", "attic"}, "the new name")  # type: ignore[misc]
        wait_until(
            lambda: {one["name"]: (one["site"], one["capacity"]) for one in a.ask("peers")["peers"]}["attic"]
            == ("cabin", 5_000_000_000),
            "the new place and size",
            timeout_s=30,
        )
        assert b.ask("status")["store"]["given"] == 5_000_000_000
        assert peers(b, "rename", "A", "x").json["code"] == "not-allowed"
        assert peers(a, "rename", "attic", "a").json["code"] == "exists"
        assert peers(a, "rename", "nobody", "x").code == 4
        assert peers(a, "limit", "attic", "7G").json["code"] == "not-here"
        assert p2p(a.home, "peers", "revoke", "attic", "--json").code == 5, "not without --yes"
        b.kill()
        start(b)
        assert b.ask("status")["store"]["given"] == 5_000_000_000
        assert b.ask("status")["name"] == "attic"


def test_a_stolen_laptop_is_cut_off_everywhere_and_what_is_written_then_is_not_for_it(folder: Path) -> None:
    with family(folder, "ABCD") as found:
        a, b, c, d = found.all()
        assert put(b, folder, "before", b"b" * 200_000).code == 0
        wait_until(lambda: tree_on(c) == {b"/before"}, "C shows it")
        d.kill()
        revoked = peers(a, "revoke", "B")
        assert revoked.code == 0, revoked
        assert revoked.json["removed"] is True
        assert revoked.json["generation"] is not None
        assert revoked.json["told"] == ["B"]
        assert revoked.json["away"] == ["D"]
        assert "everything" in revoked.json["could_read"]
        wait_until(lambda: names_on(c) == {"A", "C", "D"}, "C knows")
        wait_until(lambda: b.ask("status")["role"] == "removed", "B knows")
        assert put(a, folder, "after", b"a" * 200_000).json["files"] == 1
        assert p2p(c.home, "cat", "/after").out == b"a" * 200_000
        assert b"/after" not in tree_on(b)
        refused = put(b, folder, "mine", b"x")
        assert (refused.code, refused.json["code"]) == (12, "removed")
        assert b.runs
        start(d)
        wait_linked([a, c, d])
        wait_until(lambda: names_on(d) == {"A", "C", "D"}, "who was away hears of it on return")
        wait_until(lambda: b"/after" in tree_on(d), "and gets the new keys")
        # Not before: its two copies may be those of B, which is out, and of D.
        assert p2p(c.home, "cat", "/before").out == b"b" * 200_000, "older generations stay readable"
        assert p2p(d.home, "cat", "/after").out == b"a" * 200_000
        assert put(d, folder, "from-d", b"d" * 100_000).code == 0
        wait_until(lambda: b"/from-d" in tree_on(a), "and writes with them")
        assert peers(a, "revoke", "B").code == 4


def test_what_a_removed_machine_wrote_unheard_is_held_back_until_somebody_adopts_it(folder: Path) -> None:
    with family(folder, "ABC") as found:
        a, b, c = found.all()
        assert put(a, folder, "plan", b"a" * 1000).code == 0
        wait_until(lambda: tree_on(b) == tree_on(c) == {b"/plan"}, "all show it")
        a.kill()
        assert put(b, folder, "plan", b"b" * 1000).json["files"] == 1
        assert put(b, folder, "trip", b"t" * 1000).json["files"] == 1
        wait_until(lambda: b"/trip" in tree_on(c), "C hears of it, A does not")
        b.kill()
        c.kill()
        start(a)
        assert peers(a, "revoke", "B").json["removed"] is True
        start(c)
        wait_linked([a, c])
        for machine in (a, c):
            wait_until(lambda machine=machine: peers(machine, "frozen").json["machines"] != [], "held back")  # type: ignore[misc]
            [held] = peers(machine, "frozen").json["machines"]
            assert (held["name"], [one["path"] for one in held["changes"]]) == ("B", ["/plan", "/trip"])
            assert tree_on(machine) == {b"/plan"}
            assert p2p(machine.home, "cat", "/plan").out == b"a" * 1000
        [finding] = [one for one in a.ask("doctor")["checks"] if one["name"] == "frozen"]
        assert (finding["state"], finding["fix"]) == ("warn", ["p2pstore peers frozen; p2pstore peers adopt B"])
        assert peers(c, "adopt", "B").json["adopted"] == 2
        for machine in (a, c):
            wait_until(lambda machine=machine: tree_on(machine) == {b"/plan", b"/trip"}, "all count it")  # type: ignore[misc]
            assert p2p(machine.home, "cat", "/plan").out == b"b" * 1000
            assert peers(machine, "frozen").json["machines"] == []


def test_the_paper_reads_generations_before_and_after_a_revocation(folder: Path) -> None:
    from tests.daemons.test_recovery import use

    with family(folder, "ABC") as found:
        a, b, c = found.all()
        make_files(folder / "src", [3000, 400_000], seed=1)
        assert p2p(b.home, "put", "-r", str(folder / "src"), "/", "--json").code == 0
        assert peers(a, "forget", "B").code == 0
        b.kill()
        make_files(folder / "src2", [3001, 400_001], seed=2)
        assert p2p(a.home, "put", "-r", str(folder / "src2"), "/", "--json").json["files"] == 2
        wait_until(lambda: len(tree_on(c)) == 6, "C shows both")
        used = use(found, folder, c, "out")
        assert used.code == 0, used
        assert used.json["generations"] >= 2
        assert digests(folder / "out" / "src") == digests(folder / "src")
        assert digests(folder / "out" / "src2") == digests(folder / "src2")


def test_an_admin_goes_by_the_paper_key_or_by_enough_votes_and_not_by_one(folder: Path) -> None:
    with family(folder, "ABC", roles={"B": "admin", "C": "admin"}) as found:
        _, b, c = found.all()
        alone = peers(b, "revoke", "A")
        assert alone.code == 3, alone
        assert alone.json["removed"] is False
        assert alone.json["votes"] == ["B"]
        wait_until(lambda: names_on(c) == {"A", "B", "C"}, "nobody has gone")
        wait_until(lambda: peers(c, "revoke", "A").json.get("removed") is True, "the second vote, once B's is known")
        for machine in (b, c):
            wait_until(lambda machine=machine: names_on(machine) == {"B", "C"}, "A is gone")  # type: ignore[misc]
        assert peers(b, "revoke", "C").code == 3
        paper = peers(b, "revoke", "C", "--with-paper-key", "--words-file", str(found.kit))
        assert paper.code == 0, paper
        assert (paper.json["removed"], paper.json["by_paper_key"]) == (True, True)
        assert names_on(b) == {"B"}
        assert peers(b, "revoke", "B").json["code"] == "myself"


SECRET_NAME = "very-private-name-of-a-file"
SECRET_FOLDER = "folder-nobody-should-see"


def test_a_storage_peer_holds_shards_and_relays_and_finds_no_name_and_no_content(folder: Path) -> None:
    with family(folder, "ABS", roles={"S": "storage"}) as found:
        a, b, s = found.all()
        assert role_of(a, "S") == "storage"
        source = folder / SECRET_FOLDER
        source.mkdir()
        small = b"the launch code is 0000, tell nobody. " * 20
        large = b"a line of the diary, and a photo" + random.Random(1).randbytes(600_000)
        (source / f"{SECRET_NAME}.small").write_bytes(small)
        (source / f"{SECRET_NAME}.large").write_bytes(large)
        stored = p2p(a.home, "put", "-r", str(source), "/", "--json")
        assert stored.code == 0, stored
        wait_until(lambda: s.ask("status")["store"]["shards"] > 0, "S holds shards")
        for arguments in (["ls", "/"], ["get", "-r", "/", str(folder / "got")], ["cat", "/x"], ["tree"]):
            refused = p2p(s.home, *arguments, "--json")
            assert (refused.code, refused.json["code"]) == (12, "blind"), refused
        assert put(s, folder, "f", b"x").json["code"] == "blind"
        a.kill()
        path = f"/{SECRET_FOLDER}/{SECRET_NAME}.large"
        assert p2p(b.home, "cat", path).out == large, "S serves what it holds"
        assert p2p(b.home, "cat", f"/{SECRET_FOLDER}/{SECRET_NAME}.small").out == small
        status = p2p(s.home, "status", "--json")
        assert (status.code, status.json["role"]) == (0, "storage")
        s.stop()
        known = [SECRET_NAME.encode(), SECRET_FOLDER.encode(), small[:24], large[:24], large[200_000:200_032]]
        looked = 0
        for file in sorted(s.home.rglob("*")):
            if file.is_file():
                looked += 1
                data = file.read_bytes()
                assert not any(word in data for word in known), file
        assert looked >= 5, "keys, roster, settings, ledger, packs, log"


def test_a_storage_peer_relays_what_it_cannot_read(folder: Path) -> None:
    with family(folder, "ABS", roles={"S": "storage"}) as found:
        a, b, s = found.all()
        b.kill()
        assert put(a, folder, "note", b"n" * 3000).json["files"] == 1
        wait_until(lambda: s.ask("status")["verdict"]["state"] != "", "S answers")
        wait_until(lambda: p2p(a.home, "where", "/note", "--json").json["commit_on"] == ["A", "S"], "S has the commit")
        a.kill()
        start(b)
        wait_linked([b, s])
        wait_until(lambda: tree_on(b) == {b"/note"}, "S told B")
        assert p2p(b.home, "cat", "/note").out == b"n" * 3000


def test_a_storage_peer_that_becomes_a_member_reads_what_was_stored_before(folder: Path) -> None:
    with family(folder, "AS", roles={"S": "storage"}) as found:
        a, s = found.all()
        assert put(a, folder, "old", b"o" * 200_000).json["files"] == 1
        changed = peers(a, "role", "S", "member")
        assert changed.code == 0, changed
        wait_until(lambda: s.ask("status")["role"] == "member", "S knows")
        wait_until(lambda: p2p(s.home, "ls", "/", "--json").code == 0, "it may look")
        wait_until(lambda: tree_on(s) == {b"/old"}, "and reads")
        assert p2p(s.home, "cat", "/old").out == b"o" * 200_000
        assert put(s, folder, "new", b"n" * 100_000).json["files"] == 1
        assert peers(a, "role", "A", "member").json["code"] == "admin-stays"
        assert peers(a, "role", "S", "admin").code == 0
        wait_until(lambda: s.ask("status")["role"] == "admin", "S is an admin")
        assert peers(s, "site", "A", "attic").code == 0


def test_a_machine_leaves_in_good_order_and_erases_itself(folder: Path) -> None:
    with family(folder, "ABCD") as found:
        a, b, c, _ = found.all()
        data = random.Random(1).randbytes(900_000)
        assert put(b, folder, "mine", data).json["state"] == "safe"
        assert peers(a, "retire", "A").json["code"] == "cannot-leave", "the only admin"
        answer = peers(a, "retire", "B")
        assert answer.code == 0, answer
        assert answer.json["leaves"] is True
        assert answer.json["consequences"] == []
        refused = put(b, folder, "late", b"x")
        assert refused.json["code"] in ("leaving", "retired", "not-running"), refused
        wait_until(lambda: not b.runs, "B has ended", timeout_s=90)
        assert sorted(path.name for path in b.home.iterdir()) == ["daemon.lock", "log", "retired.json"]
        assert p2p(b.home, "status", "--json").json["code"] == "retired"
        wait_until(lambda: names_on(c) == {"A", "C", "D"}, "C knows")
        assert p2p(c.home, "cat", "/mine").out == data
        assert p2p(c.home, "safe", "--json").json["state"] == "safe"
