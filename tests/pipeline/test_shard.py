"""A shard and its header."""

from __future__ import annotations

import dataclasses

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import ChunkId, EncodingId, ShardId
from p2pstore.limits import DATA_SHARDS_MAX, SEALED_BYTES_MAX
from p2pstore.pipeline.erasure.code import Code
from p2pstore.pipeline.sealing import SEALED_BYTES_MIN
from p2pstore.pipeline.shard import (
    SHARD_HEADER_BYTES,
    ShardHeader,
    encoding_name,
    format_header,
    open_shard,
    parse_header,
    payload_hash,
)
from tests.pipeline.samples import noise, vectors

RAW_32 = st.binary(min_size=32, max_size=32)


@st.composite
def headers(draw: st.DrawFn) -> ShardHeader:
    code = draw(st.sampled_from(Code))
    needed = 1 if code is Code.COPIES else draw(st.integers(1, DATA_SHARDS_MAX))
    return ShardHeader(
        encoding=EncodingId(draw(RAW_32)),
        chunk=ChunkId(draw(RAW_32)),
        code=code,
        needed=needed,
        index=draw(st.integers(0, 254 if code is Code.COPIES else needed + 31)),
        sealed_length=draw(st.integers(SEALED_BYTES_MIN, SEALED_BYTES_MAX)),
        payload_hash=draw(RAW_32),
    )


PAYLOAD = noise(SEALED_BYTES_MIN)
COPY = ShardHeader(
    EncodingId(bytes(32)), ChunkId(bytes(32)), Code.COPIES, 1, 3, SEALED_BYTES_MIN, payload_hash(PAYLOAD)
)


def with_fields(place: int, value: bytes) -> bytes:
    """A header with other bytes at a place, and a checksum that fits."""
    fields = bytearray(format_header(COPY)[:128])
    fields[place : place + len(value)] = value
    return bytes(fields) + blake3(fields).digest()


@given(headers())
def test_what_was_formatted_parses(header: ShardHeader) -> None:
    raw = format_header(header)
    assert len(raw) == SHARD_HEADER_BYTES == 160
    assert parse_header(raw) == parse_header(memoryview(raw)) == header


@given(headers(), st.integers(0, SHARD_HEADER_BYTES - 1), st.integers(0, 7))
def test_any_changed_bit_is_found(header: ShardHeader, place: int, bit: int) -> None:
    raw = bytearray(format_header(header))
    raw[place] ^= 1 << bit
    with pytest.raises(Malformed):
        parse_header(raw)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b"q2pshard"),
        (8, b"\2"),  # version
        (9, b"\7"),  # code
        (10, b"\0"),  # k
        (10, b"\2"),  # k of copies
        (9, b"\1\xe0"),  # k = 224
        (9, b"\1\2\x22"),  # index = k + 32
        (11, b"\xff"),  # index of a copy
        (12, bytes(4)),  # sealed length
        (12, b"\xff\xff\xff\xff"),
        (16, bytes(4)),  # shard length
        (20, b"\1"),  # unused
    ],
)
def test_fields_out_of_range_are_malformed_even_with_a_good_checksum(place: int, value: bytes) -> None:
    with pytest.raises(Malformed):
        parse_header(with_fields(place, value))


def test_a_shard_opens_if_its_payload_is_the_one_named() -> None:
    shard = open_shard(format_header(COPY), memoryview(PAYLOAD))
    assert shard.header == COPY
    assert shard.header.shard_id == ShardId(COPY.encoding, 3)


def test_another_payload_is_forged_and_another_length_malformed() -> None:
    with pytest.raises(Forged):
        open_shard(format_header(COPY), PAYLOAD[:-1] + b"x")
    with pytest.raises(Malformed):
        open_shard(format_header(COPY), PAYLOAD[:-1])


def test_an_encoding_is_named_after_all_that_makes_it() -> None:
    chunk, hashes = ChunkId(bytes(32)), [noise(32, "a"), noise(32, "b")]
    names = {
        encoding_name(chunk, code=Code.MOTHER, needed=2, sealed_length=9000, data_hashes=hashes),
        encoding_name(chunk, code=Code.MOTHER, needed=2, sealed_length=9001, data_hashes=hashes),
        encoding_name(chunk, code=Code.MOTHER, needed=2, sealed_length=9000, data_hashes=hashes[::-1]),
        encoding_name(ChunkId(noise(32)), code=Code.MOTHER, needed=2, sealed_length=9000, data_hashes=hashes),
        encoding_name(chunk, code=Code.MOTHER, needed=1, sealed_length=9000, data_hashes=hashes[:1]),
        encoding_name(chunk, code=Code.COPIES, needed=1, sealed_length=9000, data_hashes=hashes[:1]),
    }
    assert len(names) == 6


def test_rows_of_one_stripe_know_each_other() -> None:
    assert COPY.is_of_stripe(dataclasses.replace(COPY, index=9, payload_hash=bytes(32)))
    assert not COPY.is_of_stripe(dataclasses.replace(COPY, encoding=EncodingId(noise(32))))
    assert not COPY.is_of_stripe(dataclasses.replace(COPY, sealed_length=9999))


def test_headers_are_as_frozen() -> None:
    for vector in vectors("shard")["headers"]:
        header = ShardHeader(
            encoding=EncodingId(bytes.fromhex(vector["encoding"])),
            chunk=ChunkId(bytes.fromhex(vector["chunk"])),
            code=Code(vector["code"]),
            needed=vector["needed"],
            index=vector["index"],
            sealed_length=vector["sealed_length"],
            payload_hash=bytes.fromhex(vector["payload_hash"]),
        )
        assert format_header(header).hex() == vector["raw"]
        assert parse_header(bytes.fromhex(vector["raw"])) == header
        assert header.shard_length == vector["shard_length"]
