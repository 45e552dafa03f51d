"""Whatever machines do apart, in whatever order it comes together: one tree, and no edit lost."""

from __future__ import annotations

import random
from collections.abc import Sequence

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from p2pstore.errors import PathFault
from p2pstore.ids import ROOT_ENTRY, EntryId
from p2pstore.ledger.drafts import AddVersion, Draft, MakeFolder, Move, Remove
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Inline, Kind, Version
from tests.ledger.household import do, household, ledgers, mkdir, path, pull, put, sync_all, tree
from tests.ledger.reference import operations_of, reference_tree

CONFLICT = " (conflict, machine {}, 2026-01-01)"


async def commits_of(ledger: Ledger) -> list[bytes]:
    """All raw commits."""
    return list((await ledger.commits_after(Vector(), 10**9)).commits)


async def test_concurrent_edits_are_both_kept(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (a, b):
        await do(a, put("notes.txt", b"0"))
        await sync_all([a, b])
        await do(a, put("notes.txt", b"from a"))
        await trio.sleep(1)
        await do(b, put("notes.txt", b"from b"))
        await sync_all([a, b])
        expected = {"notes.txt": b"from b", "notes (conflict, machine 0, 2026-01-01).txt": b"from a"}
        assert await tree(a) == await tree(b) == expected
        item = await a.resolve(path("notes.txt"))
        copy = await a.resolve(path("notes (conflict, machine 0, 2026-01-01).txt"))
        assert item is not None
        assert copy is not None
        assert (item.copies, item.conflict, copy.conflict) == (1, False, True)
        # a write to the name leaves the copy; a write to the copy makes it a file of its own
        await do(a, put("notes.txt", b"later"))
        assert len(await tree(a)) == 2
        await do(a, put("notes (conflict, machine 0, 2026-01-01).txt", b"settled"))
        item = await a.resolve(path("notes.txt"))
        assert item is not None
        assert item.copies == 0
        await sync_all([a, b])
        assert await tree(b) == {
            "notes.txt": b"later",
            "notes (conflict, machine 0, 2026-01-01).txt": b"settled",
        }


async def test_equal_edits_merge_silently(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        await do(a, put("same", b"bytes"))
        await do(b, put("same", b"bytes"))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {"same": b"bytes"}
        item = await a.resolve(path("same"))
        assert item is not None
        assert len(item.entries) == 2
        await do(a, put("same", b"new"))
        await sync_all([a, b])
        assert await tree(b) == {"same": b"new"}
        await do(b, Remove(path("same")))
        await sync_all([a, b])
        assert await tree(a) == {}


async def test_an_edit_beats_a_concurrent_deletion_whatever_the_clocks_say(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (a, b):
        await do(a, put("f", b"0"))
        await sync_all([a, b])
        machines[0].clock.skew_s = 10 * 365 * 86400.0
        machines[1].clock.skew_s = -10 * 365 * 86400.0
        await do(a, Remove(path("f")))
        await do(b, put("f", b"edited"))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {"f": b"edited"}
        await do(a, Remove(path("f")))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {}


async def test_folders_of_one_name_are_one(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        await do(a, put("photos/1"))
        await do(b, put("photos/2"))
        await sync_all([a, b])
        assert set(await tree(a)) == {"photos", "photos/1", "photos/2"}
        await do(a, put("photos/3"))
        await do(a, Move(path("photos"), path("pictures")))
        await sync_all([a, b])
        assert set(await tree(b)) == {"pictures", "pictures/1", "pictures/2", "pictures/3"}
        assert await b.remove_tree(path("pictures")) is not None
        await sync_all([a, b])
        assert await tree(a) == {}


async def test_a_folder_keeps_its_name_against_a_file(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        await do(a, put("thing/below"))
        await trio.sleep(10)
        await do(b, put("thing", b"a file"))
        await sync_all([a, b])
        expected = {"thing": None, "thing/below": b"x", "thing" + CONFLICT.format(1): b"a file"}
        assert await tree(a) == await tree(b) == expected


async def test_what_is_alive_revives_the_folders_above(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        await do(a, put("a/b/old"))
        await sync_all([a, b])
        await a.remove_tree(path("a"))
        await do(b, put("a/b/new"))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {"a": None, "a/b": None, "a/b/new": b"x"}
        await do(a, Remove(path("a/b/new")))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {}


async def test_of_a_cycle_of_moves_the_latest_is_not_followed(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        await do(a, put("x/in x"), put("y/in y"))
        await sync_all([a, b])
        await do(a, Move(path("x"), path("y/x")))
        await trio.sleep(1)
        await do(b, Move(path("y"), path("x/y")))
        await sync_all([a, b])
        expected = {"y", "y/in y", "y/x", "y/x/in x"}
        assert set(await tree(a)) == set(await tree(b)) == expected
        # moving on from there ends it
        await do(a, Move(path("y/x"), path("x")))
        await sync_all([a, b])
        assert set(await tree(a)) == set(await tree(b)) == {"x", "x/in x", "x/y", "x/y/in y"}


async def test_entries_without_a_place_are_recovered_and_found_again(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        folder, file = EntryId(b"F" * 16), EntryId(b"f" * 16)
        lost = Version(file, folder, b"lost", Kind.FILE, Inline(b"!"), 1, 0, 0o644)
        await do(a, AddVersion(lost))
        assert await tree(a) == {"Recovered": None, "Recovered/lost": b"!"}
        await do(a, put("Recovered/mine", b"?"))
        await do(a, Move(path("Recovered/mine"), path("mine")))
        await sync_all([a, b])
        assert await tree(b) == {"Recovered": None, "Recovered/lost": b"!", "mine": b"?"}
        found = Version(folder, ROOT_ENTRY, b"folder", Kind.FOLDER, None, 0, 0, 0o755)
        await do(b, AddVersion(found))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {"folder": None, "folder/lost": b"!", "mine": b"?"}


async def test_an_absent_machine_resurrects_nothing(autojump_clock: MockClock) -> None:
    async with ledgers(household(3)) as (a, b, absent):
        await do(a, *(put(f"d/{n}") for n in range(50)))
        await sync_all([a, b, absent])
        await a.remove_tree(path("d"))
        await sync_all([a, b])
        await trio.sleep(2 * 365 * 86400)
        await do(absent, put("mine"))
        await sync_all([a, b, absent])
        for ledger in (a, b, absent):
            assert set(await tree(ledger)) == {"mine"}


NAMES = ("a", "b", "c")
PATHS: list[tuple[str, ...]] = [(first,) for first in NAMES] + [(first, second) for first in NAMES for second in NAMES]
PATHS += [(first, "a", second) for first in NAMES for second in NAMES]


def _draft(rng: random.Random) -> Draft:
    here, there = (tuple(name.encode() for name in rng.choice(PATHS)) for _ in range(2))
    match rng.choice(["put", "put", "folder", "move", "move", "remove"]):
        case "put":
            return put(b"/".join(here).decode(), b"%d" % rng.randrange(4))
        case "folder":
            return MakeFolder(here)
        case "move":
            return Move(here, there, replace=rng.random() < 0.5)
        case _:
            return Remove(here)


async def live_apart(opened: Sequence[Ledger], rng: random.Random, steps: int) -> None:
    """Each does this and that; now and then one hears of another."""
    for _ in range(steps):
        if rng.random() < 0.15:
            await pull(*rng.sample(list(opened), 2))
        else:
            try:
                await do(rng.choice(opened), _draft(rng))
            except PathFault:
                continue
        if rng.random() < 0.3:
            await trio.sleep(rng.random())


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 10)
def test_every_order_gives_the_tree_of_the_reference(seed: int) -> None:
    trio.run(_check_orders, seed, clock=MockClock(autojump_threshold=0))


async def _check_orders(seed: int) -> None:
    rng = random.Random(seed)
    machines = household(4, seed=seed)
    for machine in machines:
        machine.clock.skew_s = rng.choice([0.0, 0.0, 3600.0, -86400.0 * 3650, 86400.0 * 365])
    async with ledgers(machines) as (*active, late):
        await live_apart(active, rng, 40)
        await sync_all(active)
        commits = await commits_of(active[0])
        keys = machines[0].current
        assert keys is not None
        names = machines[0].names
        expected = reference_tree(operations_of(commits, keys), lambda peer: names[peer])
        for ledger in active:
            assert await tree(ledger) == expected
        await active[0].rebuild_index()
        assert await tree(active[0]) == expected
        # one more hears everything in another order, some of it twice, a few at a time
        shuffled = commits + rng.sample(commits, len(commits) // 3)
        rng.shuffle(shuffled)
        for start in range(0, len(shuffled), 3):
            await late.apply(shuffled[start : start + 3])
        assert late.vector() == active[0].vector()
        assert await tree(late) == expected


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 5)
def test_any_graph_of_versions_is_shown_as_the_reference_shows_it(seed: int) -> None:
    trio.run(_check_graph, seed, clock=MockClock(autojump_threshold=0))


async def _check_graph(seed: int) -> None:
    """Versions that no sound peer would write: parents that are files, absent, or below the entry itself."""
    rng = random.Random(seed)
    machines = household(3, seed=seed)
    entries = [EntryId(bytes([number]) * 16) for number in range(1, 7)]
    parents = [*entries, ROOT_ENTRY, ROOT_ENTRY, RECOVERED_ENTRY, EntryId(b"?" * 16)]

    def version() -> Version:
        entry = rng.choice(entries)
        kind = rng.choice([Kind.FOLDER, Kind.FOLDER, Kind.FILE])
        return Version(
            entry,
            rng.choice([parent for parent in parents if parent != entry]),
            rng.choice([b"a", b"b", b"c", b"Recovered"]),
            kind,
            None if kind is Kind.FOLDER else Inline(rng.choice([b"1", b"2"])),
            0,
            0,
            0o755,
            deleted=rng.random() < 0.25,
            former_parent=rng.choice([*parents, None]),
        )

    async with ledgers(machines) as (*active, late):
        for _ in range(30):
            if rng.random() < 0.2:
                await pull(*rng.sample(active, 2))
            else:
                await do(rng.choice(active), AddVersion(version()))
            await trio.sleep(rng.random())
        await sync_all(active)
        commits = await commits_of(active[0])
        keys = machines[0].current
        assert keys is not None
        names = machines[0].names
        expected = reference_tree(operations_of(commits, keys), lambda peer: names[peer])
        rng.shuffle(commits)
        await late.apply(commits)
        for ledger in (*active, late):
            assert await tree(ledger) == expected


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 10)
def test_no_edit_is_lost_that_nobody_who_saw_it_replaced(seed: int) -> None:
    trio.run(_check_edits, seed, clock=MockClock(autojump_threshold=0))


async def _check_edits(seed: int) -> None:
    rng = random.Random(seed)
    machines = household(3, seed=seed)
    async with ledgers(machines) as opened:
        await do(opened[0], mkdir("d"))
        await sync_all(opened)
        # each machine edits the same few names knowing only its own edits
        last: dict[tuple[int, str], bytes] = {}
        for turn in range(20):
            number, name = rng.randrange(3), rng.choice(NAMES)
            last[number, name] = b"%d %d" % (number, turn)
            await do(opened[number], put(f"d/{name}", last[number, name]))
        await sync_all(opened)
        for ledger in opened:
            assert set((await tree(ledger)).values()) - {None} == set(last.values())
