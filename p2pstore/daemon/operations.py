"""What a local client can ask for: each operation reads its arguments at the door and calls a service."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

import trio

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault, already_there, fault_of, is_a_folder, not_a_folder, not_found
from p2pstore.control.server import Call, Op
from p2pstore.daemon import arguments
from p2pstore.daemon.commands import command_of
from p2pstore.daemon.home import Settings
from p2pstore.daemon.streaming import stream_bytes
from p2pstore.errors import Malformed, Misuse, PathFault
from p2pstore.ids import PeerId
from p2pstore.ledger.drafts import MakeFolder, Move, Path
from p2pstore.limits import MIB
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import Inline, Kind, LinkTarget, ManifestRef
from p2pstore.node import Node
from p2pstore.packing import Fields
from p2pstore.pipeline.erasure.kernels import kernel_name
from p2pstore.pipeline.manifest import Page, open_page
from p2pstore.placement.levels import Level, commit_level
from p2pstore.seams.local_files import LocalEntry, Unreadable
from p2pstore.services.addresses import Addresses
from p2pstore.services.destinations import There, landing
from p2pstore.services.enrolment import EnrolmentListener, Invitation
from p2pstore.services.exporter import Destination
from p2pstore.services.importer import Cannot, Origin, PutOutcome
from p2pstore.services.transfers import Failed, Transfer

PROGRESS_EVERY_S: Final = 0.1
"""Ten reports a second: more than an eye or a progress bar takes."""

PAGE_ENTRIES: Final = 500
"""Entries in one item of a listing: about 100 KB, well below a frame of the local API."""

PATIENCE_S: Final = 30.0
"""`put` gives up waiting for its level when nothing has got better for so long."""


class Operations:
    """The operations of one daemon."""

    def __init__(
        self,
        node: Node,
        *,
        settings: Settings,
        address: str,
        enrolment: EnrolmentListener,
        version: str,
        shut_down: Callable[[], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._address = address
        self._enrolment = enrolment
        self._addresses = Addresses(node.ledger)
        self._verdicts = node.verdicts
        self._version = version
        self._shut_down = shut_down
        self._started_s = node.seams.clock.now_s()
        self._started_wall_s = node.seams.clock.wall_s()
        self._invitations: dict[str, Invitation] = {}

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {
            "status": self.status,
            "peers": self.peers,
            "invite": self.invite,
            "invite.wait": self.invite_wait,
            "put": self.put,
            "get": self.get,
            "cat": self.cat,
            "ls": self.ls,
            "tree": self.tree,
            "mkdir": self.mkdir,
            "mv": self.mv,
            "rm": self.rm,
            "where": self.where,
            "shutdown": self.shutdown,
            "version": self.version,
        }

    # --- how things stand -----------------------------------------------------------------------------------------

    async def status(self, _call: Call) -> dict[str, Any]:
        """This machine, its household and the verdict."""
        return await self.describe()

    async def describe(self) -> dict[str, Any]:
        """The same, for whoever asks from inside."""
        node = self._node
        me = node.membership.myself
        usage = node.store.usage()
        verdict = await self._verdicts.verdict()
        return {
            "pid": os.getpid(),
            "address": self._address,
            "peer_id": node.membership.me.hex(),
            "name": me.name if me else self._settings.name,
            "household": node.membership.roster.name,
            "network_id": node.membership.network_id.hex(),
            "role": me.role if me else "removed",
            "restoring": node.membership.recovery_peer in node.network.linked_peers(),
            "site": me.site if me else self._settings.site,
            "version": self._version,
            "since": self._started_wall_s,
            "uptime_s": node.seams.clock.now_s() - self._started_s,
            "store": {
                "given": usage.given_bytes,
                "used": usage.used_bytes,
                "free": usage.free_bytes,
                "shards": usage.shard_count,
                "damaged": usage.damaged_count,
                "state": usage.state.value,
            },
            "owed": node.placer.owed_count,
            "peers": self._peer_list(),
            "verdict": {"state": verdict.state.value, "sentence": verdict.sentence},
            "transfers": [transfer.progress() for transfer in node.transfers.running()],
            "kernel": kernel_name(),
        }

    async def peers(self, _call: Call) -> dict[str, Any]:
        """The household's machines."""
        return {"peers": self._peer_list()}

    def _peer_list(self) -> list[dict[str, Any]]:
        node = self._node
        now_s = node.seams.clock.now_s()
        known = node.liveness.known()
        found = []
        for member in node.membership.roster.members():
            is_me = member.peer_id == node.membership.me
            acquaintance = known.get(member.peer_id)
            condition = node.own_condition() if is_me else acquaintance.condition if acquaintance else None
            state = "self" if is_me else "linked" if node.liveness.answers(member.peer_id) else "away"
            found.append(
                {
                    "name": member.name,
                    "peer_id": member.peer_id.hex(),
                    "role": member.role,
                    "site": member.site,
                    "steadiness": member.steadiness,
                    "state": state,
                    "address": self._address if is_me else next(iter(member.endpoints.control), None),
                    "last_heard_s": 0.0 if is_me else now_s - acquaintance.heard_at_s if acquaintance else None,
                    "rtt_ms": None if is_me or acquaintance is None else acquaintance.rtt_s * 1000,
                    "capacity": condition.given_bytes if condition else member.capacity_bytes,
                    "used": condition.used_bytes if condition else None,
                }
            )
        return sorted(found, key=lambda one: (one["state"] != "self", str(one["name"])))

    async def version(self, _call: Call) -> dict[str, Any]:
        """The program's version."""
        return {"version": self._version}

    async def shutdown(self, _call: Call) -> dict[str, Any]:
        """End the daemon, cleanly."""
        self._shut_down()
        return {}

    # --- machines -------------------------------------------------------------------------------------------------

    async def invite(self, call: Call) -> dict[str, Any]:
        """Open an invitation."""
        invitation = await self._enrolment.invite(
            role=arguments.text(call.args, "role", "member"),
            ttl_s=arguments.number(call.args, "ttl_s", 600.0, most=3600.0),
        )
        code = str(invitation.code)
        self._invitations[code] = invitation
        expires_s = invitation.ends_at_s - self._node.seams.clock.now_s()
        return {"code": code, "expires_s": expires_s, "address": self._address, "role": invitation.role}

    async def invite_wait(self, call: Call) -> dict[str, Any]:
        """Wait for whoever was invited; a client that gives up withdraws the invitation."""
        invitation = self._invitations.get(arguments.text(call.args, "code"))
        if invitation is None:
            raise Failure(Fault("not-found", "there is no such invitation", "", ("p2pstore invite",), exits.NOT_FOUND))
        try:
            ended = await self._enrolment.wait(invitation)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await self._enrolment.cancel(invitation)
            raise
        if ended.peer_id is None:
            why = ended.why or f"the invitation is {ended.how}"
            raise Failure(Fault("not-joined", "nobody has joined", why, ("p2pstore invite",), exits.FAILED))
        return {"name": self._node.membership.name_of(ended.peer_id), "peer_id": ended.peer_id.hex()}

    # --- files in and out -----------------------------------------------------------------------------------------

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

    async def _origins(
        self, call: Call, destination: Path, *, into: bool, transfer: Transfer
    ) -> list[Origin]:
        node = self._node
        recursive = call.args.get("recursive") is True
        sources: list[tuple[LocalEntry, bytes | None]] = []
        for value in _array(call, "sources"):
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
        try:
            targets = landing(
                [name for _, name in sources],
                folders=[found.kind == "folder" for found, _ in sources],
                destination=destination,
                there=There(kind),
                into=into,
            )
        except PathFault as error:
            raise _failure(error) from None
        return [Origin(found.path, target) for (found, _), target in zip(sources, targets, strict=True)]

    async def _put_stdin(self, call: Call, destination: Path, level: Level, transfer: Transfer) -> PutOutcome:
        there = await self._node.ledger.resolve(destination)
        if not destination or (there is not None and there.kind is Kind.FOLDER):
            raise is_a_folder(arguments.shown(destination))
        exclusive = call.args.get("exclusive") is True
        if exclusive and there is not None:
            raise already_there(arguments.shown(destination))
        outcome = PutOutcome()
        source = _ClientBytes(call)
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
        promise = node.promise()
        has_others = bool(node.membership.others())
        patience_s = 1e9 if wait else PATIENCE_S if has_others else 0.0
        needed = 1 if level is Level.PLACED else promise.machines
        receipted = await node.metadata_sync.spread(
            outcome.upto,
            node.membership.others(),
            enough=lambda peers: len(peers) >= needed,
            timeout_s=patience_s,
        )
        reached = commit_level(node.membership.me, receipted, promise)
        if level is Level.PLACED:
            return min(reached, level, key=_LEVELS.index)
        owed = outcome.owed
        if owed and not await node.placer.wait_safe(owed, patience_s=patience_s):
            reached = min(reached, Level.PLACED, key=_LEVELS.index)
        return reached

    def _put_result(self, transfer: Transfer, outcome: PutOutcome, level: Level, reached: Level) -> dict[str, Any]:
        node = self._node
        below = _LEVELS.index(reached) < _LEVELS.index(level)
        promise = node.promise()
        away = [
            node.membership.name_of(peer) for peer in node.membership.others() if not node.liveness.answers(peer)
        ]
        survives = "any one machine" if promise.machines == 1 else f"any {promise.machines} machines"
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
            for value in _array(call, "sources"):
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
            raise Failure(
                Fault("exists", f"{os.fsdecode(local)!r} is a file; a folder cannot replace it", "", (), exits.REFUSED)
            ) from None
        return [
            Destination(item, arguments.shown(path), b"/".join(target))
            for (path, item), target in zip(items, targets, strict=True)
        ]

    async def cat(self, call: Call) -> dict[str, Any]:
        """Stream a file's bytes."""
        path = arguments.path(call.args, "path")
        item = await self._item(path)
        if item.kind is Kind.FOLDER:
            what = f"{_text_of(arguments.shown(path))} is a folder"
            raise Failure(Fault("is-a-folder", what, "", ("p2pstore ls PATH",), exits.USAGE))
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

    # --- the tree -------------------------------------------------------------------------------------------------

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
        page: list[dict[str, Any]] = []
        count = 0
        async for child in self._node.exporter.items_of(item):
            if child.name.startswith(b".") and not everything:
                continue
            page.append(arguments.entry_map(child))
            count += 1
            if len(page) == PAGE_ENTRIES:
                await call.emit({"entries": page})
                page = []
        if page:
            await call.emit({"entries": page})
        return {"entries": count}

    async def tree(self, call: Call) -> dict[str, Any]:
        """Stream everything below a folder."""
        path = arguments.path(call.args, "path")
        depth = call.args.get("depth")
        start = await self._addresses.find(path)
        if start.item.kind is not Kind.FOLDER:
            raise not_a_folder(arguments.shown(path))
        path = start.path
        page: list[dict[str, Any]] = []
        count = 0
        async for below, item in self._node.ledger.walk(path, at=start.item.at):
            if depth is not None and len(below) - len(path) > depth:
                continue
            page.append({"path": arguments.shown(below), **arguments.entry_map(item)})
            count += 1
            if len(page) == PAGE_ENTRIES:
                await call.emit({"entries": page})
                page = []
        if page:
            await call.emit({"entries": page})
        return {"entries": count}

    async def mkdir(self, call: Call) -> dict[str, Any]:
        """Make a folder."""
        path = arguments.path(call.args, "path")
        parents = call.args.get("parents") is True
        there = await self._node.ledger.resolve(path)
        if there is not None and not (parents and there.kind is Kind.FOLDER):
            raise _failure(PathFault("taken", path))
        if path:
            mtime_ns = int(self._node.seams.clock.wall_s() * 1e9)
            await self._do(MakeFolder(path, mtime_ns=mtime_ns, make_parents=parents))
        return {}

    async def _do(self, *drafts: MakeFolder | Move) -> None:
        try:
            await self._node.ledger.commit(drafts)
        except PathFault as error:
            raise _failure(error) from None

    async def mv(self, call: Call) -> dict[str, Any]:
        """Move or rename."""
        sources = [arguments.split(value) for value in _array(call, "sources")]
        destination = arguments.path(call.args, "destination")
        there = await self._node.ledger.resolve(destination)
        items = [await self._item(path) for path in sources]
        if any(not path for path in sources):
            raise Misuse("the root cannot be moved")
        try:
            targets = landing(
                [path[-1] for path in sources],
                folders=[item.kind is Kind.FOLDER for item in items],
                destination=destination,
                there=There(None if there is None else there.kind.name.lower()),
                into=call.args.get("into") is True,
            )
        except PathFault as error:
            raise _failure(error) from None
        for source, target in zip(sources, targets, strict=True):
            if source != target:
                await self._do(Move(source, target, replace=True))
        return {"entries": len(sources)}

    async def rm(self, call: Call) -> dict[str, Any]:
        """Put entries into the trash."""
        recursive = call.args.get("recursive") is True
        paths = [arguments.split(value) for value in _array(call, "paths")]
        count = 0
        for path in paths:
            if not path:
                raise Misuse("the root cannot be removed")
            item = await self._item(path)
            if item.kind is Kind.FOLDER and not recursive:
                raise is_a_folder(arguments.shown(path))
        for path in paths:
            try:
                if await self._node.ledger.remove_tree(path) is not None:
                    count += 1
            except PathFault as error:
                raise _failure(error) from None
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

    # --- helpers of the transfers ---------------------------------------------------------------------------------

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


class _ClientBytes:
    """Bytes that a client streams, as a source: the event loop gathers them, worker jobs read them."""

    size_hint = 8 * MIB

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: deque[memoryview] = deque()
        self._gathered = 0
        self._ended = False

    async def gather(self, count: int) -> None:
        """Receive until `count` bytes wait here, or the client is done."""
        while self._gathered < count and not self._ended:
            await self._receive()

    async def _receive(self) -> None:
        piece = await self._call.receive()
        if piece is None:
            self._ended = True
        elif piece:
            self._pieces.append(memoryview(piece))
            self._gathered += len(piece)

    def read_into(self, buffer: memoryview) -> int:
        """Called in a worker thread: fills `buffer`, or less at the end. Waits for what was not gathered."""
        filled = 0
        while filled < len(buffer):
            if not self._pieces:
                if self._ended:
                    break
                trio.from_thread.run(self._receive)
                continue
            piece = self._pieces.popleft()
            count = min(len(piece), len(buffer) - filled)
            buffer[filled : filled + count] = piece[:count]
            if count < len(piece):
                self._pieces.appendleft(piece[count:])
            filled += count
        self._gathered -= filled
        return filled

    def unchanged(self) -> bool:
        """A stream is read once."""
        return True


_LEVELS: Final = (Level.HERE, Level.PLACED, Level.SAFE)


def _failure(error: PathFault) -> Failure:
    """The sentence for a path that is not what it was taken for."""
    path = arguments.shown(error.path)
    match error.code:
        case "not-found":
            return not_found(path)
        case "not-a-folder":
            return not_a_folder(path)
        case "is-a-folder":
            return is_a_folder(path)
        case "taken":
            what = f"{_text_of(path)} exists already"
            return Failure(Fault("exists", what, "nothing is overwritten unasked", (), exits.REFUSED))
        case "inside-itself":
            return Failure(Fault("inside-itself", "a folder cannot be moved into itself", "", (), exits.USAGE))
    return Failure(Fault(error.code, f"{_text_of(path)}: {error.code}", "", (), exits.FAILED))


def _text_of(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")


def _array(call: Call, name: str) -> list[Any]:
    return Fields([call.args.get(name)], name).array(most=100_000)


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
