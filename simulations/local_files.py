"""The files of the person at a simulated machine: a tree in memory that honours the seam."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from p2pstore.errors import NoSpace
from p2pstore.packing import Buffer
from p2pstore.seams.local_files import LocalEntry, Stamp, Unreadable

ROOT: Final = b"/"


@dataclass(slots=True, eq=False)
class _Thing:
    """A file, folder or link.

    Attributes:
        number: as an inode: another thing under the same name has another one.
        changes: how often the content changed.
        device: of a folder that something is mounted at, that of what is mounted.
        readable: whether a folder's names can be listed.
    """

    kind: str
    number: int
    mode: int = 0o644
    mtime_ns: int = 0
    data: bytearray = field(default_factory=bytearray)
    target: bytes | None = None
    changes: int = 0
    device: int = 1
    readable: bool = True


class SimulatedSource:
    """An OpenSource: what was opened stays readable when its name is gone."""

    def __init__(self, files: SimulatedFiles, path: bytes) -> None:
        self._files = files
        self._path = path
        self._thing = files.thing(path)
        if self._thing.kind != "file":
            raise OSError(errno.ELOOP if self._thing.kind == "link" else errno.EISDIR, "not a file", path)
        self._changes = self._thing.changes
        self._offset = 0
        self.size_hint = len(self._thing.data)

    def read_into(self, buffer: memoryview) -> int:
        piece = self._thing.data[self._offset : self._offset + len(buffer)]
        buffer[: len(piece)] = piece
        self._offset += len(piece)
        return len(piece)

    def unchanged(self) -> bool:
        return self._thing.changes == self._changes and self._files.find(self._path) is self._thing

    def close(self) -> None:
        """Nothing is held."""


class SimulatedPart:
    """A PartFile: takes room from the first byte, is seen when published."""

    def __init__(self, files: SimulatedFiles, destination: bytes) -> None:
        self._files = files
        self._destination = destination
        self._data = bytearray()
        self._open = True

    def write(self, offset: int, data: Buffer) -> None:
        end = offset + len(data)
        self._files.take(max(0, end - len(self._data)))
        if len(self._data) < end:
            self._data.extend(bytes(end - len(self._data)))
        self._data[offset:end] = data

    def publish(self, *, size: int, mode: int, mtime_ns: int) -> None:
        self._files.take(size - len(self._data))
        del self._data[size:]
        self._data.extend(bytes(size - len(self._data)))
        self._open = False
        self._files.place(self._destination, _Thing("file", self._files.number(), mode, mtime_ns, self._data))

    def abandon(self) -> None:
        if self._open:
            self._open = False
            self._files.take(-len(self._data))


class SimulatedFiles:
    """Implements `seams.local_files.LocalFiles`.

    Args:
        capacity_bytes: what all files together may take; None: no bound.
    """

    def __init__(self, *, capacity_bytes: int | None = None) -> None:
        self.capacity_bytes = capacity_bytes
        self._used = 0
        self._numbers = itertools.count(1)
        self._things: dict[bytes, _Thing] = {ROOT: _Thing("folder", 0, 0o755)}
        self.on_change: list[Callable[[bytes], None]] = []

    # --- what the person does -------------------------------------------------------------------------------------

    def write_file(self, path: bytes, data: bytes, *, mtime_ns: int = 0, mode: int = 0o644) -> None:
        """Replace or make a file, and the folders above it."""
        self.make_folder(os.path.dirname(path))
        self.place(path, _Thing("file", self.number(), mode, mtime_ns, bytearray(data)))

    def read_file(self, path: bytes) -> tuple[bytes, int]:
        """A file's bytes and its mtime."""
        thing = self.thing(path)
        return bytes(thing.data), thing.mtime_ns

    def change_file(self, path: bytes, data: bytes) -> None:
        """Overwrite a file in place: whoever reads it right now gets a mixture."""
        thing = self.thing(path)
        thing.data[:] = data
        thing.changes += 1
        self._tell(path)

    def remove(self, path: bytes) -> None:
        """Unlink a file or link."""
        self._used -= len(self.thing(path).data)
        del self._things[path]
        self._tell(path)

    def remove_all(self, path: bytes) -> None:
        """Remove a folder and all below it."""
        for name in sorted(self._things, reverse=True):
            if name == path or name.startswith(path + b"/"):
                self.remove(name)

    def rename(self, path: bytes, new: bytes) -> None:
        """Rename a file or folder, with all below it."""
        for name in sorted(self._things):
            if name == path or name.startswith(path + b"/"):
                self._things[new + name[len(path) :]] = self._things.pop(name)
        self._tell(path)
        self._tell(new)

    def unmount(self, path: bytes) -> dict[bytes, _Thing]:
        """What was mounted at `path` is away, and what lies under it shows: an empty folder. Nobody is told."""
        mounted = {name: thing for name, thing in self._things.items() if (name + b"/").startswith(path + b"/")}
        for name in mounted:
            del self._things[name]
        self._things[path] = _Thing("folder", self.number(), 0o755)
        return mounted

    def mount(self, path: bytes, things: dict[bytes, _Thing]) -> None:
        """The inverse of `unmount`. Nobody is told."""
        del self._things[path]
        self._things.update(things)

    def make_mount(self, path: bytes, device: int) -> None:
        """Say that what is at and below `path` lies on another file system."""
        for name, thing in self._things.items():
            if (name + b"/").startswith(path + b"/"):
                thing.device = device

    def set_readable(self, path: bytes, readable: bool) -> None:
        """Give or take the right to list a folder."""
        self.thing(path).readable = readable
        self._tell(path)

    def _tell(self, path: bytes) -> None:
        for tell in list(self.on_change):
            tell(path)

    # --- inside ---------------------------------------------------------------------------------------------------

    def find(self, path: bytes) -> _Thing | None:
        """What is at `path`."""
        return self._things.get(path.rstrip(b"/") or ROOT)

    def thing(self, path: bytes) -> _Thing:
        """What is at `path`. Raises FileNotFoundError."""
        found = self.find(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def number(self) -> int:
        """The next inode."""
        return next(self._numbers)

    def take(self, size: int) -> None:
        """Take room. Raises NoSpace."""
        if self.capacity_bytes is not None and size > 0 and self._used + size > self.capacity_bytes:
            raise NoSpace("the local disk is full")
        self._used += size

    def place(self, path: bytes, thing: _Thing) -> None:
        """Give a thing a name."""
        above = self.thing(os.path.dirname(path))
        if above.kind != "folder":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        before = self.find(path)
        if before is not None:
            if before.kind == "folder":
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            self._used -= len(before.data)
        self._things[path] = thing
        thing.device = above.device
        self._tell(path)

    # --- the seam -------------------------------------------------------------------------------------------------

    def describe(self, path: bytes, names: tuple[bytes, ...]) -> LocalEntry | Unreadable:
        thing = self.find(path)
        if thing is None:
            return Unreadable(path, os.strerror(errno.ENOENT))
        size = len(thing.data) if thing.kind == "file" else 0
        return LocalEntry(path, names, thing.kind, size, thing.mode, thing.mtime_ns, thing.target)

    def walk(self, path: bytes, names: tuple[bytes, ...]) -> Iterator[LocalEntry | Unreadable]:
        top = self.describe(path, names)
        yield top
        if isinstance(top, Unreadable) or top.kind != "folder":
            return
        pending = [top]
        while pending:
            folder = pending.pop()
            below = []
            for name in self.names_in(folder.path):
                entry = self.describe(os.path.join(folder.path, name), (*folder.names, name))
                yield entry
                if isinstance(entry, LocalEntry) and entry.kind == "folder":
                    below.append(entry)
            pending.extend(reversed(below))

    def names_in(self, path: bytes) -> list[bytes]:
        folder = self.thing(path)
        if folder.kind != "folder":
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        if not folder.readable:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        above = path.rstrip(b"/") or ROOT
        return sorted(
            os.path.basename(path) for path in self._things if path != ROOT and os.path.dirname(path) == above
        )

    def stamp(self, path: bytes) -> Stamp:
        thing = self.thing(path)
        size = len(thing.data) if thing.kind == "file" else 0
        return Stamp(thing.kind, thing.device, thing.number, size, thing.mode, thing.mtime_ns, thing.changes)

    def open_source(self, path: bytes) -> SimulatedSource:
        return SimulatedSource(self, path)

    def read_small(self, path: bytes, bytes_max: int) -> bytes | None:
        thing = self.thing(path)
        return None if len(thing.data) > bytes_max else bytes(thing.data)

    def is_folder(self, path: bytes) -> bool:
        seen: set[bytes] = set()
        thing = self.find(path)
        while thing is not None and thing.kind == "link" and path not in seen:
            seen.add(path)
            path = os.path.join(os.path.dirname(path), thing.target or b"")
            thing = self.find(path)
        return thing is not None and thing.kind == "folder"

    def exists(self, path: bytes) -> bool:
        return self.find(path) is not None

    def make_folder(self, path: bytes) -> None:
        parts = [part for part in path.split(b"/") if part]
        for depth in range(1, len(parts) + 1):
            name = ROOT + b"/".join(parts[:depth])
            there = self._things.get(name)
            if there is None:
                there = self._things[name] = _Thing("folder", self.number(), 0o755)
                there.device = self.thing(os.path.dirname(name)).device
                self._tell(name)
            if there.kind != "folder":
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)

    def finish_folder(self, path: bytes, *, mode: int, mtime_ns: int) -> None:
        folder = self.thing(path)
        folder.mode, folder.mtime_ns = mode & 0o7777, mtime_ns

    def make_link(self, target: bytes, path: bytes) -> None:
        self.place(path, _Thing("link", self.number(), 0o777, target=target))

    def part_file(self, destination: bytes) -> SimulatedPart:
        self.thing(os.path.dirname(destination))
        return SimulatedPart(self, destination)
