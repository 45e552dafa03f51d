"""The ledger's face: one writer task with group commit, and questions that are answered from the database."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

import trio
from blake3 import blake3

from p2pstore.errors import Forged, Malformed, P2PStoreError, PathFault, Unavailable
from p2pstore.ids import Dot, EncodingId, EntryId, GenerationId, PeerId, StoreId, short
from p2pstore.ledger import collection, holdings
from p2pstore.ledger.changes import Change, Subscription
from p2pstore.ledger.drafts import Committed, Draft, Path, Remove, RemoveEntry
from p2pstore.ledger.holdings import Holding
from p2pstore.ledger.life import Life, write_life
from p2pstore.ledger.mending import OPERATIONS_PAGE, Found, Place
from p2pstore.ledger.opening import open_or_set_aside, take_up_life
from p2pstore.ledger.questions import LIST_PAGE, Questions
from p2pstore.ledger.reference_search import Incomplete, Search
from p2pstore.ledger.retention import Position, Swept
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.ledger.store import Applied, CurrentKeys, KeysOf, Result, Store
from p2pstore.limits import (
    COMMIT_COALESCE_S,
    COMMIT_GAP_S,
    LEDGER_BATCH_OPERATIONS,
    LEDGER_JOBS_MAX,
    STATEMENT_BYTES_MAX,
    STATEMENTS_MAX,
)
from p2pstore.metadata.adoption import Adoption
from p2pstore.metadata.collection import CondemnedList
from p2pstore.metadata.commits import Commit, Signer, Verify, check_commit, decode_commit
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.packed import pack_commits, unpack_commits
from p2pstore.metadata.tree import PeerName
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import RECOVERED_ENTRY, Kind
from p2pstore.packing import Buffer
from p2pstore.seams.clock import Clock
from p2pstore.seams.disk import Disk
from p2pstore.seams.workers import Workers

LIFE_EVERY_S: Final = 1.0
"""The side file follows the database at this pace: it is there to notice a restored or copied database, days old, and
an fsync for each transaction would be a high price for a second more."""

OPEN_PAGE: Final = 50
"""Commits opened in one transaction when a key arrives: up to 50,000 operations would be too long, 50 interactive
commits are nothing; imports have 1,000 operations each and take 0.1 s each."""

_DRAFT_COST_S: Final = 150e-6
"""CPU time of one operation, for the simulation (docs/measurements.md)."""

_PACK_COST_S: Final = 0.1e-6
"""CPU time of packing or unpacking one byte, for the simulation."""

T = TypeVar("T")

PublicOf = Callable[[PeerId], bytes | None]
"""The Ed25519 public key of a peer that is or was in the roster, or None."""


@dataclass(slots=True)
class _Job:
    """A job for the writer, and where its caller waits.

    Attributes:
        work: runs in a transaction.
        weight: operations, about.
        change: what subscribers are told when it is durable, made from its value.
    """

    work: Callable[[], Any]
    weight: int
    change: Callable[[Any], Change]
    done: trio.Event = field(default_factory=trio.Event)
    value: Any = None
    error: BaseException | None = None


class Ledger(Questions):
    """A peer's metadata. Open it with `Ledger.open`, start `run`, then everything else.

    Attributes:
        peer_id: whose ledger it is.
        damaged_as: if the database was found damaged at start, the name it was set aside under.
    """

    def __init__(
        self,
        disk: Disk,
        workers: Workers,
        clock: Clock,
        store: Store,
        *,
        signer: Signer,
        verify: Verify,
        public_of: PublicOf,
        keys_of: KeysOf,
        machine: bytes,
        damaged_as: str | None,
    ) -> None:
        self.peer_id = signer.peer_id
        self.damaged_as = damaged_as
        super().__init__(workers, store)
        self._disk = disk
        self._clock = clock
        self._verify = verify
        self._public_of = public_of
        self._keys_of = keys_of
        self._machine = machine
        self._jobs_in, self._jobs_out = trio.open_memory_channel[_Job](LEDGER_JOBS_MAX)
        self._subscribers: list[Subscription] = []
        self._vector = store.writers.vector()
        self._fingerprint = store.live.digest
        self._frozen = tuple(store.writers.frozen())
        self._limits = store.branches.limits()
        self._own_writer = store.own.writer
        self._life_written_s = clock.now_s()
        self._closed = False

    @staticmethod
    async def open(
        disk: Disk,
        workers: Workers,
        clock: Clock,
        *,
        signer: Signer,
        verify: Verify,
        public_of: PublicOf,
        keys_of: KeysOf,
        current_keys: CurrentKeys,
        peer_name: PeerName = short,
        rng: random.Random,
        machine: bytes = b"",
    ) -> Ledger:
        """Open or create the ledger in `disk`.

        A database that is not sound is set aside and a new one started: its vector is gone with it, so the tree comes
        back from the peers. A database that does not belong to the side file gets a new incarnation.

        Args:
            disk: the folder of the ledger; holds `ledger.db` and `ledger.life`.
            workers: where every call into the database runs.
            clock: wall time for the hybrid clock, monotonic for coalescing.
            signer: our identity.
            verify: checks an Ed25519 signature.
            public_of: public keys of the roster, also of removed members. Called in a worker, like the next three.
            keys_of: metadata keys by generation.
            current_keys: those to write with.
            peer_name: for conflict copies.
            rng: for entry ids and incarnations.
            machine: what names this machine, if anything does: a copy on another one then is a new life.
        """

        def opening(wall_ms: int) -> tuple[Store, str | None]:
            database, damaged_as = open_or_set_aside(disk)
            store = Store(
                database,
                signer=signer,
                keys_of=keys_of,
                current_keys=current_keys,
                peer_name=peer_name,
                rng=rng,
                wall_ms=wall_ms,
            )
            take_up_life(disk, store, machine)
            return store, damaged_as

        store, damaged_as = await workers.run(opening, int(clock.wall_s() * 1000), cost_s=0.01)
        return Ledger(
            disk,
            workers,
            clock,
            store,
            signer=signer,
            verify=verify,
            public_of=public_of,
            keys_of=keys_of,
            machine=machine,
            damaged_as=damaged_as,
        )

    # --- the writer -----------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The writer task: batches of jobs, one transaction and one fsync each, until cancelled.

        Raises whatever is not the fault of one job: then nothing of that batch is written.
        """
        task_status.started()
        try:
            while True:
                batch = await self._gather()
                await self._perform(batch)
        finally:
            self._closed = True
            self._fail_waiting()

    async def _gather(self) -> list[_Job]:
        """The next jobs: what is there, and what comes until there is a short silence."""
        first = await self._jobs_out.receive()
        batch, weight = [first], first.weight
        ends_s = self._clock.now_s() + COMMIT_COALESCE_S
        while weight < LEDGER_BATCH_OPERATIONS:
            try:
                job = self._jobs_out.receive_nowait()
            except trio.WouldBlock:
                gap_s = min(COMMIT_GAP_S, ends_s - self._clock.now_s())
                if gap_s <= 0:
                    break
                found: _Job | None = None
                with self._clock.move_on_after(gap_s):
                    found = await self._jobs_out.receive()
                if found is None:
                    break
                job = found
            batch.append(job)
            weight += job.weight
        return batch

    async def _perform(self, batch: list[_Job]) -> None:
        wall_ms = int(self._clock.wall_s() * 1000)
        weight = sum(job.weight for job in batch)

        def transaction() -> tuple[list[Result], Vector, bytes, tuple[Writer, ...], Writer, frozenset[EntryId]]:
            store = self._store
            results = store.perform([job.work for job in batch], wall_ms)
            frozen = tuple(store.writers.frozen())
            folders = store.take_changed_folders()
            self._limits = store.branches.limits()
            return results, store.writers.vector(), store.live.digest, frozen, store.own.writer, folders

        try:
            async with self._turn:
                answer = await self._workers.run(transaction, cost_s=weight * _DRAFT_COST_S)
        except P2PStoreError as error:  # a full disk: nobody's job is done, everybody may try again
            for job in batch:
                job.error = error
                job.done.set()
            return
        except BaseException as error:
            for job in batch:
                job.error = Unavailable("the ledger's writer ended")
                job.error.__cause__ = error
                job.done.set()
            raise
        results, self._vector, self._fingerprint, self._frozen, self._own_writer, folders = answer
        news: Change | None = None
        for job, result in zip(batch, results, strict=True):
            job.value, job.error = result.value, result.error
            job.done.set()
            if result.error is None:
                change = job.change(result.value)
                news = change if news is None else news.join(change)
        if news is not None:
            self._tell(news.join(Change(folders=folders)))
        if self._clock.now_s() - self._life_written_s >= LIFE_EVERY_S:
            await self._write_life()

    async def _write_life(self) -> None:
        self._life_written_s = self._clock.now_s()
        async with self._turn:
            own = self._store.own
            life = Life(own.writer.incarnation, own.sequence, self._machine)
            await self._workers.run(write_life, self._disk, life, cost_s=0.001)

    def _fail_waiting(self) -> None:
        while True:
            try:
                job = self._jobs_out.receive_nowait()
            except trio.WouldBlock:
                self._jobs_out.close()
                return
            job.error = Unavailable("the ledger's writer ended")
            job.done.set()

    async def _read(self, question: Callable[..., T], *args: Any) -> T:
        return await self._mending_rows(lambda: super(Ledger, self)._read(question, *args))

    async def _submit(self, work: Callable[[], T], weight: int, change: Callable[[T], Change]) -> T:
        """Have the writer run `work`; durable on return."""
        return await self._mending_rows(lambda: self._submit_once(work, weight, change))

    async def _mending_rows(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try; a damaged row that is met is made anew from the log, and it is tried again.

        Raises RowDamaged if the log cannot tell it either; peers are asked for it then.
        """
        while True:
            try:
                return await attempt()
            except RowDamaged as damage:
                if not await self._mend_row(damage):
                    raise

    async def _mend_row(self, damage: RowDamaged) -> bool:
        wall_ms = int(self._clock.wall_s() * 1000)
        # a row that cannot be mended changes the fingerprint: compare it with others soon
        return await self._submit_once(
            lambda: self._store.mending.mend_row(damage.slot, damage.sequence, wall_ms),
            1,
            lambda _: Change(remote=True),
        )

    async def _submit_once(self, work: Callable[[], T], weight: int, change: Callable[[T], Change]) -> T:
        if self._closed:
            raise Unavailable("the ledger's writer ended")
        job = _Job(work, weight, change)
        try:
            await self._jobs_in.send(job)
        except trio.BrokenResourceError:
            raise Unavailable("the ledger's writer ended") from None
        await job.done.wait()
        if job.error is not None:
            raise job.error
        return cast("T", job.value)

    async def close(self) -> None:
        """Let go of the database, after `run` has ended; no call may follow."""
        self._closed = True
        with trio.CancelScope(shield=True):
            await self._write_life()
            async with self._turn:
                await self._workers.run(self._store.database.close)

    # --- writing --------------------------------------------------------------------------------------------------

    async def commit(self, drafts: Sequence[Draft]) -> Committed:
        """Carry out `drafts` in order, all or none, signed and durable on return.

        Many callers share a commit and its fsync. Order them so that a reader never sees a version whose manifest or
        stripes are missing: statements, pages, then the version. Safe to cancel: it then happens or does not.

        Raises:
            PathFault: the tree is not as a draft wants it.
            Misuse: a value that cannot stand in a version, or no key to write with.
            NoSpace: the disk is full.
            Unavailable: `run` has ended.
        """
        drafts = tuple(drafts)
        return await self._submit(
            lambda: self._store.draft(drafts), len(drafts), lambda committed: Change(own=committed.upto is not None)
        )

    async def apply(self, commits: Iterable[Buffer]) -> Applied:
        """Take in commits that a peer sent; what can be applied is durable on return. Never raises for their contents.

        Each is checked against its author's key, and applied once all that it builds on is here; until then it waits
        in memory. The same commits may come again, in any order.
        """
        raw = [bytes(each) for each in commits]

        def checking() -> tuple[list[Commit], int]:
            good: list[Commit] = []
            refused = 0
            for each in raw:
                try:
                    commit = decode_commit(each)
                    if (public := self._public_of(commit.writer.author)) is None:
                        raise Forged("commit: author not in the roster")  # noqa: TRY301
                    check_commit(commit, public, self._verify)
                    good.append(commit)
                except (Malformed, Forged):
                    refused += 1
            return good, refused

        commits_checked, refused = await self._workers.run(checking, cost_s=len(raw) * _DRAFT_COST_S)
        # big messages are cut so that readers get their turn between transactions
        total = Applied(refused=refused)
        pieces = _pieces(commits_checked) or [[]]
        for piece in pieces:
            done = await self._submit(
                lambda piece=piece: self._store.apply(piece, 0),  # type: ignore[misc]
                sum(len(commit.operations) for commit in piece) + 1,
                lambda applied: Change(remote=applied.applied + applied.restored > 0),
            )
            total = Applied(
                total.applied + done.applied,
                total.known + done.known,
                done.waiting,
                total.refused + done.refused,
                total.restored + done.restored,
            )
        return total

    async def packed(self, commits: Sequence[bytes], generations: Collection[GenerationId]) -> tuple[bytes, int]:
        """Commits for a member who has the keys of `generations`: unsealed and compressed; and their plain length."""
        return await self._workers.run(
            pack_commits, commits, self._keys_of, generations, cost_s=sum(map(len, commits)) * _PACK_COST_S
        )

    async def unpacked(self, data: Buffer, plain_length: int) -> list[bytes]:
        """The way back: raw commits, unchecked. Raises Malformed."""
        return await self._workers.run(
            unpack_commits, bytes(data), plain_length, self._keys_of, cost_s=max(plain_length, len(data)) * _PACK_COST_S
        )

    async def remove_tree(self, path: Path, *, batch: int = 500) -> Committed | None:
        """Put everything at and below `path` into the trash, deepest first; the last commit, or None for nothing."""
        item = await self.resolve(path)
        if item is None or not path:
            raise PathFault("not-found", path)
        folders = list(item.entries)
        last: Committed | None = None
        drafts: list[Draft] = []
        if item.kind is not Kind.FOLDER:
            return await self.commit([Remove(path)])
        async for _, below in self.walk(path):
            if below.kind is Kind.FOLDER:
                folders.extend(below.entries)
                continue
            drafts.extend(RemoveEntry(entry) for entry in below.entries)
            if len(drafts) >= batch:
                last = await self.commit(drafts)
                drafts = []
        # the walk finds a folder before what is in it
        drafts.extend(RemoveEntry(entry) for entry in reversed(folders) if entry != RECOVERED_ENTRY)
        for start in range(0, len(drafts), batch):
            last = await self.commit(drafts[start : start + batch])
        return last

    async def renew(self) -> None:
        """Take a new incarnation before writing on: others know more of us than we do."""
        await self._submit(self._store.take_incarnation, 1, lambda _: Change())
        await self._write_life()

    async def heard(self, vector: Vector) -> None:
        """Somebody's vector: if it knows more of this incarnation than we do, we were rolled back or cloned: renew."""
        own = self.own_writer
        if vector[own] > self._vector[own] and own == self.own_writer:
            await self.renew()

    async def keys_arrived(self) -> int:
        """Open what was kept sealed for want of keys, as far as `keys_of` has them now; how many commits."""
        total = 0
        while opened := await self._submit(
            lambda: self._store.open_more(OPEN_PAGE), LEDGER_BATCH_OPERATIONS, lambda count: Change(remote=count > 0)
        ):
            total += opened
        return total

    async def rebuild_index(self) -> None:
        """Make everything that follows from the commits anew: after doubt about it, never in the normal course."""
        await self._submit(self._store.rebuild, LEDGER_BATCH_OPERATIONS, lambda _: Change(remote=True, folders=None))

    # --- removed machines -----------------------------------------------------------------------------------------

    async def cut_off(self, cuts: Mapping[PeerId, Vector]) -> None:
        """Of these machines only what their cuts cover counts from now on, and what was adopted; of all others all."""
        cuts = dict(cuts)
        await self._submit(
            lambda: self._store.set_cuts(cuts),
            1,
            lambda changed: Change(remote=changed, folders=None if changed else frozenset()),
        )

    async def adopt(self, author: PeerId) -> int:
        """Have all count that is here of a removed machine; how many versions that thaws."""
        count = (await self.frozen_counts()).get(author, 0)
        if count:
            upto = await self._read(self._store.frozen.upto, author)
            await self.commit([Adoption(author, upto)])
        return count

    async def state_fork(self, writer: Writer, upto: int) -> None:
        """Say that two histories of `writer` part after operation `upto`; nothing if that was said already."""
        known = await self._read(self._store.branches.limit, writer)
        if known is None or known > upto:
            await self.commit([Forked(writer, upto, None)])

    # --- forgetting -----------------------------------------------------------------------------------------------

    async def drop_history(self, now_ms: int, *, trash: bool, after: Position | None, limit: int = LIST_PAGE) -> Swept:
        """Drop what the rules no longer keep of a page of the history, or of the trash.

        Args:
            now_ms: the time to go by.
            trash: which of the two.
            after: where the page begins.
            limit: how much is looked at.
        """
        return await self._submit(
            lambda: self._store.drop_history(now_ms, trash=trash, after=after, limit=limit), limit, lambda _: Change()
        )

    async def drop_beyond_quota(self, now_ms: int, limit: int = LIST_PAGE) -> int:
        """Drop history beyond the quota; how much of it. Call it again until that is nothing."""
        return await self._submit(
            lambda: self._store.drop_beyond_quota(now_ms, limit), limit, lambda _: Change()
        )

    # --- its soundness ------------------------------------------------------------------------------------------------

    async def inspect(self, *, pace: float = 0.0) -> Found:
        """Check the whole log and all that follows from it, mend what it can tell, and note what is lost.

        Others get their turn between two steps.

        Args:
            pace: seconds to rest for each second worked.
        """
        position: Place | None = Place()
        total = Found(None)
        while position is not None:
            began_s = self._clock.now_s()
            found = await self._submit(
                lambda at=position: self._store.mending.inspect(at, int(self._clock.wall_s() * 1000)),  # type: ignore[misc]
                OPERATIONS_PAGE,
                lambda step: Change(remote=step.lost + step.rows > 0),
            )
            position = found.position
            total = Found(None, total.lost + found.lost, total.rows + found.rows)
            await self._clock.sleep(pace * (self._clock.now_s() - began_s))
        return total

    async def note_difference(self) -> None:
        """A peer of the same vector has another fingerprint: count it."""
        wall_ms = int(self._clock.wall_s() * 1000)
        await self._submit(lambda: self._store.mending.count("differences", 1, wall_ms), 1, lambda _: Change())

    # --- garbage collection ---------------------------------------------------------------------------------------

    async def consent(
        self, search: Search, wanted: CondemnedList, running: Collection[EncodingId], *, signed: bool
    ) -> Dot | None:
        """Sign a condemned list; see Store.consent. Durable on return. Raises Incomplete: we cannot tell."""
        answer = await self._submit(
            lambda: self._store.consent(search, wanted, running, signed=signed),
            len(wanted.condemned.encodings),
            lambda answer: Change(own=isinstance(answer, Dot)),
        )
        if isinstance(answer, Incomplete):
            raise answer
        return answer

    async def forsake(self, encodings: Sequence[EncodingId]) -> None:
        """Treat stripes as absent that everybody has signed away."""
        await self._submit(
            lambda: collection.forsake(self._store.database, encodings), len(encodings), lambda _: Change()
        )

    async def close_list(self, name: Dot) -> None:
        """This machine has nothing more to do with a condemned list."""
        await self._submit(
            lambda: collection.close_list(self._store.database, self._store.writers, name), 1, lambda _: Change()
        )

    # --- the log --------------------------------------------------------------------------------------------------

    @property
    def own_writer(self) -> Writer:
        """We, in this life."""
        return self._own_writer

    def vector(self) -> Vector:
        """What is durable here."""
        return self._vector

    def fingerprint(self) -> bytes:
        """What is live here, as 16 bytes; of the same moment as `vector`."""
        return self._fingerprint

    def compared_vector(self) -> Vector:
        """`vector` for comparing with others: of writers whose chains have forked what all can have. Beyond that each
        has the branch that it met first, and no exchange makes them equal."""
        return self._vector.with_entries(
            (writer, min(limit, self._vector[writer])) for writer, limit in self._limits.items()
        )

    def compared_fingerprint(self) -> bytes:
        """`fingerprint` for comparing with others; zeros where a chain has forked, as each may have another branch."""
        return bytes(len(self._fingerprint)) if self._limits else self._fingerprint

    def frozen_writers(self) -> tuple[Writer, ...]:
        """Writers of whom a commit came that fits no chain, sorted."""
        return self._frozen

    def receipt_vector(self) -> Vector:
        """`vector` as a receipt for commits that were sent here: of writers of whom a commit was refused because it
        fits no chain, only what all branches share."""
        return self._vector.with_entries(
            (writer, min(self._limits.get(writer, 0), self._vector[writer])) for writer in self._frozen
        )

    def wanted_vector(self) -> Vector:
        """`vector` for asking others with: it claims all of the writers with a fork, of whom nothing more is wanted."""
        return self._vector.with_entries((writer, 2**53) for writer in self._frozen)

    def subscribe(self) -> Subscription:
        """News from now on."""
        return Subscription(self._subscribers)

    def _tell(self, change: Change) -> None:
        for subscriber in list(self._subscribers):
            subscriber.tell(change)

    async def put_holdings(
        self,
        peer: PeerId,
        store: StoreId,
        *,
        epoch: bytes,
        after: int,
        upto: int,
        changes: Sequence[Holding],
    ) -> bool:
        """Take in changes (after, upto] of a store's inventory, as its peer said them. False if some before them are
        missing: ask again from the known counter (0 after a new epoch)."""
        changes = tuple(changes)
        now_ms = int(self._clock.wall_s() * 1000)

        def work() -> bool:
            return holdings.put_holdings(
                self._store.database, peer, store, epoch=epoch, after=after, upto=upto, changes=changes, now_ms=now_ms
            )

        lost = frozenset(change.encoding for change in changes if not change.held)

        def news(taken: bool) -> Change:
            return Change(holdings=taken and bool(changes), lost=lost if taken else frozenset())

        return await self._submit(work, len(changes) + 1, news)

    async def drop_store(self, peer: PeerId, store: StoreId) -> None:
        """Forget the holdings of a store that is gone for good."""
        await self._submit(
            lambda: holdings.drop_store(self._store.database, peer, store), 1, lambda _: Change(holdings=True)
        )

    # --- roster statements and settings ---------------------------------------------------------------------------

    async def put_statements(self, statements: Iterable[bytes]) -> int:
        """Keep statements that the roster accepted; how many were new. Raises Malformed beyond the limits."""
        rows = [(blake3(raw).digest(), raw) for raw in statements]
        if any(len(raw) > STATEMENT_BYTES_MAX for _, raw in rows):
            raise Malformed("roster statement too long")

        def work() -> int:
            [(before,)] = self._store.database.execute("SELECT count(*) FROM statements")
            if before + len(rows) > STATEMENTS_MAX:
                raise Malformed("too many roster statements")
            self._store.database.execute_many("INSERT OR IGNORE INTO statements VALUES(?, ?)", rows)
            [(after,)] = self._store.database.execute("SELECT count(*) FROM statements")
            return int(after - before)

        return await self._submit(work, len(rows), lambda count: Change(statements=count > 0))

    async def set_setting(self, name: str, value: bytes) -> None:
        """Keep a small value, durably."""
        assert name != "incarnation"
        await self._submit(lambda: self._store.set_setting(name, value), 1, lambda _: Change())


def _pieces(commits: Sequence[Commit]) -> list[list[Commit]]:
    """Cut into runs of at most about LEDGER_BATCH_OPERATIONS operations."""
    pieces: list[list[Commit]] = []
    weight = LEDGER_BATCH_OPERATIONS
    for commit in commits:
        if weight + len(commit.operations) > LEDGER_BATCH_OPERATIONS:
            pieces.append([])
            weight = 0
        pieces[-1].append(commit)
        weight += len(commit.operations)
    return pieces
