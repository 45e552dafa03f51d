"""Frames over a byte stream: a 4-byte big-endian length, then so many bytes, never more than was agreed."""

from __future__ import annotations

import struct
from typing import Final

import trio

from p2pstore.errors import Malformed, Unreachable

_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 16 * 1024
"""Read at once: a handful of enrolment frames."""


class FramedStream:
    """Sends and receives frames. One task sends, one receives; nothing is buffered beyond one read."""

    def __init__(self, stream: trio.abc.Stream, *, frame_bytes_max: int) -> None:
        self._stream = stream
        self._frame_bytes_max = frame_bytes_max
        self._buffer = bytearray()

    async def send(self, frame: bytes) -> None:
        """Send one frame. Raises Unreachable if the connection is gone."""
        assert len(frame) <= self._frame_bytes_max
        try:
            await self._stream.send_all(_LENGTH.pack(len(frame)) + frame)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Unreachable("connection lost") from None

    async def receive(self) -> bytes:
        """The next frame.

        Raises:
            Malformed: longer than allowed, or the connection ended inside a frame.
            Unreachable: the connection is over.
        """
        while True:
            if len(self._buffer) >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(self._buffer)
                if length > self._frame_bytes_max:
                    raise Malformed(f"frame of {length} bytes, at most {self._frame_bytes_max}")
                end = _LENGTH.size + length
                if len(self._buffer) >= end:
                    frame = bytes(self._buffer[_LENGTH.size : end])
                    del self._buffer[:end]
                    return frame
            await self._read_more()

    async def _read_more(self) -> None:
        try:
            data = await self._stream.receive_some(_READ_BYTES)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            data = b""
        if not data:
            if self._buffer:
                raise Malformed("connection ended inside a frame")
            raise Unreachable("connection lost")
        self._buffer += data

    async def aclose(self) -> None:
        """Close the connection; waits for nobody."""
        await trio.aclose_forcefully(self._stream)
