"""How a run went over time: what the plots of a report show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import apsw
import trio

from p2pstore.placement.promise import stripe_health

if TYPE_CHECKING:
    from simulations.world import World

SAMPLES: Final = 200
"""Points of a plot: as many as a screen has room for."""


@dataclass(slots=True)
class History:
    """One value of each per sample.

    Attributes:
        at_s: when.
        states: how many different states the machines that run have seen; 1 when all are equal.
        margin: how many more losses the worst stripe survives; -1 when one cannot be read. Of all disks together,
            machines that are off included.
        repaired_bytes: rebuilt since the beginning.
        running: machines that are awake.
    """

    at_s: list[float] = field(default_factory=list)
    states: list[int] = field(default_factory=list)
    margin: list[int] = field(default_factory=list)
    repaired_bytes: list[int] = field(default_factory=list)
    running: list[int] = field(default_factory=list)

    def summary(self) -> dict[str, list[float]]:
        """For --json."""
        return {
            "at_s": [round(at_s, 1) for at_s in self.at_s],
            "states": list(self.states),
            "margin": list(self.margin),
            "repaired_bytes": list(self.repaired_bytes),
            "running": list(self.running),
        }


async def keep_history(world: World, history: History, *, every_s: float) -> None:
    """Look at the world now and then, for ever."""
    while True:
        take_sample(world, history)
        await trio.sleep(every_s)


def take_sample(world: World, history: History) -> None:
    """One point of each plot."""
    awake = [machine for machine in world.machines if machine.is_awake]
    seen = {machine.node.ledger.vector().root() for machine in awake if machine.node is not None}
    history.at_s.append(world.now_s)
    history.states.append(len(seen))
    history.margin.append(_margin(world, history))
    history.repaired_bytes.append(world.repaired_bytes)
    history.running.append(len(awake))


def _margin(world: World, history: History) -> int:
    """Of the stripes that somebody awake knows; the last value while nobody can be asked."""
    before = history.margin[-1] if history.margin else 0
    best = max(
        (machine for machine in world.machines if machine.is_awake and machine.node is not None),
        key=lambda machine: sum(machine.node.ledger.vector().entries.values()) if machine.node else 0,
        default=None,
    )
    if best is None or best.node is None:
        return before
    database = best.node.ledger._store.database
    worst: int | None = None
    try:
        stripes = list(database.execute(STRIPES))
    except apsw.Error:
        return before  # it is just being stopped
    for encoding, needed in stripes:
        holders = world.holders_of(encoding)
        if holders is not None:
            survives = stripe_health(needed, holders).survives
            worst = survives if worst is None else min(worst, survives)
    return before if worst is None else worst


STRIPES: Final = "SELECT DISTINCT encoding, needed FROM stripes ORDER BY encoding"
