"""What a local client can do about watched folders.

```
watch {}                                      {watches: [...]}
watch.add {local, target, ignored}            watches a folder from now on
watch.rm {local}                              watches it no more
watch.allow {local}                           deletions that wait go to the trash
watch.keep {local}                            what was to be deleted stays in the store
```
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault, fault_of
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.errors import Malformed
from p2pstore.limits import WATCHED_FOLDERS_MAX
from p2pstore.metadata.watching import PATTERNS_MAX, checked_patterns
from p2pstore.node import Node
from p2pstore.services.watched_folder import WatchedFolder
from p2pstore.services.watched_folders import CannotWatch, NotWatched


class WatchOperations:
    """The operations on watched folders of one daemon."""

    def __init__(self, node: Node, *, home: Path) -> None:
        self._node = node
        self._home = home

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "watch": self.watch,
            "watch.add": self.add,
            "watch.rm": self.rm,
            "watch.allow": self.allow,
            "watch.keep": self.keep,
        }

    async def add(self, call: Call) -> dict[str, Any]:
        """Watch a folder."""
        given = _local(call)
        target = arguments.path(call.args, "target")
        ignored = checked_patterns(arguments.texts(call.args, "ignored", most=PATTERNS_MAX))
        local = await self._node.seams.io.run(os.path.realpath, given)
        home = await self._node.seams.io.run(os.path.realpath, os.fsencode(self._home))
        if _is_at_or_below(home, local) or _is_at_or_below(local, home):
            what = f"{os.fsdecode(local)!r} holds p2pstore's own files, or lies among them"
            why = "they change with everything that is stored"
            raise Failure(Fault("own-files", what, why, ("watch a folder beside it",), exits.REFUSED))
        try:
            folder = await self._node.watched.add(local, target, ignored=ignored)
        except CannotWatch as error:
            raise _refusal(error) from None
        return _folder_map(folder)

    async def watch(self, _call: Call) -> dict[str, Any]:
        """Every watched folder, and how it stands."""
        return {"watches": [_folder_map(folder) for folder in self._node.watched.folders()]}

    async def rm(self, call: Call) -> dict[str, Any]:
        """Watch a folder no more."""
        folder = await self._found(call)
        await self._node.watched.remove(folder.watch.local)
        return _place(folder)

    async def allow(self, call: Call) -> dict[str, Any]:
        """What waits goes to the trash."""
        folder = await self._found(call)
        return {**_place(folder), "entries": await folder.allow()}

    async def keep(self, call: Call) -> dict[str, Any]:
        """What waits stays in the store."""
        folder = await self._found(call)
        return {**_place(folder), "entries": await folder.keep()}

    async def _found(self, call: Call) -> WatchedFolder:
        given = _local(call)
        real = await self._node.seams.io.run(os.path.realpath, given)
        for local in (given, real):
            try:
                return self._node.watched.find(local)
            except NotWatched:
                continue
        what = f"{os.fsdecode(given)!r} is not watched"
        raise Failure(Fault("not-found", what, "", ("p2pstore watch ls",), exits.NOT_FOUND))


def _local(call: Call) -> bytes:
    local = arguments.raw(call.args, "local")
    if not local.startswith(b"/") or b"\0" in local:
        raise Malformed("local: an absolute path")
    return local.rstrip(b"/") or b"/"


def _is_at_or_below(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def _place(folder: WatchedFolder) -> dict[str, Any]:
    return {"local": folder.watch.local, "target": arguments.shown(folder.watch.target)}


def _folder_map(folder: WatchedFolder) -> dict[str, Any]:
    watch, hold = folder.watch, folder.hold
    problem = folder.problem or folder.deaf_because
    return {
        **_place(folder),
        "ignored": list(watch.ignored),
        "state": folder.state,
        "entries": folder.known_count,
        "waiting": folder.waiting,
        "trashed": folder.trashed,
        "scanned_s": folder.scanned_s,
        "hold": None if hold is None else {
            "trouble": hold.trouble.value,
            "where": hold.where,
            "missing": hold.missing,
            "known": hold.known,
        },
        "failed_count": folder.refused_count,
        "failed": [{"path": path, "why": _why(error)} for path, error in folder.refused()],
        "problem": None if problem is None else _why(problem),
    }  # fmt: skip


def _why(error: Exception) -> str:
    fault = fault_of(error)
    return f"{fault.what}: {fault.why}" if fault.why and fault.why != fault.what else fault.what


def _refusal(error: CannotWatch) -> Failure:
    where = repr(os.fsdecode(error.what))
    if error.code == "not-a-folder":
        return Failure(Fault("not-a-folder", f"{where} is not a folder on this machine", "", (), exits.NOT_FOUND))
    if error.code == "is-a-file":
        why = "a watched folder goes into a folder"
        return Failure(Fault("not-a-folder", f"{where} in the store is a file", why, (), exits.REFUSED))
    if error.code == "too-many":
        what = f"{WATCHED_FOLDERS_MAX} folders are watched already"
        return Failure(Fault("too-many", what, "", ("p2pstore watch ls",), exits.REFUSED))
    if error.code == "taken":
        what = f"{where} goes to that place in the store, above it or below it"
        why = "two watched folders in one place would delete each other's files"
        return Failure(Fault("exists", what, why, ("p2pstore watch ls",), exits.REFUSED))
    what = f"{where} is watched already"
    why = "a folder is watched once, with all that is in it"
    return Failure(Fault("exists", what, why, ("p2pstore watch ls",), exits.REFUSED))
