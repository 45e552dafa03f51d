"""A daemon that keeps a tree in memory and answers every operation: what the verbs and clients are tested against."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from p2pstore.control import faults
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.paths import HOUSEHOLD_FILE, socket_path
from p2pstore.control.server import Call, ControlServer, Op
from tests.control.fake_history import FakeHistory
from tests.control.fake_safety import DRILL, LOSS, WORST, FakeSafety

PIECE = 1000
PEER = {
    "name": "nas",
    "peer_id": "ab" * 32,
    "role": "admin",
    "site": "home",
    "steadiness": "always-on",
    "state": "self",
    "address": "127.0.0.1:7700",
    "last_heard_s": 0.0,
    "rtt_ms": None,
    "capacity": 20_000_000_000,
    "used": 1_500_000,
    "leaving": None,
}
LEAVING = {
    "pieces": 40, "left": 12, "left_bytes": 25_000_000, "waits": "waits for laptop", "done": False, "anyway": False,
    "successor": "laptop",
}


WATCH = {
    "local": b"/home/caf\xe9", "target": b"/photos", "ignored": ["*.tmp"], "state": "asks",
    "entries": 100, "waiting": 2, "trashed": 3, "scanned_s": 1_700_000_000.0,
    "hold": {"trouble": "device-changed", "where": b"disk", "missing": 60, "known": 100},
    "failed_count": 1, "failed": [{"path": b"locked", "why": "Permission denied"}], "problem": None,
}  # fmt: skip


@dataclass
class Node:
    """One thing in the tree."""

    kind: str
    data: bytes = b""
    target: bytes | None = None


@dataclass
class FakeDaemon:
    """Handlers over an in-memory tree.

    Attributes:
        tree: path to node.
        asked: every request's (op, args), as heard.
        put_answer: what to change in the answer to `put`.
        get_failed: what the answer to `get` lists as failed.
        state: the verdict.
        removes: whether a removal is more than a vote.
        stopped: set by `shutdown`.
        cancelled: operations that were stopped early.
        piece_came: set when `put` got bytes from standard input.
    """

    tree: dict[bytes, Node] = field(default_factory=lambda: {b"/": Node("folder")})
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    put_answer: dict[str, Any] = field(default_factory=dict)
    get_failed: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    state: str = "safe"
    removes: bool = True
    stopped: bool = False
    cancelled: list[str] = field(default_factory=list)
    piece_came: threading.Event = field(default_factory=threading.Event)

    def handlers(self) -> dict[str, Op]:
        """All operations."""
        names = (
            "status", "peers", "invite", "put", "get", "cat", "ls", "tree", "mkdir", "mv", "rm", "where", "safe",
            "doctor", "shutdown", "hang",
        )
        ops: dict[str, Op] = {name: self._noted(name, getattr(self, f"op_{name}")) for name in names}
        ops["invite.wait"] = self._noted("invite.wait", self.op_invite_wait)
        ops |= {name: self._noted(name, op) for name, op in FakeSafety().handlers().items()}
        parts = ("rename", "site", "role", "limit", "revoke", "forget", "frozen", "adopt", "retire", "replace")
        for part in parts:
            ops[f"peers.{part}"] = self._noted(f"peers.{part}", getattr(self, f"op_peers_{part}"))
        ops["recovery-kit"] = self._noted("recovery-kit", self.op_paper)
        for part in ("rotate", "agree"):
            ops[f"recovery-kit.{part}"] = self._noted(f"recovery-kit.{part}", self.op_paper_vote)
        ops["watch"] = self._noted("watch", self.op_watch)
        for part in ("add", "rm", "allow", "keep"):
            ops[f"watch.{part}"] = self._noted(f"watch.{part}", getattr(self, f"op_watch_{part}"))
        ops |= {name: self._noted(name, op) for name, op in FakeHistory().handlers().items()}
        return ops

    def _noted(self, name: str, op: Op) -> Op:
        async def noting(call: Call) -> Any:
            self.asked.append((name, dict(call.args)))
            try:
                return await op(call)
            except trio.Cancelled:
                self.cancelled.append(name)
                raise

        return noting

    async def op_status(self, call: Call) -> Any:
        return {
            "pid": os.getpid(),
            "address": "127.0.0.1:7700",
            "peer_id": "ab" * 32,
            "name": "nas",
            "household": "Meyer",
            "network_id": "cd" * 32,
            "role": "admin",
            "restoring": False,
            "site": "home",
            "version": "0.1.0",
            "since": 1_700_000_000.0,
            "uptime_s": 61.0,
            "store": {
                "given": 20_000_000_000, "used": 1_500_000, "free": 19_998_500_000, "shards": 12, "damaged": 0,
                "state": "accepting",
            },
            "ledger": {"missing": 0, "lost": 0, "restored": 0, "rows": 0, "differences": 0},
            "peers": [
                PEER,
                {**PEER, "name": "attic", "state": "away", "rtt_ms": 1.25, "last_heard_s": 400.0, "leaving": LEAVING},
            ],
            "verdict": {"state": self.state, "sentence": "every file survives any one machine"},
            "transfers": [],
            "owed": 0,
            "kernel": "isa-l",
            "copies": ["attic"],
        }

    async def op_peers(self, call: Call) -> Any:
        return {"peers": [PEER]}

    async def op_peers_rename(self, call: Call) -> Any:
        return {"name": call.args["new"], "was": call.args["name"], "peer_id": "ab" * 32}

    async def op_peers_site(self, call: Call) -> Any:
        return {"name": call.args["name"], "site": call.args["site"], "peer_id": "ab" * 32}

    async def op_peers_role(self, call: Call) -> Any:
        return {"name": call.args["name"], "role": call.args["role"], "peer_id": "ab" * 32, "new_keys": True}

    async def op_peers_limit(self, call: Call) -> Any:
        return {"name": "nas", "capacity": call.args["size"], "used": 1_500_000, "peer_id": "ab" * 32}

    async def op_peers_revoke(self, call: Call) -> Any:
        return {
            "name": call.args["name"], "peer_id": "ab" * 32, "removed": self.removes, "votes": ["attic"],
            "by_paper_key": "secret" in call.args, "generation": "cd" * 16, "told": [], "away": ["laptop"],
            "could_read": "everything", "enrolled": [], "next": ["p2pstore safe"],
        }

    async def op_peers_frozen(self, call: Call) -> Any:
        change = {"path": b"/caf\xe9 \n.txt", "kind": "file", "size": 7, "deleted": False, "when_ms": 1_700_000_000_000}
        return {"machines": [{"name": "nas", "peer_id": "ab" * 32, "count": 2, "changes": [change]}]}

    async def op_peers_adopt(self, call: Call) -> Any:
        return {"name": call.args["name"], "peer_id": "ab" * 32, "adopted": 2}

    async def op_paper(self, call: Call) -> Any:
        return {
            "household": "Meyer", "network_id": "cd" * 32, "root": bytes(32), "recovery": bytes(32),
            "recovery_curve": bytes(32), "renewed": False,
        }  # fmt: skip

    async def op_paper_vote(self, call: Call) -> Any:
        return {"household": "Meyer", "root": "ab" * 32, "counts": True, "lacking": [], "away": ["laptop"]}

    async def op_watch_add(self, call: Call) -> Any:
        return {**WATCH, "local": call.args["local"], "target": call.args["target"], "hold": None}

    async def op_watch(self, call: Call) -> Any:
        return {"watches": [WATCH]}

    async def op_watch_rm(self, call: Call) -> Any:
        return {"local": call.args["local"], "target": b"/photos"}

    async def op_watch_allow(self, call: Call) -> Any:
        return {"local": call.args["local"], "target": b"/photos", "entries": 60}

    async def op_watch_keep(self, call: Call) -> Any:
        return {"local": call.args["local"], "target": b"/photos", "entries": 1}

    async def op_peers_forget(self, call: Call) -> Any:
        return await self.op_peers_revoke(call)

    async def op_peers_retire(self, call: Call) -> Any:
        return {
            "name": call.args["name"], "peer_id": "ab" * 32, "leaves": not call.args["stays"], "anyway": False,
            "answers": True, "consequences": ["3 of 40 pieces could not keep their promise"],
            "next": ["p2pstore peers"],
        }

    async def op_peers_replace(self, call: Call) -> Any:
        return {
            "name": call.args["old"], "peer_id": "ab" * 32, "leaves": True, "anyway": False, "answers": True,
            "consequences": [], "next": ["p2pstore peers"], "new": call.args["new"], "bytes": 25_000_000,
            "removed": call.args["dead"],
        }

    async def op_invite(self, call: Call) -> Any:
        role, expires_s = call.args["role"], call.args["ttl_s"]
        return {"code": "7-guitar-sunset", "expires_s": expires_s, "address": "127.0.0.1:7700", "role": role}

    async def op_invite_wait(self, call: Call) -> Any:
        return {"name": "attic", "peer_id": "ef" * 32}

    async def op_put(self, call: Call) -> Any:
        args = call.args
        found: list[tuple[bytes, bytes]] = []
        if args.get("stdin"):
            data = b""
            while (piece := await call.receive()) is not None:
                data += piece
                self.piece_came.set()
            found.append((args["destination"], data))
        else:
            for source in args["sources"]:
                folder = args["into"] or self.tree.get(args["destination"], Node("file")).kind == "folder"
                name = args["destination"].rstrip(b"/") + b"/" + source["name"] if folder else args["destination"]
                with open(source["path"], "rb") as file:  # noqa: ASYNC230 - a fake
                    found.append((name, file.read()))
        total = sum(len(data) for _, data in found)
        for phase, sent in (("counting", 0), ("sending", total), ("done", total)):
            call.report(
                {
                    "type": "progress", "verb": "put", "phase": phase, "files_total": len(found), "bytes_total": total,
                    "files_done": 0, "bytes_sent": sent, "bytes_safe": sent, "total_known": phase != "counting",
                    "current": found[0][0],
                }
            )
        for path, data in found:
            self.tree[path] = Node("file", data)
        answer = {
            "files": len(found), "bytes": total, "level": args["ack"], "state": "safe",
            "sentence": "survives any one machine", "failed": [], "seconds": 0.5, "below_level": 0, "owed_stripes": 0,
        }
        return answer | self.put_answer

    async def op_get(self, call: Call) -> Any:
        written = count = 0
        for source in call.args["sources"]:
            node = self._find(source.rstrip(b"/") or b"/")
            if node.kind == "folder" and not call.args["recursive"]:
                raise faults.is_a_folder(source)
            destination = call.args["destination"]
            if call.args["into"] or os.path.isdir(destination):  # noqa: ASYNC240 - a fake
                destination = os.path.join(destination, source.rpartition(b"/")[2])
            with open(destination, "wb") as file:  # noqa: ASYNC230 - a fake
                file.write(node.data)
            written += len(node.data)
            count += 1
        return {"files": count, "bytes": written, "failed": self.get_failed, "seconds": 0.25}

    async def op_cat(self, call: Call) -> Any:
        data = self._find(call.args["path"]).data[call.args["offset"] :]
        if call.args["length"] is not None:
            data = data[: call.args["length"]]
        for start in range(0, len(data), PIECE):
            await call.emit({"data": data[start : start + PIECE]})
        return {"bytes": len(data)}

    def _entry(self, path: bytes) -> dict[str, Any]:
        node = self.tree[path]
        return {
            "name": path.rpartition(b"/")[2], "kind": node.kind, "size": len(node.data),
            "mtime_ns": 1_700_000_000_000_000_000, "mode": 0o644, "conflict": False, "target": node.target,
        }

    async def op_ls(self, call: Call) -> Any:
        path = call.args["path"].rstrip(b"/") or b"/"
        if self._find(path).kind == "folder":
            prefix = path.rstrip(b"/") + b"/"
            below = sorted(p for p in self.tree if p != b"/" and p.startswith(prefix) and b"/" not in p[len(prefix) :])
        else:
            below = [path]
        for one in below:
            await call.emit({"entries": [self._entry(one)]})

    async def op_tree(self, call: Call) -> Any:
        prefix = call.args["path"].rstrip(b"/") + b"/"
        entries = [self._entry(p) | {"path": p} for p in sorted(self.tree) if p != b"/" and p.startswith(prefix)]
        await call.emit({"entries": entries})

    async def op_mkdir(self, call: Call) -> Any:
        if call.args["path"] in self.tree and not call.args["parents"]:
            raise faults.already_there(call.args["path"])
        self.tree[call.args["path"]] = Node("folder")

    async def op_mv(self, call: Call) -> Any:
        for source in call.args["sources"]:
            node = self._find(source)
            del self.tree[source]
            self.tree[call.args["destination"]] = node
        return {"entries": len(call.args["sources"])}

    async def op_rm(self, call: Call) -> Any:
        for path in call.args["paths"]:
            self._find(path)
            del self.tree[path]
        return {"entries": len(call.args["paths"])}

    async def op_where(self, call: Call) -> Any:
        self._find(call.args["path"])
        shards = [
            {"index": i, "peer": f"peer{i}", "peer_id": "00" * 32, "state": "here", "verified_at": 1_700_000_000.0 * i}
            for i in range(3)
        ]
        chunk = {"index": 0, "offset": 0, "length": 9000, "encoding": "12" * 32, "needed": 2, "shards": shards}
        return {"chunks": [chunk], "inline": False, "commit_on": ["nas", "attic"]}

    async def op_safe(self, call: Call) -> Any:
        folder = {"path": b"/Photos", "promise": "any-1", "state": self.state, "sentence": "survives 1"}
        counts, names = {self.state: 12}, call.args.get("what_if")
        return {
            "state": self.state, "sentence": "all well", "folders": [folder], "counts": counts, "computed_s": 0.0,
            "what_if": LOSS | {"without": names} if names else None, "worst": [WORST] * call.args.get("worst", 0),
            "test_restore": DRILL, "scrubbed": 1_700_000_000.0,
            "audits": {"at": 1_700_000_000.0, "proven": 12, "failed": ["attic"]},
        }

    async def op_doctor(self, call: Call) -> Any:
        checks = [{"name": "clock", "state": "ok", "what": "within 1 s of the others", "fix": None}]
        return {"checks": checks + self.checks, "kernel": "isa-l"}

    async def op_shutdown(self, call: Call) -> Any:
        self.stopped = True
        return {}

    async def op_hang(self, call: Call) -> Any:
        await call.emit("hanging")
        await trio.sleep_forever()

    def _find(self, path: bytes) -> Node:
        if path not in self.tree:
            raise faults.not_found(path)
        return self.tree[path]


@contextmanager
def serving(handlers: Mapping[str, Op], home: Path, **options: Any) -> Iterator[Callable[[], None]]:
    """A real `ControlServer` for `home`, on trio in a thread of its own. Yields a function that stops it early."""
    home.mkdir(parents=True, exist_ok=True)
    (home / HOUSEHOLD_FILE).touch()
    started = threading.Event()
    state: dict[str, Any] = {}

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            state["token"] = trio.lowlevel.current_trio_token()
            state["scope"] = nursery.cancel_scope
            server = ControlServer(handlers, version="0.1.0-fake", **options)
            await nursery.start(server.run, socket_path(home))
            started.set()

    def main() -> None:
        try:
            trio.run(run)
        except BaseException as error:
            state["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=main, name="fake daemon")
    thread.start()
    started.wait(10)

    def stop() -> None:
        try:
            state["token"].run_sync_soon(state["scope"].cancel)
        except trio.RunFinishedError:
            return
        thread.join(10)

    try:
        if "error" in state:
            raise state["error"]
        yield stop
    finally:
        stop()
        thread.join(10)
    assert not thread.is_alive()


def failing(code: str, exit_code: int) -> Op:
    """A handler that fails with a fault of this code."""

    async def fail(call: Call) -> Any:
        raise Failure(Fault(code, "it failed", "because it was told to", ("p2pstore status",), exit_code))

    return fail
