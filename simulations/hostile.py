"""A member that works against the household: it forges, replays, and lies about shards.

It signs receipts for shards and answers every read with other bytes, and it sends everybody commits and statements of
others that it has changed, cut short or sent before. (A member that gives one number two contents is the
fault "rollback": a ledger set back together with the file that would tell.)
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

import apsw
import trio

from p2pstore.errors import PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.protocols import sync
from p2pstore.protocols.sync import Statements
from p2pstore.seams.network import Message
from p2pstore.services.shards import GET
from simulations.randomness import derived

if TYPE_CHECKING:
    from p2pstore.node import Node
    from simulations.machine import Machine
    from simulations.world import World

ATTACK_EVERY_S: Final = 15.0
COMMITS_KNOWN: Final = 200


async def hostility(world: World, machine: Machine, *, lasts_s: float) -> None:
    """Let a machine be hostile for so long; after that it only keeps lying about what it has."""
    rng = derived(world.seed, "hostile", machine.number)
    cursed: Node | None = None
    with trio.move_on_after(lasts_s):
        while True:
            node = machine.node
            if node is not None and node is not cursed:
                cursed = node
                _lie_about_shards(node, rng)
            if node is not None and machine.is_awake:
                with contextlib.suppress(apsw.Error):  # it is just being stopped
                    await _forge(node, rng)
            await trio.sleep(ATTACK_EVERY_S)


def _lie_about_shards(node: Node, rng: Random) -> None:
    server: Any = node.shard_server
    handle = server.handle

    async def lying(message: Message) -> Message:
        answer: Message = await handle(message)
        if message.kind != GET or not len(answer.payload):
            return answer
        spoilt = bytearray(answer.payload)
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
        return replace(answer, payload=bytes(spoilt))

    server.handle = lying


async def _forge(node: Node, rng: Random) -> None:
    """Send everybody something that is not so."""
    rows = node.ledger._store.database.execute("SELECT raw FROM commits ORDER BY first LIMIT ?", (COMMITS_KNOWN,))
    commits = [bytes(raw) for (raw,) in rows]
    statements = node.membership.roster.statements()
    if not commits:
        return
    for peer in node.network.linked_peers():
        chosen = rng.sample(commits, min(len(commits), 3))
        await _send(node, peer, sync.commits_message(sync.PUSH, chosen))  # said before
        await _send(node, peer, sync.commits_message(sync.PUSH, [_spoilt(rng.choice(commits), rng)]))
        forged = tuple(_spoilt(each, rng) for each in rng.sample(statements, min(len(statements), 2)))
        await _send(node, peer, sync.statements_message(sync.ROSTER_PUSH, Statements(forged, ())))


def _spoilt(raw: bytes, rng: Random) -> bytes:
    """Changed in one place, or cut short."""
    if rng.random() < 0.2:
        return raw[: rng.randrange(1, len(raw))]
    changed = bytearray(raw)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


async def _send(node: Node, peer: PeerId, message: Message) -> None:
    try:
        await node.network.request(peer, message, timeout_s=10.0)
    except (Unavailable, PeerFault):
        return  # that is what should happen
