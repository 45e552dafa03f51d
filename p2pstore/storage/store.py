"""The shards of one disk as a service: what the rest of the daemon sees of a store.

One task commits: it takes the changes that wait, has them checked, appended and synced in one worker job, and only then
wakes the callers. (Checking the next group meanwhile in a second thread made it slower on a busy machine of two cores:
the threads waited for each other's interpreter lock.) A second task compacts packs that are mostly dead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar, TypeVarTuple, Unpack

import trio

from p2pstore.errors import Corrupt, DatabaseDamaged, DiskAsleep, Misuse, P2PStoreError, Unavailable
from p2pstore.ids import EncodingId, ShardId, StoreId
from p2pstore.limits import (
    BULK_PAYLOAD_BYTES_MAX,
    CODE_LENGTH_MAX,
    DROPS_REMEMBERED_MIN,
    LEDGER_RESERVE_BYTES,
    PACK_BYTES_MAX,
    SHARD_HEADER_BYTES_MAX,
)
from p2pstore.packing import Buffer
from p2pstore.seams.clock import Clock
from p2pstore.seams.disk import Disk
from p2pstore.seams.workers import Workers
from p2pstore.storage import compaction, scrub
from p2pstore.storage.entries import Change, Drop, Entry, Put, ShardState, StoredBytes, StoredShard
from p2pstore.storage.opening import make_store, opening, rebuilding_index
from p2pstore.storage.queue import CommitQueue
from p2pstore.storage.recovery import RecoveryReport
from p2pstore.storage.scrub import CheckReport
from p2pstore.storage.shelf import Outcome, Shelf, StoreLimits
from p2pstore.storage.space import Usage

COMMIT_COST_S_PER_BYTE: Final = 0.7e-9
"""CPU seconds to hash and append a byte (benchmarks/storage.py)."""

COMMIT_COST_S: Final = 60e-6
"""CPU seconds to commit one more shard (benchmarks/storage.py)."""

LOOKUP_COST_S: Final = 30e-6
"""CPU seconds of a question to the index."""

COMPACTION_REST: Final = 1.0
"""Compaction pauses as long as it worked: half of the disk's time is left to the rest."""


Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_END: Final = object()


@dataclass(frozen=True, slots=True)
class Held:
    """What a store says of a shard that it holds intact, from its index.

    Attributes:
        counter: position in the change feed.
        payload_bytes: length of the payload.
        payload_hash: BLAKE3 of the payload.
    """

    counter: int
    payload_bytes: int
    payload_hash: bytes


class ShardStore:
    """One store. Made by `open`; changes need `run` to run; questions and reads do not."""

    def __init__(
        self, disk: Disk, workers: Workers, clock: Clock, rng: random.Random, shelf: Shelf, recovery: RecoveryReport
    ) -> None:
        self.recovery = recovery
        """What opening found."""
        self._disk = disk
        self._workers = workers
        self._clock = clock
        self._rng = rng
        self._shelf = shelf
        self._queue = CommitQueue()
        self._compaction_due = trio.Event()
        self._compaction_due.set()  # the last life may have left something
        self._changed = trio.Event()
        self._compacting = trio.Lock()
        self._askers = 0
        self._unasked = trio.Event()

    @classmethod
    async def create(cls, disk: Disk, workers: Workers, *, rng: random.Random) -> StoreId:
        """Make an empty store on `disk` and return its name; durable when this returns.

        Raises:
            Misuse: there is one already.
        """
        return await workers.run(make_store, disk, rng)

    @classmethod
    async def open(
        cls,
        disk: Disk,
        workers: Workers,
        clock: Clock,
        *,
        rng: random.Random,
        given_bytes: int,
        expected: StoreId | None = None,
        reserve_bytes: int = LEDGER_RESERVE_BYTES,
        pack_bytes_max: int = PACK_BYTES_MAX,
    ) -> ShardStore:
        """Open the store on `disk`. After a power cut this reads the ends of its packs; if the index is missing or
        damaged, all of them.

        Args:
            disk: The store's folder.
            workers: Where everything blocking runs.
            clock: Paces compaction and scrubs.
            rng: Names epochs.
            given_bytes: The size that its owner gave it.
            expected: The store that should be there; None: whichever is.
            reserve_bytes: Free space on the disk that shards never take.
            pack_bytes_max: A pack is closed beyond this size.

        Raises:
            DiskAsleep: no store lies there, or not the expected one: its shards are away, not gone.
            Busy: another process has it open.
        """
        report = RecoveryReport()
        limits = StoreLimits(given_bytes, reserve_bytes, pack_bytes_max)
        steps = opening(disk, limits, rng, expected, report)
        shelf = None
        while shelf is None:
            shelf = await workers.run(next, steps)
        return cls(disk, workers, clock, rng, shelf, report)

    @property
    def store(self) -> StoreId:
        """The store's public name."""
        return self._shelf.key.store

    @property
    def epoch(self) -> bytes:
        """While this stays the same, `changes_since` misses nothing; when it changes, start over from counter 0."""
        return self._shelf.epoch

    def usage(self) -> Usage:
        """The store's figures after its last change."""
        return self._shelf.usage()

    def give(self, given_bytes: int) -> None:
        """Give another size from now on. What is held beyond a smaller one stays; nothing new is taken meanwhile."""
        self._shelf.limits = replace(self._shelf.limits, given_bytes=given_bytes)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit and compact until cancelled."""
        self._queue.open()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_compaction)
                task_status.started()
                while True:
                    await self._commit_next()
        finally:
            self._queue.close()

    async def close(self) -> None:
        """Let go of the disk; `run` must have ended."""
        await self._workers.run(self._shelf.close)

    # --- changes --------------------------------------------------------------------------------------------------

    async def put(
        self, shard: ShardId, header: Buffer, payload: Buffer, *, payload_hash: bytes, for_repair: bool = False
    ) -> StoredShard:
        """Store a shard. When this returns it survives a power cut, and its hash was checked.

        The same shard again is fine (what is held is read and verified first). The buffers must not change before
        this returns or raises.

        Args:
            shard: Its name.
            header: Its header, opaque to the store.
            payload: Its bytes.
            payload_hash: BLAKE3 of the payload.
            for_repair: It replaces a lost one; taken up to a higher fill.

        Raises:
            Forged: the payload has another hash.
            DifferentPayload: another payload, or header, is held under that name; it stays.
            NoSpace: the store or the disk is full.
            DiskAsleep: the disk is away, or the index is being rebuilt.
            Unavailable: the store does not run, or the disk failed; nothing was stored.
        """
        header, payload = _flat(header), _flat(payload)
        if len(header) > SHARD_HEADER_BYTES_MAX or len(payload) > BULK_PAYLOAD_BYTES_MAX:
            raise Misuse("the shard is too long")
        if not 0 <= shard.index < CODE_LENGTH_MAX or len(shard.encoding) != 32:
            raise Misuse("no such shard id")
        outcome = await self._change(Put(shard, header, payload, payload_hash, for_repair))
        assert isinstance(outcome, StoredShard), "a put is answered by a receipt or an error"
        return outcome

    async def drop(self, shard: ShardId) -> None:
        """Hold a shard no longer; durable when this returns. Fine if it is not held.

        Raises:
            NoSpace: not even the record of the drop fits the disk.
            DiskAsleep, Unavailable: as for `put`.
        """
        await self._change(Drop(shard))

    async def _change(self, alteration: Put | Drop) -> Outcome:
        if self._shelf.asleep:
            raise DiskAsleep("the disk went away")
        (outcome,) = await self._queue.submit([alteration])
        if isinstance(outcome, P2PStoreError):
            raise type(outcome)(*outcome.args) from outcome  # one of its own for each caller of the group
        return outcome

    async def _commit_next(self) -> None:
        callers = await self._queue.take()
        with self._queue.settling(callers):
            alterations = [item for caller in callers for item in caller.alterations]
            size = sum(item.queue_bytes for item in alterations)
            cost_s = size * COMMIT_COST_S_PER_BYTE + len(alterations) * COMMIT_COST_S
            outcomes = iter(await self._workers.run(self._shelf.commit, alterations, cost_s=cost_s))
            for caller in callers:
                self._queue.settle(caller, [next(outcomes) for _ in caller.alterations])
        if self._shelf.index_damaged and not self._shelf.asleep:
            try:
                await self.rebuild_index()
            except (OSError, P2PStoreError):
                self._shelf.asleep = True  # no disk, no index: whoever opens the store anew will see
        self._tell_change()
        if any(isinstance(item, Drop) for item in alterations) and compaction.choose_pack(self._shelf) is not None:
            self._compaction_due.set()

    def _tell_change(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def wait_change(self) -> None:
        """Return after the next group commit, whatever it changed."""
        await self._changed.wait()

    async def wait_changes(self, epoch: bytes, counter: int) -> None:
        """Return when there is a change after `counter`, or `epoch` is over: at once, or when it comes to that."""
        await trio.lowlevel.checkpoint()
        while self.epoch == epoch and self._shelf.last_change <= counter:
            await self._changed.wait()

    async def have_index_rebuilt(self) -> None:
        """Ask the running committer for what `rebuild_index` does, and wait for it."""
        epoch = self.epoch
        self._shelf.index_damaged = True
        self._queue.wake()
        while self.epoch == epoch and not self._shelf.asleep:
            await self._changed.wait()

    async def rebuild_index(self) -> RecoveryReport:
        """Throw the index away and read all packs; meanwhile every other call raises DiskAsleep. A new epoch begins.

        The committer does this by itself when the index turns out to be damaged. From elsewhere (a doctor) only call it
        while `run` does not run.
        """
        self._shelf.index_damaged = True  # nobody asks any more
        while self._askers:
            self._unasked = trio.Event()
            await self._unasked.wait()
        report = RecoveryReport()
        steps = rebuilding_index(self._disk, self._shelf, self._rng, report)
        while await self._workers.run(_has_next, steps):
            pass
        return report

    # --- questions ------------------------------------------------------------------------------------------------

    async def get(self, shard: ShardId) -> StoredBytes:
        """The shard as it was put, every byte of it checked.

        Raises:
            NotHeld: no such shard here.
            Corrupt: it is damaged; it is in quarantine from now on (see `damaged`).
            DiskAsleep: the disk is away, or the index is being rebuilt.
        """
        try:
            return await self._ask(Shelf.read, shard)
        except Corrupt:
            self._tell_change()
            raise

    async def get_range(self, shard: ShardId, offset: int, size: int) -> memoryview:
        """`size` bytes of the payload from `offset` (fewer at its end). All of it is read and checked, because one hash
        covers it: an unchecked byte never leaves a store."""
        return (await self.get(shard)).payload[offset : offset + size]

    async def look(self, shard: ShardId) -> Held | None:
        """What the index says of a shard; None unless it is held intact."""
        entry = await self._ask(_find, shard)
        if entry is None or entry.state is not ShardState.HELD:
            return None
        return Held(entry.change, entry.payload_bytes, entry.payload_hash)

    async def holds(self, shard: ShardId) -> bool:
        """True if the shard is held intact, as far as is known without reading it."""
        return await self.look(shard) is not None

    async def shards_of(self, encoding: EncodingId) -> list[int]:
        """Indices of the shards of a stripe that are held intact, ascending."""
        return await self._ask(_numbers_of, encoding)

    async def damaged(self, limit: int) -> list[ShardId]:
        """Up to `limit` shards in quarantine, oldest first. A put or a drop takes them out."""
        return await self._ask(_damaged, limit)

    async def changes_since(self, counter: int, limit: int) -> list[Change]:
        """The first `limit` changes after `counter`, oldest first; [] at the end. Of each shard only the last change is
        there. Counters are continued only within an `epoch`; 0 starts over (and then lists drops too)."""
        entries = await self._ask(_changes, counter, limit)
        return [
            Change(entry.change, entry.shard, entry.state is ShardState.HELD, entry.payload_bytes) for entry in entries
        ]

    async def _ask(self, question: Callable[[Shelf, Unpack[Ts]], T], *args: *Ts) -> T:
        """Run a question to the shelf in a worker job; a rebuild of the index waits for it."""
        if self._shelf.asleep:
            raise DiskAsleep("the disk went away")
        if self._shelf.index_damaged:
            raise DiskAsleep("the index is being rebuilt")
        self._askers += 1
        try:
            return await self._workers.run(question, self._shelf, *args, cost_s=LOOKUP_COST_S)
        except DatabaseDamaged as error:
            self._shelf.index_damaged = True
            raise DiskAsleep(f"the index is being rebuilt: {error}") from error
        finally:
            self._askers -= 1
            if not self._askers:
                self._unasked.set()
            if self._shelf.index_damaged:
                self._queue.wake()

    # --- scrubbing ------------------------------------------------------------------------------------------------

    async def check_some(self, after: int = 0) -> CheckReport:
        """Read and check the next few shards (some MiB) whose last change is later than `after`: one step of a scrub
        that may take a month and be interrupted. What is damaged goes into quarantine."""
        report = await self._ask(scrub.check_some, after)
        if report.damaged:
            self._tell_change()
        return report

    async def check_all(self, *, rest: float = 1.0) -> CheckReport:
        """Read and check every shard.

        Args:
            rest: Pause between steps, as a multiple of the time just worked.
        """
        total = CheckReport(0, 0, 0, ())
        while total.after is not None:
            started_s = self._clock.now_s()
            part = await self.check_some(total.after)
            total = CheckReport(
                part.after,
                total.checked + part.checked,
                total.checked_bytes + part.checked_bytes,
                total.damaged + part.damaged,
            )
            await self._clock.sleep((self._clock.now_s() - started_s) * rest)
        return total

    # --- compaction -----------------------------------------------------------------------------------------------

    async def compact(self) -> int:
        """Compact every pack that is worth it; how many were. Needs `run`. Also done by `run` itself when due."""
        compacted = 0
        async with self._compacting:
            while (pack := await self._ask(compaction.choose_pack)) is not None:
                if not await self._compact_pack(pack):
                    break
                compacted += 1
            await self._ask(_forget_drops, self._rng)
        return compacted

    async def _compact_pack(self, pack: int) -> bool:
        """Move what counts out of `pack` and delete it; False if there was no room for that, or a disk error."""
        await self._ask(Shelf.close_pack, pack)
        while True:
            started_s = self._clock.now_s()
            moves = await self._ask(compaction.read_batch, pack)
            if not moves:
                break
            outcomes = await self._queue.submit(moves)
            if any(isinstance(outcome, P2PStoreError) for outcome in outcomes):
                return False
            await self._ask(compaction.verify_batch, moves)
            await self._clock.sleep((self._clock.now_s() - started_s) * COMPACTION_REST)
        await self._ask(Shelf.remove_pack, pack)
        return True

    async def _run_compaction(self) -> None:
        while True:
            await self._compaction_due.wait()
            self._compaction_due = trio.Event()
            try:
                await self.compact()
            except (Unavailable, Corrupt, OSError):
                continue  # full, asleep, mending, or a bad place: the old packs stay, and the next change tries again


def _find(shelf: Shelf, shard: ShardId) -> Entry | None:
    return shelf.index.find(shard)


def _numbers_of(shelf: Shelf, encoding: EncodingId) -> list[int]:
    return shelf.index.numbers_of(encoding)


def _damaged(shelf: Shelf, limit: int) -> list[ShardId]:
    return shelf.index.damaged(limit)


def _changes(shelf: Shelf, counter: int, limit: int) -> list[Entry]:
    return shelf.index.after(counter, limit)


def _forget_drops(shelf: Shelf, rng: random.Random) -> None:
    shelf.forget_drops(rng, more_than=DROPS_REMEMBERED_MIN)


def _has_next(steps: Iterator[None]) -> bool:
    return next(steps, _END) is not _END


def _flat(buffer: Buffer) -> Buffer:
    """The same bytes, such that len() counts them."""
    return memoryview(buffer).cast("B") if isinstance(buffer, memoryview) else buffer
