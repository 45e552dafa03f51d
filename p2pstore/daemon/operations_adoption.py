"""What removed machines wrote after their removal was decided: listed, and taken in when a person says so."""

from __future__ import annotations

from typing import Any, Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.ids import PeerId
from p2pstore.metadata.clock import hlc_ms
from p2pstore.node import Node

LISTED: Final = 200
"""Changes of one machine in one answer: about 60 KB."""


class AdoptionOperations:
    """The operations of one daemon on frozen changes."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"peers.frozen": self.frozen, "peers.adopt": self.adopt}

    async def frozen(self, call: Call) -> dict[str, Any]:
        """What is frozen, of one machine or of all."""
        name = arguments.optional_text(call.args, "name")
        wanted = None if name is None else self._machine_called(name)
        counts = await self._node.ledger.frozen_counts()
        machines = [
            await self._machine(peer, count) for peer, count in counts.items() if wanted is None or peer == wanted
        ]
        return {"machines": machines}

    async def _machine(self, peer: PeerId, count: int) -> dict[str, Any]:
        changes = await self._node.ledger.frozen_changes(peer, LISTED)
        return {
            "name": self._node.membership.name_of(peer),
            "peer_id": peer.hex(),
            "count": count,
            "changes": [
                {
                    "path": arguments.shown(one.path),
                    "kind": one.kind.name.lower(),
                    "size": one.size,
                    "deleted": one.deleted,
                    "when_ms": hlc_ms(one.hlc),
                }
                for one in changes
            ],
        }

    async def adopt(self, call: Call) -> dict[str, Any]:
        """Have the frozen changes of one machine count."""
        peer = self._machine_called(arguments.text(call.args, "name"))
        adopted = await self._node.ledger.adopt(peer)
        return {"name": self._node.membership.name_of(peer), "peer_id": peer.hex(), "adopted": adopted}

    def _machine_called(self, name: str) -> PeerId:
        """A machine that is or was a member; only of removed ones anything is frozen."""
        roster = self._node.membership.roster
        for removed in roster.removed():
            if name.casefold() == removed.name.casefold() or name == removed.peer_id.hex():
                return removed.peer_id
        if (member := roster.by_name(name)) is not None:
            return member.peer_id
        what = f"no machine called {name!r} is or was here"
        raise Failure(Fault("not-found", what, "", ("p2pstore peers frozen",), exits.NOT_FOUND))
