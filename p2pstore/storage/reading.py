"""Reads records and believes none of them: every byte is checked before anybody sees it."""

from __future__ import annotations

from blake3 import blake3

from p2pstore.errors import Corrupt, DatabaseDamaged, Forged, Malformed
from p2pstore.limits import BULK_PAYLOAD_BYTES_MAX, SHARD_HEADER_BYTES_MAX
from p2pstore.packing import Buffer
from p2pstore.storage.entries import Entry, StoredBytes
from p2pstore.storage.packs import PackFiles
from p2pstore.storage.records import RECORD_HEADER_BYTES, Record, RecordKind, StoreKey, check_record, decode_record


def read_shard(files: PackFiles, key: StoreKey, entry: Entry) -> StoredBytes:
    """The shard whose record lies where `entry` says.

    Raises:
        Corrupt: it does not, or its payload is another one.
        DatabaseDamaged: a sound record lies there, but another one: it is the index that is wrong.
        OSError: the disk does not answer.
    """
    if entry.header_bytes > SHARD_HEADER_BYTES_MAX or entry.payload_bytes > BULK_PAYLOAD_BYTES_MAX:
        raise DatabaseDamaged("index: lengths out of bounds")
    with files.using(entry.pack) as file:
        data = memoryview(file.read(entry.offset, entry.record_bytes))
    record = _checked(data, key, entry)
    if record.kind is not RecordKind.SHARD or record.payload_hash != entry.payload_hash:
        raise DatabaseDamaged("index: another record lies there")
    body = RECORD_HEADER_BYTES + entry.header_bytes
    payload = data[body:]
    if len(payload) != entry.payload_bytes or blake3(payload).digest() != entry.payload_hash:
        raise Corrupt("payload hash")
    return StoredBytes(data[RECORD_HEADER_BYTES:body], payload)


def read_horizon(files: PackFiles, key: StoreKey, entry: Entry) -> int:
    """The horizon in the DROP record of `entry`. Raises as `read_shard` does."""
    with files.using(entry.pack) as file:
        return _checked(file.read(entry.offset, RECORD_HEADER_BYTES), key, entry).horizon


def _checked(data: Buffer, key: StoreKey, entry: Entry) -> Record:
    try:
        record = decode_record(data)
        shard_header = memoryview(data)[RECORD_HEADER_BYTES : RECORD_HEADER_BYTES + record.header_bytes]
        check_record(data, shard_header, key, pack=entry.pack, offset=entry.offset)
    except (Malformed, Forged) as error:
        raise Corrupt(str(error)) from error
    if (record.shard, record.stamp, record.header_bytes, record.payload_bytes) != (
        entry.shard,
        entry.stamp,
        entry.header_bytes,
        entry.payload_bytes,
    ):
        raise DatabaseDamaged("index: another record lies there")
    return record
