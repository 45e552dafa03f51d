"""SQLite on a simulated disk: an apsw VFS, so that a power cut treats a database as it treats every other file.

apsw brings its own SQLite and is needed for simulations and tests only. Databases are opened with an exclusive lock,
as on the real disk; WAL then needs no shared memory, which this file system does not have.
"""

# ruff: noqa: N802  (SQLite's names)

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NoReturn

import apsw

from p2pstore.errors import Busy, DatabaseDamaged, NoSpace, P2PStoreError
from p2pstore.seams.disk import Row
from simulations.disk import SECTOR_BYTES, PowerCut, SimulatedDisk, SimulatedFile, disks_by_number, folder_of

VFS_NAME: Final = "p2pstore-simulated"

NOW_JULIAN_MS: Final = 212_633_985_600_000
"""2026-01-01 as SQLite counts, in milliseconds since noon of 24 November 4714 BC."""


class _File:
    """What SQLite does to one file."""

    def __init__(self, disk: SimulatedDisk, name: str) -> None:
        self._disk = disk
        self._name = name
        self._file: SimulatedFile = disk.open(name, create=True)

    def xRead(self, amount: int, offset: int) -> bytes:
        return self._file.read(offset, amount)

    def xWrite(self, data: bytes, offset: int) -> None:
        try:
            self._file.write(offset, [data])
        except NoSpace as error:
            raise apsw.FullError(str(error)) from error

    def xTruncate(self, size: int) -> None:
        self._file.truncate(size)

    def xSync(self, _flags: int) -> None:
        self._file.sync()
        if self._name.endswith(("-wal", "-journal")):  # as SQLite does on Unix for journals, and only for them
            self._disk.sync_folder(folder_of(self._name))

    def xFileSize(self) -> int:
        return self._file.size()

    def xLock(self, _level: int) -> None:
        pass

    def xUnlock(self, _level: int) -> None:
        pass

    def xCheckReservedLock(self) -> bool:
        return False

    def xSectorSize(self) -> int:
        return SECTOR_BYTES

    def xDeviceCharacteristics(self) -> int:
        return 0

    def xFileControl(self, _operation: int, _pointer: int) -> bool:
        return False

    def xClose(self) -> None:
        self._file.close()


def _find(path: str) -> tuple[SimulatedDisk, str]:
    """The disk and the name on it of "/NUMBER/NAME"."""
    _, number, name = path.split("/", 2)
    return disks_by_number[int(number)], name


class _FileSystem(apsw.VFS):
    """The one VFS of the process; the first part of a path says which disk is meant.

    It is the default one, because SQLite seeds its generator (one for the whole process) from the default only.
    """

    def __init__(self) -> None:
        super().__init__(VFS_NAME, "", makedefault=True)
        self._seed = b""

    def seed(self, seed: bytes) -> None:
        """Let SQLite's generator start anew from `seed`, so that equal runs write equal bytes."""
        self._seed = seed
        apsw.randomness(0)

    def xOpen(self, name: Any, _flags: list[int]) -> Any:
        assert name is not None, "temporary files are kept in memory"
        disk, name = _find(name if isinstance(name, str) else name.filename())
        return _File(disk, name)

    def xFullPathname(self, name: str) -> str:
        return name

    def xDelete(self, path: str, sync: bool) -> None:
        disk, name = _find(path)
        disk.remove(name)
        if sync:
            disk.sync_folder(folder_of(name))

    def xAccess(self, path: str, _flags: int) -> bool:
        disk, name = _find(path)
        return disk.exists(name)

    def xCurrentTimeInt64(self) -> int:
        return NOW_JULIAN_MS

    def xRandomness(self, size: int) -> bytes:
        return self._seed.ljust(size, b"\0")[:size]

    def xSleep(self, microseconds: int) -> int:
        return microseconds

    def xGetLastError(self) -> tuple[int, str]:
        return 0, ""


_file_systems: Final[list[_FileSystem]] = []


def _raise_named(error: apsw.Error) -> NoReturn:
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        raise DatabaseDamaged(str(error)) from error
    if isinstance(error, apsw.FullError):
        raise NoSpace(str(error)) from error
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        raise Busy(str(error)) from error
    if isinstance(error, apsw.IOError):
        raise OSError(errno.EIO, str(error)) from error
    raise error


class SimulatedDatabase:
    """A Database over one apsw connection."""

    def __init__(self, disk: SimulatedDisk, name: str, *, rebuildable: bool) -> None:
        if not _file_systems:
            _file_systems.append(_FileSystem())
        _file_systems[0].seed(disk.rng.randbytes(16))
        self._disk = disk
        self._name = name
        self._life = disk.life
        try:
            self._connection = apsw.Connection(f"/{disk.number}/{name}", vfs=VFS_NAME)
        except apsw.Error as error:
            _raise_named(error)
        try:
            self._run("PRAGMA temp_store=MEMORY")
            self._run("PRAGMA locking_mode=EXCLUSIVE")
            self._run("PRAGMA journal_mode=WAL")
            self._run(f"PRAGMA synchronous={'NORMAL' if rebuildable else 'FULL'}")
            with self.transaction():
                pass
        except BaseException:
            self.abandon()
            raise

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        if self._life != self._disk.life:
            raise PowerCut
        try:
            return self._connection.execute(sql, parameters).fetchall()
        except UnicodeDecodeError:
            return self._escaped(sql, parameters)
        except apsw.Error as error:
            _raise_named(error)

    def _escaped(self, sql: str, parameters: Sequence[Any]) -> list[Row]:
        """The rows of a query with text that is none: apsw knows no surrogate escapes, so its bytes are asked for."""
        columns = [f"c{number}" for number in range(len(self._connection.execute(sql, parameters).get_description()))]
        both = ", ".join(
            f"typeof({each}) = 'text', iif(typeof({each}) = 'text', CAST({each} AS BLOB), {each})" for each in columns
        )
        rows: Iterable[Row] = self._connection.execute(
            f"WITH q({', '.join(columns)}) AS ({sql}) SELECT {both} FROM q",  # noqa: S608 - names and query are ours
            parameters,
        )
        return [
            tuple(
                value.decode(errors="surrogateescape") if is_text else value
                for is_text, value in zip(row[::2], row[1::2], strict=True)
            )
            for row in rows
        ]

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._run(sql, parameters)

    def execute_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        if self._life != self._disk.life:
            raise PowerCut
        try:
            self._connection.executemany(sql, parameters)
        except apsw.Error as error:
            _raise_named(error)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        nested: bool = self._connection.in_transaction
        assert not nested, "transactions do not nest"
        self._run("BEGIN IMMEDIATE")
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            with suppress(apsw.Error, OSError, P2PStoreError, PowerCut):
                if self._connection.in_transaction:
                    self._run("ROLLBACK")
            raise

    def close(self) -> None:
        if self._disk.databases.get(self._name) is self:
            del self._disk.databases[self._name]
        try:
            self._connection.close()
        except (apsw.Error, OSError):  # its last checkpoint failed; SQLite closes and says nothing of that
            self._connection.close(True)

    def abandon(self) -> None:
        """Let go of a database whose machine is dead: SQLite's attempts to tidy up reach nothing."""
        with suppress(apsw.Error, OSError, P2PStoreError, PowerCut):
            self._connection.close(True)
