"""What folders promise: promise {action: ls|set|rm, path, promise}, promise.plan {path, promise}."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import EntryId
from p2pstore.ledger.drafts import Path, SetPromise
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.metadata.version import RECOVERED_ENTRY, Kind
from p2pstore.node import Node
from p2pstore.placement.capacity import best_place, usable, with_disk, with_site
from p2pstore.placement.planner import plan_stripe, shortfalls
from p2pstore.placement.promise import Promise, promise_named
from p2pstore.placement.ranking import Candidate, offers_of
from p2pstore.services.promiser import Raising

NEW_SITE: Final = "a new site"


class PromiseOperations:
    """The operations of one daemon on promises."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"promise": self.promise, "promise.plan": self.plan}

    async def promise(self, call: Call) -> dict[str, Any]:
        """List, set or take away promises."""
        action = arguments.text(call.args, "action", among=("ls", "set", "rm"))
        if action != "ls":
            word = None if action == "rm" else promise_named(arguments.text(call.args, "promise")).value
            entries = await self._folder(arguments.path(call.args))
            await self._node.ledger.commit([SetPromise(FolderPromise(entry, word)) for entry in entries])
            self._node.promiser.hurry()
        raisings = await self._node.promiser.raisings()
        return {
            "default": self._node.promise().value,
            "promises": [self._map(each, await self._candidates()) for each in raisings],
        }

    def _map(self, raising: Raising, candidates: Sequence[Candidate]) -> dict[str, Any]:
        missing = shortfalls(offers_of(b"", candidates, shard_bytes=1), raising.promise)
        return {
            "path": arguments.shown(raising.path),
            "promise": raising.promise.value,
            "possible": not missing,
            "behind": raising.behind,
            "unknown": raising.unknown,
        }

    async def _folder(self, path: Path) -> tuple[EntryId, ...]:
        """What a promise for `path` is put on: of folders that are shown as one, all."""
        item = await self._node.ledger.resolve(path)
        if item is None:
            raise PathFault("not-found", path)
        if item.kind is not Kind.FOLDER:
            raise Misuse("a promise is for a folder: it holds for everything in it")
        if RECOVERED_ENTRY in item.entries:
            raise Misuse("what lies in /Recovered has the promise of the root")
        return item.entries

    async def _candidates(self) -> list[Candidate]:
        return sorted(await self._node.nearby.machines_at_hand(), key=lambda each: each.peer)

    # --- the plan -----------------------------------------------------------------------------------------------------

    async def plan(self, call: Call) -> dict[str, Any]:
        """How what is put into a folder now would be stored, and how much of it fits."""
        path = arguments.path(call.args)
        word = arguments.optional_text(call.args, "promise")
        promise = await self._node.promise_at(path) if word is None else promise_named(word)
        candidates = await self._candidates()
        return {
            "path": arguments.shown(path),
            "promise": promise.value,
            "failures": promise.failures,
            **self._layout(candidates, promise),
            **await self._node.seams.cpu.run(self._space, candidates, promise, cost_s=0.5),
        }

    def _layout(self, candidates: Sequence[Candidate], promise: Promise) -> dict[str, Any]:
        offers = offers_of(b"", candidates, shard_bytes=1)
        missing = [
            {"part": each.part, "because": each.because, "wanted": each.wanted} for each in shortfalls(offers, promise)
        ]
        if not offers:
            return {
                "kept": False, "needed": 0, "total": 0, "holders": [], "bytes_per_byte": 0.0, "reads": 0.0,
                "missing": missing,
            }  # fmt: skip
        plan = plan_stripe(offers, promise)
        where = {each.peer: each.site for each in candidates}
        return {
            "kept": plan.kept,
            "needed": plan.needed,
            "total": plan.total,
            "holders": [
                {"name": self._node.membership.name_of(peer), "site": where[peer], "shards": count}
                for peer, count in sorted(Counter(plan.holders).items())
            ],
            "bytes_per_byte": plan.total / plan.needed,
            "reads": round(plan.reads, 4),
            "missing": missing,
        }

    def _space(self, candidates: Sequence[Candidate], promise: Promise) -> dict[str, Any]:
        """A worker job: some tenths of a second."""
        size = max((max(each.given_bytes, each.free_bytes) for each in candidates), default=0)
        now = usable(candidates, promise).bytes
        more = []
        if size:
            best = best_place(candidates, promise, size)
            gained = usable(with_disk(candidates, best, size), promise).bytes
            name = self._node.membership.name_of(best)
            more.append({"what": "disk", "where": name, "bytes": size, "usable_bytes": gained})
            gained = usable(with_site(candidates, NEW_SITE, size), promise).bytes
            more.append({"what": "site", "where": NEW_SITE, "bytes": size, "usable_bytes": gained})
        return {"usable_bytes": now, "free_bytes": sum(each.free_bytes for each in candidates), "more": more}
