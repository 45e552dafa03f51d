"""Finds entries by name, tag, size and time, a page at a time, the latest changed first.

Names are found by their trigrams. Without three letters in a row to go by, sizes and times are found by their indexes,
and otherwise everything is looked at, in pages.
"""

# ruff: noqa: S608 - only this file's own SQL and question marks are put together

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.ledger.drafts import Path
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.tree_view import COLUMNS, TreeView
from p2pstore.metadata.name_match import NamePattern
from p2pstore.metadata.version import RECOVERED_ENTRY, Held, Kind
from p2pstore.seams.disk import Database

LOOKED_AT: Final = 2000
"""Candidates of one page: 20 ms of the ledger's time."""

SCANNED: Final = 10_000
"""Names of one page where there is nothing to go by: about as long."""

SLICE: Final = 200
"""Candidates read at once: a page is full after a few, as a rule."""

SELECTIVE: Final = 5000
"""Up to so many entries of a size, a time or a tag are sorted by their last change; more are met soon on the way."""

_TAGGED: Final = "SELECT 1 FROM tags WHERE word = ? AND live = 1"
_BURIED: Final = "SELECT 1 FROM entries INDEXED BY entries_buried WHERE alive = 0"

ID_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; everything given must hold.

    Attributes:
        pattern: of the name; no terms match all.
        tags: all of them on the entry.
        kinds: any of them; all if empty.
        endings: of the name, lower case, with the dot, any of them; all if empty.
        size_min, size_max: bytes, both included.
        mtime_min_ns, mtime_max_ns: of the last modification, both included.
        deleted: in the trash rather than in the tree.
    """

    pattern: NamePattern
    tags: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    endings: tuple[str, ...] = ()
    size_min: int | None = None
    size_max: int | None = None
    mtime_min_ns: int | None = None
    mtime_max_ns: int | None = None
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """Something found.

    Attributes:
        path: where it is shown, or lay before it was removed.
        held: its version.
    """

    path: Path
    held: Held


@dataclass(frozen=True, slots=True)
class Hits:
    """A page of what was found; it may be empty and yet not the last.

    Attributes:
        found: the latest changed first.
        before: what to ask the next page with; None after the last.
    """

    found: tuple[Hit, ...]
    before: int | None


class Search:
    """Looks through the ledger's rows."""

    def __init__(self, database: Database, view: TreeView, past: HistoryView) -> None:
        self._database = database
        self._view = view
        self._past = past

    def page(self, query: Query, before: int | None, limit: int) -> Hits:
        """At most `limit` hits whose versions came before number `before`, among LOOKED_AT candidates."""
        matches = query.pattern.matcher()
        numbers, last = self._candidates(query, ID_MAX if before is None else before, matches)
        found: list[Hit] = []
        for start in range(0, len(numbers), SLICE):
            for row in self._rows(query, numbers[start : start + SLICE]):
                name: bytes = row[5]
                if not matches(name) or not _ends(name, query.endings) or row[3] == RECOVERED_ENTRY:
                    continue
                held = self._view.held(row)
                path = self._path(held, deleted=query.deleted)
                if path is not None:
                    found.append(Hit(path, held))
                if len(found) == limit:
                    return Hits(tuple(found), row[13])
        return Hits(tuple(found), last)

    def _path(self, held: Held, *, deleted: bool) -> Path | None:
        if deleted:
            return self._past.place_of(held.version.entry)
        shown = self._past.shown_path(held.version.entry)
        return None if shown is None else shown[0]

    # --- candidates -----------------------------------------------------------------------------------------------

    def _candidates(
        self, query: Query, before: int, matches: Callable[[bytes], bool]
    ) -> tuple[list[int], int | None]:
        """Numbers of versions that may match, falling, and the last number looked at if there are more."""
        trigrams = query.pattern.trigrams()
        if query.tags and (not trigrams or self._is_rare(f"{_TAGGED} LIMIT ?", (query.tags[0],))):
            sql = (
                "SELECT DISTINCT e.version FROM tags t JOIN entries e ON e.entry = t.entry"
                " WHERE t.word = ? AND t.live = 1 AND e.version < ? ORDER BY e.version DESC LIMIT ?"
            )
            return self._numbers(sql, (query.tags[0], before))
        if query.deleted and (not trigrams or self._is_rare(f"{_BURIED} LIMIT ?", ())):
            sql = (
                "SELECT e.version FROM entries e INDEXED BY entries_buried WHERE e.alive = 0 AND e.version < ?"
                " ORDER BY e.version DESC LIMIT ?"
            )
            return self._numbers(sql, (before,))
        if trigrams:
            match = " AND ".join('"' + trigram.replace('"', '""') + '"' for trigram in trigrams)
            sql = "SELECT rowid FROM names WHERE names MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?"
            return self._numbers(sql, (match, before))
        where, parameters = _conditions(query)
        index = self._selective_index(query)
        of_index = f"INDEXED BY {index}" if index else "NOT INDEXED"
        rows = self._database.execute(
            f"SELECT v.id, v.name FROM versions v {of_index} WHERE v.live = 1 AND v.id < ?{where}"
            " ORDER BY v.id DESC LIMIT ?",
            (before, *parameters, SCANNED),
        )
        return [number for number, name in rows if matches(name)], rows[-1][0] if len(rows) == SCANNED else None

    def _numbers(self, sql: str, parameters: tuple[Any, ...]) -> tuple[list[int], int | None]:
        numbers = [number for (number,) in self._database.execute(sql, (*parameters, LOOKED_AT))]
        return numbers, numbers[-1] if len(numbers) == LOOKED_AT else None

    def _is_rare(self, sql: str, parameters: tuple[Any, ...]) -> bool:
        """Whether a select has at most SELECTIVE rows."""
        [(count,)] = self._database.execute(f"SELECT count(*) FROM ({sql})", (*parameters, SELECTIVE + 1))
        return bool(count <= SELECTIVE)

    def _selective_index(self, query: Query) -> str | None:
        """The index of sizes or times, if few enough entries are in the range."""
        ranges = (
            ("versions_by_size", "size", query.size_min, query.size_max),
            ("versions_by_mtime", "mtime_ns", query.mtime_min_ns, query.mtime_max_ns),
        )
        for index, column, least, most in ranges:
            if least is None and most is None:
                continue
            if self._is_rare(
                f"SELECT 1 FROM versions INDEXED BY {index} WHERE live = 1 AND {column} >= ? AND {column} <= ? LIMIT ?",
                (-ID_MAX if least is None else least, ID_MAX if most is None else most),
            ):
                return index
        return None

    def _rows(self, query: Query, numbers: list[int]) -> list[tuple[Any, ...]]:
        """Those of the candidates that are shown (or in the trash) and pass all but the name, falling."""
        if not numbers:
            return []
        where, parameters = _conditions(query)
        state = "e.alive = 0 AND e.shown = 0" if query.deleted else "e.shown = 1"
        for word in query.tags:
            where += " AND EXISTS (SELECT 1 FROM tags t WHERE t.entry = e.entry AND t.word = ? AND t.live = 1)"
            parameters.append(word)
        return self._database.execute(
            f"SELECT {COLUMNS}, v.id FROM versions v JOIN entries e ON e.entry = v.entry AND e.version = v.id"
            f" WHERE v.id IN ({', '.join('?' * len(numbers))}) AND {state}{where} ORDER BY v.id DESC",
            (*numbers, *parameters),
        )


def _conditions(query: Query) -> tuple[str, list[Any]]:
    """SQL, and its parameters, for kind, size and time."""
    where, parameters = "", []
    for column, compare, value in (
        ("v.size", ">=", query.size_min),
        ("v.size", "<=", query.size_max),
        ("v.mtime_ns", ">=", query.mtime_min_ns),
        ("v.mtime_ns", "<=", query.mtime_max_ns),
    ):
        if value is not None:
            where += f" AND {column} {compare} ?"
            parameters.append(value)
    if query.size_min is not None or query.size_max is not None:
        where += f" AND v.kind = {int(Kind.FILE)}"
    if query.kinds:
        where += f" AND v.kind IN ({', '.join(str(int(kind)) for kind in query.kinds)})"
    return where, parameters


def _ends(name: bytes, endings: tuple[str, ...]) -> bool:
    return not endings or name.decode("utf-8", "replace").lower().endswith(endings)
