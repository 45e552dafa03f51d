"""Fuzz targets of the storage formats: whatever the bytes are, a value or Malformed (or Forged), and scans end."""

from __future__ import annotations

import random
from contextlib import suppress

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import EncodingId, ShardId
from p2pstore.storage.records import (
    PACK_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    Record,
    RecordKind,
    check_record,
    decode_record,
    decode_sentinel,
    encode_pack_header,
    encode_record,
    encode_sentinel,
    new_store_key,
    other_store,
)
from p2pstore.storage.scan import Found, scan_pack
from simulations.disk import SimulatedDisk

KEY = new_store_key(random.Random(1))
PAYLOADS = [random.Random(number).randbytes(size) for number, size in enumerate((0, 1, 900, 5000, 300))]


def valid_pack() -> bytes:
    pack = bytearray(encode_pack_header(KEY, 1))
    for number, payload in enumerate(PAYLOADS):
        shard = ShardId(EncodingId(bytes([number]) * 32), number)
        record = Record(RecordKind.SHARD, shard, 3, len(payload), number + 1, 1, 0, blake3(payload).digest())
        pack += encode_record(record, b"hdr", KEY, pack=1, offset=len(pack)) + b"hdr" + payload
    drop = Record(RecordKind.DROP, ShardId(EncodingId(bytes(32)), 0), 0, 0, 9, 1, 1, bytes(32))
    return bytes(pack + encode_record(drop, b"", KEY, pack=1, offset=len(pack)))


VALID = valid_pack()


@st.composite
def mutated(draw: st.DrawFn, valid: bytes) -> bytes:
    data = bytearray(valid)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(("flip", "cut", "insert", "zero", "copy"))):
            case "flip" if data:
                data[at] ^= draw(st.integers(1, 255))
            case "cut":
                del data[at : at + draw(st.integers(1, 600))]
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "zero":
                data[at : at + 200] = bytes(len(data[at : at + 200]))
            case "copy":
                data[at:at] = data[PACK_HEADER_BYTES : PACK_HEADER_BYTES + draw(st.integers(1, 1500))]
    return bytes(data)


def scan(data: bytes) -> list[Found]:
    file = SimulatedDisk(random.Random(1)).open("p", create=True)
    file.write(0, [data])
    return list(scan_pack(file, KEY, 1, 0))


def test_a_sound_pack_is_read_whole() -> None:
    found = scan(VALID)
    assert [item.record.stamp for item in found] == [1, 2, 3, 4, 5, 9]
    assert all(item.intact for item in found)


@given(data=st.binary(max_size=300) | mutated(VALID[PACK_HEADER_BYTES : PACK_HEADER_BYTES + RECORD_HEADER_BYTES]))
def test_a_record_is_a_record_or_malformed(data: bytes) -> None:
    try:
        record = decode_record(data)
    except Malformed:
        return
    assert isinstance(record, Record)
    try:
        check_record(data, b"hdr", KEY, pack=1, offset=PACK_HEADER_BYTES)
    except Forged:
        return
    assert data[:RECORD_HEADER_BYTES] == VALID[PACK_HEADER_BYTES : PACK_HEADER_BYTES + RECORD_HEADER_BYTES]


@given(data=st.binary(max_size=300) | mutated(encode_sentinel(KEY)))
def test_a_sentinel_is_the_one_that_was_written_or_malformed(data: bytes) -> None:
    with suppress(Malformed):
        assert decode_sentinel(data) == KEY


@given(data=st.binary(max_size=5000) | mutated(encode_pack_header(KEY, 1)))
def test_no_rot_makes_a_pack_another_stores(data: bytes) -> None:
    assert other_store(data, KEY) is None


@given(data=mutated(VALID))
def test_a_scan_of_a_damaged_pack_finds_only_what_was_written_there(data: bytes) -> None:
    for item in scan(data):
        assert item.record.kind is RecordKind.DROP or item.record.payload_bytes == len(PAYLOADS[item.record.stamp - 1])
        assert data[item.offset : item.offset + RECORD_HEADER_BYTES] == VALID[
            item.offset : item.offset + RECORD_HEADER_BYTES
        ]
        if item.intact and item.record.kind is RecordKind.SHARD:
            start = item.offset + RECORD_HEADER_BYTES + 3
            assert data[start : item.end] == PAYLOADS[item.record.stamp - 1]


@given(data=st.binary(max_size=20_000))
def test_a_scan_of_anything_ends(data: bytes) -> None:
    assert scan(data) == []
