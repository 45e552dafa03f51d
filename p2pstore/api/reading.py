"""Files of the store opened for reading: real file objects over ranged reads of one version."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from p2pstore.api.connections import Connections
from p2pstore.api.errors import Unreadable
from p2pstore.api.results import Entry
from p2pstore.control import exits
from p2pstore.control.faults import Fault

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES: Final = 1 << 20
"""Read at once for somebody who reads a little: about half a chunk, which costs the daemon as much as a whole one."""

AHEAD_GROWTH: Final = 4
"""Each range that was read to its end makes the next one so much longer: whoever reads on, reads a whole file in a few
requests; whoever jumps about fetches little in vain."""

AHEAD_MAX: Final = 1 << 24
"""A range is held here whole, so that the daemon never waits with chunks in its hands for a reader that paused."""


class StoredFile(io.RawIOBase):
    """One version of a file, as bytes that can be read and sought. What others do to the path does not show.

    Attributes:
        entry: what was opened.
    """

    def __init__(self, connections: Connections, entry: Entry, content: Mapping[str, Any]) -> None:
        super().__init__()
        self.entry = entry
        self.name = entry.path
        self.mode = "rb"
        self._connections = connections
        self._content = content
        self._position = 0
        self._ahead = BUFFER_BYTES
        self._held = memoryview(b"")
        self._held_at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes from the start."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte; costs nothing until something is read there."""
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.entry.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill a buffer, or less of it: the number of bytes read, 0 at the end. Raises StoreError."""
        self._check_open()
        view = memoryview(buffer).cast("B")
        if not view or self._position >= self.entry.size:
            return 0
        data = self._content.get("data")
        if data is not None:
            piece = memoryview(data)[self._position : self._position + len(view)]
        else:
            piece = self._fetched(len(view))
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def readall(self) -> bytes:
        """Everything from here to the end, in one request."""
        self._check_open()
        left = self.entry.size - self._position
        if left <= 0:
            return b""
        data = self._content.get("data")
        rest = data[self._position :] if data is not None else self._fetch(self._position, left)
        self._position += len(rest)
        return bytes(rest)

    def _fetched(self, most: int) -> memoryview:
        """The next bytes at the position, at least one."""
        start = self._position - self._held_at
        if not 0 <= start < len(self._held):
            reads_on = self._position > 0 and start == len(self._held)
            self._ahead = min(self._ahead * AHEAD_GROWTH, AHEAD_MAX) if reads_on else BUFFER_BYTES
            length = min(max(most, self._ahead), self.entry.size - self._position)
            self._held = memoryview(b"")  # let go first: two ranges at once would be too much
            self._held, self._held_at = memoryview(self._fetch(self._position, length)), self._position
            start = 0
        return self._held[start : start + most]

    def _fetch(self, offset: int, length: int) -> bytearray:
        """Bytes of this version. Raises StoreError, also for a content that ends before its size."""
        found = bytearray()
        args = {
            "manifest": self._content["manifest"],
            "generation": self._content["generation"],
            "offset": offset,
            "length": length,
        }
        self._connections.ask("read", args, on_item=lambda item: found.extend(item["data"]), unbounded=True)
        if len(found) != length:
            what = f"{self.name!r} ends at byte {offset + len(found)} of {self.entry.size}"
            raise Unreadable(Fault("damaged", what, "", ("p2pstore doctor",), exits.DAMAGE))
        return found

    def close(self) -> None:
        """Stop reading."""
        self._held = memoryview(b"")
        super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed file")
