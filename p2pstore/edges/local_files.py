"""The files that a person puts and gets: reading them without trusting that they hold still, writing them atomically.

Blocking calls, made from worker jobs. Names are bytes: a file may have a name that is not text.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import NoSpace
from p2pstore.packing import Buffer
from p2pstore.seams.local_files import LocalEntry, Stamp, Unreadable

PART_PREFIX: Final = b".p2pstore-"
"""Unfinished downloads carry this prefix; a scan for upload passes them over."""


HOLE_BYTES: Final = 64 * 1024
"""Blocks of zeros of this size are not written; smaller holes save less than they cost in extents."""

_HOLE: Final = bytes(HOLE_BYTES)


_KINDS: Final = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What tells that a file is still the one that was opened."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class LocalSource:
    """One local file being read from front to back."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self.fingerprint = self._look()
        self.size_hint = self.fingerprint.size
        self._offset = 0

    def _look(self) -> Fingerprint:
        info = os.fstat(self._descriptor)
        return Fingerprint(info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)

    def read_into(self, buffer: memoryview) -> int:
        """Fill `buffer` with what comes next; fewer bytes than its length only at the end of the file."""
        filled = 0
        while filled < len(buffer):
            count = os.preadv(self._descriptor, [buffer[filled:]], self._offset)
            if not count:
                break
            filled += count
            self._offset += count
        return filled

    def unchanged(self) -> bool:
        """Whether the open file, and the name it was opened by, are still what they were."""
        try:
            by_name = os.lstat(self.path)
        except OSError:
            return False
        return self._look() == self.fingerprint and (by_name.st_dev, by_name.st_ino) == (
            self.fingerprint.device,
            self.fingerprint.inode,
        )

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


class RealPartFile:
    """A file on its way to a name: written beside it, given the name only when it is whole.

    Nothing is ever seen under the final name but the whole content; an interrupted one leaves nothing.
    """

    def __init__(self, destination: bytes) -> None:
        self.destination = destination
        folder = os.path.dirname(destination) or b"."
        self._part = os.path.join(folder, PART_PREFIX + secrets.token_hex(8).encode() + b".part")
        with _no_space():
            self._descriptor = os.open(self._part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._open = True

    def write(self, offset: int, data: Buffer) -> None:
        """Write `data` at `offset`; blocks of zeros stay holes, so a sparse file comes back sparse."""
        view = memoryview(data)
        start = 0
        with _no_space():
            for position in range(0, len(view), HOLE_BYTES):
                block = view[position : position + HOLE_BYTES]
                if block[0] == 0 and bytes(block) == _HOLE:
                    self._write_all(offset + start, view[start:position])
                    start = position + HOLE_BYTES
            self._write_all(offset + start, view[start:])

    def _write_all(self, offset: int, view: memoryview) -> None:
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            view = view[count:]
            offset += count

    def publish(self, *, size: int, mode: int, mtime_ns: int) -> None:
        """Give the file its size, mode, time and name."""
        with _no_space():
            os.ftruncate(self._descriptor, size)
            os.fchmod(self._descriptor, mode & 0o7777)
            os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))
        os.close(self._descriptor)
        self._open = False
        os.rename(self._part, self.destination)

    def abandon(self) -> None:
        """Leave no trace; fine after publish."""
        if not self._open:
            return
        self._open = False
        os.close(self._descriptor)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._part)


class RealFiles:
    """The local file system; `seams.local_files.LocalFiles` says what each method promises."""

    def describe(self, path: bytes, names: tuple[bytes, ...]) -> LocalEntry | Unreadable:
        """What lies at `path`, without following a link."""
        try:
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                return LocalEntry(
                    path, names, "link", 0, stat.S_IMODE(info.st_mode), info.st_mtime_ns, os.fsencode(os.readlink(path))
                )
        except OSError as error:
            return Unreadable(path, error.strerror or str(error))
        if stat.S_ISREG(info.st_mode):
            return LocalEntry(path, names, "file", info.st_size, stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        if stat.S_ISDIR(info.st_mode):
            return LocalEntry(path, names, "folder", 0, stat.S_IMODE(info.st_mode), info.st_mtime_ns)
        return Unreadable(path, "not a file, folder or link (a socket, pipe or device)")

    def walk(self, path: bytes, names: tuple[bytes, ...]) -> Iterator[LocalEntry | Unreadable]:
        """`path` and, if it is a folder, all below it: parents before children, names sorted. Follows no link."""
        top = self.describe(path, names)
        yield top
        if isinstance(top, Unreadable) or top.kind != "folder":
            return
        pending = [top]
        while pending:
            folder = pending.pop()
            try:
                found = self.names_in(folder.path)
            except OSError as error:
                yield Unreadable(folder.path, error.strerror or str(error))
                continue
            below = []
            for name in found:
                entry = self.describe(os.path.join(folder.path, name), (*folder.names, name))
                yield entry
                if isinstance(entry, LocalEntry) and entry.kind == "folder":
                    below.append(entry)
            pending.extend(reversed(below))

    def names_in(self, path: bytes) -> list[bytes]:
        """The names in a folder, sorted; without unfinished downloads."""
        return sorted(name for name in os.listdir(path) if not name.startswith(PART_PREFIX))

    def stamp(self, path: bytes) -> Stamp:
        """What is at `path`, without following a link."""
        info = os.lstat(path)
        kind = _KINDS.get(stat.S_IFMT(info.st_mode), "other")
        size = info.st_size if kind == "file" else 0
        mode = stat.S_IMODE(info.st_mode)
        return Stamp(kind, info.st_dev, info.st_ino, size, mode, info.st_mtime_ns, info.st_ctime_ns)

    def read_small(self, path: bytes, bytes_max: int) -> bytes | None:
        """The whole of a small file as of one moment; None if it is larger now or does not hold still."""
        for _ in range(3):
            source = LocalSource(path)
            try:
                buffer = bytearray(bytes_max + 1)
                count = source.read_into(memoryview(buffer))
                if count > bytes_max:
                    return None
                if source.unchanged():
                    return bytes(buffer[:count])
            finally:
                source.close()
        return None

    def open_source(self, path: bytes) -> LocalSource:
        """Open a file for reading."""
        return LocalSource(path)

    def is_folder(self, path: bytes) -> bool:
        """Whether a folder, or a link to one, is at `path`."""
        return os.path.isdir(path)

    def exists(self, path: bytes) -> bool:
        """Whether anything is at `path`, a dangling link too."""
        return os.path.lexists(path)

    def make_folder(self, path: bytes) -> None:
        """A folder at `path`; fine if there is one."""
        with _no_space():
            os.makedirs(path, exist_ok=True)

    def part_file(self, destination: bytes) -> RealPartFile:
        """Begin a file that will get the name `destination`."""
        return RealPartFile(destination)

    def make_link(self, target: bytes, path: bytes) -> None:
        """A symlink at `path`, replacing a file or link there."""
        part = os.path.join(os.path.dirname(path) or b".", PART_PREFIX + secrets.token_hex(8).encode())
        os.symlink(target, part)
        try:
            os.rename(part, path)
        except OSError:
            os.unlink(part)
            raise

    def finish_folder(self, path: bytes, *, mode: int, mtime_ns: int) -> None:
        """Give a folder its mode and time, after everything in it was written."""
        os.chmod(path, mode & 0o7777)
        os.utime(path, ns=(mtime_ns, mtime_ns))


@contextlib.contextmanager
def _no_space() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace("the local disk is full") from error
        raise
