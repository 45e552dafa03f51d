"""The part of the fake daemon that looks back: fixed answers with awkward names."""

from __future__ import annotations

from typing import Any

from p2pstore.control.server import Call, Op

STATE = {"kind": "file", "size": 7, "mtime_ns": 1_700_000_000_000_000_000, "mode": 0o644, "deleted": False}
PATH = b"/caf\xe9 \n.txt"


class FakeHistory:
    """Handlers with fixed answers."""

    def handlers(self) -> dict[str, Op]:
        """All operations."""
        names = (
            "history", "restore", "diff", "trash", "snapshot", "retention", "search", "tag", "conflicts",
            "resolve", "log",
        )  # fmt: skip
        return {name: getattr(self, f"op_{name}") for name in names}

    async def op_history(self, call: Call) -> Any:
        one = {"when_ms": 1_700_000_000_000, "machine": "nas", "name": PATH[1:], **STATE}
        restorable = {3: True, 2: False, 1: None}
        changes = {3: "edited", 2: "renamed", 1: "created"}
        versions = [
            {"number": n, **one, "change": changes[n], "restorable": restorable[n], "current": n == 3}
            for n in (3, 2, 1)
        ]
        limit = call.args["limit"] or 3
        await call.emit({"versions": versions[:limit]})
        return {"versions": limit, "total": 3}

    async def op_restore(self, call: Call) -> Any:
        failed = [{"path": PATH, "code": "taken", "what": "is there", "why": ""}] if call.args["to"] else []
        return {"path": call.args["path"], "entries": 1, "same": 2, "failed": failed}

    async def op_diff(self, call: Call) -> Any:
        await call.emit({"entries": [{"path": PATH, "change": "added", "kind": "folder", "size": 0}]})
        await call.emit({"side": "a", "data": b"one\ntwo\n"})
        await call.emit({"side": "b", "data": b"one\n\x1b[31mthree\n"})
        sides = {"a": {"path": call.args["a"], **STATE}, "b": {"path": call.args["a"], **STATE, "size": 9}}
        return {**sides, "differs": ["size", "content"], "text": True}

    async def op_trash(self, call: Call) -> Any:
        if call.args["action"] == "put-back":
            return await self.op_restore(call)
        one = {"path": PATH, "when_ms": 1_700_000_000_000, "machine": "nas", "with_contents": False, **STATE}
        await call.emit({"entries": [{**one, "deleted": True}]})
        return {"entries": 1, "more": False}

    async def op_search(self, call: Call) -> Any:
        one = {"path": PATH, "kind": "file", "size": 7, "mtime_ns": STATE["mtime_ns"]}
        await call.emit({"entries": [{**one, "when_ms": 1_700_000_000_000, "machine": "nas"}]})
        return {"entries": 1, "more": len(call.args["words"]) > 1}

    async def op_tag(self, call: Call) -> Any:
        return {"path": call.args["path"], "tags": [{"word": call.args.get("word") or "tax", "count": 3}]}

    async def op_conflicts(self, call: Call) -> Any:
        state = {key: value for key, value in STATE.items() if key != "deleted"} | {"target": None}
        versions = [
            {"name": name, **state, "conflict": conflict, "when_ms": 1_700_000_000_000, "machine": machine}
            for name, conflict, machine in ((b"a.txt", False, "nas"), (b"a (conflict, attic).txt", True, "attic"))
        ]
        await call.emit({"conflicts": [{"path": b"/a.txt", "versions": versions}]})
        return {"conflicts": 1}

    async def op_resolve(self, call: Call) -> Any:
        return {"path": call.args["path"], "versions": 2, "kept": call.args["keep"]}

    async def op_log(self, call: Call) -> Any:
        if call.args.get("verify"):
            ends = {"machine": "nas", "life": "ab" * 8, "commits": 3, "operations": 9, "end": "cd" * 32}
            return {"sound": False, "writers": [{**ends, "problem": None}, {**ends, "problem": "a gap after number 4"}]}
        deeds = [{"change": "created", "count": 5, "paths": [{"path": PATH}]}]
        commit = {"when_ms": 1_700_000_000_000, "machine": "nas", "hash": "ef" * 32, "operations": 7}
        await call.emit({"commits": [{**commit, "deeds": deeds}, {**commit, "deeds": []}]})
        return {"commits": 2, "more": False}

    async def op_retention(self, call: Call) -> Any:
        return {
            "rules": [{"path": b"/", "days": 30}, {"path": PATH, "days": 0}],
            "default_days": 30,
            "quota_bytes": 10**9,
            "history": {"versions": 12, "removed": 3, "bytes": 4096},
            "floor_days": 14,
        }

    async def op_snapshot(self, call: Call) -> Any:
        return {"snapshots": [{"name": "spring", "when_ms": 1_700_000_000_000, "machine": "nas"}]}
