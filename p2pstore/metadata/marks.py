"""Tags and snapshots: what people say of entries and of moments, as operations like any other."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.errors import Malformed, Misuse
from p2pstore.ids import EntryId, entry_id
from p2pstore.limits import MARK_CHARS_MAX, SNAPSHOT_VECTOR_BYTES_MAX
from p2pstore.metadata.vector import Vector
from p2pstore.packing import Fields

_RESERVED: Final = frozenset("/@\0")


@dataclass(frozen=True, slots=True)
class Tag:
    """A word on an entry: an add-wins set. Taking one off supersedes the operations that put it on, as far as they
    were seen; one that was put on at the same time elsewhere stays.

    Attributes:
        entry: what it is on; through renames and edits.
        word: as `tag_word` makes it.
        present: put on, or taken off.
    """

    entry: EntryId
    word: str
    present: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A name for a moment: everything that its author had seen then, whatever comes later from elsewhere.

    Attributes:
        id: 16 random bytes; two snapshots made apart may have one name.
        name: as `snapshot_name` makes it.
        cut: what was seen; None takes the snapshot away (the operation supersedes the one that made it).
    """

    id: bytes
    name: str
    cut: Vector | None


Mark = Tag | Snapshot


def tag_word(text: str) -> str:
    """`text` as a tag: composed, lower case, 1 to 64 printable characters. Raises Misuse."""
    word = _lower(text)
    # a word must be what is made of it, or nobody could read the operation
    return _checked(word, text, "tag", same=_lower(word) == word)


def snapshot_name(text: str) -> str:
    """`text` as a snapshot's name: nothing that could be a version number or a date. Raises Misuse."""
    name = unicodedata.normalize("NFC", text.strip())
    _checked(name, text, "name for a snapshot", same=name.strip() == name)
    if name[0].isdigit():
        raise Misuse(f"{name!r} begins with a digit: that is how version numbers and dates begin")
    return name


def _lower(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text.strip()).casefold()).strip()


def _checked(word: str, text: str, what: str, *, same: bool) -> str:
    if not 0 < len(word) <= MARK_CHARS_MAX or not word.isprintable() or _RESERVED.intersection(word) or not same:
        raise Misuse(f"{text[:64]!r} is no {what}: 1 to {MARK_CHARS_MAX} characters without / and @")
    return word


def mark_fields(mark: Mark) -> list[Any]:
    """`mark` as a msgpack array (docs/formats/commit.md)."""
    if isinstance(mark, Tag):
        return [mark.entry, mark.word, mark.present]
    return [mark.id, mark.name, None if mark.cut is None else mark.cut.encode()]


def tag_from_fields(fields: Fields) -> Tag:
    """Reads what `mark_fields` wrote of a tag. Raises Malformed."""
    entry, word, present = entry_id(fields.raw(16)), fields.text(most=4 * MARK_CHARS_MAX), fields.truth()
    try:
        if tag_word(word) != word:
            raise Malformed("tag: not in its normal form")
    except Misuse as error:
        raise Malformed(f"tag: {error}") from None
    return Tag(entry, word, present)


def snapshot_from_fields(fields: Fields) -> Snapshot:
    """Reads what `mark_fields` wrote of a snapshot. Raises Malformed."""
    number, name = fields.raw(16), fields.text(most=4 * MARK_CHARS_MAX)
    cut = fields.anything()
    if cut is not None and (type(cut) is not bytes or len(cut) > SNAPSHOT_VECTOR_BYTES_MAX):
        raise Malformed("snapshot: cut")
    try:
        if snapshot_name(name) != name:
            raise Malformed("snapshot: name not in its normal form")
    except Misuse as error:
        raise Malformed(f"snapshot: {error}") from None
    return Snapshot(number, name, None if cut is None else Vector.decode(cut))
