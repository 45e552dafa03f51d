"""The CLI's client of the local API: blocking, standard library only, one request at a time."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

from p2pstore.control import faults
from p2pstore.control.credentials import peer_credentials
from p2pstore.control.faults import Failure
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
from p2pstore.control.paths import is_household, is_private, socket_paths
from p2pstore.errors import Malformed
from p2pstore.limits import CONTROL_API_PIECE_BYTES, CONTROL_API_UPLOAD_WINDOW
from p2pstore.packing import Buffer

CONNECT_TIMEOUT_S: Final = 5.0
"""A daemon that does not say hello for so long hangs; an idle one answers in under 1 ms."""

CANCEL_TIMEOUT_S: Final = 5.0
"""How long a cancelled request may take to stop cleanly."""

RECEIVE_BYTES: Final = 256 * 1024
"""Bytes read at once."""


class Client:
    """One connection to a daemon. Close it, or use it in a `with` block.

    Attributes:
        hello: what the daemon said first.
    """

    def __init__(self, sock: socket.socket, hello: Hello, decoder: Decoder, heard: deque[Message]) -> None:
        self.hello = hello
        self._socket = sock
        self._decoder = decoder
        self._heard = heard
        self._next_id = 1
        self._sending = threading.Lock()

    @classmethod
    def connect(cls, home: Path, *, timeout_s: float = CONNECT_TIMEOUT_S) -> Client:
        """Connect to the daemon of the household in `home`.

        Raises:
            Failure: no household there, no daemon, no answer in time, or one that speaks another version.
        """
        for path in socket_paths(home):
            if not is_private(path.parent):
                continue
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            try:
                sock.connect(os.fspath(path))
                return cls._greet(sock, timeout_s)
            except (FileNotFoundError, ConnectionError):
                sock.close()
            except TimeoutError:
                sock.close()
                raise faults.timed_out("the daemon", timeout_s) from None
            except BaseException:
                sock.close()
                raise
        raise faults.not_running(str(home)) if is_household(home) else faults.no_household(str(home))

    @classmethod
    def _greet(cls, sock: socket.socket, timeout_s: float) -> Client:
        credentials = peer_credentials(sock)
        if credentials is not None and credentials.uid != os.getuid():
            raise ConnectionRefusedError
        decoder = Decoder()
        heard: deque[Message] = deque()
        deadline = time.monotonic() + timeout_s
        while not heard:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            if not (data := sock.recv(RECEIVE_BYTES)):
                raise ConnectionResetError
            heard.extend(decoder.feed(data))
        hello = heard.popleft()
        if not isinstance(hello, Hello):
            raise Malformed("control: the daemon did not say hello")
        if hello.api < API_MIN or hello.api_min > API:
            raise faults.versions_differ(hello.api, API, hello.version)
        return cls(sock, hello, decoder, heard)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    @property
    def is_fresh(self) -> bool:
        """Whether the connection is open and nothing is to be heard on it, as it must be between two requests."""
        if self._socket.fileno() < 0:
            return False
        ready, _, _ = select.select([self._socket], [], [], 0)
        return not ready

    def cancel(self) -> None:
        """Ask for an early end of the request under way, which then fails with "cancelled". Any thread may call it."""
        with suppress(OSError):  # gone: then the request ends anyway
            self._send(Cancel(self._next_id - 1), None)

    def detach(self) -> tuple[socket.socket, list[Message]]:
        """Give up the connection between two requests: the socket, and what was heard but not asked for."""
        assert not self._decoder.pending_bytes
        return self._socket, list(self._heard)

    def call(
        self,
        op: str,
        args: Mapping[str, Any] | None = None,
        *,
        on_item: Callable[[Any], object] | None = None,
        upload: int | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Ask for `op` and return its result.

        Args:
            op: the operation.
            args: its arguments.
            on_item: called with each element of its stream.
            upload: file descriptor whose bytes go with the request, until its end.
            timeout_s: for the whole request; None waits as long as the daemon works.

        Raises:
            Failure: the daemon's reply, "timed-out", or "not-running" when it went away meanwhile.
            KeyboardInterrupt: after the request was cancelled and the daemon has stopped it.
        """
        stream = self.stream(op, args, upload=upload, timeout_s=timeout_s)
        try:
            while True:
                item = next(stream)
                if on_item is not None:
                    on_item(item)
        except StopIteration as end:
            return end.value
        finally:
            stream.close()

    def stream(
        self,
        op: str,
        args: Mapping[str, Any] | None = None,
        *,
        upload: int | None = None,
        timeout_s: float | None = None,
    ) -> Generator[Any, None, Any]:
        """Like `call`, but yields the elements; the result is the generator's return value."""
        call_id = self._next_id
        self._next_id += 1
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            self._send(Request(call_id, op, dict(args or {})), deadline)
            credit = CONTROL_API_UPLOAD_WINDOW
            while True:
                if upload is not None and not self._heard and self._readable_first(upload, credit, deadline):
                    if piece := os.read(upload, CONTROL_API_PIECE_BYTES):
                        credit -= 1
                        self._send(Data(call_id, piece), deadline)
                    else:
                        upload = None
                        self._send(End(call_id), deadline)
                    continue
                match self._next_message(deadline):
                    case Item(id=id_, value=value) if id_ == call_id:
                        yield value
                    case Want(id=id_, pieces=pieces) if id_ == call_id:
                        credit += pieces
                    case Result(id=id_, value=value) if id_ == call_id:
                        return value
                    case Failed(id=id_, fault=fault) if id_ == call_id:
                        raise Failure(fault)
                    case _:
                        continue  # the tail of a request that was given up
        except TimeoutError:
            self._stop(call_id)
            raise faults.timed_out("the daemon", timeout_s or 0.0) from None
        except (KeyboardInterrupt, GeneratorExit):
            self._stop(call_id)
            raise
        except ConnectionError:
            raise faults.went_away() from None

    def upload(self, op: str, args: Mapping[str, Any] | None = None) -> Upload:
        """Begin a request whose bytes the caller hands over piece by piece. No other request until it has ended."""
        call_id = self._next_id
        self._next_id += 1
        try:
            self._send(Request(call_id, op, dict(args or {})), None)
        except ConnectionError:
            raise faults.went_away() from None
        return Upload(self, call_id)

    def _readable_first(self, upload: int, credit: int, deadline: float | None) -> bool:
        """Wait for bytes to send or words from the daemon; True when bytes may be sent and it said nothing."""
        wanted: list[Any] = [self._socket, upload] if credit else [self._socket]
        ready, _, _ = select.select(wanted, [], [], self._left_s(deadline))
        if not ready:
            raise TimeoutError
        return self._socket not in ready

    def _send(self, message: Message, deadline: float | None) -> None:
        with self._sending:
            self._socket.settimeout(self._left_s(deadline))
            self._socket.sendall(encode(message))

    def _next_message(self, deadline: float | None) -> Message:
        while not self._heard:
            self._socket.settimeout(self._left_s(deadline))
            if not (data := self._socket.recv(RECEIVE_BYTES)):
                raise ConnectionResetError
            self._heard.extend(self._decoder.feed(data))
        return self._heard.popleft()

    @staticmethod
    def _left_s(deadline: float | None) -> float | None:
        if deadline is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _stop(self, call_id: int) -> None:
        """Cancel a request and wait until the daemon has stopped it, but not for ever."""
        deadline = time.monotonic() + CANCEL_TIMEOUT_S
        try:
            self._send(Cancel(call_id), deadline)
            while True:
                message = self._next_message(deadline)
                if isinstance(message, Result | Failed) and message.id == call_id:
                    return
        except (OSError, Malformed):  # gone, too slow, or interrupted within a frame: hanging up cancels as well
            self.close()


class Upload:
    """A request whose bytes come piece by piece. It ends with `finish` or `abandon`; nothing is stored before."""

    def __init__(self, client: Client, call_id: int) -> None:
        self._client = client
        self._id = call_id
        self._credit = CONTROL_API_UPLOAD_WINDOW
        self._ended = False

    @property
    def ended(self) -> bool:
        """Whether the daemon has said its last word, or was given up."""
        return self._ended

    def write(self, data: Buffer) -> None:
        """Send bytes; waits while the daemon has its hands full.

        Raises:
            Failure: the daemon's reply, or "daemon-gone"; the request has ended.
        """
        view = memoryview(data).cast("B")
        for start in range(0, len(view), CONTROL_API_PIECE_BYTES):
            while not self._credit:
                self._hear(None)
            self._credit -= 1
            self._say(Data(self._id, bytes(view[start : start + CONTROL_API_PIECE_BYTES])))

    def finish(self, *, on_item: Callable[[Any], object] | None = None) -> Any:
        """Those were all bytes: the result. Raises Failure as `write` does."""
        self._say(End(self._id))
        while True:
            result = self._hear(on_item)
            if self.ended:
                return result

    def abandon(self) -> None:
        """Give up; the daemon forgets what came. Fine if it has ended."""
        if not self._ended:
            self._ended = True
            self._client._stop(self._id)

    def _say(self, message: Data | End) -> None:
        try:
            self._client._send(message, None)
        except ConnectionError:
            self._ended = True
            raise faults.went_away() from None

    def _hear(self, on_item: Callable[[Any], object] | None) -> Any:
        """Take one message; the result's value if it is that."""
        try:
            message = self._client._next_message(None)
        except ConnectionError:
            self._ended = True
            raise faults.went_away() from None
        match message:
            case Item(id=self._id, value=value):
                if on_item is not None:
                    on_item(value)
            case Want(id=self._id, pieces=pieces):
                self._credit += pieces
            case Result(id=self._id, value=value):
                self._ended = True
                return value
            case Failed(id=self._id, fault=fault):
                self._ended = True
                raise Failure(fault)
        return None
