"""Bytes into the store and out of it, for a local client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from p2pstore.control import exits
from p2pstore.control.faults import (
    Failure,
    Fault,
    already_there,
    fault_of,
    is_a_folder,
    not_a_folder,
    not_found,
    shown_path,
)
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.daemon.commands import command_of
from p2pstore.daemon.streaming import ClientBytes, stream_bytes
from p2pstore.errors import Malformed, Misuse, PathFault
from p2pstore.ledger.drafts import Path
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Kind, LinkTarget
from p2pstore.node import Node
from p2pstore.placement.levels import Level, commit_level
from p2pstore.seams.local_files import LocalEntry, Unreadable
from p2pstore.services.addresses import Addresses
from p2pstore.services.destinations import There, landing
from p2pstore.services.exporter import Destination
from p2pstore.services.importer import Cannot, Origin, PutOutcome
from p2pstore.services.transfers import Failed, Transfer

PROGRESS_EVERY_S: Final = 0.1
"""Ten reports a second: more than an eye or a progress bar takes."""

PATIENCE_S: Final = 30.0
"""`put` gives up waiting for its level when nothing has got better for so long."""

_LEVELS: Final = (Level.HERE, Level.PLACED, Level.SAFE)


class TransferOperations:
    """put, get and cat."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._addresses = Addresses(node.ledger)

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"put": self.put, "get": self.get, "cat": self.cat}

    async def put(self, call: Call) -> dict[str, Any]:
        """Store files; returns when the level asked for is reached, or no progress is possible."""
        level = _level(call)
        destination = arguments.path(call.args, "destination")
        with_slash = call.args.get("into") is True
        async with self._transfer(call, "put") as transfer:
            if call.args.get("stdin") is True:
                outcome = await self._put_stdin(call, destination, level, transfer)
            else:
                origins = await self._origins(call, destination, into=with_slash, transfer=transfer)
                outcome = await self._node.importer.put_all(origins, level, transfer)
            reached = await self._await_level(outcome, level, wait=call.args.get("wait") is True)
            return self._put_result(transfer, outcome, level, reached)

    async def _origins(self, call: Call, destination: Path, *, into: bool, transfer: Transfer) -> list[Origin]:
        node = self._node
        recursive = call.args.get("recursive") is True
        sources: list[tuple[LocalEntry, bytes | None]] = []
        for value in arguments.array(call.args, "sources"):
            path, name = _source(value)
            found = await node.seams.io.run(node.seams.files.describe, path, ())
            if isinstance(found, Unreadable):
                transfer.failed.append(Failed(path, FileNotFoundError(2, found.why, path)))
            elif found.kind == "folder" and not recursive:
                transfer.failed.append(Failed(path, Cannot("it is a folder; -r stores folders")))
            else:
                sources.append((found, name))
        if not sources:
            return []
        there = await node.ledger.resolve(destination)
        kind = None if there is None else there.kind.name.lower()
        if there is None and len(destination) > 1 and await node.ledger.resolve(destination[:-1]) is None:
            raise not_found(arguments.shown(destination[:-1]))
        targets = landing(
            [name for _, name in sources],
            folders=[found.kind == "folder" for found, _ in sources],
            destination=destination,
            there=There(kind),
            into=into,
        )
        return [Origin(found.path, target) for (found, _), target in zip(sources, targets, strict=True)]

    async def _put_stdin(self, call: Call, destination: Path, level: Level, transfer: Transfer) -> PutOutcome:
        there = await self._node.ledger.resolve(destination)
        if not destination or (there is not None and there.kind is Kind.FOLDER):
            raise is_a_folder(arguments.shown(destination))
        exclusive = call.args.get("exclusive") is True
        if exclusive and there is not None:
            raise already_there(arguments.shown(destination))
        outcome = PutOutcome()
        source = ClientBytes(call)
        wall_s = self._node.seams.clock.wall_s()
        transfer.files_total, transfer.phase = 1, "sending"
        await self._node.importer.put_source(
            source, destination, level, transfer, outcome, mtime_ns=int(wall_s * 1e9), mode=0o644, exclusive=exclusive
        )
        transfer.files_done += 1
        return outcome

    async def _await_level(self, outcome: PutOutcome, level: Level, *, wait: bool) -> Level:
        """Wait for `level`; the level that was reached."""
        node = self._node
        if level is Level.HERE or outcome.upto is None:
            return level
        promise, sites = outcome.promise, node.membership.sites()
        has_others = bool(node.membership.others())
        wanted = _LEVELS.index(level)
        patience_s = 1e9 if wait else PATIENCE_S if has_others else 0.0
        receipted = await node.metadata_sync.spread(
            outcome.upto,
            node.membership.others(),
            enough=lambda peers: _LEVELS.index(commit_level(node.membership.me, peers, promise, sites)) >= wanted,
            timeout_s=patience_s,
        )
        reached = commit_level(node.membership.me, receipted, promise, sites)
        if level is Level.PLACED:
            return min(reached, level, key=_LEVELS.index)
        owed = outcome.owed
        if owed and not await node.placer.wait_safe(owed, patience_s=patience_s):
            reached = min(reached, Level.PLACED, key=_LEVELS.index)
        return reached

    def _put_result(self, transfer: Transfer, outcome: PutOutcome, level: Level, reached: Level) -> dict[str, Any]:
        node = self._node
        below = _LEVELS.index(reached) < _LEVELS.index(level)
        promise = outcome.promise
        away = [
            node.membership.name_of(peer) for peer in node.membership.others() if not node.liveness.answers(peer)
        ]
        survives = promise.failures
        if below:
            state = "thin"
            sentence = f"Stored, but not yet so that it survives the loss of {survives}."
            if away:
                sentence += f" Away: {', '.join(away)}."
            elif not node.membership.others():
                sentence += " This is the only machine of the household."
        elif level is Level.SAFE:
            state, sentence = "safe", f"Readable now; survives the loss of {survives}."
        else:
            state, sentence = "thin", "Stored; the daemon goes on placing."
        return {
            "files": transfer.files_done,
            "bytes": transfer.bytes_safe,
            "level": reached.value,
            "state": state,
            "sentence": sentence,
            "failed": self._failures(transfer),
            "seconds": node.seams.clock.now_s() - transfer.started_s,
            "below_level": transfer.files_done if below else 0,
            "owed_stripes": len(outcome.owed),
        }

    def _failures(self, transfer: Transfer) -> list[dict[str, Any]]:
        failures = []
        for failed in transfer.failed:
            fault = fault_of(failed.error)
            failures.append({"path": failed.path, "code": fault.code, "what": fault.what, "why": fault.why})
        return failures

    async def get(self, call: Call) -> dict[str, Any]:
        """Fetch files."""
        node = self._node
        recursive = call.args.get("recursive") is True
        into = call.args.get("into") is True
        local = arguments.raw(call.args, "destination")
        async with self._transfer(call, "get") as transfer:
            items: list[tuple[Path, Item]] = []
            for value in arguments.array(call.args, "sources"):
                path = arguments.split(value)
                try:
                    found = await self._addresses.find(path)
                except PathFault as error:
                    transfer.failed.append(Failed(arguments.shown(path), error))
                    continue
                if found.item.kind is Kind.FOLDER and not recursive:
                    transfer.failed.append(Failed(arguments.shown(path), PathFault("is-a-folder", path)))
                else:
                    items.append((found.path, found.item))
            if items:
                wanted = await self._landings(items, local, into=into)
                await node.exporter.get_all(wanted, transfer)
            return {
                "files": transfer.files_done,
                "bytes": transfer.bytes_safe,
                "failed": self._failures(transfer),
                "seconds": node.seams.clock.now_s() - transfer.started_s,
            }

    async def _landings(self, items: Sequence[tuple[Path, Item]], local: bytes, *, into: bool) -> list[Destination]:
        files = self._node.seams.files

        def look() -> str | None:
            return "folder" if files.is_folder(local) else "file" if files.exists(local) else None

        there = await self._node.seams.io.run(look)
        try:
            targets = landing(
                [path[-1] if path else None for path, _ in items],
                folders=[item.kind is Kind.FOLDER for _, item in items],
                destination=(local,),
                there=There(there),
                into=into,
            )
        except PathFault as error:
            if error.code == "not-a-folder":
                raise not_a_folder(local) from None
            what = f"{shown_path(local)} is a file; a folder cannot replace it"
            raise Failure(Fault("exists", what, "", (), exits.REFUSED)) from None
        return [
            Destination(item, arguments.shown(path), b"/".join(target))
            for (path, item), target in zip(items, targets, strict=True)
        ]

    async def cat(self, call: Call) -> dict[str, Any]:
        """Stream a file's bytes."""
        path = arguments.path(call.args, "path")
        item = (await self._addresses.find(path)).item
        if item.kind is Kind.FOLDER:
            raise is_a_folder(arguments.shown(path))
        offset = arguments.integer(call.args, "offset", 0)
        length = call.args.get("length")
        if length is None:
            length = max(0, item.size - offset)
        if type(length) is not int or length < 0:
            raise Malformed("cat: length")
        if isinstance(item.content, LinkTarget):
            target = item.content.target[offset : offset + length]
            await call.emit({"data": target})
            return {"bytes": len(target)}
        return {"bytes": await stream_bytes(call, partial(self._node.exporter.read, item), offset, length)}

    @asynccontextmanager
    async def _transfer(self, call: Call, verb: str) -> AsyncIterator[Transfer]:
        """A transfer that reports to its client while the block runs."""
        number, transfer = self._node.transfers.begin(verb)
        transfer.command, transfer.stop = command_of(verb, call.args), call.scope.cancel
        failure: Exception | None = None

        async def report() -> None:
            while True:
                call.report(transfer.progress())
                await self._node.seams.clock.sleep(PROGRESS_EVERY_S)

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(report)
                try:
                    yield transfer
                except Exception as error:  # noqa: BLE001  raised again below, out of the nursery, as itself
                    failure = error
                nursery.cancel_scope.cancel()
        finally:
            self._node.transfers.end(number)
            call.report(transfer.progress())
        if failure is not None:
            raise failure


def _source(value: Any) -> tuple[bytes, bytes | None]:
    if not isinstance(value, dict):
        raise Malformed("a source is a map")
    path, name = value.get("path"), value.get("name")
    if type(path) is not bytes or not path.startswith(b"/") or not (name is None or type(name) is bytes):
        raise Malformed("a source has an absolute path and a name")
    return path, name


def _level(call: Call) -> Level:
    word = arguments.text(call.args, "ack", Level.SAFE.value)
    try:
        return Level(word)
    except ValueError:
        raise Misuse(f"--ack {word}: one of here, placed, safe") from None
