"""Names and folders, and which machine holds what, for a local client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from p2pstore.control.faults import is_a_folder, not_a_folder
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import PeerId
from p2pstore.ledger.drafts import MakeFolder, Move, Path
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Inline, Kind, ManifestRef
from p2pstore.node import Node
from p2pstore.pipeline.manifest import Page, open_page
from p2pstore.services.addresses import Addresses
from p2pstore.services.destinations import There, landing

PAGE_ENTRIES: Final = 500
"""Entries in one item of a listing: about 100 KB, well below a frame of the local API."""


class TreeOperations:
    """ls, tree, mkdir, mv, rm and where."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._addresses = Addresses(node.ledger)

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "ls": self.ls,
            "tree": self.tree,
            "mkdir": self.mkdir,
            "mv": self.mv,
            "rm": self.rm,
            "where": self.where,
        }

    async def _item(self, path: Path) -> Item:
        """What is at `path`, which may name a version."""
        return (await self._addresses.find(path)).item

    async def ls(self, call: Call) -> dict[str, Any]:
        """Stream a folder's entries, or the one entry of a file."""
        path = arguments.path(call.args, "path")
        everything = call.args.get("all") is True
        item = await self._item(path)
        if item.kind is not Kind.FOLDER:
            await call.emit({"entries": [arguments.entry_map(item)]})
            return {"entries": 1}
        pages = _Pages(call)
        async for child in self._node.exporter.items_of(item):
            if everything or not child.name.startswith(b"."):
                await pages.add(arguments.entry_map(child))
        return {"entries": await pages.end()}

    async def tree(self, call: Call) -> dict[str, Any]:
        """Stream everything below a folder."""
        path = arguments.path(call.args, "path")
        depth = arguments.optional_integer(call.args, "depth")
        start = await self._addresses.find(path)
        if start.item.kind is not Kind.FOLDER:
            raise not_a_folder(arguments.shown(path))
        path = start.path
        pages = _Pages(call)
        async for below, item in self._node.ledger.walk(path, at=start.item.at):
            if depth is None or len(below) - len(path) <= depth:
                await pages.add({"path": arguments.shown(below), **arguments.entry_map(item)})
        return {"entries": await pages.end()}

    async def mkdir(self, call: Call) -> dict[str, Any]:
        """Make a folder."""
        path = arguments.path(call.args, "path")
        parents = call.args.get("parents") is True
        there = await self._node.ledger.resolve(path)
        if there is not None and not (parents and there.kind is Kind.FOLDER):
            raise PathFault("taken", path)
        if path:
            mtime_ns = int(self._node.seams.clock.wall_s() * 1e9)
            await self._node.ledger.commit([MakeFolder(path, mtime_ns=mtime_ns, make_parents=parents)])
        return {}

    async def mv(self, call: Call) -> dict[str, Any]:
        """Move or rename."""
        sources = [arguments.split(value) for value in arguments.array(call.args, "sources")]
        destination = arguments.path(call.args, "destination")
        there = await self._node.ledger.resolve(destination)
        items = [await self._item(path) for path in sources]
        if any(not path for path in sources):
            raise Misuse("the root cannot be moved")
        targets = landing(
            [path[-1] for path in sources],
            folders=[item.kind is Kind.FOLDER for item in items],
            destination=destination,
            there=There(None if there is None else there.kind.name.lower()),
            into=call.args.get("into") is True,
        )
        for source, target in zip(sources, targets, strict=True):
            if source != target:
                await self._node.ledger.commit([Move(source, target, replace=True)])
        return {"entries": len(sources)}

    async def rm(self, call: Call) -> dict[str, Any]:
        """Put entries into the trash."""
        recursive = call.args.get("recursive") is True
        paths = [arguments.split(value) for value in arguments.array(call.args, "paths")]
        count = 0
        for path in paths:
            if not path:
                raise Misuse("the root cannot be removed")
            item = await self._item(path)
            if item.kind is Kind.FOLDER and not recursive:
                raise is_a_folder(arguments.shown(path))
        for path in paths:
            if await self._node.ledger.remove_tree(path) is not None:
                count += 1
        return {"entries": count}

    async def where(self, call: Call) -> dict[str, Any]:
        """Which machine holds what of a file."""
        node = self._node
        path = arguments.path(call.args, "path")
        item = await self._item(path)
        seen_by = node.metadata_sync.receipted(item.held.dot, node.membership.others())
        has_it = {*seen_by, node.membership.me, item.held.dot.author}
        commit_on = sorted(node.membership.name_of(peer) for peer in has_it if node.membership.is_member(peer))
        if not isinstance(item.content, ManifestRef):
            return {"chunks": [], "inline": isinstance(item.content, Inline), "commit_on": commit_on}
        chunks: list[dict[str, Any]] = []
        offset = 0
        most = arguments.integer(call.args, "limit", 2**62)
        async for page in self._manifest_pages(item.content):
            for part in page.parts:
                if len(chunks) >= most:
                    break
                chunks.append(await self._where_chunk(len(chunks), offset, part.id, part.length))
                offset += part.length
        return {"chunks": chunks, "inline": False, "commit_on": commit_on}

    async def _manifest_pages(self, reference: ManifestRef) -> AsyncIterator[Page]:
        top = await self._node.exporter.manifest(reference.manifest, reference.generation)
        if isinstance(top, Page):
            yield top
            return
        keys = self._node.membership.sealing_keys_of(reference.generation)
        assert keys is not None, "the root was opened with it"
        for part in top.parts:
            data = await self._node.ledger.manifest(part.id)
            yield open_page(data or b"", keys.dedupe, expect=part)

    async def _where_chunk(self, index: int, offset: int, chunk: Any, length: int) -> dict[str, Any]:
        node = self._node
        stripes = await node.catalog.stripes_of_chunk(chunk)
        if not stripes:
            return {"index": index, "offset": offset, "length": length, "encoding": "", "needed": 1, "shards": []}
        stripe = stripes[0]
        said = await node.ledger.holders(stripe.encoding)
        proven = {(holder.peer, holder.index): holder.proven_ms / 1000 for holder in said}
        shards = [
            {
                "index": shard,
                "peer": node.membership.name_of(peer),
                "peer_id": peer.hex(),
                "state": self._state_of(peer),
                "verified_at": node.seams.clock.wall_s() if peer == node.membership.me else proven.get((peer, shard)),
            }
            for peer, indices in sorted(stripe.holders.items())
            for shard in indices
        ]
        return {
            "index": index,
            "offset": offset,
            "length": length,
            "encoding": stripe.encoding.hex(),
            "needed": stripe.needed,
            "shards": sorted(shards, key=lambda one: (one["index"], one["peer"])),
        }

    def _state_of(self, peer: PeerId) -> str:
        if peer == self._node.membership.me:
            return "here"
        return "linked" if self._node.liveness.answers(peer) else "away"


class _Pages:
    """A listing on its way to a client, a page at a time."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._page: list[dict[str, Any]] = []
        self._count = 0

    async def add(self, entry: dict[str, Any]) -> None:
        """One more entry."""
        self._page.append(entry)
        self._count += 1
        if len(self._page) == PAGE_ENTRIES:
            await self._emit()

    async def end(self) -> int:
        """The last page; how many entries there were."""
        if self._page:
            await self._emit()
        return self._count

    async def _emit(self) -> None:
        await self._call.emit({"entries": self._page})
        self._page = []
