"""Invariant 5: collection never deletes what any member's durable state, history, snapshot or intent refers to.

At the moment a holder purges a stripe, every machine whose node runs is looked at, whoever can hear whom: the versions
in its ledger, followed through manifests to chunks by a reading of its own, and the uploads that it has under way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import trio

from p2pstore.ids import EncodingId
from p2pstore.packing import unpack
from p2pstore.services.collector import Pace

if TYPE_CHECKING:
    from p2pstore.seams.disk import Database
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "collection"

HURRY: Final = Pace(first_after_s=20.0, every_s=40.0, answer_after_s=2.0, settle_s=30.0)

_ENTRY: Final = {0: 36, 1: 44}
"""Bytes of a line of a manifest: a chunk with its length, a page with its length and count."""


def watcher(world: World) -> Callable[[Machine], Awaitable[None]]:
    """A habit of every machine: its purges are looked at."""

    async def watch(machine: Machine) -> None:
        assert machine.node is not None

        async def look(encoding: EncodingId) -> None:
            check(world, machine, encoding)

        machine.node.quarantine.on_purge = look
        await trio.sleep_forever()

    return watch


async def hurry(machine: Machine) -> None:
    """A habit: collection in minutes instead of weeks."""
    assert machine.node is not None
    machine.node.collector.pace = HURRY
    machine.node.collector.hurry()
    machine.node.quarantine.tick_s = 10.0
    machine.node.quarantine.quarantine_s = 60.0
    await trio.sleep_forever()


def check(world: World, holder: Machine, encoding: EncodingId) -> None:
    """A holder is about to purge a stripe: nobody may need it."""
    world.trace.note("purge", holder.number, encoding[:4])
    for machine in world.living():
        assert machine.node is not None
        if machine.fitting.role == "storage":
            continue
        if encoding in machine.node.uploads.running:
            what = f"{holder} purges {encoding[:4].hex()}, which {machine} is storing"
            world.oracle.violate(NAME, world.now_s, what)
        if refers(machine.node.ledger._store.database, encoding):
            what = f"{holder} purges {encoding[:4].hex()}, to which the ledger of {machine} refers"
            world.oracle.violate(NAME, world.now_s, what)


def refers(database: Database, encoding: EncodingId) -> bool:
    """Whether any version in a ledger leads to a chunk of this stripe."""
    wanted = {chunk for (chunk,) in database.execute("SELECT chunk FROM stripes WHERE encoding = ?", (encoding,))}
    todo: list[bytes] = []
    # a tombstone whose time in the trash is over says 2: it only remembers that something was deleted
    for (content,) in database.execute("SELECT content FROM versions WHERE content IS NOT NULL AND deleted < 2"):
        kind, *rest = unpack(content, bytes_max=1 << 20)
        if kind == 1:
            todo.append(rest[0])
    seen: set[bytes] = set()
    while todo:
        if (manifest := todo.pop()) in seen:
            continue
        seen.add(manifest)
        for (data,) in database.execute("SELECT data FROM manifest_pages WHERE manifest = ?", (manifest,)):
            _, kind, _, body = unpack(data, bytes_max=1 << 24)
            names = [body[at : at + 32] for at in range(0, len(body), _ENTRY[kind])]
            if kind == 1:
                todo += names
            elif wanted.intersection(names):
                return True
    return False
