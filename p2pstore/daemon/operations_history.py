"""What was: versions of a path, bringing them back, comparing them, the trash, and snapshots.

```
history {path, skip, limit}     {versions: [...]} in pages, newest first
restore {path, to}              a version, or what was removed, becomes the newest
diff {a, b}                     what differs, below folders too, and both texts if they are short
trash {action: ls|put-back}     what was removed
snapshot {action: ls|create|rm} names for moments
```
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Final

from p2pstore.control.faults import fault_of
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import EntryId
from p2pstore.ledger.drafts import MakeSnapshot, RemoveSnapshot
from p2pstore.ledger.history import Buried, Numbered
from p2pstore.limits import MIB
from p2pstore.metadata.clock import hlc_ms
from p2pstore.metadata.marks import snapshot_name
from p2pstore.metadata.tree import content_key
from p2pstore.metadata.version import Kind, LinkTarget, ManifestRef, Version
from p2pstore.node import Node
from p2pstore.services.addresses import Addresses, Found
from p2pstore.services.comparing import Difference, compare_folders
from p2pstore.services.readable import Readability
from p2pstore.services.restoring import Restored, Restorer

PAGE: Final = 200
"""Versions in one item of the answer: about 60 KB, well below a frame of the local API."""

LIMIT_MAX: Final = 100_000
"""Lines that one request may ask for."""

TEXT_BYTES_MAX: Final = MIB
"""Longer texts are compared as a whole only."""

PIECE_BYTES: Final = MIB // 2
"""Bytes in one item of an answer, below a frame of the local API."""


class HistoryOperations:
    """The operations of one daemon that look back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._addresses = Addresses(node.ledger)
        self._restorer = Restorer(node.ledger)

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "history": self.history,
            "restore": self.restore,
            "diff": self.diff,
            "trash": self.trash,
            "snapshot": self.snapshot,
        }

    # --- versions -----------------------------------------------------------------------------------------------------

    async def history(self, call: Call) -> dict[str, Any]:
        """Stream the versions of a path."""
        path = arguments.path(call.args)
        skip = arguments.integer(call.args, "skip", 0)
        limit = arguments.integer(call.args, "limit", LIMIT_MAX, most=LIMIT_MAX)
        item = await self._node.ledger.resolve(path)
        shown = () if item is None else (item.held.dot,)
        readability = self._readability()
        sent, total = 0, 0
        while sent < limit:
            versions, total = await self._node.ledger.versions_of(path, skip=skip + sent, limit=min(PAGE, limit - sent))
            if not versions:
                break
            page = [
                {
                    **self._version_map(one),
                    "current": one.held.dot in shown,
                    "restorable": await readability.can_read(one.held.version.content),
                }
                for one in versions
            ]
            await call.emit({"versions": page})
            sent += len(versions)
        if not total:
            raise PathFault("not-found", path)
        return {"versions": sent, "total": total}

    def _readability(self) -> Readability:
        return Readability(self._node.exporter, self._node.ledger, self._node.catalog)

    def _version_map(self, one: Numbered) -> dict[str, Any]:
        version = one.held.version
        return {
            "number": one.number,
            "when_ms": hlc_ms(one.held.hlc),
            "machine": self._node.membership.name_of(one.held.dot.author),
            "change": str(one.change),
            "name": version.name,
            **_state(version),
        }

    async def restore(self, call: Call) -> dict[str, Any]:
        """Bring back a version, or what was removed."""
        path = arguments.path(call.args)
        to = arguments.optional_path(call.args, "to")
        try:
            found = await self._addresses.find(path)
        except PathFault as error:
            if error.code != "not-found" or not path:
                raise
            return _restored_map(await self._restorer.put_back(path, to))
        if not found.past:
            if to is not None:
                raise Misuse("--to is for a version or for what was removed; cp and mv are for what is there")
            return _restored_map(await self._restorer.put_back(path, None))
        return _restored_map(await self._restorer.restore(found.path, found.item, to))

    # --- differences --------------------------------------------------------------------------------------------------

    async def diff(self, call: Call) -> dict[str, Any]:
        """What differs between two states; streams both contents if they are short texts."""
        given = arguments.path(call.args, "a")
        a = await self._addresses.find(given)
        other = arguments.optional_path(call.args, "b")
        if other is None and not a.past:
            raise Misuse("name two paths, or one with a version: PATH@2")
        b = await self._addresses.find(a.path if other is None else other)
        differs = _differences(a, b)
        if a.item.kind is b.item.kind is Kind.FOLDER:
            if await self._emit_differences(call, a, b):
                differs.append("content")
        elif await self._differ_by_bytes(a, b):
            differs.append("content")
        texts = False
        if "content" in differs and all(_may_be_text(found) for found in (a, b)):
            texts = await self._emit_texts(call, a, b)
        return {
            "a": {"path": arguments.shown(a.path), **_state(a.item.version)},
            "b": {"path": arguments.shown(b.path), **_state(b.item.version)},
            "differs": differs,
            "text": texts,
        }

    async def _differ_by_bytes(self, a: Found, b: Found) -> bool:
        """By the ids of contents. Of two key generations the ids say nothing: then by length, or else by the bytes."""
        one, other = a.item, b.item
        if one.kind is not other.kind:
            return True
        if content_key(one.version) == content_key(other.version):
            return False
        apart = not isinstance(one.content, ManifestRef) or not isinstance(other.content, ManifestRef)
        if apart or one.size != other.size or one.size > TEXT_BYTES_MAX:
            return True
        return await self._bytes_of(a) != await self._bytes_of(b)

    async def _emit_differences(self, call: Call, a: Found, b: Found) -> bool:
        """Stream what differs below two folders; whether anything does."""
        any_found = False
        pages = compare_folders(self._node.ledger, a.item, b.item)
        async with aclosing(pages):
            async for page in pages:
                if page:
                    any_found = True
                    await call.emit({"entries": [_difference_map(each) for each in page]})
        return any_found

    async def _bytes_of(self, found: Found) -> bytes:
        if isinstance(found.item.content, LinkTarget):
            return found.item.content.target
        content = bytearray()

        async def sink(piece: memoryview) -> None:
            content.extend(piece)

        await self._node.exporter.read(found.item, 0, found.item.size, sink)
        return bytes(content)

    async def _emit_texts(self, call: Call, a: Found, b: Found) -> bool:
        """Send both contents if both are text; whether they were."""
        contents = {"a": await self._bytes_of(a), "b": await self._bytes_of(b)}
        if any(b"\0" in content for content in contents.values()):
            return False
        try:
            for content in contents.values():
                content.decode("utf-8")
        except UnicodeDecodeError:
            return False
        for side, content in contents.items():
            for start in range(0, len(content), PIECE_BYTES):
                await call.emit({"side": side, "data": content[start : start + PIECE_BYTES]})
        return True

    # --- the trash ----------------------------------------------------------------------------------------------------

    async def trash(self, call: Call) -> dict[str, Any]:
        """List what was removed, or put it back."""
        action = arguments.text(call.args, "action", among=("ls", "put-back"))
        if action == "put-back":
            to = arguments.optional_path(call.args, "to")
            return _restored_map(await self._restorer.put_back(arguments.path(call.args), to))
        everything = arguments.flag(call.args, "all")
        limit = arguments.integer(call.args, "limit", LIMIT_MAX, most=LIMIT_MAX)
        sent = 0
        before: tuple[int, EntryId] | None = None
        while True:
            page = await self._node.ledger.trash_page(
                before=before, limit=min(PAGE, limit - sent), everything=everything
            )
            if page.items:
                await call.emit({"entries": [self._buried_map(one) for one in page.items]})
            sent += len(page.items)
            before = page.before
            if before is None or sent >= limit:
                return {"entries": sent, "more": before is not None}

    def _buried_map(self, one: Buried) -> dict[str, Any]:
        return {
            "path": arguments.shown(one.path),
            "when_ms": hlc_ms(one.held.hlc),
            "machine": self._node.membership.name_of(one.held.dot.author),
            "with_contents": one.below,
            **_state(one.held.version),
        }

    # --- snapshots ----------------------------------------------------------------------------------------------------

    async def snapshot(self, call: Call) -> dict[str, Any]:
        """List, make or remove snapshots."""
        action = arguments.text(call.args, "action", among=("ls", "create", "rm"))
        if action == "create":
            name = snapshot_name(arguments.text(call.args, "name"))
            await self._node.ledger.commit([MakeSnapshot(name)])
        elif action == "rm":
            await self._node.ledger.commit([RemoveSnapshot(arguments.text(call.args, "name"))])
        made = await self._node.ledger.snapshots()
        return {
            "snapshots": [
                {
                    "name": one.snapshot.name,
                    "when_ms": hlc_ms(one.hlc),
                    "machine": self._node.membership.name_of(one.dot.author),
                }
                for one in made
            ]
        }


def _state(version: Version) -> dict[str, Any]:
    return {
        "kind": version.kind.name.lower(),
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "mode": version.mode,
        "deleted": version.deleted,
    }


def _difference_map(difference: Difference) -> dict[str, Any]:
    return {
        "path": arguments.shown(difference.path),
        "change": difference.change,
        "kind": difference.item.kind.name.lower(),
        "size": difference.item.size,
    }


def _differences(a: Found, b: Found) -> list[str]:
    """Names of what differs, content apart."""
    one, other = _state(a.item.version), _state(b.item.version)
    differs = ["path"] if a.path != b.path else []
    return differs + [name for name in ("kind", "size", "mtime_ns", "mode") if one[name] != other[name]]


def _may_be_text(found: Found) -> bool:
    return found.item.kind is not Kind.FOLDER and found.item.size <= TEXT_BYTES_MAX


def _restored_map(restored: Restored) -> dict[str, Any]:
    failed = []
    for error in restored.failed:
        fault = fault_of(error)
        failed.append({"path": arguments.shown(error.path), "code": fault.code, "what": fault.what, "why": fault.why})
    return {
        "path": arguments.shown(restored.path),
        "entries": restored.entries,
        "same": restored.same,
        "failed": failed,
    }
