"""The brake on mass changes: brake {action: status|allow}."""

from __future__ import annotations

from typing import Any

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.ids import ROOT_ENTRY, EntryId
from p2pstore.metadata.clock import hlc_ms
from p2pstore.node import Node


class BrakeOperations:
    """The operation of one daemon on its brake."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"brake": self.brake}

    async def brake(self, call: Call) -> dict[str, Any]:
        """What holds, after what was asked for."""
        node = self._node
        action = arguments.text(call.args, "action", among=("status", "allow"))
        allowed = await node.brake.allow() if action == "allow" else 0
        on = await node.brake.look()
        changes = []
        for change, left in node.brake.on:
            path = await self._path(change.folder)
            changes.append(
                {
                    "machine": node.membership.name_of(change.author),
                    "path": None if path is None else arguments.shown(path),
                    "changed": change.count,
                    "entries": change.entries,
                    "left": left,
                    "since": hlc_ms(change.since) / 1000,
                    "upto": hlc_ms(change.upto) / 1000,
                }
            )
        return {"on": on, "changes": changes, "allowed": allowed}

    async def _path(self, folder: EntryId) -> tuple[bytes, ...] | None:
        if folder == ROOT_ENTRY:
            return ()
        shown = await self._node.ledger.shown_path(folder)
        return None if shown is None else shown[0]
