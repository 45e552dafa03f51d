"""What a screen that stays open asks for: parts of long listings, how safe each row is, and news as they happen.

```
subscribe {topics}            overview, transfers, log: a snapshot, then what changed (control/topics)
page {path, offset, limit}    a window of a folder: {count, entries}
page.of {path, name}          where in its folder a name stands: {index}
health {paths}                a verdict for each file, for the rows in sight
transfer.stop {number}        ends a transfer early, whoever began it
```
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import trio

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault, not_a_folder, not_found
from p2pstore.control.server import Call, Op
from p2pstore.control.topics import Topics
from p2pstore.daemon import arguments
from p2pstore.errors import Corrupt, Malformed, PathFault
from p2pstore.ids import ChunkId
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Inline, Kind, ManifestRef
from p2pstore.node import Node
from p2pstore.pipeline.manifest import Page
from p2pstore.placement.levels import Level, commit_level
from p2pstore.placement.verdict import ORDER, State

PAGE_NAMES_MAX: Final = 500
"""About 100 KB of entries, well below a frame of the local API."""

HEALTH_PATHS_MAX: Final = 200
"""More rows than a screen has."""

HEALTH_CHUNKS_MAX: Final = 2000
"""Chunks looked at for one request: 20 ms of this machine's time; files that would need more are answered with None."""

TRANSFERS_EVERY_S: Final = 0.25
"""Four paints a second are what a screen takes."""

OVERVIEW_EVERY_S: Final = 2.0
"""Machines and verdicts change slowly."""

OVERVIEW_SHARE: Final = 20.0
"""Computing the overview may take one part in so many of the time: the verdict of a huge store takes seconds."""

LOG_LINES: Final = 300
"""Lines of the log that a new subscriber is shown."""


class Feed:
    """The operations of one daemon that serve open screens. `run` it beside the control server.

    Args:
        node: what is watched.
        status: how things stand, as `p2pstore status --json` has it.

    Attributes:
        operations: what can be asked of this daemon: a screen offers no button that would do nothing.
    """

    def __init__(self, node: Node, *, status: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self._node = node
        self._status = status
        self.operations: tuple[str, ...] = ()
        self._overview: dict[str, Any] = {}
        self._revision = 0
        self._news = 0
        self._changed = True
        self._log = _Lines(node.seams.clock.wall_s)
        self._watchers = 0
        self._watched = trio.Event()
        self._topics = Topics(
            {"overview": lambda: self._overview, "transfers": self._transfers, "log": self._log.snapshot}
        )

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "subscribe": self.subscribe,
            "page": self.page,
            "page.of": self.page_of,
            "health": self.health,
            "transfer.stop": self.transfer_stop,
        }

    # --- news -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Publish news while anybody listens; costs nothing while nobody does."""
        logger = logging.getLogger("p2pstore")
        logger.addHandler(self._log)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow_tree)
                nursery.start_soon(self._publish_fast)
                nursery.start_soon(self._publish_overview)
        finally:
            logger.removeHandler(self._log)

    async def subscribe(self, call: Call) -> None:
        """Stream snapshots and changes of topics until the client has enough."""
        self._watchers += 1
        try:
            await self._look()
            self._watched.set()
            await self._topics.subscribe(call)
        finally:
            self._watchers -= 1
            if not self._watchers:
                self._watched = trio.Event()

    async def _follow_tree(self) -> None:
        with self._node.ledger.subscribe() as news:
            async for change in news:
                self._changed = True
                self._news += 1
                if change.own or change.remote:
                    self._revision += 1

    async def _look(self) -> None:
        """Take stock of everything but the transfers. The verdict is computed anew if anything it stands on changed."""
        if self._changed:
            self._changed = False
            await self._node.verdicts.verdict(fresh=True)
        self._overview = {**await self._status(), **self._counters(), "operations": self.operations}

    async def _publish_overview(self) -> None:
        clock = self._node.seams.clock
        said: dict[str, Any] = {}
        while True:
            await self._watched.wait()
            begun_s = clock.now_s()
            await self._look()
            steady = {key: value for key, value in self._overview.items() if key != "uptime_s"}
            if steady != said:
                said = steady
                self._topics.publish("overview", self._overview)
            await clock.sleep(max(OVERVIEW_EVERY_S, OVERVIEW_SHARE * (clock.now_s() - begun_s)))

    async def _publish_fast(self) -> None:
        clock = self._node.seams.clock
        said: dict[str, Any] = {}
        counters = self._counters()
        while True:
            await self._watched.wait()
            if (transfers := self._transfers()) != said:
                said = transfers
                self._topics.publish("transfers", transfers)
            if lines := self._log.take():
                self._topics.publish("log", {"lines": lines})
            if counters != self._counters():
                counters = self._counters()
                self._topics.publish("overview", counters)
            await clock.sleep(TRANSFERS_EVERY_S)

    def _counters(self) -> dict[str, Any]:
        """`revision` rises when the tree may have changed, `news` when anything may have that verdicts stand on."""
        return {"revision": self._revision, "news": self._news}

    def _transfers(self) -> dict[str, Any]:
        now_s = self._node.seams.clock.now_s()
        wall_s = self._node.seams.clock.wall_s()
        return {
            "transfers": [
                {
                    **transfer.progress(),
                    "number": number,
                    "command": transfer.command,
                    "began": round(wall_s - (now_s - transfer.started_s), 1),
                    "ended": None if transfer.ended_s is None else round(wall_s - (now_s - transfer.ended_s), 1),
                    "failed": len(transfer.failed),
                    "can_stop": transfer.stop is not None,
                }
                for number, transfer in self._node.transfers.numbered()
            ]
        }

    async def transfer_stop(self, call: Call) -> dict[str, Any]:
        """End a transfer early; what it has stored stays."""
        number = call.args.get("number")
        if type(number) is not int or not self._node.transfers.stop(number):
            raise Failure(Fault("not-found", "there is no such transfer any more", "", (), exits.NOT_FOUND))
        return {}

    # --- rows -----------------------------------------------------------------------------------------------------

    async def page(self, call: Call) -> dict[str, Any]:
        """A window of a folder, by number: `count` names in all, and the entries of those asked for. A name's conflict
        copies stand behind it, so there may be more entries than names."""
        path = arguments.path(call.args)
        offset = arguments.integer(call.args, "offset")
        limit = arguments.integer(call.args, "limit", least=1, most=PAGE_NAMES_MAX)
        try:
            count, items = await self._node.ledger.folder_window(path, offset=offset, limit=limit)
        except PathFault as error:
            shown = arguments.shown(path)
            raise (not_found(shown) if error.code == "not-found" else not_a_folder(shown)) from None
        return {"count": count, "revision": self._revision, "entries": [_entry(item) for item in items]}

    async def page_of(self, call: Call) -> dict[str, Any]:
        """The number of a name in its folder, for whoever wants to show it there."""
        path, name = arguments.path(call.args), arguments.raw(call.args, "name")
        return {"index": await self._node.ledger.place_in_folder(path, name)}

    async def health(self, call: Call) -> dict[str, Any]:
        """A verdict for each of some files: {path, state}; None for what is no file, or too long to look at in
        passing."""
        paths = call.args.get("paths")
        if not isinstance(paths, list) or len(paths) > HEALTH_PATHS_MAX:
            raise Malformed(f"paths: a list of at most {HEALTH_PATHS_MAX}")
        wanted = [arguments.split(path) for path in paths]
        files = [await self._node.ledger.resolve(path) for path in wanted]
        chunks = [await self._chunks_of(item) for item in files]
        states = await self._states_of_chunks(chunks)
        answer = []
        for path, item, own in zip(paths, files, chunks, strict=True):
            if item is None or own is None or any(chunk not in states for chunk in own):
                state = None
            else:
                found = [await self._name_state(path, item), *(states[chunk] for chunk in own)]
                state = max(found, key=ORDER.index).value
            answer.append({"path": path, "state": state})
        return {"states": answer}

    async def _chunks_of(self, item: Item | None) -> Sequence[ChunkId] | None:
        """The chunks that a file needs; none for a small one, None where the question has no quick answer."""
        if item is None or item.kind is Kind.FOLDER:
            return None
        if not isinstance(item.content, ManifestRef):
            return () if isinstance(item.content, Inline) or item.kind is Kind.LINK else None
        try:
            top = await self._node.exporter.manifest(item.content.manifest, item.content.generation)
        except Corrupt:
            return None  # it has not arrived here yet
        return [part.id for part in top.parts] if isinstance(top, Page) else None

    async def _states_of_chunks(self, chunks: Sequence[Sequence[ChunkId] | None]) -> dict[ChunkId, State]:
        """The best stripe of each chunk decides."""
        distinct = sorted({chunk for own in chunks for chunk in own or ()})
        if not distinct or len(distinct) > HEALTH_CHUNKS_MAX:
            return {}
        statements = await self._node.ledger.stripes_for(distinct)
        by_encoding = {each.encoding: each for stated in statements.values() for each in stated}
        stripes = [by_encoding[encoding] for encoding in sorted(by_encoding)]
        states: dict[ChunkId, State] = {}
        for stripe, state in zip(stripes, await self._node.verdicts.states_of(stripes), strict=True):
            known = states.get(stripe.chunk)
            states[stripe.chunk] = state if known is None else min(state, known, key=ORDER.index)
        return states

    async def _name_state(self, path: bytes, item: Item) -> State:
        """How safe the name is, and with it the bytes of a small file: machines that said they have its commit."""
        others = self._node.membership.others()
        elsewhere = self._node.metadata_sync.receipted(item.held.dot, others)
        promise = await self._node.promise_at(arguments.split(path)[:-1])
        membership = self._node.membership
        if commit_level(membership.me, elsewhere, promise, membership.sites()) is Level.SAFE:
            return State.SAFE
        return State.THIN if elsewhere else State.RISK


class _Lines(logging.Handler):
    """The last lines of the daemon's log. May be written by any thread."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        super().__init__(logging.INFO)
        self._wall_s = wall_s
        self._kept: deque[dict[str, Any]] = deque(maxlen=LOG_LINES)
        self._new: deque[dict[str, Any]] = deque(maxlen=LOG_LINES)
        self._count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        text = record.getMessage()[:1000].encode("utf-8", "backslashreplace").decode("utf-8")
        self._count += 1
        line = {"number": self._count, "at": round(self._wall_s(), 3), "level": record.levelname.lower(), "text": text}
        self._kept.append(line)
        self._new.append(line)

    def snapshot(self) -> dict[str, Any]:
        """All lines kept. Those not taken yet are said again, under the same number."""
        return {"lines": list(self._kept)}

    def take(self) -> list[dict[str, Any]]:
        """Lines since the last time."""
        taken = []
        while self._new:
            taken.append(self._new.popleft())
        return taken


def _entry(item: Item) -> dict[str, Any]:
    return {
        "name": item.name,
        "kind": item.kind.name.lower(),
        "size": item.size,
        "mtime_ns": item.mtime_ns,
        "conflict": item.conflict,
    }
