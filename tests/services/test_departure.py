"""Machines leave a household of real nodes in virtual time: nothing goes before it is elsewhere; times scaled down."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from p2pstore.errors import NoSpace
from p2pstore.ids import PeerId
from p2pstore.metadata.roster_changes import NotAllowed, remove, retire
from p2pstore.metadata.roster_statements import Duty
from p2pstore.protocols import sync
from p2pstore.seams.network import Message
from p2pstore.services.placing import PlacedStripe
from simulations.machine import Fitting, Machine
from tests.services.test_repairer import SIX, House, play


async def say(by: Machine, subject: Machine, duty: Duty, heir: Machine | None = None) -> None:
    """One machine says of another (or itself) that it leaves, or stays."""
    node = by.node
    assert node is not None
    membership = node.membership
    statements = retire(membership.identity, membership.roster, subject.me, duty, heir and heir.me)
    await membership.change(membership.identity, statements)


def is_out(machine: Machine, by: Machine) -> bool:
    """Whether `by` knows the machine as removed."""
    assert by.node is not None
    return by.node.membership.roster.member(machine.me) is None


async def wait_over(machine: Machine, *, within_s: float = 900.0) -> bool:
    """Whether a machine gets to know that it may be erased."""
    with trio.move_on_after(within_s):
        assert machine.node is not None
        await machine.node.departure.over.wait()
        return True
    return False


def test_a_machine_that_leaves_is_erased_only_after_everything_survives_as_much_without_it() -> None:
    async def act(house: House) -> None:
        pi, nas = house["pi"], house["nas"]
        before = await house.survives()
        await say(nas, pi, Duty.LEAVES)
        assert await wait_over(pi)
        assert await house.survives([pi]) >= before >= 2
        assert all(is_out(pi, each) for each in house.world.machines if each is not pi)
        assert house.placed_bytes() > 0

    play(SIX, act)


def test_what_came_a_moment_before_is_not_forgotten() -> None:
    async def act(house: House) -> None:
        pi, nas = house["pi"], house["nas"]
        await house.put(pi, seed=7, rest_s=0.0)
        await say(nas, pi, Duty.LEAVES)
        assert await wait_over(pi)
        assert await house.survives([pi]) >= 2

    play(SIX, act)


@pytest.mark.parametrize("pause_s", [1.0, 7.0, 23.0, 61.0, 140.0])
def test_it_may_die_anywhere_on_the_way_and_so_may_the_admin(pause_s: float) -> None:
    async def act(house: House) -> None:
        pi, nas = house["pi"], house["nas"]
        await say(nas, pi, Duty.LEAVES)
        for machine in (pi, nas, pi):
            await trio.sleep(pause_s)
            await machine.crash(power_cut=True)
            assert pi.node is None or not pi.node.departure.over.is_set() or await house.survives([pi]) >= 2
            await trio.sleep(20.0)
            await house.world.restart(machine)
            house.scale_down()
        assert await wait_over(pi, within_s=3000.0)
        assert await house.survives([pi]) >= 2

    play(SIX, act)


def test_two_that_leave_at_once_do_not_lean_on_each_other() -> None:
    async def act(house: House) -> None:
        pi, old = house["pi"], house["old"]
        await say(house["nas"], pi, Duty.LEAVES)
        await say(old, old, Duty.LEAVES)  # each machine may say it of itself
        assert await wait_over(pi, within_s=2000.0)
        assert await wait_over(old, within_s=2000.0)
        assert await house.survives([pi, old]) >= 2

    play(SIX, act)


def test_a_machine_that_sleeps_is_drained_meanwhile_and_goes_when_it_wakes() -> None:
    async def act(house: House) -> None:
        lap, nas = house["lap"], house["nas"]
        lap.sleep()
        await trio.sleep(100.0)
        await say(nas, lap, Duty.LEAVES)
        await trio.sleep(300.0)
        assert await house.survives([lap]) >= 2, "nobody has to wait for it"
        assert not is_out(lap, nas), "what it wrote last may be on its disk alone"
        lap.wake(stalled=False)
        assert await wait_over(lap)
        assert is_out(lap, nas)

    play(SIX, act)


def test_who_is_out_may_ask_whether_it_is_and_is_told_nothing_else() -> None:
    async def act(house: House) -> None:
        lap, nas = house["lap"], house["nas"]
        await say(nas, lap, Duty.LEAVES)
        await trio.sleep(1.0)
        lap.sleep()
        assert nas.node is not None
        assert lap.node is not None
        membership = nas.node.membership
        removal = remove(membership.identity, membership.roster, lap.me, now_s=0.0)
        await membership.change(membership.identity, [removal])
        await trio.sleep(100.0)
        await house.put(nas, seed=8)
        written = nas.node.ledger.vector()
        told: list[str] = []
        handle = lap.node.metadata_sync.handle

        async def listen(peer: PeerId, message: Message) -> Message | None:
            told.append(message.kind)
            return await handle(peer, message)

        lap.node.metadata_sync.handle = listen  # type: ignore[method-assign]
        lap.wake(stalled=False)
        await trio.sleep(300.0)
        assert lap.node.membership.myself is None, "it has asked"
        assert not lap.node.departure.over.is_set(), "it was not done: nothing is erased"
        assert not lap.node.ledger.vector().covers_all(written)
        assert len(told) <= 5, "what was under way to it when it fell asleep"
        assert set(told) <= {sync.ROOT}

    play(SIX, act)


def test_what_cannot_be_kept_without_it_keeps_it_here_unless_a_person_said_anyway() -> None:
    async def act(house: House) -> None:
        two, one = house["two"], house["one"]
        await say(one, two, Duty.LEAVES)
        assert not await wait_over(two, within_s=600.0)
        assert two.node is not None
        progress = two.node.departure.progress(two.me)
        assert progress is not None
        assert progress.left == progress.total > 0
        assert progress.waits
        await say(one, two, Duty.LEAVES_ANYWAY)
        assert await wait_over(two)
        assert await house.survives([two]) == 0, "all of it is readable on the one that is left"

    play([Fitting("one"), Fitting("two")], act)


def test_who_stays_after_all_is_a_holder_like_others() -> None:
    async def act(house: House) -> None:
        pi, nas = house["pi"], house["nas"]
        nas_node = nas.node
        assert nas_node is not None
        house["lap"].sleep()
        await say(nas, pi, Duty.LEAVES)
        await trio.sleep(60.0)
        await say(nas, pi, Duty.STAYS)
        await trio.sleep(600.0)
        assert pi.node is not None
        assert not pi.node.departure.over.is_set()
        assert pi.node.departure.progress(pi.me) is None
        assert not is_out(pi, nas)

    play(SIX, act)


def test_nobody_puts_where_somebody_leaves() -> None:
    async def act(house: House) -> None:
        pi, nas = house["pi"], house["nas"]
        house["lap"].sleep()  # so that pi does not get away: it is proven by all who hold
        await say(nas, pi, Duty.LEAVES)
        await trio.sleep(15.0)
        assert pi.node is not None
        before = pi.node.store.usage().shard_count
        await house.put(nas)
        assert pi.node.store.usage().shard_count == before

    play(SIX, act)


def test_the_named_one_takes_over() -> None:
    async def act(house: House) -> None:
        heir = house["new"]
        assert heir.node is not None
        heir.sleep()
        await trio.sleep(40.0)
        await house.put(house.world.machines[0], seed=6)
        heir.wake(stalled=False)
        await trio.sleep(60.0)
        had = heir.node.store.usage().shard_count
        await say(house["nas"], house["pi"], Duty.LEAVES, heir)
        assert await wait_over(house["pi"])
        assert heir.node.store.usage().shard_count > had
        assert heir.node.repairer.work.shards + heir.node.store.usage().shard_count > had

    play([*SIX, Fitting("new")], act)


def test_an_admin_leaves_when_enough_others_agree_not_before() -> None:
    async def act(house: House) -> None:
        nas, pi = house["nas"], house["pi"]
        await say(nas, nas, Duty.LEAVES)
        assert not await wait_over(nas, within_s=300.0), "nobody would be left to lead the household"
        assert nas.node is not None
        progress = nas.node.departure.progress(nas.me)
        assert progress is not None
        assert "no machine stays" in progress.waits
        assert pi.node is not None
        with pytest.raises(NotAllowed):
            retire(pi.node.membership.identity, pi.node.membership.roster, nas.me, Duty.LEAVES)

    play(SIX, act)


def test_a_full_disk_ends_nobody_who_stays_after_all() -> None:
    async def act(house: House) -> None:
        one = house["one"].node
        assert one is not None
        tried: list[bytes] = []

        async def setting(_name: str) -> bytes:
            return b"done"

        async def set_setting(_name: str, value: bytes) -> None:
            tried.append(value)
            if len(tried) < 3:
                raise NoSpace("full")

        departure = one.departure
        one.ledger.setting, one.ledger.set_setting = setting, set_setting  # type: ignore[method-assign,assignment]
        with trio.move_on_after(60.0):
            await departure._leave_in_order()
        assert tried.count(b"") == 3

    play([Fitting("one"), Fitting("two")], act)


def test_what_is_owed_does_not_lean_on_a_machine_that_is_out() -> None:
    async def act(house: House) -> None:
        pi, node = house["pi"], house["nas"].node
        assert node is not None
        encodings = [each.encoding for each in await node.ledger.stripes_after(None, 1000)]
        removal = remove(node.membership.identity, node.membership.roster, pi.me, now_s=0.0)
        await node.membership.change(node.membership.identity, [removal])
        claims = await node.catalog.holders_of(encodings)
        assert any(pi.me in held for held in claims.values()), "its inventory is still here"
        asked: list[frozenset[PeerId]] = []
        extend = node.placing.extend

        async def watched(placed: PlacedStripe, *rest: Any) -> None:
            asked.append(frozenset(placed.held))
            await extend(placed, *rest)

        node.placing.extend = watched  # type: ignore[method-assign,assignment]
        for encoding in encodings:
            await node.placer._improve(encoding)
        assert asked
        assert not any(pi.me in each for each in asked)

    play(SIX, act)
