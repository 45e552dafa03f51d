"""How long history is kept: rules, sweeps, and what is referred to afterwards."""

from __future__ import annotations

import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.ids import ROOT_ENTRY, EntryId, GenerationId, ManifestId
from p2pstore.ledger.drafts import MakeSnapshot, Move, Put, Remove, RemoveSnapshot, SetRetention
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.retention import Position
from p2pstore.ledger.search import Query
from p2pstore.metadata.name_match import NamePattern
from p2pstore.metadata.retention import DAY_MS, FOR_EVER, Retention, longest
from p2pstore.metadata.version import Kind, ManifestRef
from p2pstore.services.history_keeper import common_time_ms
from simulations.clock import WALL_START_S
from tests.ledger.household import do, household, ledgers, mkdir, path, put, sync_all, tree
from tests.ledger.test_history import random_step

NOW_MS = int(WALL_START_S * 1000)
GENERATION = GenerationId(bytes(16))


async def sweep(ledger: Ledger, days: float, *, page: int = 3) -> int:
    """Go through all history as if it were `days` later."""
    dropped = 0
    for trash in (False, True):
        after: Position | None = None
        while True:
            swept = await ledger.drop_history(NOW_MS + int(days * DAY_MS), trash=trash, after=after, limit=page)
            dropped, after = dropped + swept.dropped, swept.after
            if after is None:
                break
    return dropped


def big(where: str, number: int) -> Put:
    """A file in shards."""
    ref = ManifestRef(ManifestId(bytes([number]) * 32), GENERATION)
    return Put(path(where), Kind.FILE, ref, 10_000, 0, 0o644)


async def referenced(ledger: Ledger) -> list[int]:
    """Numbers of the contents that are referred to, read in pages of one."""
    found: list[int] = []
    after: ManifestId | None = None
    while page := await ledger.referenced_manifests(after=after, limit=1):
        after = page[-1].manifest
        found.append(after[0])
    known = await ledger.are_referenced([ManifestId(bytes([number]) * 32) for number in range(256)])
    assert sorted(each[0] for each in known) == found
    return found


async def entry_of(ledger: Ledger, where: str) -> EntryId:
    item = await ledger.resolve(path(where))
    assert item is not None
    return item.held.version.entry


async def rule(ledger: Ledger, where: str, days: int | None, quota: int | None = None) -> None:
    entry = await entry_of(ledger, where) if where else ROOT_ENTRY
    await do(ledger, SetRetention(Retention(entry, days, quota)))


async def numbers(ledger: Ledger, where: str) -> int:
    return len((await ledger.versions_of(path(where), skip=0, limit=100))[0])


async def test_superseded_versions_go_when_their_time_is_over_and_not_before(autojump_clock: object) -> None:
    async with ledgers(household(1)) as [ledger]:
        await do(ledger, big("a", 1))
        await do(ledger, big("a", 2))
        await do(ledger, big("a", 3))
        assert await sweep(ledger, 29) == 0
        assert await referenced(ledger) == [1, 2, 3]
        assert await sweep(ledger, 31) == 2
        assert await referenced(ledger) == [3]
        assert await numbers(ledger, "a") == 1
        assert await sweep(ledger, 400) == 0


async def test_what_is_in_the_trash_goes_when_its_time_is_over_and_stays_removed(autojump_clock: object) -> None:
    async with ledgers(household(2)) as [one, other]:
        await do(one, mkdir("f"), big("f/a", 1))
        await one.remove_tree(path("f"))
        await sync_all([one, other])
        for ledger in (one, other):
            assert len((await ledger.trash_page(everything=True)).items) == 2
            await sweep(ledger, 31)
            assert (await ledger.inspect()).rows == 0, "what was dropped is not taken for lost"
            assert not (await ledger.trash_page(everything=True)).items
            assert await ledger.buried_at(path("f/a")) is None
            assert await referenced(ledger) == []
            assert await tree(ledger) == {}
        await do(other, put("f/a", b"new"))
        await sync_all([one, other])
        assert await tree(one) == await tree(other) == {"f": None, "f/a": b"new"}


async def test_a_machine_whose_clock_is_years_behind_makes_nothing_old(autojump_clock: object) -> None:
    machines = household(2)
    machines[1].clock.skew_s = -20 * 365 * 86_400.0
    async with ledgers(machines) as [one, slow]:
        await do(one, big("a", 1), big("b", 2))
        await sync_all([one, slow])
        await do(slow, big("a", 3), Remove(path("b")))
        await sync_all([one, slow])
        assert await sweep(one, 29) == 0
        assert await referenced(one) == [1, 2, 3]
        assert len((await one.trash_page()).items) == 1
        await sweep(one, 31)
        assert await referenced(one) == [3]


async def test_a_rule_holds_below_its_folder_until_a_nearer_one(autojump_clock: object) -> None:
    async with ledgers(household(1)) as [ledger]:
        for folder in ("long", "long/short", "ever"):
            await do(ledger, mkdir(folder))
        for number, where in enumerate(("a", "long/a", "long/short/a", "ever/a"), start=1):
            await do(ledger, big(where, number))
            await do(ledger, big(where, number + 10))
        await rule(ledger, "long", 90)
        await rule(ledger, "long/short", 10)
        await rule(ledger, "ever", FOR_EVER)
        await sweep(ledger, 11)
        assert await referenced(ledger) == [1, 2, 4, 11, 12, 13, 14]
        await sweep(ledger, 31)
        assert await referenced(ledger) == [2, 4, 11, 12, 13, 14]
        await sweep(ledger, 9000)
        assert await referenced(ledger) == [4, 11, 12, 13, 14]
        await rule(ledger, "ever", None)
        await sweep(ledger, 31)
        assert await referenced(ledger) == [11, 12, 13, 14]
        assert [shown for shown, _ in await ledger.retention_rules()] == [path("long"), path("long/short")]


async def test_rules_travel_and_of_two_at_once_the_one_that_keeps_more_counts(autojump_clock: object) -> None:
    async with ledgers(household(2)) as [one, other]:
        await rule(one, "", 10, 5000)
        await rule(other, "", 60)
        await sync_all([one, other])
        expected = [((), Retention(ROOT_ENTRY, 60, None))]
        assert await one.retention_rules() == await other.retention_rules() == expected
        await rule(one, "", 20, 7000)
        await sync_all([one, other])
        assert await other.retention_rules() == [((), Retention(ROOT_ENTRY, 20, 7000))]


def test_the_longest_of_rules_is_the_longest_in_every_respect() -> None:
    entry = ROOT_ENTRY
    rules = [Retention(entry, 5, 100), Retention(entry, FOR_EVER, 50), Retention(entry, 900, 70)]
    assert longest(rules) == Retention(entry, FOR_EVER, 100)
    assert longest([*rules, Retention(entry, 1, None)]) == Retention(entry, FOR_EVER, None)


async def test_a_snapshot_keeps_what_it_shows(autojump_clock: object) -> None:
    async with ledgers(household(1)) as [ledger]:
        await do(ledger, mkdir("f"), big("f/a", 1), big("gone", 7))
        await do(ledger, big("f/a", 2))
        await do(ledger, MakeSnapshot("spring"))
        cut = (await ledger.snapshots())[0].snapshot.cut
        shown = {where: item.held async for where, item in ledger.walk(at=cut)}
        await do(ledger, big("f/a", 3), Move(path("f"), path("g")), Remove(path("gone")))
        await do(ledger, big("g/a", 4))
        await sweep(ledger, 31)
        assert await referenced(ledger) == [2, 4, 7]
        assert {where: item.held async for where, item in ledger.walk(at=cut)} == shown
        await do(ledger, RemoveSnapshot("spring"))
        await sweep(ledger, 31)
        assert await referenced(ledger) == [4]


async def test_a_quota_drops_the_oldest_first_and_nothing_of_the_last_fortnight(autojump_clock: object) -> None:
    async with ledgers(household(1)) as [ledger]:
        for number in range(1, 7):
            await do(ledger, big("a", number))
        await do(ledger, big("b", 8))
        await do(ledger, Remove(path("b")))
        await rule(ledger, "", FOR_EVER, 30_000)
        assert await ledger.drop_beyond_quota(NOW_MS + 13 * DAY_MS) == 0
        dropped = 0
        while count := await ledger.drop_beyond_quota(NOW_MS + 15 * DAY_MS, 2):
            dropped += count
        # 10,000 bytes each: five old versions, one removed thing and the version it removed
        assert dropped == 4
        assert await referenced(ledger) == [5, 6, 8]
        assert (await ledger.history_size()).bytes <= 30_000


async def test_dropped_names_are_found_no_more_and_the_index_of_names_stays_sound(autojump_clock: object) -> None:
    async with ledgers(household(1)) as [ledger]:
        await do(ledger, put("holiday plans", b"1"))
        await do(ledger, Move(path("holiday plans"), path("work plans")))
        await sweep(ledger, 31)
        [(left,)] = ledger._store.database.execute("SELECT count(*) FROM names WHERE names MATCH 'hol'")
        assert left == 0
        ledger._store.database.execute("INSERT INTO names(names) VALUES('integrity-check')")
        found = (await ledger.search(Query(NamePattern(("plans",))))).found
        assert [hit.held.version.name for hit in found] == [b"work plans"]


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_dropping_history_changes_nothing_that_is_shown(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with ledgers(household(2, seed=seed)) as opened:
            for count in range(40):
                await random_step(rng, opened, count)
                if count % 7 == 6:
                    chosen = rng.choice(opened)
                    before = await tree(chosen)
                    await sweep(chosen, 400, page=rng.randint(1, 5))
                    assert await tree(chosen) == before
            await sync_all(opened)
            assert await tree(opened[0]) == await tree(opened[1])
            shown = await tree(opened[0])
            await opened[0].rebuild_index()
            assert await tree(opened[0]) == shown

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


def test_the_household_goes_by_its_middle_clock() -> None:
    year_2036 = NOW_MS + 10 * 365 * DAY_MS
    assert common_time_ms(NOW_MS, [], alone=True) == NOW_MS
    assert common_time_ms(NOW_MS, [], alone=False) is None
    assert common_time_ms(year_2036, [NOW_MS], alone=False) == NOW_MS
    assert common_time_ms(NOW_MS, [year_2036, NOW_MS + 5], alone=False) == NOW_MS + 5
    assert common_time_ms(0, [NOW_MS, NOW_MS + 1], alone=False) == NOW_MS


