"""Invariant 11: repair rebuilds nothing that is not lost, and at most three times of what is.

Absences within their grace cost nothing, whatever else happens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.placement.verdict import GRACE_S
from simulations.schedule import Plan

if TYPE_CHECKING:
    from simulations.world import World

NAME: Final = "cost"

FACTOR: Final = 3.0
"""The floor is what was lost; a stripe that loses two rows one after the other is rebuilt twice."""

SLACK_BYTES: Final = 1 << 20
"""Shards that were on their way when a disk was lost are in no count."""

AWAY: Final = frozenset({"crash", "kill", "stop", "suspend", "stall", "isolate", "partition", "cut", "nat", "swizzle"})


def check(world: World, plan: Plan) -> None:
    """Compare what was rebuilt with what was lost."""
    rebuilt = world.repaired_bytes
    damaged = world.damaged_after(0.0)
    if any(machine.damage.rotted or machine.damage.unwitnessed for machine in world.machines) or _long_away(plan):
        return
    if not damaged and rebuilt:
        what = f"{rebuilt:,} bytes were rebuilt, though nothing was lost and everybody was back within their grace"
        world.oracle.violate(NAME, world.now_s, what)
    elif rebuilt > FACTOR * world.lost_bytes + SLACK_BYTES:
        what = f"{rebuilt:,} bytes were rebuilt for {world.lost_bytes:,} that were lost"
        world.oracle.violate(NAME, world.now_s, what)


def _long_away(plan: Plan) -> bool:
    """Whether somebody may have been away for longer than others wait."""
    return any(
        fault.kind in AWAY
        and fault.lasts_s >= (GRACE_S[plan.machines[fault.machine].steadiness] if fault.machine >= 0 else 86400.0)
        for fault in plan.faults
    )
