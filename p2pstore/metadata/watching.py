"""Watched folders as values: what is known of a local folder, what in it is passed over, and when deletions wait.

A path below a watched folder is its names joined by slashes; b"" is the folder itself.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, incarnation, peer_id
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.local_files import Stamp

VANISHED_MAX: Final = 50
"""So many deletions at once may be a person tidying up; more of them, and more than a fifth of all, may be a disk that
is not there, or a program gone wild."""

VANISHED_SHARE_MAX: Final = 0.2

IGNORED_ALWAYS: Final = (
    ".DS_Store", "Thumbs.db", "desktop.ini", ".~lock.*#", "~$*", ".*.sw[a-p]", ".nfs*", ".fuse_hidden*", "lost+found",
    ".Trash-[0-9]*", ".stfolder", ".stversions", ".syncthing.*.tmp", "~syncthing~*.tmp",
)  # fmt: skip
"""Names of what systems, editors and Syncthing keep for themselves. Nothing that could be a person's own file: "*.tmp"
and "*.part" are not among them."""

PATTERNS_MAX: Final = 100
PATTERN_CHARACTERS_MAX: Final = 255

WATCH_BYTES_MAX: Final = 512 * 1024
"""Paths of 4,096 bytes, and all patterns that there may be."""

DOTS_BYTES_MAX: Final = 64 * 1024
"""A thousand conflict copies of one name, which nobody has."""


@dataclass(frozen=True, slots=True)
class Watch:
    """One watched folder.

    Attributes:
        number: names it for ever.
        local: absolute local path.
        target: where it goes in the store.
        two_way: always false: the place in the format for changes that come back from the store.
        ignored: names, or paths with a slash, that are passed over; beside `IGNORED_ALWAYS`.
        added_s: wall time.
    """

    number: int
    local: bytes
    target: tuple[bytes, ...]
    two_way: bool
    ignored: tuple[str, ...]
    added_s: float

    def local_path(self, below: bytes) -> bytes:
        """Where a path below it lies on the disk."""
        return self.local.rstrip(b"/") + b"/" + below if below else self.local

    def store_path(self, below: bytes) -> tuple[bytes, ...]:
        """Where a path below it lies in the store."""
        return (*self.target, *below.split(b"/")) if below else self.target

    def ignores(self, below: bytes) -> bool:
        """Whether a path below it is passed over, by its own name or by its path; not by that of a folder above."""
        path = os.fsdecode(below)
        name = path.rpartition("/")[2]
        return any(fnmatch.fnmatchcase(name, each) for each in IGNORED_ALWAYS) or any(
            fnmatch.fnmatchcase(path if "/" in each else name, each.strip("/")) for each in self.ignored
        )


@dataclass(frozen=True, slots=True)
class Known:
    """What a path below a watched folder was like when the store last had the same.

    Attributes:
        path: below the folder.
        stamp: of the local thing.
        dots: of the store's version, as `Item.dots`; () for folders.
    """

    path: bytes
    stamp: Stamp
    dots: tuple[Dot, ...] = ()

    def at(self, path: bytes) -> Known:
        """The same under another name."""
        return replace(self, path=path)


def pack_watch(watch: Watch) -> bytes:
    """A watched folder as bytes, without its number; `read_watch` is the way back."""
    return pack([watch.local, list(watch.target), watch.two_way, list(watch.ignored), watch.added_s])


def read_watch(number: int, data: bytes) -> Watch:
    """Raises Malformed."""
    fields = Fields(unpack(data, bytes_max=WATCH_BYTES_MAX), "watch")
    local, target, two_way = fields.raw(most=4096), fields.array(most=4096), fields.truth()
    ignored, added_s = fields.array(most=PATTERNS_MAX), fields.number(0.0, 2.0**40)
    fields.end()
    return Watch(number, local, tuple(target), two_way, tuple(ignored), added_s)


def pack_dots(dots: Iterable[Dot]) -> bytes:
    """Dots as bytes; `read_dots` is the way back."""
    return pack([list(dot) for dot in dots])


def read_dots(data: bytes) -> tuple[Dot, ...]:
    """Raises Malformed."""
    found = []
    for each in Fields([unpack(data, bytes_max=DOTS_BYTES_MAX)], "dots").array(most=2000):
        fields = Fields(each, "dot")
        found.append(Dot(peer_id(fields.raw(32)), incarnation(fields.raw(8)), fields.integer(1, 2**53)))
        fields.end()
    return tuple(found)


def checked_patterns(patterns: Sequence[str]) -> tuple[str, ...]:
    """`patterns` if they can be kept. Raises Malformed."""
    if len(patterns) > PATTERNS_MAX or any(not 0 < len(each) <= PATTERN_CHARACTERS_MAX for each in patterns):
        raise Malformed(f"patterns: at most {PATTERNS_MAX} of at most {PATTERN_CHARACTERS_MAX} characters")
    return tuple(patterns)


def parent_of(path: bytes) -> bytes:
    """The folder that a path lies in; b"" for what lies in the watched folder itself."""
    return path.rpartition(b"/")[0]


def join(folder: bytes, name: bytes) -> bytes:
    """A name in a folder."""
    return folder + b"/" + name if folder else name


def is_below(path: bytes, folder: bytes) -> bool:
    """Whether `path` lies below `folder`, at whatever depth."""
    return not folder or path.startswith(folder + b"/")


# --- when deletions wait ------------------------------------------------------------------------------------------


class Trouble(StrEnum):
    """Why what is missing may not have been deleted."""

    DEVICE_CHANGED = "device-changed"
    EMPTIED = "emptied"
    UNREADABLE = "unreadable"
    TOO_MANY = "too-many"


@dataclass(frozen=True, slots=True)
class Hold:
    """Deletions that wait for a person.

    Attributes:
        trouble: why.
        where: the folder that gives the doubt.
        missing: how many files and folders are missing.
        known: how many there were.
    """

    trouble: Trouble
    where: bytes
    missing: int
    known: int


def folder_trouble(before: Stamp | None, now: Stamp, *, had: int, has: int) -> Trouble | None:
    """What a folder's own look says about what is missing in it.

    Args:
        before: how it was when it was last known; None for never.
        now: how it is.
        had: how many names in it are known.
        has: how many names are in it now.
    """
    if before is None or not had:
        return None
    if before.device != now.device:
        return Trouble.DEVICE_CHANGED
    if before.inode != now.inode and not has:
        return Trouble.EMPTIED
    return None


def hold_of(
    missing: Collection[bytes], known: int, lately: int, troubles: Mapping[bytes, Trouble]
) -> Hold | None:
    """Whether deletions must wait for a person, and why.

    Args:
        missing: paths that are known and not there.
        known: how many paths are known, those included.
        lately: deletions that were carried out within the last hour: a flood in small waves is one.
        troubles: folders that look as if they were not what they were.
    """
    if not missing:
        return None
    for folder, trouble in sorted(troubles.items()):
        return Hold(trouble, folder, len(missing), known)
    gone = len(missing) + lately
    if gone > VANISHED_MAX and gone > VANISHED_SHARE_MAX * (known + lately):
        return Hold(Trouble.TOO_MANY, b"", len(missing), known)
    return None


# --- renames ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rename:
    """A known thing that has another name now. With a folder goes what is below it."""

    old: bytes
    new: bytes


def renames(missing: Mapping[bytes, Known], fresh: Mapping[bytes, Stamp]) -> list[Rename]:
    """Which of the missing are among the new ones, under another name: the highest folders, then files by themselves.

    An inode alone proves nothing, systems give freed ones to the next in line: a file must also have its size and time,
    a folder at least one thing that was in it.
    """
    by_inode = {(stamp.kind, stamp.device, stamp.inode): path for path, stamp in sorted(fresh.items())}
    inside: dict[bytes, list[bytes]] = {}
    for path in sorted(missing):
        inside.setdefault(parent_of(path), []).append(path)
    found: list[Rename] = []
    moved: set[bytes] = set()
    for old, known in sorted(missing.items()):  # a folder comes before what is in it
        if parent_of(old) in moved:
            moved.add(old)
            continue
        stamp = known.stamp
        new = by_inode.get((stamp.kind, stamp.device, stamp.inode))
        if new is None:
            continue
        now = fresh[new]
        if stamp.kind == "folder":
            alike = any(
                (now_inside := fresh.get(join(new, path.rpartition(b"/")[2]))) is not None
                and now_inside.inode == missing[path].stamp.inode
                for path in inside.get(old, ())
            )
        else:
            alike = (stamp.size, stamp.mtime_ns) == (now.size, now.mtime_ns)
        if alike:
            found.append(Rename(old, new))
            moved.add(old)
    return found
