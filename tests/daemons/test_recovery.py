"""The house burned: with the paper and any sufficient set of disks every byte comes back, and nothing is written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from p2pstore.cli.demo import Machine
from p2pstore.daemon import recover
from p2pstore.daemon.recover import knock
from p2pstore.edges.clock import RealClock
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.errors import P2PStoreError, Refused
from p2pstore.ids import PeerId
from p2pstore.keys.household import HouseholdKeys, new_secret, secret_of, words_of
from p2pstore.keys.identity import peer_id_of
from p2pstore.protocols import sync
from p2pstore.seams.network import Message, Plane
from p2pstore.services import liveness, shards
from p2pstore.services.recovery import Contacts, serve_nobody
from p2pstore.services.recovery_door import READ_KINDS
from tests.cli.schema import load, problems
from tests.daemons.conftest import Answer, p2p
from tests.daemons.families import Family, at, digests, family, make_files, start, tree_on, wait_until

pytestmark = pytest.mark.daemons

SIZES = [0, 1, 4096, 4097, 70_000, 600_000, 5_000_001]


def use(found: Family, folder: Path, asked: Machine, name: str) -> Answer:
    host, port = at(asked)
    answer = p2p(
        folder / f"fresh-{name}",
        *("recovery-kit", "use", "--at", f"{host}:{port}", "--to", str(folder / name)),
        *("--words-file", str(found.kit), "--json"),
    )
    if answer.code in (0, 3, 7):
        assert problems(answer.json, load("recovery-kit-use")) == []
        assert not (folder / f"fresh-{name}").exists(), "nothing stays but the files"
    return answer


def store(machine: Machine, source: Path, count: int) -> None:
    put = p2p(machine.home, "put", "-r", str(source), "/", "--json")
    assert put.code == 0, put
    assert put.json["files"] == count


def wait_tree(machine: Machine, count: int) -> None:
    wait_until(lambda: len(tree_on(machine)) == count, f"{machine.name} shows {count} entries")


def revolving_pairs(names: str) -> Iterator[tuple[str, str]]:
    """Every pair, each sharing a machine with the one before: fewer daemons to start."""
    for number, first in enumerate(names):
        rest = names[number + 1 :]
        for second in rest if number % 2 == 0 else reversed(rest):
            yield first, second


def test_every_byte_comes_back_from_every_sufficient_set_of_disks(folder: Path) -> None:
    with family(folder, "ABCDEF") as found:
        make_files(folder / "src" / "deep" / "er", SIZES, seed=1)
        store(found["A"], folder / "src", len(SIZES))
        for machine in found.all():
            wait_tree(machine, len(SIZES) + 3)
        wanted = digests(folder / "src")
        pairs = list(revolving_pairs("ABCDEF"))
        assert len(set(pairs)) == 15
        for burned in pairs:
            for machine in found.all():
                if machine.name in burned:
                    machine.kill()
                elif not machine.runs:
                    start(machine)
            asked = next(machine for machine in found.all() if machine.runs)
            name = "without-" + "".join(burned)
            used = use(found, folder, asked, name)
            assert used.code == 0, f"{burned} {used.out!r} {used.err}"
            assert digests(folder / name / "src") == wanted
            assert used.json["files"] == len(SIZES)
            assert set(used.json["silent"]) == set(burned)


def test_one_machine_left_gives_all_names_and_what_it_can_and_says_what_it_cannot(folder: Path) -> None:
    with family(folder, "ABC") as found:
        make_files(folder / "src", [10, 300_000], seed=2)
        store(found["A"], folder / "src", 2)
        wait_tree(found["B"], 3)
        held = found["B"].ask("where", {"path": b"/src/2-1-300000.bin"})["chunks"][0]["shards"]
        needed = found["B"].ask("where", {"path": b"/src/2-1-300000.bin"})["chunks"][0]["needed"]
        enough_alone = sum(shard["peer"] == "B" for shard in held) >= needed
        found["A"].kill()
        found["C"].kill()
        used = use(found, folder, found["B"], "out")
        assert used.code == (0 if enough_alone else 7), used
        assert (folder / "out" / "src" / "2-0-10.bin").read_bytes() == (folder / "src" / "2-0-10.bin").read_bytes()
        if not enough_alone:
            assert [one["path"] for one in used.json["failed"]] == ["/src/2-1-300000.bin"]
            assert sorted(path.name for path in (folder / "out" / "src").iterdir()) == ["2-0-10.bin"]


def test_other_words_a_wrong_address_and_a_full_folder_are_refused_with_what_to_do(folder: Path) -> None:
    with family(folder, "A") as found:
        host, port = at(found["A"])
        here = ("recovery-kit", "use", "--at", f"{host}:{port}", "--json")
        other = folder / "other"
        other.write_text(" ".join(words_of(new_secret(random.Random(3)))))
        refused = p2p(folder / "x", *here, "--to", str(folder / "out"), "--words-file", str(other))
        assert (refused.code, refused.json["code"]) == (12, "other-household")
        nobody = p2p(
            folder / "x", "recovery-kit", "use", "--at", "127.0.0.1:1", "--to", str(folder / "out"),
            "--words-file", str(found.kit), "--json",
        )  # fmt: skip
        assert (nobody.code, nobody.json["code"]) == (6, "unreachable")
        (folder / "full").mkdir()
        (folder / "full" / "mine").write_text("keep")
        full = p2p(folder / "x", *here, "--to", str(folder / "full"), "--words-file", str(found.kit))
        assert (full.code, full.json["code"]) == (5, "exists")
        member = p2p(found["A"].home, *here, "--to", str(folder / "out"), "--words-file", str(found.kit))
        assert (member.code, member.json["code"]) == (5, "exists")
        asked = p2p(folder / "x", "recovery-kit", "use", "--to", str(folder / "out"), "--json")
        assert (asked.code, asked.json["code"]) == (2, "usage")
        assert "--at" in asked.json["what"]
        assert not (folder / "x").exists()


def test_check_says_whether_the_words_are_this_households(folder: Path) -> None:
    with family(folder, "A") as found:
        right = p2p(found["A"].home, "recovery-kit", "check", "--words-file", str(found.kit), "--json")
        assert right.code == 0, right
        assert problems(right.json, load("recovery-kit-check")) == []
        typed = p2p(found["A"].home, "recovery-kit", "check", stdin=found.words.encode())
        assert typed.code == 0, typed
        other = " ".join(words_of(new_secret(random.Random(4)))).encode()
        wrong = p2p(found["A"].home, "recovery-kit", "check", "--json", stdin=other)
        assert (wrong.code, wrong.json["code"]) == (12, "other-household")
        page = p2p(found["A"].home, "recovery-kit", "print", "--words-file", str(found.kit), "--json")
        assert page.json["page"].splitlines()[:13] == found.kit.read_text().splitlines()[:13]
        host, port = at(found["A"])
        assert f"{host}:{port}" in page.json["page"]
        kept = [path.read_bytes() for path in found["A"].home.rglob("*") if path.is_file()]
        for secret in (found.words.encode(), found.words.upper().encode(), secret_of(found.words)):
            assert not any(secret in data for data in kept), "no machine keeps the words"


def test_two_of_three_family_shares_restore_everything_and_one_does_not(folder: Path) -> None:
    with family(folder, "A") as found:
        make_files(folder / "src", [10, 300_000], seed=5)
        put = p2p(found["A"].home, "put", "-r", str(folder / "src"), "/", "--json")
        assert put.code == 6, "alone, it is stored and not yet safe"
        home, pages = found["A"].home, folder / "pages"
        made = p2p(home, "recovery-kit", "shares", "--words-file", str(found.kit), "--out", str(pages), "--json")
        assert made.code == 0, made
        assert problems(made.json, load("recovery-kit-shares")) == []
        first, second, third = sorted(pages.iterdir())
        assert all(page.stat().st_mode & 0o777 == 0o600 for page in (first, second, third))
        one = p2p(home, "recovery-kit", "check", "--words-file", str(second), "--json")
        assert problems(one.json, load("recovery-kit-check")) == []
        assert (one.code, one.json["belongs"]) == (0, None)
        both = p2p(home, "recovery-kit", "check", "--words-file", str(third), "--words-file", str(first), "--json")
        assert (both.code, both.json["belongs"]) == (0, True)
        host, port = at(found["A"])
        here = ("recovery-kit", "use", "--at", f"{host}:{port}", "--to", str(folder / "out"), "--json")
        few = p2p(folder / "fresh", *here, "--words-file", str(first))
        assert (few.code, few.json["code"]) == (2, "wrong-words")
        used = p2p(folder / "fresh", *here, "--words-file", str(first), "--words-file", str(second))
        assert used.code == 0, used
        assert digests(folder / "out" / "src") == digests(folder / "src")


def test_a_new_paper_replaces_the_old_everywhere_also_for_who_was_away(folder: Path) -> None:
    with family(folder, "AB") as found:
        make_files(folder / "src", [10, 300_000], seed=6)
        store(found["A"], folder / "src", 2)
        wait_tree(found["B"], 3)
        found["B"].kill()
        home, kit = found["A"].home, folder / "new-kit"
        rotated = p2p(home, "recovery-kit", "rotate", "--words-file", str(found.kit), "--out", str(kit), "--json")
        assert rotated.code == 0, rotated
        assert problems(rotated.json, load("recovery-kit-rotate")) == []
        assert (rotated.json["counts"], rotated.json["away"]) == (True, ["B"])
        start(found["B"])
        wait_until(
            lambda: p2p(found["B"].home, "recovery-kit", "check", "--words-file", str(kit), "--json").code == 0,
            "B, which was away, knows the new paper",
        )
        for machine in found.all():
            old = p2p(machine.home, "recovery-kit", "check", "--words-file", str(found.kit), "--json")
            assert (old.code, old.json["code"]) == (12, "other-household")
            host, port = at(machine)
            here = ("recovery-kit", "use", "--at", f"{host}:{port}", "--json")
            refused = p2p(folder / "x", *here, "--to", str(folder / "old"), "--words-file", str(found.kit))
            assert (refused.code, refused.json["code"]) == (12, "other-household")
        used = p2p(folder / "x", *here, "--to", str(folder / "out"), "--words-file", str(kit))
        assert used.code == 0, used
        assert digests(folder / "out" / "src") == digests(folder / "src"), "also what was stored before"


EVERY_KIND = [*sorted(sync.KINDS | shards.KINDS | liveness.KINDS), "shard.drop", "of.tomorrow"]


def test_the_paper_key_reads_and_nothing_else(folder: Path) -> None:
    with family(folder, "AB") as found:
        keys = HouseholdKeys.derive(secret_of(found.words))
        answers = trio.run(ask_each_kind, keys, at(found["A"]))
        assert {kind for kind, code in answers.items() if code != "read-only"} == READ_KINDS
        assert set(answers) >= READ_KINDS
        assert {"shard.put", "meta.push", "meta.vector", "roster.push", "inventory.push"} <= set(answers)
        assert {peer["name"] for peer in found["A"].ask("peers")["peers"]} == {"A", "B"}


async def ask_each_kind(keys: HouseholdKeys, address: tuple[str, int]) -> dict[str, str]:
    """What a daemon answers to a bare request of each kind: a code of refusal, or "" for an answer."""
    clock = RealClock()
    contacts = Contacts(typed=await knock(keys, [address], clock, random.SystemRandom()))
    (peer,) = contacts.typed
    public = keys.recovery_curve_public
    network = ZmqNetwork(
        peer_id_of(public), public, keys.recovery_curve_secret, clock, lambda _: None, contacts.endpoint
    )
    answers = {}
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, serve_nobody)
        for kind in EVERY_KIND:
            plane = Plane.BULK if kind.startswith("shard.") else Plane.CONTROL
            answers[kind] = await refusal_of(network, peer, Message(kind), plane)
        nursery.cancel_scope.cancel()
    return answers


async def refusal_of(network: ZmqNetwork, peer: PeerId, message: Message, plane: Plane) -> str:
    try:
        await network.request(peer, message, plane=plane)
    except Refused as refused:
        return refused.code
    except P2PStoreError as error:
        return type(error).__name__
    return ""


def test_a_key_that_is_neither_members_nor_the_papers_gets_no_link(folder: Path) -> None:
    with family(folder, "A") as found:
        keys = HouseholdKeys.derive(secret_of(found.words))
        strangers = HouseholdKeys.derive(bytes(32))

        async def try_as_stranger() -> str:
            contacts = Contacts(typed=await knock(keys, [at(found["A"])], RealClock(), random.SystemRandom()))
            (peer,) = contacts.typed
            public = strangers.recovery_curve_public
            network = ZmqNetwork(
                peer_id_of(public), public, strangers.recovery_curve_secret, RealClock(), lambda _: None,
                contacts.endpoint,
            )  # fmt: skip
            async with trio.open_nursery() as nursery:
                await nursery.start(network.run, serve_nobody)
                code = await refusal_of(network, peer, Message(sync.ROSTER_PULL), Plane.CONTROL)
                nursery.cancel_scope.cancel()
            return code

        assert trio.run(try_as_stranger) == "Unreachable"


def test_the_ledger_that_a_restore_needs_is_gone_when_it_fails(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def burst(*_: object) -> recover.Restored:
        assert (folder / "fresh" / recover.LEDGER_FOLDER).is_dir()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recover, "_restore", burst)
    with pytest.raises(OSError, match="No space"):
        recover.restore_household(
            folder / "fresh",
            secret=bytes(32),
            at=[],
            to=folder / "out",
            overwrite=False,
            report=lambda _: None,
            tell=lambda _: None,
        )
    assert not (folder / "fresh").exists()
