"""What a store says of a shard, and what it answers: frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from p2pstore.ids import ShardId, StoreId
from p2pstore.packing import Buffer
from p2pstore.storage.records import RECORD_HEADER_BYTES

NO_PACK = 0
"""The pack number of an entry that has no record any more; packs count from 1."""


class ShardState(IntEnum):
    """Where a shard stands."""

    HELD = 0
    DROPPED = 1
    DAMAGED = 2


class Entry(NamedTuple):
    """A row of the index (a NamedTuple, because thousands are made a second).

    Attributes:
        change: position in the change feed.
        shard: whose.
        state: held, dropped, or damaged (in quarantine).
        stamp: of its record; equal to `change` unless the shard was found damaged later.
        pack: where its record lies, or NO_PACK.
        offset: of its record in the pack.
        header_bytes: length of the shard header.
        payload_bytes: length of the payload.
        payload_hash: BLAKE3 of the payload.
    """

    change: int
    shard: ShardId
    state: ShardState
    stamp: int
    pack: int
    offset: int
    header_bytes: int
    payload_bytes: int
    payload_hash: bytes

    @property
    def record_bytes(self) -> int:
        """Bytes of its record."""
        return RECORD_HEADER_BYTES + self.header_bytes + self.payload_bytes

    @property
    def counts_in_pack(self) -> bool:
        """True if its record must outlive a compaction: the shard, or the drop that a rebuild has to honour."""
        return self.pack != NO_PACK and self.state is not ShardState.DAMAGED


@dataclass(frozen=True, slots=True)
class StoredShard:
    """The receipt of a put: synced, and the hash checked.

    Attributes:
        store: which store holds it.
        counter: position in that store's change feed.
    """

    store: StoreId
    counter: int


@dataclass(frozen=True, slots=True)
class StoredBytes:
    """A shard as it was put, verified. Both are views of one buffer."""

    header: memoryview
    payload: memoryview


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the change feed: how a shard stands since `counter`; earlier lines about it are gone.

    Attributes:
        counter: increases with every change of the store.
        shard: whose.
        held: True if it is held intact; False if it was dropped or is in quarantine.
        payload_bytes: length of its payload.
    """

    counter: int
    shard: ShardId
    held: bool
    payload_bytes: int


@dataclass(frozen=True, slots=True)
class Put:
    """A shard to be stored.

    Attributes:
        shard: whose.
        header: opaque, at most SHARD_HEADER_BYTES_MAX.
        payload: opaque; not to be changed before the answer.
        payload_hash: BLAKE3 that the payload must have.
        for_repair: a store that takes no placements still takes repairs.
    """

    shard: ShardId
    header: Buffer
    payload: Buffer
    payload_hash: bytes
    for_repair: bool = False

    @property
    def queue_bytes(self) -> int:
        """What it counts for in the queue."""
        return len(self.header) + len(self.payload)


@dataclass(frozen=True, slots=True)
class Drop:
    """A shard to be held no longer."""

    shard: ShardId
    queue_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Move:
    """A record to be written anew, because its pack is being compacted.

    Attributes:
        entry: what the index said when the record was read.
        header: of a held shard, else empty.
        payload: of a held shard, else empty.
        horizon: of a drop, else 0.
        forgotten: the record is not needed any more: only take the entry off its pack.
    """

    entry: Entry
    header: Buffer = b""
    payload: Buffer = b""
    horizon: int = 0
    forgotten: bool = False

    @property
    def queue_bytes(self) -> int:
        """What it counts for in the queue."""
        return len(self.header) + len(self.payload)


Alteration = Put | Drop | Move
