"""Gives a client the bytes of a content so that one who reads slowly holds up nobody.

What is fetched ahead counts against a budget that all reads share. So a span is fetched whole, its budget is free
again, and only then is the client waited for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

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
