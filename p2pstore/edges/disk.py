"""The disk seam done for real: a folder of the operating system, and the standard library's SQLite."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NoReturn

from p2pstore.errors import Busy, DatabaseDamaged, NoSpace
from p2pstore.limits import KIB, MIB
from p2pstore.packing import Buffer
from p2pstore.seams.disk import Row

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

BUFFERS_PER_WRITE_MAX: Final = 1024
"""IOV_MAX of Linux and macOS: one pwritev takes no more buffers."""

BYTES_PER_WRITE_MAX: Final = 512 * KIB
"""One pwritev of 32 MiB took up to ten times as long as 64 of 512 KiB (Linux 6.18, ext4): the kernel looks for ever
larger runs of free memory to cache a larger write in."""

WRITEBACK_STEP_BYTES: Final = 2 * MIB
"""The disk is told to begin with what was written after so much, while the rest is still being copied: a sync after
32 MiB then waits half as long (benchmarks/storage.py)."""

_SYNC_FILE_RANGE_WRITE: Final = 2

STATEMENTS_CACHED: Final = 128
"""Prepared statements that SQLite keeps per database; a ledger has some dozens."""


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise NoSpace(str(error)) from error
        raise


def _sync_descriptor(descriptor: int) -> None:
    if sys.platform == "darwin":  # fsync there stops at the drive's cache
        import fcntl

        fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
    else:
        os.fdatasync(descriptor)


def _pieces(buffers: Sequence[Buffer]) -> Iterator[list[memoryview]]:
    """The same bytes in runs that each fit one call of pwritev."""
    piece: list[memoryview] = []
    room = BYTES_PER_WRITE_MAX
    for buffer in buffers:
        view = memoryview(buffer).cast("B")
        while len(view):
            part = view[:room]
            piece.append(part)
            view = view[len(part) :]
            room -= len(part)
            if not room or len(piece) == BUFFERS_PER_WRITE_MAX:
                yield piece
                piece = []
                room = BYTES_PER_WRITE_MAX
    if piece:
        yield piece


@cache
def _writeback_starter() -> Callable[[int, int, int, int], int] | None:
    """Linux's sync_file_range, which the standard library lacks; None elsewhere."""
    if sys.platform != "linux":
        return None
    import ctypes

    call = getattr(ctypes.CDLL(None), "sync_file_range", None)
    if call is not None:
        call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call


class RealFile:
    """A DiskFile over a file descriptor."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, size: int) -> bytes:
        piece = os.pread(self._descriptor, size, offset)
        if len(piece) == size or not piece:
            return piece
        pieces = [piece]
        got = len(piece)
        while got < size and (piece := os.pread(self._descriptor, size - got, offset + got)):
            pieces.append(piece)
            got += len(piece)
        return b"".join(pieces)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        with _full_disk_named():
            begun = offset
            for piece in _pieces(buffers):
                offset = self._write_piece(offset, piece)
                if offset - begun >= WRITEBACK_STEP_BYTES:
                    self._start_writeback(begun, offset)
                    begun = offset

    def _start_writeback(self, start: int, end: int) -> None:
        """A hint: nothing is waited for, and errors are told by `sync`, which alone makes anything durable."""
        if (starter := _writeback_starter()) is not None:
            starter(self._descriptor, start, end - start, _SYNC_FILE_RANGE_WRITE)

    def _write_piece(self, offset: int, buffers: list[memoryview]) -> int:
        """Write what fits one call, however often the kernel stops half-way; the offset after it."""
        while buffers:
            written = os.pwritev(self._descriptor, buffers, offset)
            offset += written
            while buffers and written >= len(buffers[0]):
                written -= len(buffers.pop(0))
            if written:
                buffers[0] = buffers[0][written:]
        return offset

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def truncate(self, size: int) -> None:
        with _full_disk_named():
            os.ftruncate(self._descriptor, size)

    def sync(self) -> None:
        with _full_disk_named():
            _sync_descriptor(self._descriptor)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _raise_named(error: sqlite3.Error) -> NoReturn:
    """Raise what the seam promises for an error of SQLite; what it does not name is a bug and stays as it is."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        raise error
    match code & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            raise DatabaseDamaged(str(error)) from error
        case sqlite3.SQLITE_FULL:
            raise NoSpace(str(error)) from error
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            raise Busy(str(error)) from error
        case sqlite3.SQLITE_IOERR:
            raise OSError(errno.EIO, str(error)) from error
        case sqlite3.SQLITE_CANTOPEN:
            raise FileNotFoundError(errno.ENOENT, str(error)) from error
        case _:
            raise error


class RealDatabase:
    """A Database over one sqlite3 connection. A transaction keeps other threads out until it ends."""

    __slots__ = ("_connection", "_lock")

    def __init__(self, path: Path, *, rebuildable: bool) -> None:
        self._lock = threading.RLock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
            )
        except sqlite3.Error as error:
            _raise_named(error)
        self._connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        try:
            self.execute("PRAGMA locking_mode=EXCLUSIVE")
            self.execute("PRAGMA journal_mode=WAL")
            self.execute(f"PRAGMA synchronous={'NORMAL' if rebuildable else 'FULL'}")
            with self.transaction():  # takes the lock that keeps a second process out
                pass
        except BaseException:
            self._connection.close()
            raise

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        with self._lock:
            try:
                return self._connection.execute(sql, parameters).fetchall()
            except sqlite3.Error as error:
                _raise_named(error)

    def execute_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        with self._lock:
            try:
                self._connection.executemany(sql, parameters)
            except sqlite3.Error as error:
                _raise_named(error)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            nested: bool = self._connection.in_transaction
            assert not nested, "transactions do not nest"
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself rolls back on some errors
                    with suppress(sqlite3.Error, OSError, NoSpace, DatabaseDamaged):
                        self.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self._lock:
            self._connection.close()


class RealDisk:
    """The folder `root`, which must exist: a missing root is a disk that is away, and making it would hide that."""

    def __init__(self, root: Path | str) -> None:
        self._root = Path(root)

    def _path(self, name: str) -> Path:
        assert not name.startswith("/"), name
        assert ".." not in name.split("/"), name
        return self._root / name

    def open(self, name: str, *, create: bool = False) -> RealFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        with _full_disk_named():
            return RealFile(os.open(self._path(name), flags, 0o600))

    def open_database(self, name: str, *, rebuildable: bool = False) -> RealDatabase:
        database = RealDatabase(self._path(name), rebuildable=rebuildable)
        try:
            # SQLite makes its journals' names durable, never the database's own
            self.sync_folder(name.rpartition("/")[0])
        except BaseException:
            database.close()
            raise
        return database

    def names(self, folder: str = "") -> list[str]:
        try:
            return sorted(path.name for path in self._path(folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def make_folder(self, name: str) -> None:
        parent = ""
        for part in name.split("/"):
            path = f"{parent}/{part}" if parent else part
            with suppress(FileExistsError), _full_disk_named():
                self._path(path).mkdir(mode=0o700)
            self.sync_folder(parent)
            parent = path

    def rename(self, old: str, new: str) -> None:
        with _full_disk_named():
            self._path(old).replace(self._path(new))

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def sync_folder(self, name: str = "") -> None:
        descriptor = os.open(self._path(name), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _full_disk_named():
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self) -> int:
        figures = os.statvfs(self._root)
        return figures.f_bavail * figures.f_frsize
