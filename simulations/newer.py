"""A machine whose build knows more than the others': what it says beyond them must harm nobody.

The contract is in docs/protocol: unknown arguments are ignored, unknown requests are refused as "unknown-kind",
unknown statements in the roster are dropped. So a build of today and one that says all this are a household of two.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from p2pstore.errors import PeerFault, Refused, Unavailable
from p2pstore.ids import PeerId
from p2pstore.protocols import sync
from p2pstore.protocols.sync import Statements
from p2pstore.seams.network import Message

if TYPE_CHECKING:
    from p2pstore.node import Node
    from simulations.machine import Machine
    from simulations.world import World

SPEAK_EVERY_S: Final = 60.0


async def speak_newer(world: World, machine: Machine, node: Node) -> None:
    """Add to every request what older builds do not know, and ask them what they cannot answer, for ever."""
    network: Any = node.network
    request = network.request

    async def with_more(peer: PeerId, message: Message, **options: Any) -> Message:
        more = replace(message, args={**message.args, "later": [1, {"than": "these"}]})
        answer: Message = await request(peer, more, **options)
        return answer

    network.request = with_more
    while True:
        await machine.clock.sleep(SPEAK_EVERY_S * world.pace)
        for peer in node.network.linked_peers():
            await _ask_new_things(world, machine, node, peer)


async def _ask_new_things(world: World, machine: Machine, node: Node, peer: PeerId) -> None:
    try:
        await node.network.request(peer, Message("later.what", {"how": 3}, b"more"), timeout_s=10.0)
    except Refused as refused:
        if refused.code != "unknown-kind":
            world.oracle.violate("versions", world.now_s, f"{machine}: a later request was refused as {refused.code}")
    except (Unavailable, PeerFault):
        return
    else:
        world.oracle.violate("versions", world.now_s, f"{machine}: somebody answered a request that nobody knows")
    statement = bytes([0x93, 0x7F]) + b"\xc4\x04late"  # a list that begins with a type that does not exist yet
    later = sync.statements_message(sync.ROSTER_PUSH, Statements((statement,), ()))
    try:
        await node.network.request(peer, later, timeout_s=10.0)
    except (Unavailable, PeerFault):
        return
