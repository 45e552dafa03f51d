"""Invariant 10: after everything has healed, all machines hold the same state within a bounded time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import trio

from p2pstore.errors import P2PStoreError

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "convergence"

LOOK_EVERY_S: Final = 1.0


async def wait_equal(world: World, machines: list[Machine], *, bound_s: float) -> float | None:
    """Seconds until all of `machines` had seen the same; None, and a violation, if they did not within `bound_s`."""
    began_s = world.now_s
    while world.now_s - began_s < bound_s:
        vectors = {_seen(machine) for machine in machines}
        if len(vectors) == 1 and None not in vectors:
            return world.now_s - began_s
        await trio.sleep(LOOK_EVERY_S)
    told = [f"{machine}: {_summary(machine)}" for machine in machines]
    world.oracle.violate(NAME, world.now_s, f"not equal {bound_s:g} s after everything healed ({'; '.join(told)})")
    return None


def _seen(machine: Machine) -> tuple[bytes, bytes] | None:
    if machine.node is None:
        return None
    return machine.node.ledger.compared_vector().root(), machine.node.membership.roster.digest


def _summary(machine: Machine) -> str:
    if machine.node is None:
        return "off"
    entries = machine.node.ledger.vector().entries
    links = len(machine.node.network.linked_peers())
    return f"{sum(entries.values())} operations of {len(entries)} writers, {links} links"


async def shown(machine: Machine) -> list[tuple[Any, ...]]:
    """The tree as a machine shows it: path, kind, size, mtime of everything."""
    assert machine.node is not None
    found: list[tuple[Any, ...]] = []
    try:
        async for path, item in machine.node.ledger.walk(()):
            found.append((path, item.kind.name, item.size, item.mtime_ns, item.content))
    except P2PStoreError as error:
        found.append(((b"?",), str(error), 0, 0, None))
    return found


async def check_trees(world: World, machines: list[Machine]) -> None:
    """Who has seen the same shows the same."""
    first = await shown(machines[0])
    for machine in machines[1:]:
        other = await shown(machine)
        if other != first:
            different = sorted({str(each[0]) for each in set(map(_key, first)) ^ set(map(_key, other))})
            what = f"{machines[0]} and {machine} have seen the same and show different trees: {different[:3]}"
            world.oracle.violate(NAME, world.now_s, what)


def _key(line: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*line[:4], str(line[4]))
