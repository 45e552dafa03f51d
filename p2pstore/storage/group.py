"""A group commit in the making: which records go where. Decides and lays out; writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from p2pstore.ids import ShardId
from p2pstore.packing import Buffer
from p2pstore.storage.entries import NO_PACK, Entry, ShardState
from p2pstore.storage.records import (
    GROUP_ALIGN_BYTES,
    PACK_HEADER_BYTES,
    Record,
    RecordKind,
    StoreKey,
    align_group,
    encode_record,
)
from p2pstore.storage.space import PackUse

_NO_HASH = bytes(32)


@dataclass(slots=True)
class Segment:
    """The part of a group that goes into one pack.

    Attributes:
        pack: its number.
        new: the pack does not exist yet.
        start: where the group starts in the pack.
        end: the offset after its last record.
        buffers: the bytes, in order.
    """

    pack: int
    new: bool
    start: int
    end: int
    buffers: list[Buffer] = field(default_factory=list)


class Group:
    """Records and entries of one group commit, added one after the other.

    Attributes:
        entries: what the index shall say, by shard: the last word of the group.
        replaced: what the index says of these shards until then.
        segments: what shall be written, by pack.
        next_pack: the number of the next new pack.
        used_bytes: bytes of all packs with the group written.
        free_bytes: what the disk will have left.
    """

    def __init__(
        self,
        key: StoreKey,
        *,
        active: PackUse | None,
        next_pack: int,
        pack_bytes_max: int,
        used_bytes: int,
        free_bytes: int,
    ) -> None:
        self.entries: dict[ShardId, Entry] = {}
        self.replaced: list[Entry] = []
        self.segments: list[Segment] = []
        self.next_pack = next_pack
        self.used_bytes = used_bytes
        self.free_bytes = free_bytes
        self._key = key
        self._active = active
        self._pack_bytes_max = pack_bytes_max
        self._headers: dict[ShardId, Buffer] = {}

    def header_of(self, shard: ShardId) -> bytes:
        """The shard header of a shard that this group stores."""
        return bytes(self._headers[shard])

    def add_shard(self, entry: Entry, header: Buffer, payload: Buffer, *, current: Entry | None) -> None:
        """Append the record of a shard.

        Args:
            entry: What the index shall say, but for the place.
            header: Its shard header.
            payload: Its payload.
            current: What is known of the shard so far, this group included.
        """
        assert (len(header), len(payload)) == (entry.header_bytes, entry.payload_bytes), "the entry has other lengths"
        segment = self._segment_for(entry.record_bytes)
        self._append(segment, entry, RecordKind.SHARD, 0, [header, payload])
        self._tell(entry._replace(pack=segment.pack, offset=segment.end - entry.record_bytes), current)
        self._headers[entry.shard] = header

    def add_drop(self, entry: Entry, *, current: Entry, horizon: int | None = None) -> None:
        """Append the record of a drop. `horizon` is that of a record that is being moved; None: this very pack."""
        segment = self._segment_for(entry.record_bytes)
        self._append(segment, entry, RecordKind.DROP, segment.pack if horizon is None else horizon, [])
        self._tell(entry._replace(pack=segment.pack, offset=segment.end - entry.record_bytes), current)

    def take_off_pack(self, current: Entry) -> None:
        """Let an entry stand without a record: a drop that needs none any more, or a shard that is damaged anyway."""
        assert current.state is not ShardState.HELD, "a shard that is held has a record"
        self._tell(current._replace(pack=NO_PACK, offset=0), current)

    def packs_after(self, packs: Mapping[int, PackUse]) -> list[PackUse]:
        """The figures of those packs that the group changes, given the figures before it."""
        after = {
            segment.pack: PackUse(segment.pack, segment.end, 0 if segment.new else packs[segment.pack].live_bytes)
            for segment in self.segments
        }
        for entries, sign in ((self.entries.values(), 1), (self.replaced, -1)):
            for entry in entries:
                if entry.counts_in_pack:
                    use = after.get(entry.pack) or packs[entry.pack]
                    after[entry.pack] = replace(use, live_bytes=use.live_bytes + sign * entry.record_bytes)
        return list(after.values())

    def _tell(self, entry: Entry, current: Entry | None) -> None:
        if current is not None and current.shard not in self.entries:
            self.replaced.append(current)
        self.entries[entry.shard] = entry

    def _append(self, segment: Segment, entry: Entry, kind: RecordKind, horizon: int, body: list[Buffer]) -> None:
        record = Record(
            kind=kind,
            shard=entry.shard,
            header_bytes=entry.header_bytes,
            payload_bytes=entry.payload_bytes,
            stamp=entry.stamp,
            group_block=segment.start // GROUP_ALIGN_BYTES,
            horizon=horizon,
            payload_hash=entry.payload_hash,
        )
        header = body[0] if body else b""
        segment.buffers.append(encode_record(record, header, self._key, pack=segment.pack, offset=segment.end))
        segment.buffers += [buffer for buffer in body if len(buffer)]
        segment.end += record.length
        self.used_bytes += record.length
        self.free_bytes -= record.length

    def _segment_for(self, record_bytes: int) -> Segment:
        """The segment that takes the next record: the last one, or the first of a new pack."""
        if self.segments:
            segment = self.segments[-1]
            if segment.end + record_bytes <= self._pack_bytes_max:
                return segment
        elif self._active is not None:
            # a pack may be shorter than its header after a power cut; its records start behind it all the same
            start = max(PACK_HEADER_BYTES, align_group(self._active.length))
            if start + record_bytes <= self._pack_bytes_max:
                self.segments.append(Segment(self._active.pack, new=False, start=start, end=start))
                return self.segments[-1]
        self.segments.append(Segment(self.next_pack, new=True, start=PACK_HEADER_BYTES, end=PACK_HEADER_BYTES))
        self.next_pack += 1
        return self.segments[-1]


def drop_entry(shard: ShardId, stamp: int) -> Entry:
    """The entry of a drop, without its place."""
    return Entry(stamp, shard, ShardState.DROPPED, stamp, NO_PACK, 0, 0, 0, _NO_HASH)
