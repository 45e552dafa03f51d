"""The pack files of a store: their names, and a bounded number of them open at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from p2pstore.limits import PACK_FILES_OPEN_MAX
from p2pstore.seams.disk import Disk, DiskFile

PACKS_FOLDER: Final = "packs"
_SUFFIX: Final = ".pack"


def pack_name(pack: int) -> str:
    """The file of pack number `pack`."""
    return f"{PACKS_FOLDER}/{pack:08d}{_SUFFIX}"


def pack_numbers(disk: Disk) -> list[int]:
    """The packs that there are, ascending."""
    stems = [name.removesuffix(_SUFFIX) for name in disk.names(PACKS_FOLDER) if name.endswith(_SUFFIX)]
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


@dataclass(slots=True)
class _Opened:
    file: DiskFile
    users: int = 0
    doomed: bool = False


class PackFiles:
    """Opens packs on demand and keeps the last few open. Safe to use from several threads: a file is never closed
    under somebody who reads it (its descriptor might be another file's by then)."""

    def __init__(self, disk: Disk, *, open_max: int = PACK_FILES_OPEN_MAX) -> None:
        self._disk = disk
        self._open_max = open_max
        self._opened: dict[int, _Opened] = {}
        self._lock = threading.Lock()

    @contextmanager
    def using(self, pack: int, *, create: bool = False) -> Iterator[DiskFile]:
        """The file of `pack`, open while the block runs. Raises FileNotFoundError unless it is there or `create`."""
        with self._lock:
            opened = self._opened.pop(pack, None) or _Opened(self._disk.open(pack_name(pack), create=create))
            self._opened[pack] = opened  # the last in the dictionary is the one used last
            opened.users += 1
        try:
            yield opened.file
        finally:
            with self._lock:
                opened.users -= 1
                if opened.doomed and not opened.users:
                    opened.file.close()
                self._close_surplus()

    def _close_surplus(self) -> None:
        idle = [pack for pack, opened in self._opened.items() if not opened.users]
        for pack in idle[: max(0, len(self._opened) - self._open_max)]:
            self._opened.pop(pack).file.close()

    def remove(self, pack: int) -> None:
        """Delete the file of `pack`, durably. Who reads it now reads on."""
        with self._lock:
            if (opened := self._opened.pop(pack, None)) is not None:
                opened.doomed = True
                if not opened.users:
                    opened.file.close()
        self._disk.remove(pack_name(pack))
        self._disk.sync_folder(PACKS_FOLDER)

    def close(self) -> None:
        """Close all files that nobody uses; the others are closed after their use."""
        with self._lock:
            for opened in self._opened.values():
                opened.doomed = True
                if not opened.users:
                    opened.file.close()
            self._opened.clear()
