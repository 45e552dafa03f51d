"""Space: what files cost, and what goes back when nothing refers to it any more.

```
du {path, by}    what the files below a path cost, with parity, by folder or by machine
gc {dry_run}     what nothing refers to, which lists wait for whom; without `dry_run` this machine also looks and signs
```
"""

from __future__ import annotations

from typing import Any

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.ledger.reference_search import Incomplete
from p2pstore.metadata.clock import hlc_ms
from p2pstore.metadata.collection import CondemnedList
from p2pstore.node import Node
from p2pstore.services.collector import Garbage
from p2pstore.services.usage import Cost


class CollectionOperations:
    """The operations of one daemon that are about space."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"du": self.du, "gc": self.gc}

    async def du(self, call: Call) -> dict[str, Any]:
        """What files cost."""
        node = self._node
        path = arguments.path(call.args, "path")
        by = arguments.text(call.args, "by", "folder", among=("folder", "machine"))
        total = Cost()
        folders = []
        for at, cost in await node.usage.of(path, lambda at: call.report({"current": arguments.shown(at)})):
            total.add(cost)
            if by == "folder":
                folders.append({"path": arguments.shown(at), **_cost(cost)})
        machines = []
        if by == "machine":
            for member in sorted(node.membership.roster.members(), key=lambda each: each.name):
                stored = total.machines[member.peer_id]
                _, held = await node.ledger.held_by(member.peer_id)
                machines.append({"name": member.name, "stored": stored, "besides": max(0, held - stored)})
        return {"by": by, "folders": folders, "machines": machines, "total": _cost(total)}

    async def gc(self, call: Call) -> dict[str, Any]:
        """What would go and what waits for whom; unless `dry_run`, sign and condemn first. Nothing is deleted by it:
        that takes everybody's signature and seven days."""
        node = self._node
        dry_run = arguments.flag(call.args, "dry_run")
        try:
            garbage = await (node.collector.survey() if dry_run else node.collector.look())
        except Incomplete as error:
            garbage = Garbage(0, 0, f"this machine cannot tell what it refers to: {error}")
        name_of = node.membership.name_of
        return {
            "stripes": garbage.stripes,
            "bytes": garbage.bytes,
            "why_not": garbage.why_not,
            "ran": not dry_run,
            "lists": [await self._list(each) for each in await node.ledger.open_lists()],
            "uploads": [
                {"machine": name_of(each.author), "since": hlc_ms(each.hlc) / 1000}
                for each in await node.ledger.open_intents()
            ],
            "purged": node.quarantine.purged,
            "last_failure": node.collector.failure or node.quarantine.failure,
        }

    async def _list(self, each: CondemnedList) -> dict[str, Any]:
        node = self._node
        readers = node.readers()
        name_of = node.membership.name_of
        unspared = each.unspared_by(readers)
        left_s = node.quarantine.waiting.get(each.name)
        return {
            "machine": name_of(each.name.author),
            "at": hlc_ms(each.hlc) / 1000,
            "stripes": len(unspared),
            "spared": len(each.condemned.encodings) - len(unspared),
            "bytes": await node.ledger.bytes_held(unspared),
            "waits_for": [name_of(peer) for peer in each.waits_for(readers)],
            "days_left": None if left_s is None else left_s / 86400,
        }


def _cost(cost: Cost) -> dict[str, int]:
    return {"files": cost.files, "bytes": cost.bytes, "stored": cost.stored, "unknown": cost.unknown}
