"""Files of the store opened for writing: what is written streams to the daemon, and becomes a file when it is closed.

A file appears under its name only when it is whole. A `with` block that ends with an exception, and a file that is
dropped without being closed, leave nothing behind.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Final

from p2pstore.api.connections import Connections, watched
from p2pstore.api.errors import StoreError, as_store_error, check_failed, error_of
from p2pstore.api.results import Stored
from p2pstore.control.blocking import Upload
from p2pstore.control.faults import already_there
from p2pstore.limits import CONTROL_API_PIECE_BYTES

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BUFFER_BYTES: Final = CONTROL_API_PIECE_BYTES
"""One frame of the local API."""


class RawUpload(io.RawIOBase):
    """Bytes on their way to one path. `write` takes all it is given, and waits while the daemon has its hands full.

    Attributes:
        stored: what became of it; None before it is closed.
    """

    def __init__(self, connections: Connections, path: bytes, args: dict[str, Any]) -> None:
        super().__init__()
        self.stored: Stored | None = None
        self._path = path
        self._exclusive = args.get("exclusive") is True
        self._connections = connections
        self._client = connections.take()
        self._upload: Upload | None = None
        self._written = 0
        try:
            with as_store_error():
                self._upload = self._client.upload("put", {"destination": path, "stdin": True, "into": False, **args})
        finally:
            if self._upload is None:
                connections.give_back(self._client)

    def writable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Bytes written so far."""
        return self._written

    def write(self, data: ReadableBuffer) -> int:
        """Send bytes. Raises StoreError; then nothing was stored."""
        if self._upload is None:
            raise ValueError("I/O operation on a closed file")
        view = memoryview(data).cast("B")
        try:
            with watched(self._client):
                self._upload.write(view)
        except StoreError as error:
            self._let_go()
            raise self._error(error) from None
        except BaseException:  # Ctrl-C: `close`, which follows, must not take what came so far for the whole
            self._let_go()
            raise
        self._written += len(view)
        return len(view)

    def finish(self) -> None:
        """Make it a file. Raises StoreError."""
        upload, self._upload = self._upload, None
        if upload is None:
            return
        try:
            with watched(self._client):
                self.stored = Stored.from_wire(upload.finish())
        except StoreError as error:
            raise self._error(error) from None
        finally:
            upload.abandon()
            self._connections.give_back(self._client)
        check_failed(self.stored)

    def abandon(self) -> None:
        """Forget what was written."""
        if getattr(self, "_upload", None) is not None:
            self._let_go()

    def _let_go(self) -> None:
        upload, self._upload = self._upload, None
        assert upload is not None
        upload.abandon()
        self._connections.give_back(self._client)

    def _error(self, error: StoreError) -> StoreError:
        if self._exclusive and error.code == "changed":  # somebody was quicker
            return error_of(already_there(self._path).fault)
        return error

    def close(self) -> None:
        """Make it a file, unless it was abandoned."""
        if self.closed:
            return
        try:
            self.finish()
        finally:
            super().close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Close; after an exception, abandon."""
        if kind is not None:
            self.abandon()
        self.close()

    def __del__(self) -> None:
        """Dropped without being closed: it may be half of a file."""
        self.abandon()


class UploadFile(io.BufferedWriter):
    """A buffered writer to one path."""

    raw: RawUpload

    def __init__(self, raw: RawUpload) -> None:
        super().__init__(raw, BUFFER_BYTES)

    @property
    def stored(self) -> Stored | None:
        """What became of it; None before it is closed."""
        return self.raw.stored

    def abandon(self) -> None:
        """Forget what was written, and close."""
        self.raw.abandon()
        self.raw.close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Close; after an exception, abandon."""
        if kind is not None:
            self.abandon()
        else:
            self.close()

    def __del__(self) -> None:
        """Dropped without being closed: it may be half of a file."""
        if not self.raw.closed:
            self.abandon()


class UploadText(io.TextIOWrapper):
    """The same for text."""

    buffer: UploadFile

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        """Close; after an exception, abandon."""
        if kind is not None:
            self.buffer.abandon()
        else:
            self.close()

    def __del__(self) -> None:
        """Dropped without being closed: it may be half of a file."""
        if not self.buffer.raw.closed:
            self.buffer.abandon()
