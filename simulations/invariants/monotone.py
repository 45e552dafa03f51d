"""Invariant 4: no two contents under one (author, incarnation, sequence), unless the household has noticed.

That a vector never goes backwards is looked at with every change of a ledger (`Oracle.observe`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.metadata.vector import writer_of

if TYPE_CHECKING:
    from simulations.world import World

NAME: Final = "monotone"


async def check(world: World) -> None:
    """At the end: every doubled dot is of a writer that somebody has frozen as forked, and its author could not know
    better, for the file beside its ledger was set back too."""
    noticed = set()
    for machine in world.living():
        assert machine.node is not None
        noticed |= {fork.writer for fork in await machine.node.ledger.forks()}
    for dot in sorted(world.oracle.doubled):
        if writer_of(dot) not in noticed:
            what = f"operation {dot.sequence} of {dot.author[:4].hex()} has two contents, and nobody noticed"
            world.oracle.violate(NAME, world.now_s, what)
        author = world.machines[world.oracle.operations[dot].machine]
        if not author.damage.unwitnessed:
            what = f"{author} wrote operation {dot.sequence} twice, though the file beside its ledger could tell"
            world.oracle.violate(NAME, world.now_s, what)
