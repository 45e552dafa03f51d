"""Versions: one immutable state of an entry each, and what may stand in one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from types import NoneType
from typing import Any, Final

from p2pstore.errors import Malformed, Misuse
from p2pstore.ids import ROOT_ENTRY, Dot, EntryId, GenerationId, ManifestId, entry_id, generation_id, manifest_id
from p2pstore.limits import INLINE_BYTES_MAX, LINK_TARGET_BYTES_MAX, NAME_BYTES_MAX
from p2pstore.packing import Fields

RECOVERED_ENTRY: Final = EntryId(b"\xff" * 16)
"""The folder where entries are shown whose own place does not exist. The largest id, so that a real folder of the same
name is the one that new children get."""


INTEGER_MAX: Final = 2**63 - 1
"""What SQLite stores."""


class Kind(IntEnum):
    """What an entry is."""

    FILE = 0
    FOLDER = 1
    LINK = 2


@dataclass(frozen=True, slots=True)
class Inline:
    """The bytes of a small file, in the version itself."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ManifestRef:
    """Where the list of a file's chunks is, and which generation's keys its id was made with."""

    manifest: ManifestId
    generation: GenerationId


@dataclass(frozen=True, slots=True)
class LinkTarget:
    """What a symbolic link points to, as raw bytes."""

    target: bytes


Content = Inline | ManifestRef | LinkTarget | None
"""None for a folder."""


_CONTENT_OF: Final[dict[Kind, tuple[type, ...]]] = {
    Kind.FILE: (Inline, ManifestRef),
    Kind.FOLDER: (NoneType,),
    Kind.LINK: (LinkTarget,),
}


def check_name(name: bytes) -> bytes:
    """`name` if it can be a file's name: 1 to 255 bytes, no NUL, no slash, not "." and not "..". Raises Misuse."""
    if not 0 < len(name) <= NAME_BYTES_MAX or b"/" in name or b"\0" in name or name in (b".", b".."):
        raise Misuse(f"not a file name: {name[:64]!r}")
    return name


@dataclass(frozen=True, slots=True)
class Version:
    """One state of an entry. A deletion keeps the last name and content, so that trash can list it and put it back.

    Attributes:
        entry: what this is a state of; keeps its id through renames and edits.
        parent: the folder it lies in.
        name: its name there, raw bytes.
        kind: file, folder or link.
        content: what is in it; None for a folder.
        size: plain bytes.
        mtime_ns: nanoseconds since 1970, may be negative.
        mode: permission bits.
        deleted: true for a tombstone.
        former_parent: the folder it lay in before its last move; the way out of a cycle of moves.
    """

    entry: EntryId
    parent: EntryId
    name: bytes
    kind: Kind
    content: Content
    size: int
    mtime_ns: int
    mode: int
    deleted: bool = False
    former_parent: EntryId | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        if not isinstance(self.content, _CONTENT_OF[self.kind]):
            raise Misuse(f"content {type(self.content).__name__} in a {self.kind.name}")
        if isinstance(self.content, Inline) and len(self.content.data) > INLINE_BYTES_MAX:
            raise Misuse(f"{len(self.content.data)} bytes inline, at most {INLINE_BYTES_MAX}")
        if isinstance(self.content, LinkTarget) and not 0 < len(self.content.target) <= LINK_TARGET_BYTES_MAX:
            raise Misuse("link target of no or too many bytes")
        if not (0 <= self.size <= INTEGER_MAX and abs(self.mtime_ns) <= INTEGER_MAX and 0 <= self.mode <= 0o7777):
            raise Misuse("size, mtime or mode out of range")


@dataclass(frozen=True, slots=True)
class Held:
    """A version and what its commit says about it.

    Attributes:
        dot: the operation that made it.
        hlc: its author's hybrid clock; chooses among concurrent versions, nothing else.
    """

    dot: Dot
    hlc: int
    version: Version


def check_entry(version: Version) -> Version:
    """`version` if its entry can have versions: the root and its like cannot. Raises Misuse."""
    if version.entry in (ROOT_ENTRY, RECOVERED_ENTRY, version.parent):
        raise Misuse("an entry that cannot have versions")
    return version


def content_fields(content: Content) -> list[Any] | None:
    """`content` as a msgpack array, the way it is stored and sealed; None for a folder's."""
    match content:
        case None:
            return None
        case Inline(data):
            return [0, data]
        case ManifestRef(manifest, generation):
            return [1, manifest, generation]
        case LinkTarget(target):
            return [2, target]


def content_from_fields(value: Any) -> Content:
    """The inverse of `content_fields`. Raises Malformed."""
    if value is None:
        return None
    fields = Fields(value, "content")
    match fields.integer(0, 2):
        case 0:
            content: Content = Inline(fields.raw(most=INLINE_BYTES_MAX))
        case 1:
            content = ManifestRef(manifest_id(fields.raw(32)), generation_id(fields.raw(16)))
        case _:
            content = LinkTarget(fields.raw(most=LINK_TARGET_BYTES_MAX))
    fields.end()
    return content


def version_fields(version: Version) -> list[Any]:
    """`version` as a msgpack array (docs/formats/commit.md)."""
    return [
        version.entry,
        version.parent,
        version.name,
        int(version.kind),
        content_fields(version.content),
        version.size,
        version.mtime_ns,
        version.mode,
        version.deleted,
        version.former_parent,
    ]


def version_from_fields(fields: Fields) -> Version:
    """Reads what `version_fields` wrote, from the next element of `fields` on. Raises Malformed."""
    try:
        version = Version(
            entry=entry_id(fields.raw(16)),
            parent=entry_id(fields.raw(16)),
            name=fields.raw(most=NAME_BYTES_MAX),
            kind=Kind(fields.integer(0, 2)),
            content=content_from_fields(fields.anything()),
            size=fields.integer(0, INTEGER_MAX),
            mtime_ns=fields.integer(-INTEGER_MAX, INTEGER_MAX),
            mode=fields.integer(0, 0o7777),
            deleted=fields.truth(),
            former_parent=None if (former := fields.optional_raw(16)) is None else EntryId(former),
        )
        return check_entry(version)
    except Misuse as error:
        raise Malformed(f"version: {error}") from None
