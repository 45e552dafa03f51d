"""A new paper key in a household that is torn apart meanwhile."""

from __future__ import annotations

import random

import trio

from p2pstore.keys.household import HouseholdKeys, new_secret
from p2pstore.metadata.roster_changes import change_role, open_generations, remove, renew
from p2pstore.metadata.roster_codec import make_new_root
from p2pstore.node import Node
from simulations.machine import Machine
from simulations.world import World
from tests.simulations.test_world import in_world

FRESH = HouseholdKeys.derive(new_secret(random.Random(99)))


def node_of(machine: Machine) -> Node:
    assert machine.node is not None
    return machine.node


async def rotate(world: World, machine: Machine, *, with_paper: bool) -> None:
    membership = node_of(machine).membership
    roster = membership.roster
    assert world.household is not None
    new = make_new_root(FRESH, roster.network_id, replaced=roster.root_public)
    said = [renew(membership.identity, roster, new, now_s=1.0)]
    if with_paper:
        said.append(renew(world.household, roster, new, now_s=1.0))
    await membership.change(membership.identity, said)


async def promote(machine: Machine, other: Machine) -> None:
    membership = node_of(machine).membership
    await membership.change(
        membership.identity, change_role(membership.identity, membership.roster, other.me, "admin")
    )
    await trio.sleep(60)


def apart(world: World, *sides: list[int]) -> int:
    """Cut everything between the sides."""
    side_of = {number: side for side, numbers in enumerate(sides) for number in numbers}
    return world.cut([(a, b) for a in side_of for b in side_of if side_of[a] != side_of[b]])


def demand_new_paper(world: World, machines: list[Machine]) -> None:
    assert world.household is not None
    for machine in machines:
        membership = node_of(machine).membership
        assert membership.roster.root_public == FRESH.public
        assert membership.admit(FRESH.recovery_curve_public) == membership.recovery_peer
        assert membership.admit(world.household.recovery_curve_public) is None, "the old paper gets no link"
        opened = open_generations(membership.roster, FRESH.recovery_public, FRESH.recovery_secret)
        assert {each.id for each in opened.generations} == set(membership.roster.generation_ids())
        old = open_generations(
            membership.roster, world.household.recovery_public, world.household.recovery_secret
        )
        assert membership.current_generation().id not in {each.id for each in old.generations}
        assert membership.roster.ignored == 0


def test_a_new_paper_and_a_removal_on_two_sides_both_stand_and_who_was_off_hears_of_both() -> None:
    async def main(world: World) -> None:
        first, second, third, fourth = world.machines
        await promote(first, third)
        await fourth.stop()
        number = apart(world, [0, 1], [2, 3])
        await trio.sleep(30)
        await rotate(world, first, with_paper=True)
        there = node_of(third).membership
        gone = remove(there.identity, there.roster, second.me, now_s=2.0)
        await there.change(there.identity, [gone])
        await trio.sleep(60)
        assert there.roster.root_public != FRESH.public
        world.mend(number)
        assert await world.restart(fourth)
        await trio.sleep(300)
        family = [first, third, fourth]
        assert {node_of(machine).membership.roster.digest for machine in family} == {
            node_of(first).membership.roster.digest
        }
        demand_new_paper(world, family)
        assert node_of(fourth).membership.roster.member(second.me) is None
        assert not world.bugs

    in_world(main, count=4)


def test_without_the_old_paper_it_counts_when_the_last_admin_agrees() -> None:
    async def main(world: World) -> None:
        first, _, third = world.machines
        await promote(first, third)
        number = apart(world, [0, 1], [2])
        await trio.sleep(30)
        await rotate(world, first, with_paper=False)
        await trio.sleep(60)
        assert node_of(first).membership.roster.root_public != FRESH.public
        world.mend(number)
        await trio.sleep(120)
        membership = node_of(third).membership
        (pending,) = membership.roster.pending_renewals()
        agreed = renew(membership.identity, membership.roster, pending.new, now_s=3.0)
        await membership.change(membership.identity, [agreed])
        await trio.sleep(120)
        demand_new_paper(world, world.machines)
        assert not world.bugs

    in_world(main, count=3)


def test_the_end_of_the_machine_at_any_moment_leaves_one_paper_or_the_other_whole() -> None:
    for after_s in (0.0, 0.005, 0.02, 0.05, 0.2):

        async def main(world: World, after_s: float = after_s) -> None:
            first = world.machines[0]
            assert world.household is not None
            async with trio.open_nursery() as nursery:

                async def turning() -> None:
                    try:
                        await rotate(world, first, with_paper=True)
                    except Exception:
                        return

                nursery.start_soon(turning)
                await trio.sleep(after_s)
                await first.crash(power_cut=True)
                nursery.cancel_scope.cancel()
            assert await world.restart(first)
            await trio.sleep(120)
            roots = {node_of(machine).membership.roster.root_public for machine in world.machines}
            assert roots in ({FRESH.public}, {world.household.public})
            if roots == {FRESH.public}:
                demand_new_paper(world, world.machines)
            assert not world.bugs

        in_world(main, count=2)
