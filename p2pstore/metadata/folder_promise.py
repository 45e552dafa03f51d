"""What a folder promises to survive: a word that people set on folders, as an operation like any other.

It holds for the folder and everything below it that has none of its own. Of words that were set at the same time in two
places both count: more is kept than either asked for, and one of them can be taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from p2pstore.errors import Malformed
from p2pstore.ids import EntryId, entry_id
from p2pstore.limits import PROMISE_CHARS_MAX
from p2pstore.packing import Fields


@dataclass(frozen=True, slots=True)
class FolderPromise:
    """What is promised for what lies in one folder.

    Attributes:
        entry: the folder; through renames.
        word: as `placement.promise` has it, e.g. "any-2" or "house"; None takes it away (the operation supersedes those
            that set it).
    """

    entry: EntryId
    word: str | None


def folder_promise_fields(promise: FolderPromise) -> list[Any]:
    """`promise` as a msgpack array (docs/formats/commit.md)."""
    return [promise.entry, promise.word]


def folder_promise_from_fields(fields: Fields) -> FolderPromise:
    """Reads what `folder_promise_fields` wrote; words of newer builds too. Raises Malformed."""
    entry, word = entry_id(fields.raw(16)), fields.anything()
    if word is not None and (
        type(word) is not str or not 0 < len(word) <= PROMISE_CHARS_MAX or not word.isascii() or not word.isprintable()
    ):
        raise Malformed("folder promise: word")
    return FolderPromise(entry, word)
