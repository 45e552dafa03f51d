"""A store without tasks: what runs in worker jobs. Group commits, verified reads, quarantine.

The order of a group commit is the promise of the whole store: check every hash, append every record, sync the pack
once, then the index, then tell the callers. Whatever fails on the way, the pack is cut back to where it was, and
nobody was told anything.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from blake3 import blake3

from p2pstore.errors import (
    Corrupt,
    DatabaseDamaged,
    DifferentPayload,
    DiskAsleep,
    Forged,
    NoSpace,
    NotHeld,
    P2PStoreError,
    Unavailable,
)
from p2pstore.ids import ShardId
from p2pstore.limits import LEDGER_RESERVE_BYTES, PACK_BYTES_MAX
from p2pstore.seams.disk import Disk
from p2pstore.storage.entries import (
    NO_PACK,
    Alteration,
    Drop,
    Entry,
    Move,
    Put,
    ShardState,
    StoredBytes,
    StoredShard,
)
from p2pstore.storage.group import Group, Segment, drop_entry
from p2pstore.storage.index import Index
from p2pstore.storage.packs import PACKS_FOLDER, PackFiles
from p2pstore.storage.reading import read_horizon, read_shard
from p2pstore.storage.records import (
    RECORD_HEADER_BYTES,
    StoreKey,
    encode_pack_header,
)
from p2pstore.storage.recovery import RecoveryReport
from p2pstore.storage.sentinel import read_sentinel
from p2pstore.storage.space import PackUse, StoreState, Usage, admits, space_state

Outcome = StoredShard | P2PStoreError | None
"""What a caller is told: a receipt for a put, an error, or None for the rest."""

READ_TRIES_MAX = 3
"""A record that is not where the index said was moved meanwhile; a pack is not compacted thrice in a millisecond."""


@dataclass(frozen=True, slots=True)
class StoreLimits:
    """Sizes that a store keeps to.

    Attributes:
        given_bytes: the size that its owner gave it.
        reserve_bytes: free space that shards never take.
        pack_bytes_max: a pack is closed beyond this size.
    """

    given_bytes: int
    reserve_bytes: int = LEDGER_RESERVE_BYTES
    pack_bytes_max: int = PACK_BYTES_MAX


class Shelf:
    """The shards on one disk. Every method blocks; `commit` and the other changing ones exclude each other.

    Attributes:
        asleep: the disk went away; open the store anew when it is back.
        index_damaged: the index must be rebuilt before anything else.
        last_change: the largest position in the change feed.
    """

    def __init__(
        self, disk: Disk, key: StoreKey, index: Index, limits: StoreLimits, report: RecoveryReport
    ) -> None:
        self.key = key
        self.limits = limits
        self.asleep = False
        self.index_damaged = False
        self._disk = disk
        self._index = index
        self._files = PackFiles(disk)
        self._changing = threading.Lock()
        self._adopt_index(index, report)

    def _adopt_index(self, index: Index, report: RecoveryReport) -> None:
        self._index = index
        self._packs = index.packs()
        self._next_stamp = max(report.last_stamp, index.last_stamp()) + 1
        self.last_change = index.last_change()
        self._next_pack = max(self._packs, default=NO_PACK) + 1
        last = self._packs.get(self._next_pack - 1)
        self._active = last.pack if last is not None and last.length < self.limits.pack_bytes_max else None
        self._held_count = index.count(ShardState.HELD)
        self._damaged_count = index.count(ShardState.DAMAGED)
        self._free_bytes = self._disk.free_bytes()

    def replace_index(self, index: Index, report: RecoveryReport) -> None:
        """Go on with an index that was rebuilt."""
        with self._changing:
            self._files.close()
            self._files = PackFiles(self._disk)
            self._adopt_index(index, report)
            self.index_damaged = False

    @property
    def index(self) -> Index:
        """The index, for questions that need nothing else."""
        return self._index

    @property
    def epoch(self) -> bytes:
        """See Index.epoch."""
        return self._index.epoch

    def usage(self) -> Usage:
        """The store's figures after its last change."""
        used_bytes = sum(use.length for use in self._packs.values())
        if self.asleep:
            state = StoreState.ASLEEP
        elif self.index_damaged:
            state = StoreState.MENDING
        else:
            state = space_state(
                used_bytes=used_bytes,
                given_bytes=self.limits.given_bytes,
                free_bytes=self._free_bytes,
                reserve_bytes=self.limits.reserve_bytes,
            )
        return Usage(
            given_bytes=self.limits.given_bytes,
            used_bytes=used_bytes,
            live_bytes=sum(use.live_bytes for use in self._packs.values()),
            free_bytes=self._free_bytes,
            shard_count=self._held_count,
            damaged_count=self._damaged_count,
            state=state,
        )

    def packs(self) -> list[PackUse]:
        """The figures of all packs, by number."""
        return sorted(self._packs.values(), key=lambda use: use.pack)

    @property
    def active(self) -> int | None:
        """The pack that the next group commit goes to, if that is not a new one."""
        return self._active

    def close_pack(self, pack: int) -> None:
        """Append no more to `pack`."""
        with self._changing:
            if self._active == pack:
                self._active = None

    def close(self) -> None:
        """Let go of all files. The index is brought up to date on disk, so that opening again reads no pack."""
        with self._changing:
            self._files.close()
            if not self._index.closed:
                with suppress(P2PStoreError, OSError):  # a disk that went away: opening will scan
                    self._index.sync()
                self._index.close()

    # --- group commit ---------------------------------------------------------------------------------------------

    def commit(self, alterations: Sequence[Alteration]) -> list[Outcome]:
        """Carry out `alterations`, in their order, as one group; what each caller is told, in the same order.

        When this returns, whatever a caller is told is durable. It raises only for bugs.
        """
        with self._changing:
            if self.asleep or self.index_damaged:
                return [DiskAsleep("the disk went away, or the index is being rebuilt")] * len(alterations)
            try:
                return self._commit(alterations)
            except NoSpace as error:
                drops = [item if isinstance(item, Drop) else None for item in alterations]
                if all(item is not None for item in drops) or not any(drops):
                    return [error] * len(alterations)
                return self._commit_drops_only(drops, error)
            except DatabaseDamaged as error:
                self.index_damaged = True
                return [DiskAsleep(f"the index is being rebuilt: {error}")] * len(alterations)
            except DiskAsleep as error:
                self.asleep = True
                return [error] * len(alterations)
            except OSError as error:
                return [self._answer_disk_error(error)] * len(alterations)

    def _commit_drops_only(self, drops: list[Drop | None], full: NoSpace) -> list[Outcome]:
        """A full disk still takes drops: they are what makes room."""
        answers: list[Outcome] = [full] * len(drops)
        with suppress(NoSpace):
            told = iter(self._commit([item for item in drops if item is not None]))
            answers = [full if item is None else next(told) for item in drops]
        return answers

    def _commit(self, alterations: Sequence[Alteration]) -> list[Outcome]:
        self._free_bytes = self._disk.free_bytes()
        group = Group(
            self.key,
            active=self._packs[self._active] if self._active is not None else None,
            next_pack=self._next_pack,
            pack_bytes_max=self.limits.pack_bytes_max,
            used_bytes=sum(use.length for use in self._packs.values()),
            free_bytes=self._free_bytes,
        )
        outcomes = [self._take(alteration, group) for alteration in alterations]
        self._next_pack = group.next_pack  # not given out again even if the commit fails
        if group.entries:
            self._write(group)
        return outcomes

    def _take(self, alteration: Alteration, group: Group) -> Outcome:
        try:
            match alteration:
                case Put():
                    return self._take_put(alteration, group)
                case Drop():
                    self._take_drop(alteration, group)
                case Move():
                    self._take_move(alteration, group)
        except (DatabaseDamaged, DiskAsleep):
            raise  # that is of concern to the whole group
        except P2PStoreError as error:
            return error
        return None

    def _current(self, shard: ShardId, group: Group) -> Entry | None:
        return group.entries.get(shard) or self._index.find(shard)

    def _take_put(self, put: Put, group: Group) -> StoredShard:
        if blake3(put.payload).digest() != put.payload_hash:
            raise Forged("the payload is not what its hash says")
        current = self._current(put.shard, group)
        if current is not None and current.state is ShardState.HELD:
            if current.payload_hash != put.payload_hash:
                raise DifferentPayload(put.shard.encoding.hex())
            held_header = self._held_header(current, group)
            if held_header == bytes(put.header):
                return StoredShard(self.key.store, current.change)
            if held_header is not None:
                raise DifferentPayload(put.shard.encoding.hex())
        record_bytes = RECORD_HEADER_BYTES + len(put.header) + len(put.payload)
        if not admits(
            record_bytes,
            for_repair=put.for_repair,
            used_bytes=group.used_bytes,
            given_bytes=self.limits.given_bytes,
            free_bytes=group.free_bytes,
            reserve_bytes=self.limits.reserve_bytes,
        ):
            raise NoSpace("the store takes no more")
        stamp = self._take_stamp()
        entry = Entry(
            stamp, put.shard, ShardState.HELD, stamp, 0, 0, len(put.header), len(put.payload), put.payload_hash
        )
        group.add_shard(entry, put.header, put.payload, current=current)
        return StoredShard(self.key.store, stamp)

    def _held_header(self, current: Entry, group: Group) -> bytes | None:
        """The shard header of what is held; None if that turns out to be damaged. A second put gets its receipt for
        bytes that were read again, not for a row of the index."""
        if current.shard in group.entries:
            return group.header_of(current.shard)
        try:
            return bytes(read_shard(self._files, self.key, current).header)
        except DatabaseDamaged:
            raise
        except OSError as error:
            answer = self._answer_disk_error(error)
            if isinstance(answer, DiskAsleep):
                raise answer from error
            return None
        except Corrupt:
            return None

    def _take_drop(self, drop: Drop, group: Group) -> None:
        current = self._current(drop.shard, group)
        if current is None or current.state is ShardState.DROPPED:
            return
        group.add_drop(drop_entry(drop.shard, self._take_stamp()), current=current)

    def _take_move(self, move: Move, group: Group) -> None:
        old = move.entry
        if self._current(old.shard, group) != old:
            return  # dropped or replaced meanwhile
        if move.forgotten or old.state is ShardState.DAMAGED:
            group.take_off_pack(old)
        elif old.state is ShardState.DROPPED:
            group.add_drop(old, current=old, horizon=move.horizon)
        else:
            group.add_shard(old, move.header, move.payload, current=old)

    def _take_stamp(self) -> int:
        """A new number. One that a failed commit took is not given out again: its record may still be on the disk."""
        stamp = self._next_stamp
        self._next_stamp += 1
        return stamp

    def _write(self, group: Group) -> None:
        touched: list[Segment] = []
        try:
            for segment in group.segments:
                touched.append(segment)
                self._append(segment)
            packs = group.packs_after(self._packs)
            with self._index.transaction():
                self._index.write(group.entries.values())
                self._index.write_packs(packs)
        except NoSpace:
            self._roll_back(touched)
            raise
        except Exception:
            # After a failed sync the system may take for written what is not: leave that pack alone from now on.
            self._active = None
            self._roll_back(touched)
            raise
        self._packs = {**self._packs, **{use.pack: use for use in packs}}
        if group.segments:
            self._active = group.segments[-1].pack
        self.last_change = max(self.last_change, *(entry.change for entry in group.entries.values()))
        self._count(group.replaced, -1)
        self._count(group.entries.values(), 1)
        self._free_bytes = group.free_bytes

    def _append(self, segment: Segment) -> None:
        """Write one segment and sync it: after this it survives a power cut."""
        if segment.new:
            read_sentinel(self._disk, self.key.store)  # never begin a pack on the disk below an empty mount point
        with self._files.using(segment.pack, create=segment.new) as file:
            if segment.new:
                file.write(0, [encode_pack_header(self.key, segment.pack), *segment.buffers])
            else:
                file.write(segment.start, segment.buffers)
            file.sync()
        if segment.new:
            self._disk.sync_folder(PACKS_FOLDER)

    def _roll_back(self, touched: list[Segment]) -> None:
        """Cut the packs back to where they were. What cannot be cut off is scanned when the store is next opened."""
        for segment in touched:
            try:
                if segment.new:
                    self._files.remove(segment.pack)
                else:
                    with self._files.using(segment.pack) as file:
                        file.truncate(self._packs[segment.pack].length)
                        file.sync()  # or a power cut might bring it back, and callers were told that it failed
            except (OSError, P2PStoreError):
                self._active = None

    def _count(self, entries: Iterable[Entry], sign: int) -> None:
        for entry in entries:
            self._held_count += sign * (entry.state is ShardState.HELD)
            self._damaged_count += sign * (entry.state is ShardState.DAMAGED)

    def _answer_disk_error(self, error: OSError) -> Unavailable:
        """A failed call: the disk went away, or it is there and has a bad place."""
        try:
            read_sentinel(self._disk, self.key.store)
        except DiskAsleep as asleep:
            self.asleep = True
            return asleep
        return Unavailable(f"disk error: {error}")

    # --- reading --------------------------------------------------------------------------------------------------

    def read(self, shard: ShardId) -> StoredBytes:
        """The shard as it was put, every byte of it checked.

        Raises:
            NotHeld: no such shard here.
            Corrupt: it is damaged; it is in quarantine from now on.
            DiskAsleep: the disk is away, or the index is being rebuilt.
        """
        for _ in range(READ_TRIES_MAX):
            entry = self._find(shard)
            if entry is None or entry.state is ShardState.DROPPED:
                raise NotHeld(shard.encoding.hex())
            if entry.state is ShardState.DAMAGED:
                raise Corrupt("in quarantine")
            try:
                return read_shard(self._files, self.key, entry)
            except DatabaseDamaged as error:
                self.index_damaged = True
                raise DiskAsleep(f"the index is being rebuilt: {error}") from error
            except (OSError, Corrupt) as error:
                if self._find(shard) != entry:
                    continue  # moved by a compaction while we looked
                self._quarantine(entry, error)
                raise Corrupt(f"pack {entry.pack}, offset {entry.offset}: {error}") from error
        raise Unavailable("the shard is being moved")

    def _find(self, shard: ShardId) -> Entry | None:
        try:
            return self._index.find(shard)
        except DatabaseDamaged as error:
            self.index_damaged = True
            raise DiskAsleep(f"the index is being rebuilt: {error}") from error
        except OSError as error:
            raise self._answer_disk_error(error) from error

    def read_horizon(self, entry: Entry) -> int:
        """See reading.read_horizon."""
        return read_horizon(self._files, self.key, entry)

    def _quarantine(self, entry: Entry, error: Exception) -> None:
        """Count the shard as held no longer, unless it is the disk that went away: then raise DiskAsleep."""
        if isinstance(error, OSError):
            answer = self._answer_disk_error(error)
            if isinstance(answer, DiskAsleep):
                raise answer from error
        with self._changing:
            current = self._index.find(entry.shard)
            if current != entry:
                return
            damaged = entry._replace(state=ShardState.DAMAGED, change=self._take_stamp())
            use = self._packs[entry.pack]
            use = replace(use, live_bytes=use.live_bytes - entry.record_bytes)
            with self._index.transaction():
                self._index.write([damaged])
                self._index.write_packs([use])
            self._index.sync()  # no pack says this, and its number in the feed must never be given out again
            self._packs = {**self._packs, use.pack: use}
            self.last_change = damaged.change
            self._count([entry], -1)
            self._count([damaged], 1)

    def put_back(self, entry: Entry) -> None:
        """Let `entry` count again where it was, because its record's new place turned out to be bad."""
        with self._changing:
            current = self._index.find(entry.shard)
            if current is None or current.stamp != entry.stamp or current.state is ShardState.DROPPED:
                return
            restored = entry._replace(change=self._take_stamp())
            use = self._packs[entry.pack]
            use = replace(use, live_bytes=use.live_bytes + entry.record_bytes)
            with self._index.transaction():
                self._index.write([restored])
                self._index.write_packs([use])
            self._index.sync()
            self._packs = {**self._packs, use.pack: use}
            self.last_change = restored.change
            self._count([current], -1)
            self._count([restored], 1)

    # --- compaction -----------------------------------------------------------------------------------------------

    def remove_pack(self, pack: int) -> None:
        """Delete a pack in which no entry lies any more; durable when this returns.

        The index is synced first, the file goes next, the row last: at every step a death leaves every entry pointing
        to a record that is there.
        """
        with self._changing:
            assert pack != self._active, "the active pack is never removed"
            assert not self._index.in_pack(pack, 1), "something lies in that pack"
            self._index.sync()
            self._files.remove(pack)
            with self._index.transaction():
                self._index.forget_pack(pack)
            self._packs = {number: use for number, use in self._packs.items() if number != pack}

    def forget_drops(self, rng: random.Random, *, more_than: int) -> None:
        """Shorten the change feed by the drops that no pack needs, if there are more of them than `more_than` and than
        shards held. A new epoch begins."""
        with self._changing:
            if self._index.count_forgettable() > max(more_than, self._held_count):
                self._index.forget_drops(rng)
                self._index.sync()
                self.last_change = self._index.last_change()
