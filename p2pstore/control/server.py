"""The daemon's side of the local API: accepts clients on the unix socket and runs one task for each request.

A client is never waited for by anything but its own requests: its socket is always read (so that a cancel or a hang-up
is seen at once), replies leave through a bounded outbox, and news that finds the outbox full is dropped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from p2pstore.control import exits
from p2pstore.control.credentials import peer_credentials
from p2pstore.control.faults import CANCELLED, READER_TOO_SLOW, Failure, Fault, fault_of
from p2pstore.control.frames import (
    API,
    API_MIN,
    Cancel,
    Data,
    Decoder,
    End,
    Failed,
    Hello,
    Item,
    Message,
    Request,
    Result,
    Want,
    encode,
)
from p2pstore.control.listening import announce_ready, listening
from p2pstore.errors import Malformed, P2PStoreError
from p2pstore.limits import (
    CONTROL_API_CALLS_MAX,
    CONTROL_API_CLIENTS_MAX,
    CONTROL_API_OUTBOX_FRAMES,
    CONTROL_API_STREAM_PATIENCE_S,
    CONTROL_API_UPLOAD_WINDOW,
)

log = logging.getLogger(__name__)

RECEIVE_BYTES: Final = 64 * 1024
"""Bytes read from a client at once; a unix socket's buffer holds about 200 KiB."""


class ClientGone(P2PStoreError):
    """The client hung up; what it asked for is cancelled."""


class Call:
    """One request as its handler sees it.

    Attributes:
        args: the arguments, unchecked.
        scope: cancels the handler.
        outlives: whether it goes on without its client.
    """

    def __init__(self, outbox: _Outbox, request: Request, *, outlives: bool) -> None:
        self.args: Mapping[str, Any] = request.args
        self.scope = trio.CancelScope()
        self.outlives = outlives
        self._outbox = outbox
        self._id = request.id
        # One more than the window: the end mark always finds room.
        self._put_piece, self._get_piece = trio.open_memory_channel[bytes | None](CONTROL_API_UPLOAD_WINDOW + 1)
        self._end_sent = False
        self._end_read = False

    async def emit(self, item: Any, *, patience_s: float = CONTROL_API_STREAM_PATIENCE_S) -> None:
        """Send one element of this request's stream; waits while the reader is behind. Nothing is skipped.

        Raises:
            Failure: the reader made no room for `patience_s` seconds (code "reader-too-slow").
            ClientGone: there is no reader any more (an operation that outlives its client goes on unheard instead).
        """
        if self.outlives and self._outbox.closed:
            await trio.lowlevel.checkpoint()
            return
        await self._outbox.send(encode(Item(self._id, item)), patience_s=patience_s)

    def report(self, item: Any) -> None:
        """Send news that may be lost, such as progress: dropped when the reader is behind or gone. Never waits."""
        self._outbox.send_if_room(encode(Item(self._id, item)))

    async def receive(self) -> bytes | None:
        """The next piece of the bytes that the client streams, at most 256 KiB; None after the last one.

        Raises:
            ClientGone: the client hung up before its last byte, so what came is not the whole.
        """
        if self._end_read:
            return None
        try:
            piece = await self._get_piece.receive()
        except trio.EndOfChannel:
            raise ClientGone("the client hung up in the middle of its data") from None
        if piece is None:
            self._end_read = True
        else:
            await self._outbox.send(encode(Want(self._id, 1)))
        return piece

    @property
    def cancelled(self) -> bool:
        """Whether the client asked for an early end, or hung up and took this request with it."""
        return self.scope.cancel_called

    def deliver(self, piece: bytes | None) -> None:
        """Hand over a piece from the client, or None for the end. Raises Malformed beyond what was asked for."""
        if self._end_sent:
            raise Malformed("control data: after its end")
        self._end_sent = piece is None
        try:
            self._put_piece.send_nowait(piece)
        except trio.WouldBlock:
            raise Malformed("control data: more than was asked for") from None

    def hang_up(self) -> None:
        """The client is gone."""
        self._put_piece.close()
        if not self.outlives:
            self.scope.cancel()


Op = Callable[[Call], Awaitable[Any]]
"""Serves one kind of request. What it returns is the result; it raises P2PStoreError or OSError to fail."""


class ControlServer:
    """Serves the local API until cancelled.

    Args:
        handlers: what can be asked, by name.
        version: of the program, for people.
        outliving: operations that go on when their client hangs up (an upload belongs to the daemon); they end by
            `Cancel` or by themselves. All others are cancelled.
    """

    def __init__(self, handlers: Mapping[str, Op], *, version: str = "", outliving: Collection[str] = ()) -> None:
        self._handlers = dict(handlers)
        self._outliving = frozenset(outliving)
        self._hello = encode(Hello(API, API_MIN, version, os.getpid()))
        self._client_count = 0

    async def run(self, path: Path, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen at `path` (`paths.socket_path(home)`) until cancelled; then remove the socket.

        Raises:
            Failure: another daemon serves there (code "already-running"), or its folder is not safe.
        """
        with listening(path) as sock:
            async with trio.SocketListener(trio.socket.from_stdlib_socket(sock)) as listener:
                async with trio.open_nursery() as calls:
                    task_status.started()
                    announce_ready()
                    await trio.serve_listeners(partial(self._serve, calls), [listener])

    async def _serve(self, calls: trio.Nursery, stream: trio.SocketStream) -> None:
        """One client, from hello to hang-up."""
        async with stream:
            credentials = peer_credentials(stream.socket)
            if credentials is not None and credentials.uid != os.getuid():
                log.warning("refused a local client of user %d", credentials.uid)
                return
            if self._client_count >= CONTROL_API_CLIENTS_MAX:
                log.warning("refused a local client: %d are connected", self._client_count)
                return
            self._client_count += 1
            try:
                await self._talk(stream, calls)
            finally:
                self._client_count -= 1

    async def _talk(self, stream: trio.SocketStream, calls: trio.Nursery) -> None:
        outbox = _Outbox()
        running: dict[int, Call] = {}
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(outbox.run, stream, nursery.cancel_scope)
                await outbox.send(self._hello)
                decoder = Decoder()
                while data := await stream.receive_some(RECEIVE_BYTES):
                    for message in decoder.feed(data):
                        self._hear(message, outbox, running, calls)
                nursery.cancel_scope.cancel()
        except* (Malformed, trio.BrokenResourceError) as group:
            log.warning("a local client was hung up on: %s", group.exceptions[0])
        finally:
            outbox.close()
            for call in running.values():
                call.hang_up()

    def _hear(self, message: Message, outbox: _Outbox, running: dict[int, Call], calls: trio.Nursery) -> None:
        """Act on one message; raises Malformed for what a client may not say."""
        match message:
            case Request():
                if message.id in running:
                    raise Malformed("control request: this id is in use")
                call = Call(outbox, message, outlives=message.op in self._outliving)
                running[message.id] = call
                calls.start_soon(self._run_call, message, call, outbox, running)
            case Data():
                # A request that has just failed may still be sent data; its reply is on the way.
                if (sink := running.get(message.id)) is not None:
                    sink.deliver(message.data)
            case End():
                if (sink := running.get(message.id)) is not None:
                    sink.deliver(None)
            case Cancel():
                if (victim := running.get(message.id)) is not None:
                    victim.scope.cancel()
            case _:
                raise Malformed(f"control frame: a client does not say {type(message).__name__}")

    async def _run_call(self, request: Request, call: Call, outbox: _Outbox, running: dict[int, Call]) -> None:
        try:
            if len(running) > CONTROL_API_CALLS_MAX:
                reply = encode(Failed(request.id, Fault("busy", "too many requests at once", "", (), exits.BUSY)))
            else:
                reply = await self._answer(request, call)
            await outbox.send(reply)
        except ClientGone:
            log.debug("nobody waits for the reply to %s", request.op)
        except Failure:
            # It read nothing for an hour: the reply is dropped, and so is the connection.
            outbox.close()
        finally:
            del running[request.id]

    async def _answer(self, request: Request, call: Call) -> bytes:
        """What the handler returned or raised, as the last frame about this request."""
        op = self._handlers.get(request.op)
        if op is None:
            what = f"the daemon does not know {request.op!r}"
            return encode(Failed(request.id, Fault("unknown-op", what, "another version?", (), exits.VERSIONS)))
        try:
            with call.scope:
                return encode(Result(request.id, await op(call)))
        except ClientGone:
            raise
        except Exception as error:  # a bug in one verb must not end the daemon that guards the data
            fault = fault_of(error)
            if fault.code == "internal":
                log.error("operation %s failed", request.op, exc_info=error)  # noqa: TRY400 - only unknown errors
            return encode(Failed(request.id, fault))
        return encode(Failed(request.id, CANCELLED))


class _Outbox:
    """Frames on their way to one client."""

    def __init__(self) -> None:
        self._put, self._get = trio.open_memory_channel[bytes](CONTROL_API_OUTBOX_FRAMES)
        self.closed = False

    async def run(self, stream: trio.SocketStream, connection: trio.CancelScope) -> None:
        """Write frames until the outbox is closed or the client is gone; either ends the connection."""
        try:
            async for frame in self._get:
                await stream.send_all(frame)
        except trio.BrokenResourceError:
            log.debug("a local client hung up while it was written to")
        connection.cancel()

    async def send(self, frame: bytes, *, patience_s: float = CONTROL_API_STREAM_PATIENCE_S) -> None:
        """Queue `frame`. Raises ClientGone, or Failure when there was no room for `patience_s` seconds."""
        with trio.move_on_after(patience_s):
            try:
                await self._put.send(frame)
            except (trio.ClosedResourceError, trio.BrokenResourceError):
                raise ClientGone("the client hung up") from None
            return
        raise Failure(READER_TOO_SLOW)

    def send_if_room(self, frame: bytes) -> None:
        """Queue `frame` if that needs no waiting."""
        try:
            self._put.send_nowait(frame)
        except (trio.WouldBlock, trio.ClosedResourceError, trio.BrokenResourceError):
            return

    def close(self) -> None:
        """No more frames; who waits for room is told."""
        self.closed = True
        self._put.close()
        self._get.close()
