"""Two copies of one installation that ran at once: both edits stay, and all machines come to show the same."""

from __future__ import annotations

import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import PathFault
from p2pstore.ledger.drafts import Remove, SetTag
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.vector import Vector
from tests.ledger.household import Machine, do, household, ledgers, path, pull, put, tree
from tests.ledger.test_history import random_step
from tests.ledger.test_retention import entry_of


async def with_a_clone(machines: list[Machine]) -> list[Machine]:
    """The machines, and a copy of the first one's disk that nobody knows of."""
    original = machines[0]
    clone = household(1)[0]
    clone.identity, clone.publics, clone.names = original.identity, original.publics, original.names
    clone.keys, clone.current = original.keys, original.current
    clone.rng = random.Random(4711)
    clone.disk.restore(original.disk.snapshot())
    return [*machines, clone]


async def state_forks(one: Ledger, other: Ledger) -> int:
    """What the service does, without messages."""
    stated = 0
    for head in await one.differing(await other.heads()):
        if head.writer in await one.forked_writers():
            continue
        theirs = {link.first: link for link in await other.links(head.writer, 2**53)}
        ours = {link.first: link for link in await one.links(head.writer, 2**53)}
        shared = [link.last for link in theirs.values() if ours.get(link.first) == link]
        await one.state_fork(head.writer, max(shared, default=0))
        stated += 1
    return stated


async def settle(opened: list[Ledger]) -> None:
    """Everybody talks with everybody until nothing is new."""
    for _ in range(4):
        for target in opened:
            for source in opened:
                if source is not target:
                    await pull(target, source)
                    await state_forks(target, source)
    vectors = {ledger.compared_vector().root() for ledger in opened}
    assert len(vectors) == 1


async def test_both_edits_stay_and_all_machines_show_the_same(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(3)
    async with ledgers(machines) as opened:
        await do(opened[0], put("shared", b"0"), put("kept", b"0"))
        for ledger in opened[1:]:
            await pull(ledger, opened[0])
    machines = await with_a_clone(machines)
    async with ledgers(machines) as opened:
        original, b, c, clone = opened
        life = original.own_writer
        await do(original, put("shared", b"original"))
        await do(clone, put("shared", b"clone"))
        await do(clone, Remove(path("kept")), put("new", b"by the clone"))
        await do(clone, SetTag(await entry_of(clone, "new"), "mine", present=True))
        await pull(b, original)
        await pull(c, clone)
        await do(b, put("by b"))
        await settle(opened)
        shown = [await tree(ledger) for ledger in opened]
        assert shown[0] == shown[1] == shown[2] == shown[3]
        contents = sorted(data for name, data in shown[0].items() if name.startswith("shared"))
        assert contents == [b"clone", b"original"]
        assert shown[0]["new"] == b"by the clone"
        assert "kept" not in shown[0]
        assert await b.all_tags() == [("mine", 1)]
        assert len({ledger.own_writer for ledger in (original, clone)} - {life}) == 2, "both began a new life"
        for ledger in opened:
            assert await ledger.frozen_counts() == {}
            assert await ledger.forked_writers() == {life: 2}
            before = await tree(ledger)
            await ledger.rebuild_index()
            assert await tree(ledger) == before
        await do(clone, put("shared", b"later"))
        await do(original, put("after", b"1"))
        await settle(opened)
        shown = [await tree(ledger) for ledger in opened]
        assert shown[0] == shown[1] == shown[2] == shown[3]


async def test_histories_of_one_length_are_told_apart(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with machines[0].ledger():
        pass  # from now on it has a life that can be copied
    machines = await with_a_clone(machines)
    async with ledgers(machines) as [original, b, clone]:
        assert original.own_writer == clone.own_writer, "copied before anything was written"
        await do(original, put("a", b"1"))
        await do(clone, put("b", b"2"))
        await pull(b, original)
        assert b.vector() == clone.vector()
        before = b.receipt_vector()
        assert before == b.vector()
        done = await b.apply((await clone.commits_after(Vector(), 100_000)).commits)
        assert done.refused == 1
        assert b.receipt_vector() == Vector(), "what was refused is not receipted, though the vector covers its name"
        assert await state_forks(b, clone) == 1
        await settle([original, b, clone])
        for ledger in (original, b, clone):
            assert await tree(ledger) == {"a": b"1", "b": b"2"}


async def test_a_branch_whose_copy_never_returns_is_taken_in_by_who_has_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machines = household(3)
    async with ledgers(machines) as opened:
        await do(opened[0], put("a", b"0"))
        for ledger in opened[1:]:
            await pull(ledger, opened[0])
    machines = await with_a_clone(machines)
    async with ledgers(machines) as [original, b, c, clone]:
        await do(original, put("a", b"original"))
        await do(clone, put("a", b"clone"), put("only there", b"1"))
        await pull(b, original)
        await pull(c, clone)
        opened = [original, b, c]  # the clone is thrown away
        await settle(opened)
        for ledger in opened:
            shown = await tree(ledger)
            assert shown["only there"] == b"1"
            assert sorted(data for name, data in shown.items() if name != "only there") == [b"clone", b"original"]
            assert await ledger.frozen_counts() == {}


async def test_a_machine_that_was_set_back_loses_nothing_of_what_it_had_written(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machines = household(2)
    async with ledgers(machines) as [a, b]:
        await do(a, put("old", b"0"))
        await pull(b, a)
    image = machines[0].disk.snapshot()
    async with ledgers(machines) as [a, b]:
        for number in range(4):
            await do(a, put(f"acknowledged {number}", b"1"))
        await do(a, put("old", b"edited"))
        await pull(b, a)
    machines[0].disk.restore(image)
    async with ledgers(machines) as [a, b]:
        await do(a, put("written again", b"2"))
        await settle([b, a])
        for ledger in (a, b):
            shown = await tree(ledger)
            assert len(shown) == 6
            assert shown["old"] == b"edited"
            assert await ledger.frozen_counts() == {}
            assert (await ledger.inspect()).rows == 0, "what follows from the log is as it should be"


async def test_a_newcomer_gets_everything_after_a_fork(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(3)
    async with machines[0].ledger():
        pass
    machines = await with_a_clone(machines)
    async with ledgers(machines) as [original, b, newcomer, clone]:
        assert original.own_writer == clone.own_writer
        await do(original, put("a", b"1"))
        for number in range(5):
            await do(clone, put(f"b{number}", b"2"))
        await pull(b, original)
        await do(b, put("by b"))
        await settle([original, b, clone])
        await pull(newcomer, b)
        assert await tree(newcomer) == await tree(b)
        assert len(await tree(newcomer)) == 7


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32))
def test_whatever_copies_do_nothing_is_lost_and_all_end_alike(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        machines = household(3, seed=seed)
        async with ledgers(machines) as opened:
            for count in range(10):
                await random_step(rng, opened, count)
        machines = await with_a_clone(machines)
        async with ledgers(machines) as opened:
            for count in range(25):
                ledger = rng.choice(opened)
                try:
                    match rng.randrange(4):
                        case 0:
                            await do(ledger, put(f"only {count}", b"%d" % count))
                        case 1:
                            await do(ledger, put(rng.choice("abc"), b"%d" % count))
                        case 2:
                            await do(ledger, Remove(path(rng.choice("abc"))))
                        case _:
                            await pull(ledger, rng.choice(opened))
                except PathFault:
                    pass
            made = {name for ledger in opened for name in await tree(ledger) if name.startswith("only")}
            await settle(opened)
            shown = [await tree(ledger) for ledger in opened]
            assert all(each == shown[0] for each in shown)
            assert made <= shown[0].keys()

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))
