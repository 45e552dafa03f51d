"""What folders promise, in the ledger's rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from p2pstore.ids import ROOT_ENTRY, Dot, EntryId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.tree_view import TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.version import Kind
from p2pstore.seams.disk import Database


@dataclass(frozen=True, slots=True)
class SetWord:
    """What is in force on one folder.

    Attributes:
        word: of several that were set at the same time, all of them joined by "+".
        dots: the operations that said so; a new one supersedes them.
    """

    word: str
    dots: tuple[Dot, ...]


def live_promise(database: Database, writers: Writers, entry: EntryId) -> SetWord | None:
    """What was set on `entry` itself."""
    rows = database.execute(
        "SELECT slot, sequence, word FROM folder_promises WHERE live = 1 AND entry = ?", (entry,)
    )
    if not rows:
        return None
    dots = sorted(writers.dot(slot, sequence) for slot, sequence, _ in rows)
    return SetWord(_union(word for _, _, word in rows), tuple(dots))


def all_promises(database: Database) -> dict[EntryId, str]:
    """Every word in force, by the folder that it is on."""
    found: dict[EntryId, list[str]] = {}
    for entry, word in database.execute("SELECT entry, word FROM folder_promises WHERE live = 1"):
        found.setdefault(EntryId(entry), []).append(word)
    return {entry: _union(words) for entry, words in sorted(found.items())}


def promise_at(database: Database, view: TreeView, path: Path) -> str | None:
    """The word that holds for what lies at `path`, or would: that of the nearest folder that has one; None for none.

    Folders that are shown as one promise what all of them promise. The last name is a folder's, or one that is not
    there yet; a file has what its folder has.
    """
    words = all_promises(database)
    if not words:
        return None
    found = words.get(ROOT_ENTRY)
    entries: tuple[EntryId, ...] = (ROOT_ENTRY,)
    for name in path:
        item = view.child(entries, name)
        if item is None or item.kind is not Kind.FOLDER:
            break
        entries = item.entries
        if said := [words[entry] for entry in entries if entry in words]:
            found = _union(said)
    return found


def _union(words: Iterable[str]) -> str:
    parts = {part for word in words for part in word.split("+")}
    return "+".join(sorted(parts))
