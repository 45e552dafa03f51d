"""Invariant 3: what was deleted or replaced by somebody who had seen it never shows again; nothing else vanishes.

Which operations are live follows from the signed commits alone; each ledger must hold exactly those, and show exactly
the contents that live among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.ids import Dot
from p2pstore.metadata.vector import Vector, writer_of
from p2pstore.metadata.version import Kind
from simulations.invariants.convergence import shown
from simulations.oracle import live_dots

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "causality"


async def check(world: World, machines: list[Machine]) -> set[Dot]:
    """Check every machine; the operations that must be live now."""
    vectors = [machine.node.ledger.vector() for machine in machines if machine.node is not None]
    forked = {writer_of(dot) for dot in world.oracle.doubled}
    covered = [dot for dot in world.oracle.covered(vectors) if writer_of(dot) not in forked]
    wanted = world.oracle.live(covered)
    _check_lost(world, vectors)
    for machine in machines:
        held = {dot for dot in live_dots(machine) if writer_of(dot) not in forked}
        for dot in sorted(held - wanted):
            what = f"{machine} holds {_name(world, dot)} for live, which was superseded"
            world.oracle.violate(NAME, world.now_s, what)
        for dot in sorted(wanted - held):
            what = f"{machine} has dropped {_name(world, dot)}, which nobody superseded"
            world.oracle.violate(NAME, world.now_s, what)
        if not forked:
            await _check_shown(world, machine, wanted)
    return wanted


async def _check_shown(world: World, machine: Machine, wanted: set[Dot]) -> None:
    versions = [world.oracle.operations[dot].version for dot in sorted(wanted)]
    live = {each.mtime_ns for each in versions if each is not None and not each.deleted and each.kind is Kind.FILE}
    seen = {line[3] for line in await shown(machine) if line[1] == Kind.FILE.name}
    for mtime_ns in sorted(live - seen):
        stored = world.oracle.content_of(mtime_ns)
        what = f"{machine} does not show put {stored.number if stored else mtime_ns}, which is live"
        world.oracle.violate(NAME, world.now_s, what)
    for mtime_ns in sorted(seen - live):
        stored = world.oracle.content_of(mtime_ns)
        what = f"{machine} shows put {stored.number if stored else mtime_ns}, which is not live"
        world.oracle.violate(NAME, world.now_s, what)


def _check_lost(world: World, vectors: list[Vector]) -> None:
    """An operation that no survivor has was written on a ledger that was lost before it got around."""
    by_dot = {stored.dot: stored for stored in world.oracle.contents.values() if stored.dot is not None}
    for dot, known in sorted(world.oracle.operations.items()):
        if any(vector.covers(dot) for vector in vectors):
            continue
        author = world.machines[known.machine]
        stored = by_dot.get(dot)
        if author.damage.ledger_at_s < known.at_s:
            world.oracle.violate(NAME, world.now_s, f"{_name(world, dot)} is lost, though {author} lost nothing since")
        elif stored is not None and stored.level == "safe" and not world.beyond_promise:
            what = f"put {stored.number} was acknowledged as safe, and its commit is lost with {author}"
            world.oracle.violate("durability", world.now_s, what)


def _name(world: World, dot: Dot) -> str:
    known = world.oracle.operations.get(dot)
    name = known.version.name.decode(errors="replace") if known and known.version else "?"
    return f"operation {dot.sequence} of {dot.author[:4].hex()} on {name!r}"
