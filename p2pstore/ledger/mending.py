"""Finds what a ledger has lost, makes anew what its own log can tell, and takes back from peers what it cannot.

The log is what is true: signed commits in a chain. A row of it that is none is dropped; its operations are then
`missing`, which changes the fingerprint that peers compare. Rows that follow from an operation which is there,
and alive, are made anew from it. Nothing here ever drops an operation that can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import Dot, GenerationId
from p2pstore.ledger import collection, schema
from p2pstore.ledger.frozen import Frozen
from p2pstore.ledger.live_dots import LiveDots
from p2pstore.ledger.row_check import CHECKED_COLUMNS, RowDamaged, checked_mode
from p2pstore.ledger.tree_index import TreeIndex
from p2pstore.ledger.writers import Writers, WriterState
from p2pstore.metadata.adoption import Adoption
from p2pstore.metadata.collection import Condemned, Consent, Intent
from p2pstore.metadata.commits import Commit, decode_commit
from p2pstore.metadata.fingerprint import DotRange
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.marks import Snapshot, Tag
from p2pstore.metadata.operations import (
    Body,
    ManifestPage,
    MetadataKeys,
    SealedOperation,
    StripeStatement,
    decode_operation,
    open_operation,
    readable_operations,
)
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.version import Version
from p2pstore.seams.disk import Database

COMMITS_PAGE: Final = 20
"""Commits read in one step; by their operations often fewer."""

OPERATIONS_PAGE: Final = 1000
"""Operations checked in one step: 40 ms, in which nobody else has the ledger."""

ORPHANS_PAGE: Final = 1000
"""Entries without their version looked at in one step."""

FETCH_COMMITS_MAX: Final = 4096
"""Commits looked at for one request of a peer that lost some."""


class IndexBody(Protocol):
    """Writes the rows that follow from one operation."""

    def __call__(self, body: Body, superseded: Sequence[Dot], slot: int, sequence: int, hlc: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Place:
    """How far an inspection is: the log, writer by writer, then again what follows from it.

    Attributes:
        rows: whether this is the second time. What is dead is known only when all of the log was read.
        slot: whose log is read; slots below it are done.
        after: sequence number read last of it.
    """

    rows: bool = False
    slot: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """What one step of an inspection found.

    Attributes:
        position: where the next begins; None after the last.
        lost: operations of which it was not known before that they are lost.
        rows: rows made anew.
    """

    position: Place | None
    lost: int = 0
    rows: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """What a ledger knows of its own damage.

    Attributes:
        missing: operations that are lost now; peers are asked for them.
        lost: operations that were ever found lost.
        restored: operations that peers gave back.
        rows: rows made anew from the log.
        differences: how often a peer of the same vector had another fingerprint.
    """

    missing: int = 0
    lost: int = 0
    restored: int = 0
    rows: int = 0
    differences: int = 0

    @property
    def is_sound(self) -> bool:
        """Nothing was ever wrong."""
        return self == Health()


class Mending:
    """Works inside the ledger's transactions."""

    def __init__(
        self,
        database: Database,
        writers: Writers,
        live: LiveDots,
        index: TreeIndex,
        *,
        keys_of: Callable[[GenerationId], MetadataKeys | None],
        index_body: IndexBody,
        frozen: Frozen,
    ) -> None:
        self._database = database
        self._writers = writers
        self._live = live
        self._index = index
        self._keys_of = keys_of
        self._index_body = index_body
        self._frozen = frozen

    # --- counts -------------------------------------------------------------------------------------------------------

    def count(self, kind: str, number: int, wall_ms: int) -> None:
        """Remember for ever that something was mended."""
        if number:
            self._database.execute(
                "INSERT INTO mended VALUES(?, ?, ?) ON CONFLICT(kind) DO UPDATE SET count = count + excluded.count,"
                " at_ms = excluded.at_ms",
                (kind, number, wall_ms),
            )

    def health(self) -> Health:
        """All counts."""
        counts = {str(kind): int(count) for kind, count in self._database.execute("SELECT kind, count FROM mended")}
        return Health(
            self._live.missing_count,
            counts.get("lost", 0),
            counts.get("restored", 0),
            counts.get("rows", 0),
            counts.get("differences", 0),
        )

    # --- the log ------------------------------------------------------------------------------------------------------

    def inspect(self, position: Place, wall_ms: int) -> Found:
        """One step of an inspection; mends what it finds. A job for `Store.perform`."""
        state = next((each for each in self._writers.seen() if each.slot >= position.slot), None)
        if state is None:
            return self._inspect_rest(wall_ms) if position.rows else Found(Place(rows=True))
        if state.slot != position.slot:
            position = Place(position.rows, state.slot)
        rows = self._database.execute(
            "SELECT id, first, last, hash, raw FROM commits WHERE slot = ? AND first > ? ORDER BY first LIMIT ?",
            (state.slot, position.after, COMMITS_PAGE),
        )
        upto = position.after
        lost = mended = operations = taken = 0
        for number, first, last, stored_hash, raw in rows:
            if operations and operations + last - first + 1 > OPERATIONS_PAGE:
                break
            taken += 1
            commit = _sound(state, first, last, stored_hash, raw)
            if commit is None:
                self._database.execute("DELETE FROM commits WHERE id = ?", (number,))
                continue
            operations += len(commit.operations)
            if position.rows:
                mended += self.lay_rows(state, commit, dead_too=False)
            else:
                lost += self._live.lose(state, upto + 1, commit.first - 1)
                self._live.find(state, commit.first, commit.last)
                self._bury_again(commit)
            upto = commit.last
        following = Place(position.rows, state.slot, upto)
        if taken == len(rows) < COMMITS_PAGE:
            if not position.rows:
                lost += self._live.lose(state, upto + 1, state.sequence)
            following = Place(position.rows, state.slot + 1)
        self.count("lost", lost, wall_ms)
        self.count("rows", mended, wall_ms)
        return Found(following, lost, mended)

    def _bury_again(self, commit: Commit) -> None:
        """What a commit says to be superseded is."""
        for _, operation in readable_operations(commit.operations, commit.writer):
            if isinstance(operation, SealedOperation):
                self._live.bury(operation.superseded)

    def _inspect_rest(self, wall_ms: int) -> Found:
        """What belongs to no writer: the standing folders, entries whose version is gone, the fingerprint."""
        mended = 0
        schema.add_standing_entries(self._database)
        orphans = self._database.execute(
            "SELECT e.entry FROM entries e LEFT JOIN versions v ON v.id = e.version AND v.live = 1"
            " WHERE e.version IS NOT NULL AND v.id IS NULL LIMIT ?",
            (ORPHANS_PAGE,),
        )
        for (entry,) in orphans:
            self._index.refresh(entry)
            mended += 1
        if self._live.recompute():
            mended += 1
        self.count("rows", mended, wall_ms)
        return Found(Place(True, 2**62) if len(orphans) == ORPHANS_PAGE else None, 0, mended)

    def lay_rows(self, state: WriterState, commit: Commit, *, dead_too: bool, only: int | None = None) -> int:
        """Make the rows anew that follow from a commit and are not there or not right; how many.

        Args:
            state: its writer.
            commit: what is in the log.
            dead_too: also rows of operations that were superseded.
            only: one sequence number; None for all.
        """
        keys = None if commit.generation is None else self._keys_of(commit.generation)
        count = 0
        for sequence, data in enumerate(commit.operations, start=commit.first):
            if only not in (None, sequence):
                continue
            superseded: tuple[Dot, ...] = ()
            body: Body | None = None
            try:
                operation = decode_operation(data, commit.writer)
                if not isinstance(operation, SealedOperation):
                    body = operation
                else:
                    superseded = operation.superseded
                    if keys is not None:
                        body = open_operation(operation, Dot(*commit.writer, sequence), keys)
            except (Malformed, Forged):
                continue
            if body is None or not self._counts(body, state, sequence):
                continue
            dead = self._is_dead(body, state, sequence)
            if (dead and not dead_too) or self._has_rows(body, state.slot, sequence, dead=dead):
                continue
            if isinstance(body, Version):
                self._index.lay_again(state.slot, sequence, commit.hlc, body, superseded, dead=dead)
            else:
                self._clear_row(body, state.slot, sequence)
                if dead and isinstance(body, Tag | Snapshot | Retention | FolderPromise):
                    self._index.foretell_mark(state.slot, sequence)
                self._index_body(body, superseded, state.slot, sequence, commit.hlc)
            count += 1
        return count

    def _counts(self, body: Body, state: WriterState, sequence: int) -> bool:
        """Whether an operation shows in the tree, or need not count for that: those of removed machines may not."""
        limit = self._frozen.limit(state.writer)
        return limit is None or sequence <= limit or isinstance(
            body, ManifestPage | StripeStatement | Adoption | Forked
        )

    def _is_dead(self, body: Body, state: WriterState, sequence: int) -> bool:
        """Whether anything here says that an operation was superseded. Nothing that was is ever revived by mending."""
        match body:
            case Version():
                table = "versions"
            case Tag():
                table = "tags"
            case Snapshot():
                table = "snapshots"
            case Retention():
                table = "retentions"
            case FolderPromise():
                table = "folder_promises"
            case _:
                return False
        query, at = self._database.execute, (state.slot, sequence)
        if isinstance(body, Version) and query("SELECT 1 FROM replaced WHERE slot = ? AND sequence = ? LIMIT 1", at):
            return True
        dead = self._live.is_dead(*at)
        rows = query(f"SELECT live FROM {table} WHERE slot = ? AND sequence = ?", at)  # noqa: S608 - our own tables
        if rows:
            # what a removed machine superseded beyond its cut lives on, though its header says otherwise
            return not rows[0][0] or (dead and not self._frozen.has_cuts)
        return dead

    def _has_rows(self, body: Body, slot: int, sequence: int, *, dead: bool) -> bool:
        """Whether what follows from an operation is there and right."""
        query = self._database.execute
        match body:
            case Version():
                rows = query(
                    f"SELECT {CHECKED_COLUMNS}, v.live, e.version FROM versions v"  # noqa: S608 - our columns
                    " LEFT JOIN entries e ON e.entry = v.entry WHERE v.slot = ? AND v.sequence = ?",
                    (slot, sequence),
                )
                if not rows or bool(rows[0][13]) is dead or (not dead and rows[0][14] is None):
                    return False
                try:
                    checked_mode(rows[0])
                except RowDamaged:
                    return False
                return True
            case ManifestPage(manifest, page, pages, data):
                rows = query(
                    "SELECT pages, data, slot, sequence FROM manifest_pages WHERE manifest = ? AND page = ?",
                    (manifest, page),
                )
                return bool(rows) and (rows[0][:2] == (pages, data) or rows[0][2:] != (slot, sequence))
            case StripeStatement():
                rows = query(
                    "SELECT chunk, needed, sealed_length, shard_length, promise FROM stripes"
                    " WHERE encoding = ? AND slot = ? AND sequence = ?",
                    (body.encoding, slot, sequence),
                )
                wanted = (body.chunk, body.needed, body.sealed_length, body.shard_length, body.promise)
                return rows == [wanted]
            case Tag():
                rows = query(
                    "SELECT live, entry, word FROM tags WHERE slot = ? AND sequence = ?", (slot, sequence)
                )
                return not body.present or rows == [(not dead, body.entry, body.word)]
            case Snapshot():
                rows = query(
                    "SELECT live, id, name, cut FROM snapshots WHERE slot = ? AND sequence = ?", (slot, sequence)
                )
                return body.cut is None or rows == [(not dead, body.id, body.name, body.cut.encode())]
            case Adoption():
                return bool(query("SELECT 1 FROM adoptions WHERE slot = ? AND sequence = ?", (slot, sequence)))
            case Forked():
                return bool(query("SELECT 1 FROM forked WHERE slot = ? AND sequence = ?", (slot, sequence)))
            case Retention():
                rows = query(
                    "SELECT live, entry, days, quota FROM retentions WHERE slot = ? AND sequence = ?", (slot, sequence)
                )
                return body.days is None or rows == [(not dead, body.entry, body.days, body.quota_bytes)]
            case FolderPromise():
                rows = query(
                    "SELECT live, entry, word FROM folder_promises WHERE slot = ? AND sequence = ?", (slot, sequence)
                )
                return body.word is None or rows == [(not dead, body.entry, body.word)]
            case Intent() | Condemned() | Consent():
                return collection.stands(self._database, self._writers, slot, sequence, body)

    def _clear_row(self, body: Body, slot: int, sequence: int) -> None:
        """Take away what is not right, so that it can be written anew."""
        match body:
            case ManifestPage():
                table = "manifest_pages"
            case StripeStatement():
                self._database.execute(
                    "DELETE FROM stripes WHERE encoding = ? AND slot = ? AND sequence = ?",
                    (body.encoding, slot, sequence),
                )
                return
            case Tag():
                table = "tags"
            case Retention():
                table = "retentions"
            case FolderPromise():
                table = "folder_promises"
            case Adoption():
                table = "adoptions"
            case Intent() | Condemned() | Consent():
                collection.clear(self._database, slot, sequence, body)
                return
            case _:
                table = "snapshots"
        self._database.execute(
            f"DELETE FROM {table} WHERE slot = ? AND sequence = ?",  # noqa: S608 - our own table's name
            (slot, sequence),
        )

    def mend_row(self, slot: int, sequence: int, wall_ms: int) -> bool:
        """Make a damaged row of `versions` anew; False if the log cannot tell it either: then peers are asked for it.
        A job for `Store.perform`."""
        rows = self._database.execute(
            "SELECT id, first, last, hash, raw FROM commits WHERE slot = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (slot, sequence),
        )
        state = next((each for each in self._writers.seen() if each.slot == slot), None)
        if state is None or not 0 < sequence <= state.sequence:
            return False
        if not rows or rows[0][2] < sequence:
            self.count("lost", self._live.lose(state, sequence, sequence), wall_ms)
            return False
        [(number, first, last, stored_hash, raw)] = rows
        commit = _sound(state, first, last, stored_hash, raw)
        if commit is None:
            self._database.execute("DELETE FROM commits WHERE id = ?", (number,))
            self.count("lost", self._live.lose(state, first, min(last, state.sequence)), wall_ms)
            return False
        mended = self.lay_rows(state, commit, dead_too=True, only=sequence)
        self.count("rows", mended, wall_ms)
        return mended > 0

    # --- from peers ---------------------------------------------------------------------------------------------------

    def fits_gap(self, state: WriterState, commit: Commit) -> bool:
        """Whether a verified commit is one that was lost here: it lies in a gap, and its neighbours chain with it."""
        if commit.last > state.sequence or not self._live.is_missing(state, commit.first, commit.last):
            return False
        if commit.last == state.sequence and commit.hash != state.commit_hash:
            return False
        before = self._database.execute(
            "SELECT hash, last FROM commits WHERE slot = ? AND first < ? ORDER BY first DESC LIMIT 1",
            (state.slot, commit.first),
        )
        after = self._database.execute(
            "SELECT raw FROM commits WHERE slot = ? AND first = ?", (state.slot, commit.last + 1)
        )
        if before and before[0][1] == commit.first - 1 and before[0][0] != commit.previous:
            return False
        return not after or decode_commit(after[0][0]).previous == commit.hash

    def restore(self, state: WriterState, commit: Commit, wall_ms: int) -> None:
        """Put a lost commit back in its place, with all that follows from it."""
        self._bury_again(commit)
        self._database.execute(
            "INSERT INTO commits(id, slot, first, last, hash, generation, raw, hlc) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._free_number(state, commit),
                state.slot,
                commit.first,
                commit.last,
                commit.hash,
                commit.generation,
                commit.encode(),
                commit.hlc,
            ),
        )
        found = self._live.find(state, commit.first, commit.last)
        self.lay_rows(state, commit, dead_too=True)
        if commit.generation is not None and self._keys_of(commit.generation) is None:
            self._database.execute(
                "INSERT OR IGNORE INTO unopened SELECT generation, id FROM commits WHERE slot = ? AND first = ?",
                (state.slot, commit.first),
            )
        self.count("restored", found, wall_ms)

    def _free_number(self, state: WriterState, commit: Commit) -> int | None:
        """A number for a commit that stands between others: numbers rise in an order in which commits can be applied.
        None, for the next one, if there is none between what it builds on and its successor."""
        needed = [(state.slot, commit.first - 1)]
        for writer, sequence in commit.named:
            if (other := self._writers.get(writer)) is not None:
                needed.append((other.slot, sequence))
        lowest = 0
        for slot, sequence in needed:
            rows = self._database.execute(
                "SELECT id FROM commits WHERE slot = ? AND first <= ? ORDER BY first DESC LIMIT 1", (slot, sequence)
            )
            lowest = max(lowest, rows[0][0] if rows else 0)
        rows = self._database.execute(
            "SELECT id FROM commits WHERE slot = ? AND first > ? ORDER BY first LIMIT 1", (state.slot, commit.last)
        )
        free = lowest + 1
        if self._database.execute("SELECT 1 FROM commits WHERE id = ?", (free,)):
            [(free,)] = self._database.execute(
                "SELECT c.id + 1 FROM commits c WHERE c.id >= ?"
                " AND NOT EXISTS (SELECT 1 FROM commits d WHERE d.id = c.id + 1) ORDER BY c.id LIMIT 1",
                (free,),
            )
        return int(free) if not rows or free < rows[0][0] else None

    def commits_of(self, ranges: Sequence[DotRange], bytes_max: int) -> tuple[list[bytes], bool]:
        """Raw commits that hold operations of `ranges`, in the order of their application; whether more are left."""
        numbers: dict[int, int] = {}
        for each in ranges:
            state = self._writers.get(each.writer)
            if state is None:
                continue
            rows = self._database.execute(
                "SELECT id, length(raw) FROM commits WHERE slot = ? AND first <= ? AND last >= ?"
                " ORDER BY first LIMIT ?",
                (state.slot, each.last, each.first, FETCH_COMMITS_MAX),
            )
            numbers.update(rows)
            if len(numbers) > FETCH_COMMITS_MAX:
                break
        commits: list[bytes] = []
        size = 0
        for number, length in sorted(numbers.items()):
            if commits and size + length > bytes_max:
                return commits, True
            commits.append(self._database.execute("SELECT raw FROM commits WHERE id = ?", (number,))[0][0])
            size += length
        return commits, False


def _sound(state: WriterState, first: int, last: int, stored_hash: bytes, raw: Any) -> Commit | None:
    """The commit in a row of the log; None if the row is not what was written."""
    try:
        commit = decode_commit(raw)
    except (Malformed, TypeError):
        return None
    fits = commit.writer == state.writer and (commit.first, commit.last) == (first, last)
    return commit if fits and commit.hash == stored_hash and last <= state.sequence else None
