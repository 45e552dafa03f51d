"""Invariant 1, at the end: what was acknowledged is there, on every machine, bit for bit.

`safe` files must bear every loss within the household's promise; the others only what is no loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from p2pstore.errors import P2PStoreError
from p2pstore.ids import Dot
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind
from simulations.invariants import acknowledged, reads
from simulations.oracle import Stored

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "durability"


async def check(world: World, machines: list[Machine], live: set[Dot]) -> int:
    """Read everything that is shown, everywhere; how many files were read."""
    count = 0
    owed = _owed_contents(world, live)
    for machine in machines:
        assert machine.node is not None
        files = [
            (path, item) async for path, item in machine.node.ledger.walk(()) if item.kind is Kind.FILE
        ]
        for path, item in files:
            count += await _check_file(world, machine, path, item, owed)
    return count


async def check_promises(world: World, live: set[Dot]) -> None:
    """Invariant 6, where nothing was lost: what was acknowledged still is so, for the system took nothing away."""
    if world.damaged_after(0.0):
        return
    for _, stored in sorted(_owed_contents(world, live).items()):
        await acknowledged.check(world, world.machines[stored.machine], stored)


async def _check_file(
    world: World, machine: Machine, path: tuple[bytes, ...], item: Item, owed: dict[int, Stored]
) -> int:
    assert machine.node is not None
    name = b"/" + b"/".join(path)
    pieces: list[bytes] = []

    async def take(piece: memoryview) -> None:
        pieces.append(bytes(piece))

    try:
        await machine.node.exporter.read(item, 0, item.size, take)
    except (P2PStoreError, OSError) as error:
        if (stored := owed.get(item.mtime_ns)) is not None:
            what = f"{machine} cannot read put {stored.number} (acknowledged as {stored.level}): {type(error).__name__}"
            world.oracle.violate(NAME, world.now_s, f"{what} {error}")
        return 0
    reads.check(world, machine, name, b"".join(pieces), item.mtime_ns)
    return 1


def _owed_contents(world: World, live: set[Dot]) -> dict[int, Stored]:
    """Contents that must be readable, by mtime."""
    owed = {}
    for dot in live:
        version = world.oracle.operations[dot].version
        stored = None if version is None else world.oracle.content_of(version.mtime_ns)
        if version is None or version.deleted or stored is None or not stored.level:
            continue
        if (stored.level == "safe" and not world.beyond_promise) or not world.damaged_after(stored.begun_s):
            owed[version.mtime_ns] = stored
    return owed
