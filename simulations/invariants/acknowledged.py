"""Invariant 1, at the moment of the promise: what `put` says has been reached is so, on the disks, now.

`here`: the commit is durable on this machine and every stripe readable. `placed`: and the commit is durable on another
one. `safe`: every stripe keeps the household's promise, and no promised failure takes every copy of the commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from p2pstore.errors import P2PStoreError
from p2pstore.ids import EncodingId
from p2pstore.metadata.version import ManifestRef
from p2pstore.placement.promise import stripe_health
from simulations.oracle import Stored

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "acknowledged"


async def check(world: World, machine: Machine, stored: Stored) -> None:
    """Check what was just acknowledged at `machine`."""
    node = machine.node
    if node is None:
        return
    now_s = world.now_s
    if stored.dot is None:
        world.oracle.violate(NAME, now_s, f"put {stored.number}: acknowledged, but no ledger has an operation of it")
        return
    if world.damaged_after(stored.begun_s):
        return  # who gave an honest receipt may have burnt since; what must be left of it is durability's to say
    having = [each for each in world.living() if each.node and each.node.ledger.vector().covers(stored.dot)]
    unseen = [each for each in world.members() if not each.is_up and not each.gone]
    wanted = {"here": 1, "placed": 2, "safe": 1 + stored.bears}[stored.level]
    if len(having) + len(unseen) < wanted:
        what = f"put {stored.number}: '{stored.level}', but its commit is on {len(having)} machines"
        world.oracle.violate(NAME, now_s, what)
    known = world.oracle.operations[stored.dot]
    if known.version is None or not isinstance(known.version.content, ManifestRef):
        return
    for statement in await _stripes(node, known.version.content):
        holders = world.holders_of(statement.encoding)
        if holders is None:
            continue
        health = stripe_health(statement.needed, holders)
        if not health.readable:
            what = f"put {stored.number}: '{stored.level}', but a stripe cannot be read from all disks together"
            world.oracle.violate(NAME, now_s, what)
        elif stored.level == "safe" and health.survives < stored.bears:
            survived = f"{health.survives} of {stored.bears} losses"
            what = f"put {stored.number}: 'safe', but a stripe survives {survived}"
            world.oracle.violate(NAME, now_s, what)


async def _stripes(node: Any, reference: ManifestRef) -> list[Any]:
    """The best stripe of each chunk of a content."""
    try:
        page = await node.exporter.manifest(reference.manifest, reference.generation)
    except P2PStoreError:
        return []
    found = []
    for part in page.parts:
        stripes = await node.ledger.stripes_for([part.id])
        encodings: dict[EncodingId, Any] = {each.encoding: each for each in stripes.get(part.id, [])}
        known = await node.catalog.stripes_of_chunk(part.id)
        if known:
            found.append(encodings[known[0].encoding])
    return found
