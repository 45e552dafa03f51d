"""Drafts: what callers ask the ledger's writer to do. Paths are resolved and dots computed inside the writer, so two
callers who put one path at once do not make a conflict: the second supersedes the first.
"""

from __future__ import annotations

from dataclasses import dataclass

from p2pstore.ids import Dot, EncodingId, EntryId
from p2pstore.metadata.adoption import Adoption
from p2pstore.metadata.collection import Condemned, Intent
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.operations import ManifestPage, StripeStatement
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.version import Content, Kind, Version

Path = tuple[bytes, ...]
"""Names from the root down; () is the root."""


@dataclass(frozen=True, slots=True)
class Put:
    """A file or link at a path: a new version of what has that name, or a new entry.

    Attributes:
        path: where; the last name is the file's.
        kind: FILE or LINK.
        content: inline bytes, a manifest, a link's target.
        size: plain bytes.
        mtime_ns: nanoseconds since 1970.
        mode: permission bits.
        make_parents: make missing folders above.
        expected: if not None, the `Item.dots` that the caller believes are there now, () for nothing; anything else
            there raises PathFault("changed").
    """

    path: Path
    kind: Kind
    content: Content
    size: int
    mtime_ns: int
    mode: int
    make_parents: bool = True
    expected: tuple[Dot, ...] | None = None


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """A folder at a path; fine if there is one.

    Attributes:
        path: where.
        mode: permission bits of a new one, and of missing ones above.
        mtime_ns: of a new one.
        make_parents: make missing folders above.
        update: also give these mode and mtime to a folder that is there.
    """

    path: Path
    mode: int = 0o755
    mtime_ns: int = 0
    make_parents: bool = True
    update: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Rename or move what is at `source`, whatever it is, to exactly `target`: one operation per entry.

    Attributes:
        source: what.
        target: its new path; the folder above it must exist.
        replace: supersede a file or link that is at `target`; else it raises PathFault("taken").
    """

    source: Path
    target: Path
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """Put a file, link or empty folder into the trash. A folder that is not empty raises PathFault("not-empty").

    Attributes:
        path: what. If it has conflict copies, the next of them takes the name.
        expected: if not None, the `Item.dots` that the caller believes are there; others raise PathFault("changed").
    """

    path: Path
    expected: tuple[Dot, ...] | None = None


@dataclass(frozen=True, slots=True)
class RemoveEntry:
    """Put an entry with all its conflict copies into the trash; nothing happens if it is there already. A folder stays
    shown while anything below it is.

    Attributes:
        entry: what.
    """

    entry: EntryId


@dataclass(frozen=True, slots=True)
class AddVersion:
    """A version as it stands: for putting back from trash, restoring, and tests.

    Attributes:
        version: of a new or known entry.
        superseded: dots that it replaces; None for all live ones of its entry.
    """

    version: Version
    superseded: tuple[Dot, ...] | None = None


@dataclass(frozen=True, slots=True)
class SetTag:
    """Put a tag on an entry, or take it off; nothing happens if it is so already.

    Attributes:
        entry: which.
        word: as `metadata.marks.tag_word` makes it.
        present: on or off.
    """

    entry: EntryId
    word: str
    present: bool


@dataclass(frozen=True, slots=True)
class MakeSnapshot:
    """Name this moment: all that is applied here now, what is drafted before it in the same commit too. A name that is
    taken raises PathFault("taken").

    Attributes:
        name: as `metadata.marks.snapshot_name` makes it.
    """

    name: str


@dataclass(frozen=True, slots=True)
class RemoveSnapshot:
    """Take the name away again; nothing else changes. An unknown one raises PathFault("not-found").

    Attributes:
        name: of all snapshots that have it.
    """

    name: str


@dataclass(frozen=True, slots=True)
class SetRetention:
    """Say how long history is kept in a folder and below it, or take that back.

    Attributes:
        rule: what counts from now on.
    """

    rule: Retention


@dataclass(frozen=True, slots=True)
class SetPromise:
    """Say what a folder promises, or take that back; nothing happens if it says so already.

    Attributes:
        promise: what counts from now on.
    """

    promise: FolderPromise


@dataclass(frozen=True, slots=True)
class Spare:
    """Stripes that something refers to again: they are taken off every condemned list that names them.

    Attributes:
        encodings: those that no list names cost a look-up each.
    """

    encodings: tuple[EncodingId, ...]


Draft = (
    Put
    | MakeFolder
    | Move
    | Remove
    | RemoveEntry
    | AddVersion
    | SetTag
    | MakeSnapshot
    | RemoveSnapshot
    | SetRetention
    | Adoption
    | Forked
    | SetPromise
    | ManifestPage
    | StripeStatement
    | Intent
    | Condemned
    | Spare
)
"""Manifest pages and stripe statements that the ledger has already are not written again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one draft.

    Attributes:
        entry: the entry written or found; None for pages and statements.
        dot: the operation; None if nothing had to be written. For a move of several merged entries, the last.
    """

    entry: EntryId | None
    dot: Dot | None


@dataclass(frozen=True, slots=True)
class Committed:
    """Drafts that are durable here.

    Attributes:
        outcomes: one per draft, in order.
        upto: who has seen this operation has seen all of these; None if nothing had to be written.
    """

    outcomes: tuple[Outcome, ...]
    upto: Dot | None
