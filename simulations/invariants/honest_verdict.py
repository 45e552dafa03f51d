"""Invariant 9: the verdict says no more than is so.

Who says at the end that everything is safe must be right by what lies on the disks: every stripe bears as many losses
as the household promises. What nobody can have noticed is left out: machines that burnt count until their grace is
over, and rot counts until a scrub is due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.errors import P2PStoreError
from p2pstore.placement.promise import stripe_health
from p2pstore.placement.verdict import State
from p2pstore.placement.what_if import CountedStripe

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "honest_verdict"


async def check(world: World, machines: list[Machine]) -> int:
    """Compare what every machine says with what is so; how many say "safe"."""
    if any(machine.enrolled and (machine.gone or machine.damage.rotted) for machine in world.machines):
        return 0
    if any(machine.damage.unwitnessed for machine in world.machines):
        return 0  # a store set back behind everybody's back: the next scrub tells
    count = 0
    for machine in machines:
        if machine.node is None:
            continue
        try:
            verdict = await machine.node.verdicts.verdict(fresh=True)
            if verdict.state is not State.SAFE:
                continue
            count += 1
            async for stripes in machine.node.verdicts.stripes():
                for stripe in stripes:
                    _check_stripe(world, machine, stripe)
        except P2PStoreError:
            continue  # it went to sleep, or its disk is full
    return count


def _check_stripe(world: World, machine: Machine, stripe: CountedStripe) -> None:
    holders = world.holders_of(stripe.encoding)
    if holders is None:
        return
    health = stripe_health(stripe.needed, holders)
    if not health.keeps(stripe.promise):
        what = f"{machine} says that all is safe, and a stripe survives {health.survives} losses"
        world.oracle.violate(NAME, world.now_s, what)
