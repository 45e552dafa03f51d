"""How long history is kept: retention {action: ls|set|rm|quota, path, days, bytes}."""

from __future__ import annotations

from typing import Any, Final

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import ROOT_ENTRY, EntryId
from p2pstore.ledger.drafts import Draft, Path, SetRetention
from p2pstore.limits import HISTORY_DAYS, HISTORY_DAYS_MAX, HISTORY_FLOOR_DAYS
from p2pstore.metadata.retention import DEFAULT, Retention
from p2pstore.metadata.version import RECOVERED_ENTRY, Kind
from p2pstore.node import Node

BYTES_MAX: Final = 2**62


class RetentionOperations:
    """The operations of one daemon on how long history is kept."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"retention": self.retention}

    async def retention(self, call: Call) -> dict[str, Any]:
        """List, set or take away rules."""
        action = arguments.text(call.args, "action", among=("ls", "set", "rm", "quota"))
        if action == "set":
            days = arguments.integer(call.args, "days", most=HISTORY_DAYS_MAX)
            await self._set(arguments.path(call.args), days)
        elif action == "rm":
            await self._set(arguments.path(call.args), None)
        elif action == "quota":
            await self._quota(arguments.optional_integer(call.args, "bytes"))
        return await self._all()

    async def _all(self) -> dict[str, Any]:
        ledger = self._node.ledger
        rules = await ledger.retention_rules()
        root = next((rule for path, rule in rules if path == ()), DEFAULT)
        size = await ledger.history_size()
        return {
            "rules": [{"path": arguments.shown(path), "days": rule.days} for path, rule in rules],
            "default_days": root.days,
            "quota_bytes": root.quota_bytes,
            "history": {"versions": size.versions, "removed": size.removed, "bytes": size.bytes},
            "floor_days": HISTORY_FLOOR_DAYS,
        }

    async def _set(self, path: Path, days: int | None) -> None:
        entries = await self._entries(path)
        rules = dict(await self._node.ledger.retention_rules())
        quota = rules[()].quota_bytes if not path and () in rules else None
        if days is None and quota is not None:
            days = HISTORY_DAYS  # the rule goes, the quota stays
        drafts: list[Draft] = [SetRetention(Retention(entry, days, quota)) for entry in entries]
        await self._node.ledger.commit(drafts)

    async def _quota(self, quota: int | None) -> None:
        if quota is not None and not 0 <= quota <= BYTES_MAX:
            raise Misuse("quota: a size, or none")
        rules = dict(await self._node.ledger.retention_rules())
        days = rules[()].days if () in rules else HISTORY_DAYS
        if quota is None and days == HISTORY_DAYS:
            days = None
        await self._node.ledger.commit([SetRetention(Retention(ROOT_ENTRY, days, quota))])

    async def _entries(self, path: Path) -> tuple[EntryId, ...]:
        """What a rule on `path` is put on: of folders that are shown as one, all."""
        item = await self._node.ledger.resolve(path)
        if item is None:
            raise PathFault("not-found", path)
        entries = item.entries if item.kind is Kind.FOLDER else (item.held.version.entry,)
        if RECOVERED_ENTRY in entries:
            raise Misuse("what lies in /Recovered is kept by the rule of the root")
        return entries
