"""The part of the fake daemon that is about safety: fixed answers with awkward names."""

from __future__ import annotations

from typing import Any

from p2pstore.control.server import Call, Op

PATH = b"/caf\xe9 \n.txt"
WORST = {
    "path": PATH,
    "encoding": "12" * 32,
    "state": "thin",
    "survives": 1,
    "needed": 4,
    "shards": 5,
    "machines": ["nas", "attic"],
}
DRILL = {"at": 1_700_000_000.0, "files": 3, "bytes": 9000, "failed_count": 0, "failed": []}
LOSS = {"without": ["attic"], "state": "risk", "sentence": "Without attic all is readable.", "counts": {"risk": 12}}


class FakeSafety:
    """Handlers with fixed answers."""

    def handlers(self) -> dict[str, Op]:
        """All operations."""
        return {
            "promise": self.op_promise,
            "promise.plan": self.op_promise_plan,
            "repair": self.op_repair,
            "du": self.op_du,
            "brake": self.op_brake,
            "gc": self.op_gc,
            "scrub": self.op_scrub,
            "test-restore": self.op_test_restore,
            "peers.can-leave": self.op_can_leave,
        }

    async def op_promise(self, call: Call) -> Any:
        said = {"promise": "house", "possible": True, "behind": None, "unknown": 0}
        return {"default": "any-2", "promises": [{"path": b"/", **said}, {"path": PATH, **said, "behind": 3}]}

    async def op_promise_plan(self, call: Call) -> Any:
        missing = {"part": "any one house", "because": "there is one", "wanted": "a second site"}
        return {
            "path": PATH,
            "promise": "house",
            "failures": "any one machine or any one house",
            "kept": True,
            "needed": 2,
            "total": 4,
            "holders": [{"name": "nas", "site": "home", "shards": 2}, {"name": "attic", "site": "cabin", "shards": 2}],
            "bytes_per_byte": 2.0,
            "reads": 0.99,
            "missing": [missing],
            "usable_bytes": 10**12,
            "free_bytes": 3 * 10**12,
            "more": [
                {"what": what, "where": "attic", "bytes": 10**12, "usable_bytes": 2 * 10**12}
                for what in ("disk", "site")
            ],
        }

    async def op_repair(self, call: Call) -> Any:
        call.report({"due": 2, "bytes": 10})
        due = 0 if call.args["now"] or not call.args["max_rate"] else 12
        return {
            "looked_at": 40,
            "due": due,
            "stuck": 0,
            "shards": due,
            "bytes": due * 1000,
            "minutes": 0.5,
            "margins": [{"survives": 1, "stripes": due}] if due else [],
            "causes": {"removed": due} if due else {},
            "machines": [{"name": "attic", "standing": "asleep", "stripes": 0}],
            "rate": call.args["max_rate"] or 64 << 20,
            "ran": call.args["now"],
            "repaired": {"stripes": 1, "shards": 2, "bytes": 3000, "failed": 0, "last_failure": ""},
        }

    async def op_du(self, call: Call) -> Any:
        call.report({"current": PATH})
        cost = {"files": 3, "bytes": 9000, "stored": 14_000, "unknown": 1}
        by = call.args["by"]
        return {
            "by": by,
            "folders": [{"path": PATH, **cost}],
            "machines": [{"name": "nas", "stored": 7000, "besides": 100}],
            "total": cost,
        }

    async def op_brake(self, call: Call) -> Any:
        change = {"machine": "attic", "path": PATH, "changed": 300, "entries": 400, "left": 299}
        on = call.args["action"] == "status"
        changes = [{**change, "since": 1_700_000_000.0, "upto": 1_700_000_100.0}] if on else []
        return {"on": on, "changes": changes, "allowed": 0 if on else 1}

    async def op_gc(self, call: Call) -> Any:
        shared = {"machine": "nas", "at": 1_700_000_000.0, "stripes": 12, "spared": 1, "bytes": 12_000}
        return {
            "stripes": 40,
            "bytes": 40_000,
            "why_not": "attic was storing files when it was last heard",
            "ran": not call.args["dry_run"],
            "lists": [
                {**shared, "waits_for": ["attic"], "days_left": None},
                {**shared, "waits_for": [], "days_left": None},
                {**shared, "waits_for": [], "days_left": 6.5},
            ],
            "uploads": [{"machine": "attic", "since": 1_700_000_000.0}],
            "purged": 3,
            "last_failure": "",
        }

    async def op_scrub(self, call: Call) -> Any:
        action = call.args["action"]
        state = {"status": "running", "now": "resting", "pause": "paused", "resume": "running"}[action]
        return {
            "state": state,
            "began": 1_700_000_000.0,
            "ended": 1_700_000_000.0 if state == "resting" else None,
            "next": 1_702_592_000.0 if state == "resting" else None,
            "checked": 11,
            "bytes": 9000,
            "shards": 12,
            "damaged": 1 if action == "now" else 0,
            "quarantined": 0,
            "problem": "",
            "ran": action == "now",
        }

    async def op_test_restore(self, call: Call) -> Any:
        call.report({"current": PATH})
        if call.args["files"] == 7:
            return {**DRILL, "failed_count": 1, "failed": [{"path": PATH, "why": "only 1 of 4 shards could be read"}]}
        return DRILL

    async def op_can_leave(self, call: Call) -> Any:
        names = call.args["names"]
        possible = names == ["attic"]
        return {"names": names, "possible": possible, "reasons": [] if possible else ["9 pieces could not be read"]}
