"""A household that exists in memory: the interface of `p2pstore.control.aio.AsyncClient`, with answers that never vary.

100,000 photos cost nothing: a page is computed when it is asked for.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from p2pstore.control import exits, faults
from p2pstore.control.faults import Failure, Fault

NOW = 1_763_700_000.0
"""The frozen clock of all tests: 2025-11-21 04:40 UTC."""

NOT_RUNNING = Fault("not-running", "the daemon is not running", "", ("p2pstore up",), exits.NOT_RUNNING)
NO_HOUSEHOLD = Fault("no-household", "there is no household", "", ("p2pstore init",), exits.NO_HOUSEHOLD)
OTHER_VERSION = Fault(
    "versions", "the daemon (version 9.1) speaks API 4, this program API 1", "", ("p2pstore down",), exits.VERSIONS
)

SENTENCES = {
    "safe": "Everything survives the loss of any 2 machines.",
    "thin": "Everything is readable; 461 of 100,012 pieces survive fewer failures than any 2 machines.",
    "risk": "Everything is readable, but 12 of 100,012 pieces survive no further failure.",
    "lost": "3 of 100,012 pieces cannot be read from the machines that count now.",
    "unknown": "No other machine has been heard for 15 minutes: this machine cannot know.",
}
COUNTS = {
    "safe": {"safe": 100_012, "thin": 0, "risk": 0, "lost": 0},
    "thin": {"safe": 99_551, "thin": 461, "risk": 0, "lost": 0},
    "risk": {"safe": 99_539, "thin": 461, "risk": 12, "lost": 0},
    "lost": {"safe": 99_536, "thin": 461, "risk": 12, "lost": 3},
    "unknown": {"safe": 100_012, "thin": 0, "risk": 0, "lost": 0},
}


OPERATIONS = (
    "history", "invite", "peers.can-leave", "peers.forget", "peers.rename", "peers.site", "repair", "restore", "search",
    "test-restore", "trash",
)  # fmt: skip


def _version(number: int, days: float, machine: str, size: int, **more: Any) -> dict[str, Any]:
    when_ms = int((NOW - days * 86400) * 1000)
    return {
        "number": number, "when_ms": when_ms, "machine": machine, "change": "changed", "name": b"", "kind": "file",
        "size": size, "mtime_ns": 0, "mode": 0o644, "deleted": False, "current": False, "restorable": True, **more,
    }  # fmt: skip


VERSIONS = [
    _version(3, 2, "mum-laptop", 812, current=True), _version(2, 30, "lena-macbook", 790),
    _version(1, 400, "attic-nas", 120, change="made", restorable=False),
]  # fmt: skip
TRASH = [
    {"path": b"/Scans/old.pdf", "when_ms": int((NOW - 86400) * 1000), "machine": "mum-laptop", "with_contents": False,
     "kind": "file", "size": 182_000, "mtime_ns": 0, "mode": 0o644, "deleted": True},
    {"path": b"/Drafts", "when_ms": int((NOW - 3 * 86400) * 1000), "machine": "lena-macbook", "with_contents": True,
     "kind": "folder", "size": 0, "mtime_ns": 0, "mode": 0o755, "deleted": True},
]  # fmt: skip


def _machine(name: str, site: str, state: str, used: int, capacity: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name, "peer_id": (name.encode().hex() * 8)[:64], "role": "member", "site": site,
        "steadiness": "desktop", "state": state, "address": "192.168.1.20:7700", "last_heard_s": 1.0, "rtt_ms": 1.25,
        "capacity": capacity, "used": used, **more,
    }  # fmt: skip


def machines() -> list[dict[str, Any]]:
    """Six machines in three places, one of them away."""
    giga = 10**9
    return [
        _machine("attic-nas", "home", "self", 122 * giga, 330 * giga, role="admin", steadiness="always-on",
                 rtt_ms=None, last_heard_s=0.0),
        _machine("dad-desktop", "home", "linked", 244 * giga, 550 * giga, rtt_ms=14.6),
        _machine("garage-box", "garage", "away", 427 * giga, 880 * giga, rtt_ms=None, last_heard_s=3 * 86400.0),
        _machine("kitchen-pi", "home", "linked", 305 * giga, 660 * giga, role="storage", steadiness="always-on"),
        _machine("lena-macbook", "cabin", "linked", 366 * giga, 770 * giga, steadiness="laptop", rtt_ms=28.8),
        _machine("mum-laptop", "home", "linked", 183 * giga, 440 * giga, steadiness="laptop", rtt_ms=7.5),
    ]  # fmt: skip


def transfer(number: int, verb: str, command: str, share: float, **more: Any) -> dict[str, Any]:
    """A transfer of 100 MB."""
    total = 100_000_000
    return {
        "type": "progress", "verb": verb, "phase": "sending", "total_known": True, "files_total": 40,
        "files_done": int(40 * share), "bytes_total": total, "bytes_sent": int(total * min(1.0, share + 0.13)),
        "bytes_safe": int(total * share), "current": b"/home/mum/Photos/IMG_0007.jpg", "number": number,
        "command": command, "began": NOW - 10.0, "ended": None, "failed": 0, "can_stop": True, **more,
    }  # fmt: skip


TRANSFERS = [
    transfer(1, "put", "p2pstore put -r /home/mum/Scans /", 1.0, ended=NOW - 120.0, began=NOW - 124.5, can_stop=False),
    transfer(2, "put", "p2pstore put -r /home/mum/Photos /", 0.61),
    transfer(3, "get", "p2pstore get /Documents/tax.pdf /home/mum/", 0.9, began=NOW - 40.0),
]
LOG = [
    {"number": 1, "at": NOW - 300.0, "level": "info", "text": "Meyer: attic-nas listens at 192.168.1.20:7700"},
    {"number": 2, "at": NOW - 299.0, "level": "info", "text": "heard mum-laptop at 192.168.1.23:7700"},
    {"number": 3, "at": NOW - 120.0, "level": "warning", "text": "fault of garage-box: Unreachable: no route to host"},
]


def picture() -> bytes:
    """A small PNG: sky, sun and a meadow."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (160, 120), (60, 130, 220))
    draw = ImageDraw.Draw(image)
    draw.ellipse((110, 10, 140, 40), fill=(250, 210, 60))
    draw.polygon([(10, 100), (60, 30), (115, 100)], fill=(130, 130, 140))
    draw.rectangle((0, 90, 160, 120), fill=(40, 140, 50))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def file(name: str, size: int, **more: Any) -> dict[str, Any]:
    """An entry."""
    return {"name": name.encode(), "kind": "file", "size": size, "mtime_ns": int((NOW - 86400 * 30) * 1e9),
            "conflict": False, **more}  # fmt: skip


class FakeHousehold:
    """What the daemon would know.

    Attributes:
        folders: path to entries; /Photos is computed.
        asked: every request.
        refusal: what connecting fails with, if anything.
        failing: operations that fail, with their fault.
        holding: operations that do not answer until released.
    """

    def __init__(self, *, photos: int = 100_000, state: str = "thin") -> None:
        self.photos = photos
        self.folders: dict[bytes, list[dict[str, Any]]] = {
            b"/": [{**file("Documents", 0), "kind": "folder"}, {**file("Photos", 0), "kind": "folder"},
                   file("notes.txt", 812)],
            b"/Documents": [
                file("letter.txt", 1204), file("tax.pdf", 182_000),
                file("will (lena-macbook 2025-11-20).odt", 44_000, conflict=True), file("will.odt", 45_100),
            ],
        }  # fmt: skip
        self.contents: dict[bytes, bytes] = {
            b"/notes.txt": b"Buy milk.\nCall the plumber about the kitchen tap.\n",
            b"/Documents/letter.txt": b"Dear all,\n\nthe roof is mended.\n\nLove, Lena\n",
        }
        self.overview: dict[str, Any] = {
            "pid": 4242, "name": "attic-nas", "household": "Meyer", "role": "admin", "site": "home",
            "address": "192.168.1.20:7700", "version": "0.1.0", "owed": 0, "revision": 1, "peers": machines(),
            "store": {"given": 330 * 10**9, "used": 122 * 10**9, "shards": 8000, "damaged": 0, "state": "accepting"},
            "verdict": {"state": state, "sentence": SENTENCES[state]}, "transfers": [],
            "operations": OPERATIONS,
        }  # fmt: skip
        self.state = state
        self.transfers: list[dict[str, Any]] = []
        self.log = list(LOG)
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        self.refusal: Fault | None = None
        self.failing: dict[str, Fault] = {}
        self.holding: dict[str, asyncio.Event] = {}
        self._clients: list[FakeClient] = []

    async def connect(self) -> FakeClient:
        """A connection, or Failure."""
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise Failure(self.refusal)
        client = FakeClient(self)
        self._clients.append(client)
        return client

    def publish(self, topic: str, delta: Mapping[str, Any]) -> None:
        """News for everybody."""
        for client in self._clients:
            client.news.put_nowait({"topic": topic, "seq": 1, "delta": dict(delta)})

    def kill(self) -> None:
        """The daemon is gone, and nobody answers."""
        self.refusal = NOT_RUNNING
        for client in self._clients:
            client.news.put_nowait(None)
        self._clients.clear()

    def count(self, op: str) -> int:
        """How often something was asked."""
        return sum(name == op for name, _ in self.asked)

    # --- answers ----------------------------------------------------------------------------------------------------

    def entries(self, path: bytes, offset: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """A window of a folder."""
        if path == b"/Photos":
            numbers = range(offset, min(self.photos, offset + limit))
            found = [file(f"IMG_{n:06}.png", 40_000 + n * 7919 % 6_000_000) for n in numbers]
            return self.photos, found
        if path not in self.folders:
            parent = path.rpartition(b"/")[0] or b"/"
            name = path.rpartition(b"/")[2]
            if any(entry["name"] == name for entry in self.folders.get(parent, ())):
                raise faults.not_a_folder(path)
            raise faults.not_found(path)
        found = sorted(self.folders[path], key=lambda entry: entry["name"])
        return len(found), found[offset : offset + limit]

    async def answer(self, op: str, args: Mapping[str, Any]) -> Any:
        """The result of an operation."""
        self.asked.append((op, args))
        if op in self.holding:
            await self.holding[op].wait()
        if op in self.failing:
            raise Failure(self.failing[op])
        match op:
            case "page":
                count, entries = self.entries(args["path"], args["offset"], args["limit"])
                return {"count": count, "revision": self.overview["revision"], "entries": entries}
            case "health":
                return {"states": [{"path": path, "state": self._health(path)} for path in args["paths"]]}
            case "where":
                return self._where(args["path"])
            case "safe":
                return self._safe(args.get("what_if") or [])
            case "invite":
                return {"code": "7-guitar-sunset", "expires_s": 600.0, "address": "192.168.1.20:7700", "role": "member"}
            case "invite.wait":
                await asyncio.Event().wait()
            case "put" | "get":
                return {"files": 3, "bytes": 12_000_000, "level": "safe", "state": "safe",
                        "sentence": "Readable now; survives the loss of any 2 machines.", "failed": [], "seconds": 1.5,
                        "below_level": 0}  # fmt: skip
            case "mkdir" | "transfer.stop":
                return {}
            case "page.of":
                if args["path"] == b"/Photos":
                    return {"index": int(args["name"][-10:-4])}
                names = sorted(entry["name"] for entry in self.folders[args["path"]])
                return {"index": sum(name < args["name"] for name in names)}
            case "restore":
                return {"path": args["path"].rpartition(b"@")[0], "entries": 1, "same": False, "failed": []}
            case "trash":
                return {"path": args["path"], "entries": 1, "same": False, "failed": []}
            case "peers.can-leave":
                reasons = ["38,805 pieces would survive no further failure"]
                return {"names": args["names"], "possible": False, "reasons": reasons}
            case "peers.rename" | "peers.site":
                return {"name": args["name"]}
            case "peers.retire":
                return {"name": args["name"], "leaves": True, "anyway": False, "answers": True,
                        "consequences": ["lena-macbook will be fuller"], "next": []}  # fmt: skip
            case "peers.forget":
                return {"name": args["name"], "removed": True}
            case "test-restore":
                return {"at": NOW, "files": 20, "bytes": 10**8, "failed_count": 0, "failed": []}
            case "repair":
                return {"pieces": 461, "bytes": 1_400_000_000, "minutes": 3}
            case "mv" | "rm":
                return {"entries": 1}
        raise Failure(Fault("unknown-op", f"the daemon does not know {op!r}", "", (), exits.VERSIONS))

    def _safe(self, without: list[str]) -> dict[str, Any]:
        guess = None
        if without:
            state = "lost" if "home" in without else "thin"
            sentence = "38,805 pieces would be lost." if state == "lost" else "Everything would still be readable."
            guess = {"without": without, "state": state, "sentence": sentence, "counts": COUNTS[state]}
        drill = {"at": NOW - 2 * 86400, "files": 20, "bytes": 10**8, "failed_count": 0, "failed": []}
        return {
            **self.overview["verdict"], "counts": COUNTS[self.state], "folders": [], "computed_s": 2.0,
            "what_if": guess, "worst": [], "test_restore": drill, "scrubbed": NOW - 6 * 86400,
        }  # fmt: skip

    def _health(self, path: bytes) -> str | None:
        if path.startswith(b"/Photos/"):
            return ("thin", "safe", "safe", "risk")[int(path[-10:-4]) % 4]
        return "lost" if path.endswith(b"tax.pdf") else "safe"

    def _where(self, path: bytes) -> dict[str, Any]:
        if path in self.contents:
            return {"chunks": [], "inline": True, "commit_on": ["attic-nas", "dad-desktop", "mum-laptop"]}
        names = ["attic-nas", "dad-desktop", "garage-box", "kitchen-pi", "lena-macbook", "mum-laptop"]
        shards = [
            {"index": i, "peer": name, "peer_id": "00", "state": "away" if name == "garage-box" else "linked",
             "verified_at": NOW - 2 * 86400}
            for i, name in enumerate(names)
        ]  # fmt: skip
        chunk = {"index": 0, "offset": 0, "length": 9000, "encoding": "12", "needed": 4, "shards": shards}
        return {"chunks": [chunk], "inline": False, "commit_on": names}

    def read(self, path: bytes) -> bytes:
        """A file's bytes."""
        if path in self.contents:
            return self.contents[path]
        return picture() if path.endswith(b".png") else b"\0binary"


class FakeClient:
    """One connection to it."""

    def __init__(self, household: FakeHousehold) -> None:
        self._household = household
        self.news: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def call(self, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = 30.0) -> Any:
        """Ask and wait."""
        return await self._household.answer(op, dict(args or {}))

    async def stream(self, op: str, args: Mapping[str, Any] | None = None) -> AsyncGenerator[Any, None]:
        """Bytes, versions, the trash, and what is found."""
        given = dict(args or {})
        self._household.asked.append((op, given))
        if op in self._household.failing:
            raise Failure(self._household.failing[op])
        match op:
            case "history":
                yield {"versions": VERSIONS}
            case "trash":
                yield {"entries": TRASH}
            case "search":
                hits = [(b"/Documents/tax.pdf", 182_000), (b"/Photos/IMG_054321.png", 4_000_000)]
                wanted = [word.encode() for word in given["words"]]
                found = [
                    {"path": path, "kind": "file", "size": size}
                    for path, size in hits if all(word in path for word in wanted)
                ]  # fmt: skip
                yield {"entries": found}
            case _:
                yield {"data": self._household.read(given["path"])}

    async def subscribe(self, *topics: str) -> AsyncGenerator[Any, None]:
        """Snapshots, then what is published; ends when the daemon is killed."""
        house = self._household
        if "subscribe" in house.failing:
            raise Failure(house.failing["subscribe"])
        yield {"topic": "overview", "seq": 0, "snapshot": dict(house.overview)}
        yield {"topic": "transfers", "seq": 0, "snapshot": {"transfers": list(house.transfers)}}
        yield {"topic": "log", "seq": 0, "snapshot": {"lines": list(house.log)}}
        while (item := await self.news.get()) is not None:
            yield item
        raise faults.went_away()

    async def close(self) -> None:
        """Hang up."""
