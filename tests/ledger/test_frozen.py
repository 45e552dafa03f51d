"""What a removed machine wrote beyond its cut: frozen everywhere alike, in whatever order news comes, and adoptable."""

from __future__ import annotations

import random

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.ids import ROOT_ENTRY, PeerId
from p2pstore.ledger.drafts import MakeSnapshot, Remove, SetRetention, SetTag
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.adoption import joined_cuts
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.vector import Vector
from tests.ledger.household import Machine, do, household, ledgers, path, pull, put, sync_all, tree
from tests.ledger.test_history import random_step
from tests.ledger.test_retention import big, entry_of, referenced


def cut_of(ledger: Ledger, author: PeerId) -> dict[PeerId, Vector]:
    """What `ledger` has heard of a machine, as a removal would name it."""
    return joined_cuts([(author, [ledger.vector().encode()])])


async def story_of_a_laptop(opened: list[Ledger], machines: list[Machine]) -> dict[PeerId, Vector]:
    """The last machine edits, removes, tags and shortens retention after the others have removed it."""
    home, laptop = opened[0], opened[-1]
    await do(home, big("a", 1), big("b", 2), put("c"))
    await sync_all(opened)
    cuts = cut_of(home, machines[-1].peer_id)
    await do(laptop, big("a", 11), Remove(path("b")), put("new", b"new"))
    entry = await entry_of(laptop, "c")
    await do(laptop, SetTag(entry, "mine", present=True), MakeSnapshot("then"))
    await do(laptop, SetRetention(Retention(ROOT_ENTRY, 1, None)))
    return cuts


@pytest.mark.parametrize("removed_first", [True, False])
async def test_what_comes_after_the_cut_is_covered_but_shown_nowhere(
    autojump_clock: trio.testing.MockClock, *, removed_first: bool
) -> None:
    machines = household(3)
    thief = machines[-1].peer_id
    async with ledgers(machines) as opened:
        cuts = await story_of_a_laptop(opened, machines)
        before = await tree(opened[0])
        if removed_first:
            for ledger in opened[:2]:
                await ledger.cut_off(cuts)
        await sync_all(opened)
        for ledger in opened:
            await ledger.cut_off(cuts)
            assert ledger.vector() == opened[-1].vector()
            assert await tree(ledger) == before
            assert await ledger.all_tags() == []
            assert await ledger.snapshots() == []
            assert await ledger.retention_rules() == []
            assert await ledger.frozen_counts() == {thief: 3}
            assert [(one.path, one.deleted) for one in await ledger.frozen_changes(thief)] == [
                (path("a"), False), (path("b"), True), (path("new"), False),
            ]  # fmt: skip
            # a content that may be adopted yet is not collected
            assert await referenced(ledger) == [1, 2, 11]
        await do(opened[0], big("a", 3))
        await sync_all(opened[:2])
        assert await tree(opened[1]) == before
        assert len((await opened[1].conflicts()).conflicts) == 0


async def test_adopting_lets_it_count_on_all_machines_beside_what_was_changed_meanwhile(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machines = household(3)
    thief = machines[-1].peer_id
    async with ledgers(machines) as opened:
        cuts = await story_of_a_laptop(opened, machines)
        for ledger in opened[:2]:
            await ledger.cut_off(cuts)
        await sync_all(opened)
        await do(opened[1], put("b", b"edited"))
        assert await opened[0].adopt(thief) == 3
        assert await opened[0].adopt(thief) == 0
        await do(opened[-1], put("too late"))
        await sync_all(opened)
        for ledger in opened[:2]:
            shown = await tree(ledger)
            assert shown["new"] == b"new"
            assert shown["b"] == b"edited", "an edit beats a removal that did not see it"
            assert await ledger.all_tags() == [("mine", 1)]
            assert await ledger.frozen_counts() == {thief: 1}, "an adoption reaches as far as it names"
            assert "too late" not in shown
        assert await tree(opened[0]) == await tree(opened[1])


async def test_a_machine_that_is_a_member_again_counts_again(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(3)
    async with ledgers(machines) as opened:
        cuts = await story_of_a_laptop(opened, machines)
        await sync_all(opened)
        shown = await tree(opened[0])
        await opened[0].cut_off(cuts)
        assert await tree(opened[0]) != shown
        await opened[0].cut_off({})
        assert await tree(opened[0]) == shown


async def test_the_cut_outlives_a_restart_and_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as opened:
        await do(opened[0], put("a", b"1"))
        await sync_all(opened)
        await opened[0].cut_off(cut_of(opened[0], machines[1].peer_id))
        await do(opened[1], put("a", b"2"))
    async with ledgers(machines) as opened:
        await pull(opened[0], opened[1])
        assert await tree(opened[0]) == {"a": b"1"}
        assert await opened[0].frozen_counts() == {machines[1].peer_id: 1}


async def test_two_removed_machines_cannot_adopt_each_other(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(3)
    one, other = machines[1].peer_id, machines[2].peer_id
    async with ledgers(machines) as opened:
        await do(opened[0], put("a", b"1"))
        await sync_all(opened)
        cuts = {**cut_of(opened[0], one), **cut_of(opened[0], other)}
        for ledger, partner in ((opened[1], other), (opened[2], one)):
            await ledger.cut_off({partner: Vector()})
        await do(opened[1], put("b"))
        await do(opened[2], put("c"))
        await sync_all(opened)
        await opened[1].adopt(other)
        await opened[2].adopt(one)
        await sync_all(opened)
        await opened[0].cut_off(cuts)
        assert await tree(opened[0]) == {"a": b"1"}


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_whoever_hears_of_the_removal_when_shows_the_same(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        machines = household(3, seed=seed)
        async with ledgers(machines) as opened:
            for count in range(15):
                await random_step(rng, opened, count)
            cuts = cut_of(rng.choice(opened), machines[2].peer_id)
            waits = [rng.randrange(15) for _ in opened]
            for count in range(15):
                for number, ledger in enumerate(opened[:2]):
                    if waits[number] == count:
                        await ledger.cut_off(cuts)
                await random_step(rng, opened, count + 100)
            await sync_all(opened)
            shown = [await tree(ledger) for ledger in opened[:2]]
            assert shown[0] == shown[1]
            await opened[0].rebuild_index()
            assert await tree(opened[0]) == shown[0]

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_removal_without_a_cut_freezes_nothing() -> None:
    peer = PeerId(bytes(32))
    assert joined_cuts([(peer, [b""])]) == {}
    assert joined_cuts([(peer, [b"", Vector().encode()])]) == {}
    assert joined_cuts([(peer, [Vector().encode()])]) == {peer: Vector()}
