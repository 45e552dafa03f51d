"""Bytes between a client and the store, so that one who is slow holds up nobody.

What is fetched ahead counts against a budget that all reads share. So a span is fetched whole, its budget is free
again, and only then is the client waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2pstore.control.server import Call
from p2pstore.limits import MIB

PIECE_BYTES: Final = MIB // 2
"""Bytes in one item, below a frame of the local API."""

SPAN_FIRST_BYTES: Final = 2 * MIB
SPAN_GROWTH: Final = 4
SPAN_BYTES_MAX: Final = 16 * MIB
"""What one client that reads slowly may keep in memory here. The first span is short, for the sake of the first byte;
a chunk that lies across two spans is decoded twice, so long ones cost about a tenth."""

Sink = Callable[[memoryview], Awaitable[None]]

Read = Callable[[int, int, Sink], Awaitable[None]]
"""read(offset, length, sink): gives `sink` the bytes from `offset` on, at most `length`, in order."""


async def stream_bytes(call: Call, read: Read, offset: int, length: int) -> int:
    """Emit `length` bytes from `offset` on, or what there is of them; how many.

    Raises what `read` raises, after everything before it was emitted.
    """
    total = 0
    span = SPAN_FIRST_BYTES
    while total < length:
        wanted = min(span, length - total)
        pieces: deque[bytes] = deque()

        async def keep(piece: memoryview, pieces: deque[bytes] = pieces) -> None:
            for start in range(0, len(piece), PIECE_BYTES):
                pieces.append(bytes(piece[start : start + PIECE_BYTES]))

        failure: Exception | None = None
        try:
            await read(offset + total, wanted, keep)
        except Exception as error:  # noqa: BLE001 - raised again when the client has what came before
            failure = error
        got = sum(map(len, pieces))
        while pieces:
            await call.emit({"data": pieces.popleft()})
        if failure is not None:
            raise failure
        total += got
        if got < wanted:
            break
        span = min(span * SPAN_GROWTH, SPAN_BYTES_MAX)
    return total


class ClientBytes:
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
