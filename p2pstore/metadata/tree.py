"""The tree as a view: which version is shown, where, and under what name. Pure rules; the ledger applies them to rows.

Every rule is a function of the set of live versions alone, never of the order in which they came, so peers that hold
the same set show the same tree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from blake3 import blake3

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId, Incarnation, PeerId
from p2pstore.limits import NAME_BYTES_MAX
from p2pstore.metadata.clock import hlc_ms
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import RECOVERED_ENTRY, Content, Held, Kind, Version, content_fields
from p2pstore.packing import pack

CONFLICT_MARK: Final = b" (conflict, "

_NO_DOT: Final = Dot(PeerId(bytes(32)), Incarnation(bytes(8)), 0)


def _standing_folder(entry: EntryId, name: bytes) -> Held:
    return Held(_NO_DOT, 0, Version(entry, ROOT_ENTRY, name, Kind.FOLDER, None, 0, 0, 0o755))


RECOVERED_HELD: Final = _standing_folder(RECOVERED_ENTRY, b"Recovered")
"""What stands for the folder of entries without a place: no operation made it."""

PeerName = Callable[[PeerId], str]
"""What people call a peer, from the roster."""

_EXTENSION_BYTES_MAX: Final = 16
"""A longer "extension" is part of the name: "minutes.of the meeting in May"."""


class Rank(NamedTuple):
    """The order among concurrent versions: the largest keeps the name."""

    hlc: int
    author: PeerId
    sequence: int
    incarnation: Incarnation


def rank(held: Held) -> Rank:
    """Where `held` stands among concurrent versions."""
    return Rank(held.hlc, held.dot.author, held.dot.sequence, held.dot.incarnation)


def winner(versions: Iterable[Held]) -> Held:
    """The version that gives an entry its name and place: the largest that is not a tombstone, else the largest.

    An edit so beats a concurrent deletion, whatever the clocks say.
    """
    return max(versions, key=lambda held: (not held.version.deleted, rank(held)))


# --- places -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """What the place of an entry depends on: fields of its winner.

    Attributes:
        parent: the folder it wants to lie in.
        former_parent: the one it lay in before its last move.
        kind: only folders have something below them.
        rank: of the winner.
    """

    parent: EntryId
    former_parent: EntryId | None
    kind: Kind
    rank: Rank


Nodes = Callable[[EntryId], Node | None]
"""The node of an entry; None for one without versions."""


def _parent_folder(entry: EntryId, nodes: Nodes) -> EntryId | None:
    """The folder that `entry` wants to lie in, or None where that is no folder."""
    node = nodes(entry)
    if node is None:
        return None
    if node.parent in (ROOT_ENTRY, RECOVERED_ENTRY):
        return node.parent
    parent = nodes(node.parent)
    return node.parent if parent is not None and parent.kind is Kind.FOLDER else None


def cycle_through(entry: EntryId, nodes: Nodes) -> list[EntryId]:
    """The entries of the cycle of wanted parents that `entry` is part of, from `entry` up; [] if it is in none."""
    path = [entry]
    seen = {entry}
    at: EntryId | None = entry
    while at is not None and (at := _parent_folder(at, nodes)) is not None:
        if at == entry:
            return path
        if at in seen or at in (ROOT_ENTRY, RECOVERED_ENTRY):
            return []
        path.append(at)
        seen.add(at)
    return []


def _reaches_root(entry: EntryId, nodes: Nodes) -> bool:
    seen: set[EntryId] = set()
    at: EntryId | None = entry
    while at is not None and at not in seen:
        if at == ROOT_ENTRY:
            return True
        seen.add(at)
        at = _parent_folder(at, nodes)
    return False


def breaker(members: Sequence[EntryId], nodes: Nodes) -> EntryId:
    """The one of a cycle whose move is not followed: the largest rank."""

    def key(entry: EntryId) -> tuple[Rank, EntryId]:
        node = nodes(entry)
        assert node is not None
        return node.rank, entry

    return max(members, key=key)


def place(entry: EntryId, nodes: Nodes) -> EntryId:
    """The folder that `entry` is shown in.

    The folder it wants; RECOVERED_ENTRY if that is no folder (any more); and for the breaker of a cycle of moves its
    former parent, if that leads to the root without passing a cycle, else RECOVERED_ENTRY. Depends on wanted parents
    only, so following shown parents always ends at the root.
    """
    node = nodes(entry)
    assert node is not None
    wanted = _parent_folder(entry, nodes)
    if wanted is None:
        return RECOVERED_ENTRY
    if node.kind is not Kind.FOLDER:
        return wanted
    members = cycle_through(entry, nodes)
    if not members or breaker(members, nodes) != entry:
        return wanted
    former = node.former_parent
    if former is None:
        return RECOVERED_ENTRY
    folder = former == ROOT_ENTRY or ((at := nodes(former)) is not None and at.kind is Kind.FOLDER)
    return former if folder and _reaches_root(former, nodes) else RECOVERED_ENTRY


# --- names --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a listing: a name and what it stands for.

    Attributes:
        name: as shown and as it can be asked for.
        entry: the entry that a new version of it belongs to, or that new children lie in; for folders the smallest.
        held: the version shown.
        entries: all entries shown as this one, sorted: folders of one name, files of one name and content.
        dots: what a write to this name supersedes, sorted.
        conflict: whether this is a conflict copy, shown beside the version that kept the name.
        copies: how many conflict copies are shown beside this one.
        at: the cut that it was read at; None for now.
    """

    name: bytes
    entry: EntryId
    held: Held
    entries: tuple[EntryId, ...]
    dots: tuple[Dot, ...]
    conflict: bool = False
    copies: int = 0
    at: Vector | None = None

    @property
    def version(self) -> Version:
        """The version shown; its own name may differ from the name shown."""
        return self.held.version

    @property
    def kind(self) -> Kind:
        """File, folder or link."""
        return self.held.version.kind

    @property
    def content(self) -> Content:
        """What is in it."""
        return self.held.version.content

    @property
    def size(self) -> int:
        """Plain bytes."""
        return self.held.version.size

    @property
    def mtime_ns(self) -> int:
        """Nanoseconds since 1970."""
        return self.held.version.mtime_ns

    @property
    def mode(self) -> int:
        """Permission bits."""
        return self.held.version.mode


ROOT_ITEM: Final = Item(b"", ROOT_ENTRY, _standing_folder(ROOT_ENTRY, b"root"), (ROOT_ENTRY,), ())
"""What the empty path leads to."""


def arrange(
    name: bytes, versions: Sequence[Held], *, peer_name: PeerName, is_taken: Callable[[bytes], bool]
) -> list[Item]:
    """The items that stand for everything of one name in one folder: the one that keeps the name, then its copies.

    Folders of one name are one item, and keep the name whatever a file's clock says, so that paths below stay valid.
    Files and links of the same content are one item. The largest rank keeps the name, the others are conflict copies.

    Args:
        name: the name that the entries' winners have.
        versions: all live versions of those entries; of an entry that has tombstones only (a folder kept by what is
            alive below it), its winner.
        peer_name: for the names of conflict copies.
        is_taken: whether another entry of the folder has this name.
    """
    by_entry: dict[EntryId, list[Held]] = {}
    for held in versions:
        by_entry.setdefault(held.version.entry, []).append(held)
    shown: list[Held] = []
    for members in by_entry.values():
        first = winner(members)
        # a folder's version says nothing that a file's does not replace; what was in it has its own place
        others = (held for held in members if not held.version.deleted and held.version.kind is not Kind.FOLDER)
        shown.extend([first, *(held for held in others if held is not first)])
    groups: dict[tuple[int, bytes], list[Held]] = {}
    for held in sorted(shown, key=lambda held: (held.version.kind is Kind.FOLDER, rank(held)), reverse=True):
        groups.setdefault((int(held.version.kind), content_key(held.version)), []).append(held)
    items: list[Item] = []
    used = {name}
    for members in groups.values():
        entries = tuple(sorted({held.version.entry for held in members}))
        dots = {held.dot for held in members if held.dot != _NO_DOT}
        first = members[0]
        if not items:
            buried = {held.dot for held in versions if held.version.deleted and held.version.entry in entries}
            folder = first.version.kind is Kind.FOLDER
            entry = entries[0] if folder else first.version.entry
            items.append(Item(name, entry, first, entries, tuple(sorted(dots | buried)), copies=len(groups) - 1))
        else:
            shown_name = _free_name(name, first, peer_name, lambda wanted: wanted in used or is_taken(wanted))
            used.add(shown_name)
            items.append(Item(shown_name, first.version.entry, first, entries, tuple(sorted(dots)), conflict=True))
    return items


def content_key(version: Version) -> bytes:
    """Equal for versions whose content is the same, kind apart."""
    return pack(content_fields(version.content))


def _free_name(name: bytes, held: Held, peer_name: PeerName, is_taken: Callable[[bytes], bool]) -> bytes:
    """The first of a few conflict names, ever longer, that nothing else in the folder has."""
    mark = blake3(b"%b%b%d" % (held.dot.author, held.dot.incarnation, held.dot.sequence)).hexdigest()
    for digits in (0, 8, 16, len(mark)):
        wanted = conflict_name(name, peer_name(held.dot.author), held.hlc, mark[:digits])
        if not is_taken(wanted):
            return wanted
    return conflict_name(name, "", held.hlc, mark)


def conflict_name(name: bytes, peer: str, hlc: int, mark: str = "") -> bytes:
    """`name (conflict, PEER, DATE).ext`, with `mark` after the date where names would collide; 255 bytes at most."""
    stem, dot, extension = name.rpartition(b".")
    if not stem or len(extension) > _EXTENSION_BYTES_MAX:
        stem, extension = name, b""
    else:
        extension = dot + extension
    date = datetime.fromtimestamp(hlc_ms(hlc) / 1000, UTC).strftime("%Y-%m-%d")
    label = peer.replace("/", "-").replace("\0", "-").encode()[:64].decode(errors="ignore")
    inside = ", ".join(part for part in (label, date, mark) if part).encode()
    suffix = CONFLICT_MARK + inside + b")" + extension
    return _cut(stem, NAME_BYTES_MAX - len(suffix)) + suffix


def _cut(stem: bytes, length: int) -> bytes:
    """The first `length` bytes, fewer if that would cut a UTF-8 character in two."""
    if len(stem) <= length:
        return stem
    while length and stem[length] & 0xC0 == 0x80:
        length -= 1
    return stem[:length]
