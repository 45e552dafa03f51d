"""The disk seam: files and databases under one root folder, with honest durability.

Calls block, so they are made from worker jobs only. Nothing is durable before `sync` (of the file) and, for a file that
was created, renamed or removed, `sync_folder`: the simulated twin forgets or tears everything else at a crash.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from p2pstore.packing import Buffer

Row = tuple[Any, ...]


class DiskFile(Protocol):
    """One open file. All offsets and sizes in bytes."""

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer only at the end of the file."""
        ...

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        """All of `buffers`, one after the other, from `offset`. Raises NoSpace (the file may have grown a part)."""
        ...

    def size(self) -> int:
        """Bytes in the file now."""
        ...

    def truncate(self, size: int) -> None:
        """Cut to `size` bytes."""
        ...

    def sync(self) -> None:
        """Everything written so far survives a power cut once this returns."""
        ...

    def close(self) -> None:
        """Let go of the file; syncs nothing."""
        ...


class Database(Protocol):
    """An SQLite database (WAL, synchronous=FULL) behind four calls. One thread at a time.

    Its calls raise DatabaseDamaged when the file is not sound and NoSpace when the disk is full. Text that is no UTF-8
    (one rotten bit makes text of bytes) comes with surrogate escapes: whoever knows what a row should be sees it.
    """

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run one statement and fetch all its rows."""
        ...

    def execute_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of parameters."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All that runs inside is durable when the block ends, or undone when it raises. Does not nest."""
        ...

    def close(self) -> None:
        """Let go of the database."""
        ...


class Disk(Protocol):
    """A folder on one disk. Names are relative POSIX paths without '..'."""

    def open(self, name: str, *, create: bool = False) -> DiskFile:
        """Open for reading and writing. Raises FileNotFoundError; with `create`, makes the file if it is missing."""
        ...

    def open_database(self, name: str, *, rebuildable: bool = False) -> Database:
        """Open or create an SQLite database, for this process alone.

        Args:
            rebuildable: what it holds can be rebuilt from elsewhere, so a transaction need not wait for the disk: a
                power cut may undo the last ones (in order, and the file stays sound) unless
                "PRAGMA wal_checkpoint(FULL)" ran after them.

        Raises:
            DatabaseDamaged: the file is not a sound database.
            Busy: somebody else has it open.
        """
        ...

    def names(self, folder: str = "") -> list[str]:
        """Names in `folder`, sorted; [] if there is no such folder."""
        ...

    def make_folder(self, name: str) -> None:
        """Create `name` and its parents, durably; fine if it exists."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Atomic; replaces `new`. Durable after sync_folder."""
        ...

    def remove(self, name: str) -> None:
        """Unlink a file; fine if it is missing. Durable after sync_folder."""
        ...

    def sync_folder(self, name: str = "") -> None:
        """Creations, renames and removals in `name` survive a power cut once this returns."""
        ...

    def free_bytes(self) -> int:
        """Bytes that the file system would still give us."""
        ...
