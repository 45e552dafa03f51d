"""The seam to the files that a person puts and gets, outside every store. Names are bytes; calls block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from p2pstore.packing import Buffer


@dataclass(frozen=True, slots=True)
class LocalEntry:
    """One thing found on the local disk.

    Attributes:
        path: absolute.
        names: where it belongs below the destination, the last its own name.
        kind: "file", "folder" or "link".
        size: bytes (0 unless a file).
        mode: permission bits.
        mtime_ns: last change, nanoseconds since 1970.
        target: where a link points.
    """

    path: bytes
    names: tuple[bytes, ...]
    kind: str
    size: int
    mode: int
    mtime_ns: int
    target: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a thing on the local disk was like at one moment; without its name, so that a renamed one is known again.

    Attributes:
        kind: "file", "folder", "link" or "other" (a socket, pipe or device).
        device: the file system it lies on; may have another number after a restart of the machine.
        inode: what it is there.
        size: bytes (0 unless a file).
        mode: permission bits.
        mtime_ns: last change of the content, as programs say.
        ctime_ns: last change of anything, as the system knows.
    """

    kind: str
    device: int
    inode: int
    size: int
    mode: int
    mtime_ns: int
    ctime_ns: int

    def is_same(self, other: Stamp) -> bool:
        """Whether nothing speaks for a change between the two: of a file's content, of a folder's mode."""
        if self.kind != other.kind or self.inode != other.inode or self.mode != other.mode:
            return False
        return self.kind == "folder" or (self.size, self.mtime_ns, self.ctime_ns) == (
            other.size, other.mtime_ns, other.ctime_ns,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Something that cannot be stored, and why."""

    path: bytes
    why: str


class OpenSource(Protocol):
    """One local file being read from front to back.

    Attributes:
        size_hint: its size when it was opened.
    """

    size_hint: int

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` with what comes next; fewer bytes than its length only at the end of the file."""
        ...

    def unchanged(self) -> bool:
        """Whether the open file, and the name it was opened by, are still what they were."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class PartFile(Protocol):
    """A file on its way to a name: nothing is ever seen under the name but the whole content."""

    def write(self, offset: int, data: Buffer) -> None:
        """Write `data` at `offset`. Raises NoSpace."""
        ...

    def publish(self, *, size: int, mode: int, mtime_ns: int) -> None:
        """Give the file its size, mode, time and name."""
        ...

    def abandon(self) -> None:
        """Leave no trace; fine after publish."""
        ...


class LocalFiles(Protocol):
    """The local file system. Raises OSError as the real one does, NoSpace when it is full."""

    def describe(self, path: bytes, names: tuple[bytes, ...]) -> LocalEntry | Unreadable:
        """What lies at `path`, without following a link."""
        ...

    def walk(self, path: bytes, names: tuple[bytes, ...]) -> Iterator[LocalEntry | Unreadable]:
        """`path` and all below it: parents before children, names sorted. Follows no link."""
        ...

    def names_in(self, path: bytes) -> list[bytes]:
        """The names in a folder, sorted; without unfinished downloads."""
        ...

    def stamp(self, path: bytes) -> Stamp:
        """What is at `path`, without following a link."""
        ...

    def open_source(self, path: bytes) -> OpenSource:
        """Open a file for reading."""
        ...

    def read_small(self, path: bytes, bytes_max: int) -> bytes | None:
        """The whole of a small file as of one moment; None if it is larger now or does not hold still."""
        ...

    def is_folder(self, path: bytes) -> bool:
        """Whether a folder, or a link to one, is at `path`."""
        ...

    def exists(self, path: bytes) -> bool:
        """Whether anything is at `path`, a dangling link too."""
        ...

    def make_folder(self, path: bytes) -> None:
        """A folder at `path`; fine if there is one."""
        ...

    def finish_folder(self, path: bytes, *, mode: int, mtime_ns: int) -> None:
        """Give a folder its mode and time, after everything in it was written."""
        ...

    def make_link(self, target: bytes, path: bytes) -> None:
        """A symlink at `path`, replacing a file or link there."""
        ...

    def part_file(self, destination: bytes) -> PartFile:
        """Begin a file that will get the name `destination`."""
        ...
