"""The bytes of a store: pack headers, records and the sentinel file. The format is docs/formats/pack.md.

A record is valid only in its place: its checksum is keyed with a secret of the store and covers the pack's number and
the record's offset. So neither a stale record nor one that a peer planted inside a shard's payload is ever taken for
a record, wherever a scan of a damaged pack resumes.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from blake3 import blake3

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import EncodingId, ShardId, StoreId, store_id
from p2pstore.limits import BULK_PAYLOAD_BYTES_MAX, CODE_LENGTH_MAX, SHARD_HEADER_BYTES_MAX
from p2pstore.packing import Buffer

FORMAT_VERSION: Final = 1

RECORD_MAGIC: Final = b"\x89pSR"
"""Not text, so that a scan that looks for the next record seldom stops at something else."""

PACK_MAGIC: Final = b"\x89pSPACK\n"
SENTINEL_MAGIC: Final = b"\x89pSTORE\n"

CHECKSUM_BYTES: Final = 16
RECORD_HEADER_BYTES: Final = 112
PACK_HEADER_BYTES: Final = 4096

GROUP_ALIGN_BYTES: Final = 4096
"""Each group commit starts at a multiple of this, the largest sector of today's disks, so that no write ever touches a
sector that holds something acknowledged: a power cut in the middle of a sector can destroy the whole of it."""

SENTINEL_COPY_BYTES: Final = 4096
"""The sentinel holds its record twice, in sectors of its own: one bad sector does not put a store to sleep."""

_RECORD: Final = struct.Struct("<4sBBHIIQII32s32s")
_PACK: Final = struct.Struct("<8sII16s")
_SENTINEL: Final = struct.Struct("<8sI16s32s")
_PLACE: Final = struct.Struct("<IQ")

assert _RECORD.size + CHECKSUM_BYTES == RECORD_HEADER_BYTES


class RecordKind(IntEnum):
    """What a record says."""

    SHARD = 1
    DROP = 2


@dataclass(frozen=True, slots=True)
class StoreKey:
    """Who a store is.

    Attributes:
        store: its public name.
        secret: 32 bytes that key the checksums; they never leave the disk.
    """

    store: StoreId
    secret: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """The fixed part of a record.

    Attributes:
        kind: SHARD: a shard header and a payload follow. DROP: the shard is no longer held; nothing follows.
        shard: whose.
        header_bytes: length of the shard header.
        payload_bytes: length of the payload.
        stamp: its place in the order of all changes of the store; of two records of one shard the larger one counts.
        group_block: where in the pack its group commit starts, in blocks of 4,096 bytes.
        horizon: in a DROP, the last pack in which an older record of the shard can lie; else 0.
        payload_hash: BLAKE3 of the payload; in a DROP, zeros.
    """

    kind: RecordKind
    shard: ShardId
    header_bytes: int
    payload_bytes: int
    stamp: int
    group_block: int
    horizon: int
    payload_hash: bytes

    @property
    def length(self) -> int:
        """Bytes of the whole record."""
        return RECORD_HEADER_BYTES + self.header_bytes + self.payload_bytes


def _checksum(key: StoreKey, pack: int, offset: int, fixed: Buffer, shard_header: Buffer) -> bytes:
    hasher = blake3(_PLACE.pack(pack, offset), key=key.secret)
    hasher.update(fixed)
    hasher.update(shard_header)
    return hasher.digest(CHECKSUM_BYTES)


def encode_record(record: Record, shard_header: Buffer, key: StoreKey, *, pack: int, offset: int) -> bytes:
    """The record header (112 bytes) of `record` at `offset` of pack number `pack`; the shard header and the payload
    follow it as they are."""
    fixed = _RECORD.pack(
        RECORD_MAGIC,
        FORMAT_VERSION,
        record.kind,
        record.shard.index,
        record.header_bytes,
        record.payload_bytes,
        record.stamp,
        record.group_block,
        record.horizon,
        record.shard.encoding,
        record.payload_hash,
    )
    return fixed + _checksum(key, pack, offset, fixed, shard_header)


def decode_record(data: Buffer) -> Record:
    """The fixed part of the record that `data` (112 bytes or more) starts with; its checksum is not looked at.

    Raises:
        Malformed: no record of a version that this build reads, or a length out of bounds.
    """
    if len(data) < RECORD_HEADER_BYTES:
        raise Malformed("record: too short")
    magic, version, kind, index, header_bytes, payload_bytes, stamp, block, horizon, encoding, payload_hash = (
        _RECORD.unpack_from(data)
    )
    if magic != RECORD_MAGIC:
        raise Malformed("record: no magic")
    if version != FORMAT_VERSION:
        raise Malformed(f"record: format version {version}, this build reads {FORMAT_VERSION}")
    if kind not in (RecordKind.SHARD, RecordKind.DROP):
        raise Malformed(f"record: kind {kind}")
    if header_bytes > SHARD_HEADER_BYTES_MAX or payload_bytes > BULK_PAYLOAD_BYTES_MAX or index >= CODE_LENGTH_MAX:
        raise Malformed("record: out of bounds")
    if kind == RecordKind.DROP and (header_bytes or payload_bytes):
        raise Malformed("record: a drop with a body")
    if not 0 < stamp < 2**63:
        raise Malformed("record: no such stamp")
    return Record(
        RecordKind(kind),
        ShardId(EncodingId(encoding), index),
        header_bytes,
        payload_bytes,
        stamp,
        block,
        horizon,
        payload_hash,
    )


def check_record(data: Buffer, shard_header: Buffer, key: StoreKey, *, pack: int, offset: int) -> None:
    """Raises Forged unless the record header `data` was written by this store, for this place and this shard header."""
    fixed = memoryview(data)[: _RECORD.size]
    if _checksum(key, pack, offset, fixed, shard_header) != bytes(data[_RECORD.size : RECORD_HEADER_BYTES]):
        raise Forged("record: checksum")


def encode_pack_header(key: StoreKey, pack: int) -> bytes:
    """The first 4,096 bytes of pack number `pack`."""
    fixed = _PACK.pack(PACK_MAGIC, FORMAT_VERSION, pack, key.store)
    return (fixed + blake3(fixed).digest(CHECKSUM_BYTES)).ljust(PACK_HEADER_BYTES, b"\0")


def other_store(data: Buffer, key: StoreKey) -> StoreId | None:
    """The store that a pack's first bytes name, if that is another one than `key`'s.

    Nothing else is asked of a pack header: a torn or rotten one does not matter, each record stands for itself.
    """
    if len(data) < PACK_HEADER_BYTES:
        return None
    fixed, checksum = bytes(data[: _PACK.size]), bytes(data[_PACK.size : _PACK.size + CHECKSUM_BYTES])
    magic, _version, _pack, store = _PACK.unpack(fixed)
    if magic != PACK_MAGIC or store == key.store or checksum != blake3(fixed).digest(CHECKSUM_BYTES):
        return None
    return StoreId(store)


def new_store_key(rng: random.Random) -> StoreKey:
    """A name and a secret for a new store."""
    return StoreKey(StoreId(rng.randbytes(16)), rng.randbytes(32))


def encode_sentinel(key: StoreKey) -> bytes:
    """The sentinel file of a store: two equal copies, each padded to 4,096 bytes."""
    fixed = _SENTINEL.pack(SENTINEL_MAGIC, FORMAT_VERSION, key.store, key.secret)
    return (fixed + blake3(fixed).digest(CHECKSUM_BYTES)).ljust(SENTINEL_COPY_BYTES, b"\0") * 2


def decode_sentinel(data: Buffer) -> StoreKey:
    """The store that a sentinel file names, from whichever copy is sound.

    Raises:
        Malformed: neither is.
    """
    for start in (0, SENTINEL_COPY_BYTES):
        copy = bytes(data[start : start + _SENTINEL.size + CHECKSUM_BYTES])
        fixed, checksum = copy[: _SENTINEL.size], copy[_SENTINEL.size :]
        if len(checksum) != CHECKSUM_BYTES or checksum != blake3(fixed).digest(CHECKSUM_BYTES):
            continue
        magic, version, store, secret = _SENTINEL.unpack(fixed)
        if magic == SENTINEL_MAGIC and version == FORMAT_VERSION:
            return StoreKey(store_id(store), secret)
    raise Malformed("sentinel")


def align_group(offset: int) -> int:
    """Where the next group commit starts after `offset`."""
    return -(-offset // GROUP_ALIGN_BYTES) * GROUP_ALIGN_BYTES
