"""A ledger that nothing has damaged has nothing to mend: of equal vectors, all machines hold equal states.

Range-based reconciliation is an alarm. It may ring for a ledger that lost rows, and where one writer has two histories.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from p2pstore.ledger.mending import Health

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "sound"


async def check(world: World, machines: list[Machine]) -> None:
    """At the end: who was not damaged has mended nothing and heard no alarm; who was has got everything back."""
    damaged = any(machine.damage.ledger_rows for machine in world.machines)
    forked = False
    for machine in machines:
        assert machine.node is not None
        forked = forked or bool(await machine.node.ledger.forks())
    for machine in machines:
        assert machine.node is not None
        health = await machine.node.ledger.health()
        if machine.damage.ledger_rows:
            if health.missing and not forked:
                world.oracle.violate(NAME, world.now_s, f"{machine} still misses {health.missing} operations")
            continue
        expected = replace(Health(), differences=health.differences) if damaged or forked else Health()
        if health != expected:
            world.oracle.violate(NAME, world.now_s, f"{machine}, which was not damaged, tells of damage: {health}")
