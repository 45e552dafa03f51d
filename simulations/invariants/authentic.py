"""Invariant 8: no ledger holds anything that its author did not write.

The oracle has seen every commit that an author's ledger made durable; what others hold under that name must be one of
them, bit for bit. The roster counts nobody whom no admin took in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.ids import Dot
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.vector import writer_of

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "authentic"


def check(world: World, machines: list[Machine]) -> None:
    """Look at every commit of every ledger, and at who is taken for a member."""
    forked = {writer_of(dot) for dot in world.oracle.doubled}
    wanted = {machine.me for machine in world.members()}
    for machine in machines:
        assert machine.node is not None
        rows = machine.node.ledger._store.database.execute("SELECT raw FROM commits")
        for (raw,) in rows:
            commit = decode_commit(raw)
            known = world.oracle.operations.get(Dot(*commit.writer, commit.first))
            if commit.writer not in forked and (known is None or known.commit != commit.hash):
                what = f"{machine} holds a commit from {commit.first} of {commit.writer.author[:4].hex()}"
                world.oracle.violate(NAME, world.now_s, f"{what} that its author never wrote")
        if world.machines[0].damage.ledger_at_s >= 0:
            continue  # the admin's statement may be lost with its ledger
        members = {member.peer_id for member in machine.node.membership.roster.members()}
        if members != wanted:
            what = f"{machine} takes {len(members)} machines for members, and {len(members & wanted)} of them are"
            world.oracle.violate(NAME, world.now_s, what)
