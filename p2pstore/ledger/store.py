"""What happens inside the ledger's transactions: our own commits are made, others' are applied. Plain code, no waiting.

A vector entry advances in the transaction that writes the rows it covers, never in another.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from p2pstore.errors import Forged, Malformed, Misuse, P2PStoreError, PeerFault
from p2pstore.ids import Dot, EncodingId, EntryId, GenerationId, Incarnation, PeerId
from p2pstore.ledger import collection, reference_search, schema
from p2pstore.ledger.branches import Branches
from p2pstore.ledger.conflicts import ConflictView
from p2pstore.ledger.drafting import Drafting
from p2pstore.ledger.drafts import Committed, Draft
from p2pstore.ledger.frozen import Frozen
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.live_dots import LiveDots
from p2pstore.ledger.log import LogView
from p2pstore.ledger.mending import Mending
from p2pstore.ledger.past_view import PastView
from p2pstore.ledger.reference_search import Incomplete
from p2pstore.ledger.retention import Position, Sweep, Swept
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.ledger.search import Search as NameSearch
from p2pstore.ledger.tree_index import TreeIndex
from p2pstore.ledger.tree_view import TreeView
from p2pstore.ledger.waiting import Waiting
from p2pstore.ledger.writers import Writers, WriterState
from p2pstore.limits import COMMIT_BYTES_MAX, COMMIT_OPERATIONS_MAX, FORK_COMMITS_MAX
from p2pstore.metadata.adoption import Adoption
from p2pstore.metadata.clock import COUNTER_BITS, observe, tick
from p2pstore.metadata.collection import Condemned, CondemnedList, Consent, Intent
from p2pstore.metadata.commits import Commit, Signer, builds_on, decode_commit, make_commit
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.marks import Snapshot, Tag
from p2pstore.metadata.operations import (
    Body,
    ClearBody,
    ManifestPage,
    MetadataKeys,
    SealedOperation,
    StripeStatement,
    decode_operation,
    encode_clear,
    open_operation,
    seal_operation,
)
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.tree import PeerName
from p2pstore.metadata.vector import Vector, Writer, writer_of
from p2pstore.metadata.version import ManifestRef, Version
from p2pstore.seams.disk import Database

T = TypeVar("T")

KeysOf = Callable[[GenerationId], MetadataKeys | None]
"""The keys of a generation, or None where this peer has none. Called in a worker: a plain look-up."""

CurrentKeys = Callable[[], MetadataKeys | None]
"""The keys to write with now; None for a blind peer. Called in a worker: a plain look-up."""

JobFault: Final = (Misuse, PeerFault, RowDamaged)
"""What is the fault of one job, or befalls one alone. A full or damaged disk is not: SQLite may have undone the whole
transaction by then."""

_COMMIT_HEAD_BYTES: Final = 512
_COMMIT_BYTES_MIN: Final = 256
_NAMED_BYTES: Final = 56
_OPERATION_FRAME_BYTES: Final = 5


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of commits that a peer sent.

    Attributes:
        applied: commits that are durable here now and were not before.
        known: commits that were here already.
        waiting: commits that wait, in memory, for what they build on.
        refused: commits that are forged, malformed, of unknown authors, or beyond a fork.
        restored: commits that this ledger had applied once, and lost.
    """

    applied: int = 0
    known: int = 0
    waiting: int = 0
    refused: int = 0
    restored: int = 0


@dataclass(frozen=True, slots=True)
class Fork:
    """Evidence that one writer signed two histories.

    Attributes:
        writer: whose they are.
        first: sequence of the commit that does not fit what is held.
        hash: of that commit.
    """

    writer: Writer
    first: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """How one job of a batch ended: a value or an error of ours."""

    value: Any
    error: P2PStoreError | None


@dataclass(slots=True)
class _Open:
    """Our commit under construction.

    Attributes:
        hlc: one for all its operations.
        generation: what they are sealed under; None until there is a sealed one.
        operations: encoded.
        size: bytes that they will take in the commit.
    """

    hlc: int
    generation: GenerationId | None = None
    operations: list[bytes] = field(default_factory=list)
    size: int = 0


class _WroteBeforeFailing(Exception):
    """A job must be undone alone."""


class Store:
    """The ledger's database and what is kept of it in memory. One thread at a time."""

    def __init__(
        self,
        database: Database,
        *,
        signer: Signer,
        keys_of: KeysOf,
        current_keys: CurrentKeys,
        peer_name: PeerName,
        rng: random.Random,
        wall_ms: int,
    ) -> None:
        self.database = database
        self.writers = Writers(database)
        self.view = TreeView(database, self.writers, peer_name)
        self.past = HistoryView(database, self.writers, self.view)
        self.log = LogView(database, self.writers, self.view, self.past)
        self.search = NameSearch(database, self.view, self.past)
        self.conflicts = ConflictView(database, self.view, self.past)
        self.index = TreeIndex(database, self.writers)
        self.branches = Branches(database, self.writers)
        self.frozen = Frozen(database, self.writers, self.branches)
        self.live = LiveDots(database, self.writers)
        self.mending = Mending(
            database,
            self.writers,
            self.live,
            self.index,
            keys_of=keys_of,
            index_body=self._index_body,
            frozen=self.frozen,
        )
        self.waiting = Waiting()
        self.unreadable_operations = 0
        """Operations that opened to rubbish or did not open: counted, carried, shown nowhere."""
        self.searches: list[reference_search.Search] = []
        """Searches for references: each is told of what comes while it is under way."""
        self._peer_name = peer_name
        self._signer = signer
        self._keys_of = keys_of
        self._current_keys = current_keys
        self._rng = rng
        self._drafting = Drafting(
            database, self.view, self.index, self._append, rng, writers=self.writers, seen=self.seen
        )
        self._hlc = 0
        for hlc in sorted(self.writers.hlc_values()):
            self._hlc = observe(self._hlc, hlc, wall_ms)
        self._wall_ms = wall_ms
        self._keys: MetadataKeys | None = None
        self._open: _Open | None = None
        self._appended = 0
        self._counts_differently = False
        self._own: WriterState | None = None
        self._find_own()

    # --- batches --------------------------------------------------------------------------------------------------

    def perform(self, jobs: Sequence[Callable[[], Any]], wall_ms: int) -> list[Result]:
        """Run jobs in one transaction, each undone alone if it raises one of JobFault; durable on return.

        Any other exception undoes all and is raised. Jobs may be run twice, the first time without effect: a savepoint
        for each costs a fifth of the time, so they are only made when a job failed after it had written something.
        """
        self._wall_ms = wall_ms
        self.index.now_hlc = wall_ms << COUNTER_BITS
        self._keys = self._current_keys()
        waiting = self.waiting.copy()
        try:
            with self.database.transaction():
                return self._perform_all(jobs, careful=False)
        except _WroteBeforeFailing:
            self._forget_undone()
            self.waiting = waiting
        except BaseException:
            self._forget_undone()
            raise
        try:
            with self.database.transaction():
                return self._perform_all(jobs, careful=True)
        except BaseException:
            self._forget_undone()
            raise

    def _perform_all(self, jobs: Sequence[Callable[[], Any]], *, careful: bool) -> list[Result]:
        results = [self._perform_carefully(job) if careful else self._perform_one(job) for job in jobs]
        self.close_commit()
        if self._counts_differently:
            self.rebuild()
        if self._keys is not None:
            for writer in self.branches.unsettled():
                self.settle_branch(writer)
        self._write_pending()
        return results

    def _perform_one(self, job: Callable[[], Any]) -> Result:
        before = self._appended
        try:
            return Result(job(), None)
        except JobFault as error:
            if self._appended != before:
                raise _WroteBeforeFailing from error
            return Result(None, error)

    def _perform_carefully(self, job: Callable[[], Any]) -> Result:
        before = self._open
        count = len(before.operations) if before is not None else 0
        size = before.size if before is not None else 0
        generation = before.generation if before is not None else None
        self._write_pending()
        self.database.execute("SAVEPOINT job")
        try:
            value = job()
            self._write_pending()
        except JobFault as error:
            self.database.execute("ROLLBACK TO job")
            self.database.execute("RELEASE job")
            self._reload()
            if before is not None:
                del before.operations[count:]
                before.size, before.generation = size, generation
            self._open = before
            return Result(None, error)
        self.database.execute("RELEASE job")
        return Result(value, None)

    def _write_pending(self) -> None:
        """Write what is gathered in memory for a moment: before the end of each transaction and of each savepoint."""
        self.index.write_names()
        self.live.write()

    def _forget_undone(self) -> None:
        self._open = None
        self._reload()

    def _reload(self) -> None:
        """Forget what memory holds of undone changes."""
        self.writers.reload()
        self.index.reload()
        self.branches.reload()
        self.frozen.reload()
        self._counts_differently = False
        self.live.reload()
        self._find_own()

    def _find_own(self) -> None:
        found = self.setting("incarnation")
        if found is not None:
            self._own = self.writers.ensure(Writer(self._signer.peer_id, Incarnation(found)))

    # --- our own commits ------------------------------------------------------------------------------------------

    @property
    def own(self) -> WriterState:
        """Our own writer."""
        assert self._own is not None, "no incarnation yet"
        return self._own

    def take_incarnation(self) -> Incarnation:
        """Start a new life: from now on commits carry a new incarnation. Inside a transaction."""
        self.close_commit()
        fresh = Incarnation(self._rng.randbytes(8))
        self._own = self.writers.ensure(Writer(self._signer.peer_id, fresh))
        self.writers.forget_named()
        self.set_setting("incarnation", fresh)
        return fresh

    def draft(self, drafts: Sequence[Draft]) -> Committed:
        """Carry out `drafts`; a job for `perform`. Raises what `Drafting.carry_out` raises."""
        outcomes = tuple(self._drafting.carry_out(draft) for draft in drafts)
        dots = [outcome.dot for outcome in outcomes if outcome.dot is not None]
        return Committed(outcomes, max(dots, key=lambda dot: dot.sequence) if dots else None)

    def seen(self) -> Vector:
        """All that is applied here, our open commit too."""
        vector = self.writers.vector()
        if self._open is None or not self._open.operations:
            return vector
        own = self.own
        return vector.with_entries([(own.writer, own.sequence + len(self._open.operations))])

    def _append(self, body: Body, superseded: Sequence[Dot]) -> Dot:
        """One more operation in our open commit, its rows written."""
        if self._open is None:
            self._open = self._new_open()
        operation, dot = self._encode(body, superseded)
        frame = len(operation) + _OPERATION_FRAME_BYTES
        if self._open.operations and (
            len(self._open.operations) >= COMMIT_OPERATIONS_MAX
            or self._open.size + frame > COMMIT_BYTES_MAX
        ):
            self.close_commit()
            self._open = self._new_open()
        open_commit = self._open
        self._appended += 1
        open_commit.operations.append(operation)
        open_commit.size += frame
        if not isinstance(body, ClearBody):
            assert self._keys is not None
            open_commit.generation = self._keys.generation
        self._index_body(body, superseded, self.own.slot, dot.sequence, open_commit.hlc)
        self.live.bury(superseded)
        return dot

    def _new_open(self) -> _Open:
        self._hlc = tick(self._hlc, self._wall_ms)
        head = _COMMIT_HEAD_BYTES + _NAMED_BYTES * self.writers.unnamed_count(self.own)
        return _Open(self._hlc, size=head)

    def _encode(self, body: Body, superseded: Sequence[Dot]) -> tuple[bytes, Dot]:
        open_count = len(self._open.operations) if self._open is not None else 0
        dot = Dot(*self.own.writer, self.own.sequence + open_count + 1)
        if isinstance(body, ClearBody):
            return encode_clear(body), dot
        if self._keys is None:
            raise Misuse("this peer has no metadata key to write with")
        return seal_operation(body, dot, self._keys, superseded), dot

    def close_commit(self) -> None:
        """Sign what is open and write it; then our vector entry covers it."""
        open_commit = self._open
        if open_commit is None or not open_commit.operations:
            self._open = None
            return
        own = self.own
        commit = make_commit(
            self._signer,
            own.writer,
            own.sequence + 1,
            open_commit.operations,
            generation=open_commit.generation,
            hlc=open_commit.hlc,
            previous=own.commit_hash,
            named=self.writers.take_unnamed(own, self.branches.limits()),
        )
        self._write_commit(own, commit, commit.encode())
        self._open = None

    def _write_commit(self, state: WriterState, commit: Commit, raw: bytes) -> int:
        self.database.execute(
            "INSERT INTO commits(slot, first, last, hash, generation, raw, hlc) VALUES(?, ?, ?, ?, ?, ?, ?)",
            (state.slot, commit.first, commit.last, commit.hash, commit.generation, raw, commit.hlc),
        )
        [(number,)] = self.database.execute("SELECT last_insert_rowid()")
        self.live.extend(state, commit.last)
        self.writers.advance(state, commit.last, commit.hash, commit.hlc)
        return int(number)

    # --- commits of others ----------------------------------------------------------------------------------------

    def apply(self, commits: Sequence[Commit], refused: int) -> Applied:
        """Apply verified commits and whatever waited for them; a job for `perform`.

        Args:
            commits: signatures checked.
            refused: how many of the same message were refused before; only counted.
        """
        self.close_commit()
        counts = {"applied": 0, "known": 0, "refused": refused, "restored": 0}
        for commit in commits:
            fate = self._apply_one(commit)
            if fate == "waiting":
                if not self.waiting.add(commit):
                    counts["known"] += 1
            else:
                counts[fate] += 1
        progress = bool(counts["applied"])
        while progress and len(self.waiting):
            progress = False
            for commit in self.waiting.take_all():
                fate = self._apply_one(commit)
                if fate == "waiting":
                    self.waiting.add(commit)
                else:
                    counts[fate] += 1
                    progress = progress or fate == "applied"
        return Applied(
            counts["applied"], counts["known"], len(self.waiting), counts["refused"], counts["restored"]
        )

    def _apply_one(self, commit: Commit) -> str:
        """Apply `commit` if its time has come; "applied", "known", "waiting", "refused" or "restored"."""
        if commit.writer == self.own.writer and commit.last > self.own.sequence:
            self.take_incarnation()  # somebody knows more of us than we do
        state = self.writers.get(commit.writer)
        sequence = 0 if state is None else state.sequence
        if commit.first <= sequence:
            assert state is not None
            held = self.database.execute(
                "SELECT hash FROM commits WHERE slot = ? AND first = ?", (state.slot, commit.first)
            )
            if held == [(commit.hash,)]:
                return "known"
            if not held and self.mending.fits_gap(state, commit):
                self.mending.restore(state, commit, self._wall_ms)
                return "restored"
            return self._keep_fork(state, commit)
        if state is not None and state.frozen:
            return self._keep_fork(state, commit)
        if commit.first > sequence + 1 or not self._covers_named(commit):
            return "waiting"
        state = self.writers.ensure(commit.writer)
        if commit.previous != state.commit_hash:
            return self._keep_fork(state, commit)
        self._hlc = observe(self._hlc, commit.hlc, self._wall_ms)
        number = self._write_commit(state, commit, commit.encode())
        self._index_operations(number, commit, state.slot, sealed=True, clear=True)
        return "applied"

    def _covers_named(self, commit: Commit) -> bool:
        """Whether everything that `commit` builds on is here. A frozen writer holds nobody up."""
        for writer, sequence in commit.named:
            state = self.writers.get(writer)
            if (limit := self.branches.limit(writer)) is not None:
                sequence = min(sequence, limit)
            if sequence and (state is None or (state.sequence < sequence and not state.frozen)):
                return False
        return True

    def _keep_fork(self, state: WriterState, commit: Commit) -> str:
        """Freeze the writer and keep the evidence, within bounds."""
        if not state.frozen:
            self.writers.freeze(state)
            if state is self._own:
                self.take_incarnation()
        kept = self.database.execute(
            "SELECT count(*) FROM forks WHERE author = ? AND incarnation = ?", tuple(commit.writer)
        )
        if kept[0][0] < FORK_COMMITS_MAX:
            self.database.execute(
                "INSERT OR IGNORE INTO forks(author, incarnation, first, hash, raw, seen_ms) VALUES(?, ?, ?, ?, ?, ?)",
                (*commit.writer, commit.first, commit.hash, commit.encode(), self._wall_ms),
            )
        return "refused"

    # --- what follows from operations -----------------------------------------------------------------------------

    def _index_operations(self, number: int, commit: Commit, slot: int, *, sealed: bool, clear: bool) -> None:
        """Write the rows that follow from a commit's operations, as far as this peer can open them."""
        keys = None if commit.generation is None else self._keys_of(commit.generation)
        unopened = False
        for offset, data in enumerate(commit.operations):
            dot = Dot(*commit.writer, commit.first + offset)
            try:
                operation = decode_operation(data, commit.writer)
                if isinstance(operation, SealedOperation):
                    self.live.bury(operation.superseded)
                    if keys is None:
                        unopened = True
                    elif sealed and (body := open_operation(operation, dot, keys)) is not None:
                        self._index_body(body, operation.superseded, slot, dot.sequence, commit.hlc)
                elif operation is not None and clear:
                    self._index_body(operation, (), slot, dot.sequence, commit.hlc)
            except (Malformed, Forged):
                # its author signed rubbish: all peers that can open it see the same, and blind ones carry it
                self.unreadable_operations += 1
        if unopened and commit.generation is not None:
            self.database.execute("INSERT OR IGNORE INTO unopened VALUES(?, ?)", (commit.generation, number))

    def _index_body(self, body: Body, superseded: Sequence[Dot], slot: int, sequence: int, hlc: int) -> None:
        limit = self.frozen.limit(self.writers.by_slot(slot).writer)
        if limit is not None and sequence > limit and not isinstance(
            body, ManifestPage | StripeStatement | Adoption | Forked
        ):
            if isinstance(body, Version):
                self.frozen.keep(slot, sequence, hlc, body)
                self._tell_searches(body)
            return
        match body:
            case Version():
                self.index.add(slot, sequence, hlc, body, superseded)
                self._tell_searches(body)
            case Tag() | Snapshot() | Retention() | FolderPromise():
                self.index.mark(slot, sequence, hlc, body, superseded)
            case Forked():
                before = self.frozen.limits()
                self.branches.state(slot, sequence, body)
                self._counts_differently |= self.frozen.limits() != before
            case Adoption():
                self._counts_differently |= self.frozen.adopt(slot, sequence, body)
            case ManifestPage():
                self.database.execute(
                    "INSERT OR IGNORE INTO manifest_pages VALUES(?, ?, ?, ?, ?, ?)",
                    (body.manifest, body.page, body.pages, body.data, slot, sequence),
                )
            case StripeStatement():
                self.database.execute(
                    "INSERT OR IGNORE INTO stripes VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        body.encoding,
                        slot,
                        sequence,
                        body.chunk,
                        body.needed,
                        body.sealed_length,
                        body.shard_length,
                        body.promise,
                    ),
                )
            case Intent() | Condemned() | Consent():
                collection.write(self.database, self.writers, slot, sequence, hlc, body)

    def _tell_searches(self, version: Version) -> None:
        if isinstance(version.content, ManifestRef):
            for search in self.searches:
                search.watch.append(version.content)

    def open_more(self, limit: int) -> int:
        """Open up to `limit` commits whose keys have come meanwhile; how many. A job for `perform`."""
        opened = 0
        for (generation,) in self.database.execute("SELECT DISTINCT generation FROM unopened ORDER BY generation"):
            if opened >= limit or self._keys_of(GenerationId(generation)) is None:
                continue
            rows = self.database.execute(
                "SELECT c.id, c.slot, c.raw FROM unopened u JOIN commits c ON c.id = u.commit_id"
                " WHERE u.generation = ? ORDER BY c.id LIMIT ?",
                (generation, limit - opened),
            )
            for number, slot, raw in rows:
                self._index_operations(number, decode_commit(raw), slot, sealed=True, clear=False)
                self.database.execute(
                    "DELETE FROM unopened WHERE generation = ? AND commit_id = ?", (generation, number)
                )
            opened += len(rows)
        return opened

    def rebuild(self) -> None:
        """Make everything that follows from commits anew; a job for `perform`."""
        self.close_commit()
        self._counts_differently = False
        schema.empty_derived(self.database)
        self.index.reload()
        last = 0
        while rows := self.database.execute(
            "SELECT id, slot, raw FROM commits WHERE id > ? ORDER BY id LIMIT 100", (last,)
        ):
            for number, slot, raw in rows:
                self._index_operations(number, decode_commit(raw), slot, sealed=True, clear=True)
                last = number

    # --- removed machines -----------------------------------------------------------------------------------------

    def set_cuts(self, cuts: Mapping[PeerId, Vector]) -> bool:
        """Whose operations count how far, by the roster; whether that changes the tree. A job for `perform`."""
        changed = self.frozen.set_cuts(cuts)
        self._counts_differently |= changed
        return changed

    def settle_branch(self, writer: Writer) -> int:
        """Write anew, under names of our own, what is here of a branch of a writer whose chain has forked; how many
        operations. A job for `perform`.

        Whoever holds a branch does so as soon as he hears of the fork: what was acknowledged is not to wait for a copy
        that may never run again. Two who do it at once write the same, which is shown as one. It happens in the
        transaction that also states it, so it is done once or not at all. Operations supersede what they did, those of
        the branch by their new names: beside what the other branch did they are concurrent.
        """
        self.close_commit()
        if self.own.writer == writer:
            self.take_incarnation()
        upto, first = self.branches.limit(writer), self.branches.first_of_branch(writer)
        reach = self.frozen.reach(writer)
        if upto is None or first is None or self.branches.is_settled(writer):
            return 0
        named: dict[Dot, Dot] = {}
        for raw in self.branches.raw_after(writer, upto):
            commit = decode_commit(raw)
            keys = None if commit.generation is None else self._keys_of(commit.generation)
            for sequence, data in enumerate(commit.operations, start=commit.first):
                try:
                    operation = decode_operation(data, writer)
                    superseded: tuple[Dot, ...] = ()
                    body: Body | None = operation if isinstance(operation, StripeStatement) else None
                    if isinstance(operation, SealedOperation) and keys is not None:
                        body = open_operation(operation, Dot(*writer, sequence), keys)
                        superseded = operation.superseded
                except (Malformed, Forged):
                    continue
                if reach is not None and sequence > reach:
                    continue  # of a removed machine, beyond its cut
                if body is not None and not isinstance(body, Forked):
                    kept = [named.get(dot, dot) for dot in superseded if not _is_beyond(dot, writer, upto, named)]
                    named[Dot(*writer, sequence)] = self._append(body, kept)
        self._append(Forked(writer, upto, first), ())
        self.close_commit()
        return len(named)

    # --- forgetting -----------------------------------------------------------------------------------------------

    def drop_history(self, now_ms: int, *, trash: bool, after: Position | None, limit: int) -> Swept:
        """Drop what is due of a page of history, or of the trash; a job for `perform`."""
        self.index.write_names()
        sweep = Sweep(self.database, self.writers, now_ms)
        return sweep.trash(after, limit) if trash else sweep.versions(after, limit)

    def drop_beyond_quota(self, now_ms: int, limit: int) -> int:
        """Drop history beyond the quota; a job for `perform`."""
        self.index.write_names()
        return Sweep(self.database, self.writers, now_ms).over_quota(limit)

    # --- garbage collection ---------------------------------------------------------------------------------------

    def begin_search(self, salt: bytes, dedupe_key_of: reference_search.DedupeKeyOf) -> reference_search.Search:
        """Begin a search for references; it is told of everything that comes until `end_search`. Raises Incomplete."""
        search = reference_search.Search(reference_search.begin(self.database, salt), dedupe_key_of)
        self.searches.append(search)
        return search

    def end_search(self, search: reference_search.Search) -> None:
        """Tell it nothing more."""
        if search in self.searches:
            self.searches.remove(search)

    def unreferenced(self, search: reference_search.Search, encodings: Sequence[EncodingId]) -> list[EncodingId]:
        """Those that nothing refers to, by a search that is complete but for what came meanwhile. Raises Incomplete."""
        search.fold(self.database)
        return reference_search.unreferenced(self.database, search.found, encodings)

    def consent(
        self, search: reference_search.Search, wanted: CondemnedList, running: Collection[EncodingId], *, signed: bool
    ) -> Dot | Incomplete | None:
        """Sign a list, sparing what something refers to or what is `running`; a job for `perform`, in which nothing can
        come between the look and the signature.

        Args:
            search: complete but for what came meanwhile.
            wanted: the list.
            running: stripes of our own uploads under way; may change in another thread, only ever to hold more.
            signed: we have signed it before; only say what must be spared on top.

        Returns:
            Our operation; None if there was nothing to say; why we cannot tell.
        """
        try:
            free = set(self.unreferenced(search, wanted.condemned.encodings))
        except Incomplete as error:
            return error
        free = {each for each in free if each not in running}  # one look-up each: the other thread may add meanwhile
        ours = wanted.spared.get(self._signer.peer_id, frozenset())
        spared = {number for number, each in enumerate(wanted.condemned.encodings) if each not in free}
        if signed and spared <= ours:
            return None
        dot = self._append(Consent(wanted.name, wanted.condemned.hash, tuple(sorted(spared | ours))), ())
        kept = frozenset().union(spared, *wanted.spared.values())
        collection.forsake(
            self.database, [each for number, each in enumerate(wanted.condemned.encodings) if number not in kept]
        )
        return dot

    # --- reading --------------------------------------------------------------------------------------------------

    def view_at(self, at: Vector | None) -> TreeView:
        """The tree now, or as it was at a cut."""
        return self.view if at is None else PastView(self.database, self.writers, self._peer_name, at)

    def commits_after(self, vector: Vector, bytes_max: int) -> tuple[list[bytes], bool, Vector]:
        """Raw commits that `vector` does not cover, in an order in which they can be applied; whether more are left;
        and how far these reach. At least one if there is any; otherwise at most `bytes_max` bytes."""
        behind: list[tuple[int, int, Writer, int, int]] = []
        for writer, sequence in self.writers.vector().sorted_entries():
            if (upto := vector[writer]) < sequence:
                state = self.writers.get(writer)
                assert state is not None
                rows = self.database.execute(
                    "SELECT id, length(raw), first, last FROM commits WHERE slot = ? AND first > ? ORDER BY first"
                    " LIMIT ?",
                    (state.slot, upto, bytes_max // _COMMIT_BYTES_MIN + 1),
                )
                for number, length, first, last in rows:
                    if first != upto + 1:
                        break  # what lies between is lost here: others have it
                    behind.append((number, length, writer, first, last))
                    upto = last
        behind.sort()  # by number: the order in which they were applied here
        frozen = frozenset(self.writers.frozen())
        commits: list[bytes] = []
        reaches: dict[Writer, int] = {}
        size = 0
        deferred = behind
        while deferred:
            # a commit that was lost and came back may stand behind what builds on it
            candidates, deferred = deferred, []
            before = len(commits)
            for number, length, writer, first, last in candidates:
                if commits and size + length > bytes_max:
                    return commits, True, Vector(reaches)
                raw = self.database.execute("SELECT raw FROM commits WHERE id = ?", (number,))[0][0]
                if max(reaches.get(writer, 0), vector[writer]) != first - 1 or not all(
                    max(reaches.get(named, 0), vector[named]) >= sequence or named in frozen
                    for named, sequence in builds_on(raw)
                ):
                    deferred.append((number, length, writer, first, last))
                    continue
                commits.append(raw)
                reaches[writer] = last
                size += length
            if len(commits) == before:
                break
        return commits, bool(deferred), Vector(reaches)

    def forks(self) -> list[Fork]:
        """Evidence of writers with two histories, by writer and sequence."""
        rows = self.database.execute(
            "SELECT author, incarnation, first, hash FROM forks ORDER BY author, incarnation, first, hash"
        )
        return [
            Fork(Writer(PeerId(author), Incarnation(incarnation)), first, fork_hash)
            for author, incarnation, first, fork_hash in rows
        ]

    def setting(self, name: str) -> bytes | None:
        """A small value kept for its owner."""
        rows = self.database.execute("SELECT value FROM settings WHERE name = ?", (name,))
        return None if not rows else bytes(rows[0][0])

    def set_setting(self, name: str, value: bytes) -> None:
        """Keep a small value; a job for `perform`."""
        self.database.execute("INSERT OR REPLACE INTO settings VALUES(?, ?)", (name, value))

    def take_changed_folders(self) -> frozenset[EntryId]:
        """Folders whose listing may have changed since this was last asked."""
        changed = frozenset(self.index.changed_folders)
        self.index.changed_folders.clear()
        return changed


def _is_beyond(dot: Dot, writer: Writer, upto: int, named: Mapping[Dot, Dot]) -> bool:
    """Whether `dot` lies beyond the fork of `writer` and was not written anew."""
    return writer_of(dot) == writer and dot.sequence > upto and dot not in named
