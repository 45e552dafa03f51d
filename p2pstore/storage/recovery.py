"""What opening a store does: brings the index up to what the packs say.

After a clean end there is nothing to do. After a power cut the index may lack the last group commits, and the last
pack may end in a torn one that nobody was told of. Without an index everything is read. Each pack is one step (so a
step reads at most 256 MiB) and one transaction: a death in between costs only time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import DiskAsleep
from p2pstore.seams.disk import Disk, DiskFile
from p2pstore.storage.entries import NO_PACK, Entry, ShardState
from p2pstore.storage.index import Index
from p2pstore.storage.packs import PACKS_FOLDER, pack_name, pack_numbers
from p2pstore.storage.records import GROUP_ALIGN_BYTES, PACK_HEADER_BYTES, RecordKind, StoreKey, other_store
from p2pstore.storage.scan import Found, scan_pack
from p2pstore.storage.space import PackUse

_UNCOUNTED: Final = -1
"""Living bytes of a pack that was just indexed, until all are counted anew; a death may delay that to the next time."""


@dataclass(slots=True)
class RecoveryReport:
    """What was found.

    Attributes:
        scanned_bytes: bytes of packs read.
        adopted: records that the index did not know.
        cut_bytes: bytes of torn group commits cut off.
        damaged: shards that were found damaged.
        last_stamp: the largest stamp met.
    """

    scanned_bytes: int = 0
    adopted: int = 0
    cut_bytes: int = 0
    damaged: int = 0
    last_stamp: int = 0


def recover(disk: Disk, index: Index, key: StoreKey, report: RecoveryReport, *, rebuilding: bool) -> Iterator[None]:
    """Bring `index` up to the packs, one pack a step.

    Args:
        disk: Where the store lies.
        index: Its index; an empty one to rebuild it.
        key: Whose store it is.
        report: Filled on the way.
        rebuilding: The index knows nothing, so nothing that it does not know is taken for torn: nothing is cut off.

    Raises:
        DiskAsleep: a pack of another store lies here.
    """
    disk.sync_folder(PACKS_FOLDER)  # a process that was killed may have left names that are not durable
    recovery = _Recovery(disk, index, key, report, rebuilding)
    yield from recovery.run()


class _Recovery:
    """One run. Damage is told last: it takes numbers in the change feed that no record may bear."""

    def __init__(self, disk: Disk, index: Index, key: StoreKey, report: RecoveryReport, rebuilding: bool) -> None:
        self._disk = disk
        self._index = index
        self._key = key
        self._report = report
        self._rebuilding = rebuilding
        self._numbers = pack_numbers(disk)
        self._known = index.packs()
        self._damaged: list[tuple[int, Found]] = []
        self._lengths: dict[int, int] = {}  # of packs that hold damage or lost their end; written with that
        self._touched = any(use.live_bytes == _UNCOUNTED for use in self._known.values())

    def run(self) -> Iterator[None]:
        self._report.last_stamp = self._index.last_stamp()
        missing = sorted(set(self._known) - set(self._numbers))
        for pack in self._numbers:
            file = self._disk.open(pack_name(pack))
            try:
                if self._scan_if_grown(pack, file):
                    yield
            finally:
                file.close()
        if self._touched or self._lengths or missing:
            self._tell_damage(missing)

    def _scan_if_grown(self, pack: int, file: DiskFile) -> bool:
        if (other := other_store(file.read(0, PACK_HEADER_BYTES), self._key)) is not None:
            raise DiskAsleep(f"pack {pack} is of store {other.hex()}")
        size = file.size()
        use = self._known.get(pack)
        start = use.length if use is not None else 0
        if use is not None and size == start:
            return False
        self._touched = True
        if size < start:
            self._lengths[pack] = size
        else:
            self._adopt_tail(pack, file, start)
        return True

    def _adopt_tail(self, pack: int, file: DiskFile, start: int) -> None:
        """Index what lies in `pack` from `start` on, and cut off a torn end."""
        size = file.size()
        last = pack == self._numbers[-1]
        found = list(scan_pack(file, self._key, pack, start))
        self._report.scanned_bytes += size - start
        self._report.last_stamp = max([self._report.last_stamp, *(item.record.stamp for item in found)])
        if last:
            whole = _without_torn_end(found)
            if not self._rebuilding:
                end = max((item.end for item in whole), default=start)
                self._report.cut_bytes += size - end
                if not end:
                    self._disk.remove(pack_name(pack))  # its first group commit never ended
                    self._disk.sync_folder(PACKS_FOLDER)
                    return
                if end < size:
                    file.truncate(end)
                    size = end
                found = whole
        intact = [item for item in found if item.intact]
        damaged = [item for item in found if not item.intact and (not last or item in whole)]
        file.sync()  # what a killed process wrote may not be on the medium, and from now on it counts as held
        with self._index.transaction():
            for item in intact:
                self._adopt(pack, item, ShardState.HELD)
            if damaged:
                self._damaged += [(pack, item) for item in damaged]
                self._lengths[pack] = size
            else:
                self._index.write_packs([PackUse(pack, size, _UNCOUNTED)])

    def _adopt(self, pack: int, item: Found, state: ShardState) -> None:
        """Let one record count, unless a later one of its shard does, or an equal one in another place."""
        record = item.record
        current = self._index.find(record.shard)
        if current is not None and not _supersedes(item, state, pack, current):
            return
        if record.kind is RecordKind.DROP:
            state = ShardState.DROPPED
        change = record.stamp
        if current is not None and current.stamp == record.stamp and current.state is state:
            change = current.change  # moved, nothing else
        elif state is ShardState.DAMAGED or self._index.change_taken(change):
            change = self._next_change()  # a stamp comes twice if part of the disk is an older image of itself
        self._index.write(
            [
                Entry(
                    change,
                    record.shard,
                    state,
                    record.stamp,
                    pack,
                    item.offset,
                    record.header_bytes,
                    record.payload_bytes,
                    record.payload_hash,
                )
            ]
        )
        self._report.adopted += 1
        self._report.damaged += state is ShardState.DAMAGED

    def _next_change(self) -> int:
        self._report.last_stamp += 1
        return self._report.last_stamp

    def _tell_damage(self, missing: list[int]) -> None:
        """Quarantine what was found damaged and what the index expects where there is nothing any more."""
        with self._index.transaction():
            for pack, item in self._damaged:
                self._adopt(pack, item, ShardState.DAMAGED)
            for pack in missing:
                self._lose_records(pack, 0)
                self._index.forget_pack(pack)
            for pack, length in self._lengths.items():
                self._lose_records(pack, length)
                self._index.write_packs([PackUse(pack, length, _UNCOUNTED)])
            self._index.recount_packs()
        self._index.sync()

    def _lose_records(self, pack: int, length: int) -> None:
        entries = []
        for entry in self._index.beyond(pack, length):
            if entry.state is ShardState.HELD:
                entry = entry._replace(state=ShardState.DAMAGED, change=self._next_change())
                self._report.damaged += 1
            entries.append(entry._replace(pack=NO_PACK, offset=0))
        self._index.write(entries)


def _without_torn_end(found: list[Found]) -> list[Found]:
    """The records of a pack without what a power cut made of its last group commit.

    Of that group only what lies before the first hole or damage is kept: its caller was told nothing. Earlier groups
    were acknowledged (each waits for the sync of the one before), so damage in them is rot.
    """
    last_group = max((item.record.group_block for item in found), default=0)
    whole = [item for item in found if item.record.group_block < last_group]
    end = last_group * GROUP_ALIGN_BYTES
    for item in found[len(whole) :]:
        if not item.intact or item.offset != end:
            break
        whole.append(item)
        end = item.end
    return whole


def _supersedes(item: Found, state: ShardState, pack: int, current: Entry) -> bool:
    if item.record.stamp != current.stamp:
        return item.record.stamp > current.stamp
    # the same record, moved by a compaction: both are right, the newer place will stay
    if state is ShardState.DAMAGED:
        return False
    return current.state is ShardState.DAMAGED or current.pack == NO_PACK or pack > current.pack
