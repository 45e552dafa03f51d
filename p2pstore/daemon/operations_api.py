"""What programs ask for beyond the command line: one path, a version that stays what it was, an exact new name.

```
stat {path, content}                       one entry; with `content`, what `read` needs to read exactly this version
read {manifest, generation, offset, length} a stream of its bytes, whatever has become of the path since
copy {source, target, replace}             a file under a second name; no bytes move
rename {source, target, replace}           to exactly `target`, never into it
```
"""

from __future__ import annotations

from functools import partial
from typing import Any

from p2pstore.control.faults import Failure, already_there, fault_of, is_a_folder, not_found
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.daemon.streaming import stream_bytes
from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import generation_id, manifest_id
from p2pstore.ledger.drafts import Move, Path, Put
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Inline, Kind, LinkTarget, ManifestRef
from p2pstore.node import Node


class ProgramOperations:
    """The operations of one daemon that the Python API adds."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"stat": self.stat, "read": self.read, "copy": self.copy, "rename": self.rename}

    async def stat(self, call: Call) -> dict[str, Any]:
        """What is at a path."""
        item = await self._item(arguments.path(call.args, "path"))
        entry = _entry(item)
        if call.args.get("content") is True:
            entry["content"] = _content(item)
        return entry

    async def read(self, call: Call) -> dict[str, Any]:
        """Stream a range of a content that `stat` named."""
        offset, length = arguments.integer(call.args, "offset"), arguments.integer(call.args, "length")
        manifest = manifest_id(arguments.raw(call.args, "manifest"))
        reference = ManifestRef(manifest, generation_id(arguments.raw(call.args, "generation")))
        read = partial(self._node.exporter.read_manifest, reference)
        return {"bytes": await stream_bytes(call, read, offset, length)}

    async def copy(self, call: Call) -> dict[str, Any]:
        """A second file with the same content, time and mode."""
        source, target = arguments.path(call.args, "source"), arguments.path(call.args, "target")
        item = await self._item(source)
        if item.kind is Kind.FOLDER:
            raise is_a_folder(arguments.shown(source))
        if not target:
            raise is_a_folder(b"/")
        expected = None if call.args.get("replace") is True else ()
        await self._commit(Put(target, item.kind, item.content, item.size, item.mtime_ns, item.mode, expected=expected))
        return {}

    async def rename(self, call: Call) -> dict[str, Any]:
        """Give what is at `source` the path `target`."""
        source, target = arguments.path(call.args, "source"), arguments.path(call.args, "target")
        if not source or not target:
            raise Failure(fault_of(Misuse("the root has no other name")))
        await self._item(source)
        if source != target:
            await self._commit(Move(source, target, replace=call.args.get("replace") is True))
        return {}

    async def _item(self, path: Path) -> Item:
        item = await self._node.ledger.resolve(path)
        if item is None:
            raise not_found(arguments.shown(path))
        return item

    async def _commit(self, draft: Put | Move) -> None:
        try:
            await self._node.ledger.commit([draft])
        except PathFault as error:
            if error.code == "changed":  # nothing was expected there
                raise already_there(arguments.shown(error.path)) from None
            raise


def _entry(item: Item) -> dict[str, Any]:
    dot = item.held.dot
    return {
        **arguments.entry_map(item),
        "version": f"{dot.author.hex()}.{dot.incarnation.hex()}.{dot.sequence}",
    }


def _content(item: Item) -> dict[str, Any]:
    match item.content:
        case Inline(data=data):
            return {"data": data}
        case LinkTarget(target=target):
            return {"data": target}
        case ManifestRef(manifest=manifest, generation=generation):
            return {"manifest": manifest, "generation": generation}
    raise is_a_folder(b"/" + item.name)
