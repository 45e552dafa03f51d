"""The asyncio client of the local API, for the TUI: many requests at once over one connection.

Elements wait in a bounded queue for each request; a consumer that falls behind loses its stream (code
"reader-too-slow"), never the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from p2pstore.control import faults
from p2pstore.control.blocking import Client
from p2pstore.control.faults import READER_TOO_SLOW, Failure
from p2pstore.control.frames import Cancel, Decoder, Failed, Hello, Item, Message, Request, Result, encode
from p2pstore.errors import Malformed

RECEIVE_BYTES: Final = 256 * 1024
"""Bytes read at once."""

ITEMS_WAITING_MAX: Final = 256
"""Elements of one stream that wait for their consumer."""


class AsyncClient:
    """One connection to a daemon, shared by any number of tasks of one event loop.

    Attributes:
        hello: what the daemon said first.
    """

    def __init__(
        self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: list[Message]
    ) -> None:
        self.hello = hello
        self._writer = writer
        self._streams: dict[int, asyncio.Queue[Message]] = {}
        self._next_id = 1
        self._closed = False
        self._reading = asyncio.create_task(self._read(reader, heard))

    @classmethod
    async def connect(cls, home: Path) -> AsyncClient:
        """Connect to the daemon of the household in `home`. Raises Failure as `blocking.Client.connect` does."""
        client = await asyncio.to_thread(Client.connect, home)
        sock, heard = client.detach()
        sock.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=sock)
        return cls(client.hello, reader, writer, heard)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up; requests under way fail with "daemon-gone"."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        self._writer.close()

    async def call(self, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = 30.0) -> Any:
        """Ask for `op` and return its result; elements of its stream are skipped.

        Raises:
            Failure: the daemon's reply, "timed-out", or "daemon-gone".
        """
        try:
            async with asyncio.timeout(timeout_s):
                call_id, queue = self._start(op, args)
                try:
                    while True:
                        match await queue.get():
                            case Result(value=value):
                                self._streams.pop(call_id)
                                return value
                            case Failed(fault=fault):
                                self._streams.pop(call_id)
                                raise Failure(fault)
                finally:
                    self._give_up(call_id)
        except TimeoutError:
            raise faults.timed_out("the daemon", timeout_s or 0.0) from None

    async def stream(self, op: str, args: Mapping[str, Any] | None = None) -> AsyncGenerator[Any, None]:
        """The elements of the stream of `op`. Close it early (`aclosing`) and the request is cancelled.

        Raises:
            Failure: the daemon's reply, "daemon-gone", or "reader-too-slow".
        """
        call_id, queue = self._start(op, args)
        try:
            while True:
                match await queue.get():
                    case Item(value=value):
                        yield value
                    case Result():
                        self._streams.pop(call_id)
                        return
                    case Failed(fault=fault):
                        self._streams.pop(call_id, None)
                        raise Failure(fault)
        finally:
            self._give_up(call_id)

    def subscribe(self, *topics: str) -> AsyncGenerator[Any, None]:
        """{topic, seq, snapshot} for each topic, then {topic, seq, delta}; on Failure "resync", subscribe again."""
        return self.stream("subscribe", {"topics": list(topics)})

    def _start(self, op: str, args: Mapping[str, Any] | None) -> tuple[int, asyncio.Queue[Message]]:
        if self._closed:
            raise faults.went_away()
        call_id = self._next_id
        self._next_id += 1
        # Two more than may wait: the last word and the mark of a hang-up always find room.
        queue: asyncio.Queue[Message] = asyncio.Queue(ITEMS_WAITING_MAX + 2)
        self._streams[call_id] = queue
        self._writer.write(encode(Request(call_id, op, dict(args or {}))))
        return call_id, queue

    def _give_up(self, call_id: int) -> None:
        """Cancel a request that has not had its last word."""
        if self._streams.pop(call_id, None) is not None and not self._closed:
            self._writer.write(encode(Cancel(call_id)))

    async def _read(self, reader: asyncio.StreamReader, heard: list[Message]) -> None:
        decoder = Decoder()
        try:
            for message in heard:
                self._dispatch(message)
            while data := await reader.read(RECEIVE_BYTES):
                for message in decoder.feed(data):
                    self._dispatch(message)
        except (OSError, Malformed):
            pass  # either way the daemon is not to be heard any more; every waiting request is told below
        finally:
            self._closed = True
            gone = faults.went_away().fault
            for call_id, queue in self._streams.items():
                queue.put_nowait(Failed(call_id, gone))

    def _dispatch(self, message: Message) -> None:
        if not isinstance(message, Item | Result | Failed):
            return
        queue = self._streams.get(message.id)
        if queue is None:
            return
        if isinstance(message, Item) and queue.qsize() >= ITEMS_WAITING_MAX:
            del self._streams[message.id]
            queue.put_nowait(Failed(message.id, READER_TOO_SLOW))
            self._writer.write(encode(Cancel(message.id)))
            return
        queue.put_nowait(message)

