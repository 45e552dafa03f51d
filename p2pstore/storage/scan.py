"""Finds the records of a pack by reading it from one end to the other, past whatever is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from p2pstore.errors import Forged, Malformed
from p2pstore.limits import MIB
from p2pstore.seams.disk import DiskFile
from p2pstore.storage.records import (
    GROUP_ALIGN_BYTES,
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC,
    Record,
    StoreKey,
    check_record,
    decode_record,
)

WINDOW_BYTES_MIN: Final = 2 * GROUP_ALIGN_BYTES
"""The first look for the next record: mostly it is the next group, less than 4 KiB away."""

WINDOW_BYTES_MAX: Final = 1 * MIB


@dataclass(frozen=True, slots=True)
class Found:
    """A record whose header and shard header are sound.

    Attributes:
        record: its fixed part.
        offset: where it starts.
        intact: its payload has the hash that the header states.
    """

    record: Record
    offset: int
    intact: bool

    @property
    def end(self) -> int:
        """The offset after it."""
        return self.offset + self.record.length


def scan_pack(file: DiskFile, key: StoreKey, pack: int, start: int) -> Iterator[Found]:
    """All records of `pack` from offset `start` on, in order. Reads at most 1 MiB (and a payload) at a time."""
    size = file.size()
    offset = max(start, PACK_HEADER_BYTES)
    while offset < size:
        found = _record_at(file, key, pack, offset, size)
        if found is not None:
            yield found
            # a damaged length cannot pass the checksum, so the payload's end is certain, whatever is in it
            offset = found.end
        else:
            offset = _next_magic(file, offset + 1, size)


def _record_at(file: DiskFile, key: StoreKey, pack: int, offset: int, size: int) -> Found | None:
    data = file.read(offset, RECORD_HEADER_BYTES)
    try:
        record = decode_record(data)
        shard_header = file.read(offset + RECORD_HEADER_BYTES, record.header_bytes)
        check_record(data, shard_header, key, pack=pack, offset=offset)
    except (Malformed, Forged):
        return None
    if offset + record.length > size:
        return Found(record, offset, intact=False)
    return Found(record, offset, intact=_payload_matches(file, record, offset))


def _payload_matches(file: DiskFile, record: Record, offset: int) -> bool:
    if not record.payload_bytes and not record.header_bytes:
        return True
    payload = file.read(offset + RECORD_HEADER_BYTES + record.header_bytes, record.payload_bytes)
    return blake3(payload).digest() == record.payload_hash


def _next_magic(file: DiskFile, offset: int, size: int) -> int:
    """Where the next bytes lie that look like the start of a record; `size` if there are none."""
    window_bytes = WINDOW_BYTES_MIN
    while offset < size:
        window = file.read(offset, window_bytes)
        if (at := window.find(RECORD_MAGIC)) >= 0:
            return offset + at
        if offset + len(window) >= size or not window:
            return size
        offset += max(1, len(window) - len(RECORD_MAGIC) + 1)
        window_bytes = min(2 * window_bytes, WINDOW_BYTES_MAX)
    return size
