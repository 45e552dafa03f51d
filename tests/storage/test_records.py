"""The bytes of packs: frozen vectors, and both ways."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import EncodingId, ShardId, StoreId
from p2pstore.limits import BULK_PAYLOAD_BYTES_MAX, CODE_LENGTH_MAX, SHARD_HEADER_BYTES_MAX
from p2pstore.storage.records import (
    RECORD_HEADER_BYTES,
    Record,
    RecordKind,
    StoreKey,
    align_group,
    check_record,
    decode_record,
    decode_sentinel,
    encode_pack_header,
    encode_record,
    encode_sentinel,
    new_store_key,
    other_store,
)

VECTORS = Path(__file__).parent.parent / "vectors" / "pack.json"

records = st.builds(
    Record,
    kind=st.just(RecordKind.SHARD),
    shard=st.builds(ShardId, st.binary(min_size=32, max_size=32).map(EncodingId), st.integers(0, CODE_LENGTH_MAX - 1)),
    header_bytes=st.integers(0, SHARD_HEADER_BYTES_MAX),
    payload_bytes=st.integers(0, BULK_PAYLOAD_BYTES_MAX),
    stamp=st.integers(1, 2**63 - 1),
    group_block=st.integers(0, 2**32 - 1),
    horizon=st.integers(0, 2**32 - 1),
    payload_hash=st.binary(min_size=32, max_size=32),
)


def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(VECTORS.read_text())
    return loaded


def key_of(vector: dict[str, Any]) -> StoreKey:
    return StoreKey(StoreId(bytes.fromhex(vector["store"])), bytes.fromhex(vector["secret"]))


def record_of(vector: dict[str, Any]) -> Record:
    return Record(
        RecordKind(vector["kind"]),
        ShardId(EncodingId(bytes.fromhex(vector["encoding"])), vector["index"]),
        len(bytes.fromhex(vector["shard_header"])),
        vector["payload_bytes"],
        vector["stamp"],
        vector["group_block"],
        vector["horizon"],
        bytes.fromhex(vector["payload_hash"]),
    )


def test_the_sentinel_and_the_pack_header_are_as_frozen() -> None:
    frozen = vectors()
    key = key_of(frozen)
    sentinel = bytes.fromhex(frozen["sentinel"]).ljust(4096, b"\0") * 2
    assert encode_sentinel(key) == sentinel
    assert decode_sentinel(sentinel) == key
    header = bytes.fromhex(frozen["pack_header"]["hex"]).ljust(4096, b"\0")
    assert encode_pack_header(key, frozen["pack_header"]["pack"]) == header


def test_records_are_as_frozen() -> None:
    frozen = vectors()
    key = key_of(frozen)
    for vector in frozen["records"]:
        shard_header = bytes.fromhex(vector["shard_header"])
        place = {"pack": vector["pack"], "offset": vector["offset"]}
        data = bytes.fromhex(vector["hex"])
        assert encode_record(record_of(vector), shard_header, key, **place) == data
        assert decode_record(data) == record_of(vector)
        check_record(data, shard_header, key, **place)


@given(record=records, seed=st.integers(0, 100), pack=st.integers(1, 2**32 - 1), offset=st.integers(0, 2**40))
def test_a_record_comes_back_and_is_valid_in_its_place_only(record: Record, seed: int, pack: int, offset: int) -> None:
    key, other = new_store_key(random.Random(seed)), new_store_key(random.Random(seed + 1))
    shard_header = bytes(record.header_bytes)
    data = encode_record(record, shard_header, key, pack=pack, offset=offset)
    assert len(data) == RECORD_HEADER_BYTES
    assert decode_record(data) == record
    check_record(data, shard_header, key, pack=pack, offset=offset)
    wrongs: tuple[Callable[[], None], ...] = (
        lambda: check_record(data, shard_header + b"x", key, pack=pack, offset=offset),
        lambda: check_record(data, shard_header, other, pack=pack, offset=offset),
        lambda: check_record(data, shard_header, key, pack=pack - 1, offset=offset),
        lambda: check_record(data, shard_header, key, pack=pack, offset=offset + 1),
    )
    for wrong in wrongs:
        with pytest.raises(Forged):
            wrong()


@pytest.mark.parametrize("position", range(RECORD_HEADER_BYTES))
def test_every_bit_of_a_record_header_is_guarded(position: int) -> None:
    key = new_store_key(random.Random(1))
    record = Record(RecordKind.SHARD, ShardId(EncodingId(bytes(range(32))), 3), 2, 100, 7, 1, 0, bytes(32))
    data = bytearray(encode_record(record, b"hh", key, pack=1, offset=4096))
    data[position] ^= 1
    with pytest.raises((Malformed, Forged)):
        decode_record(data)
        check_record(data, b"hh", key, pack=1, offset=4096)


def test_a_foreign_pack_is_named_and_a_rotten_header_is_not_foreign() -> None:
    mine, other = new_store_key(random.Random(1)), new_store_key(random.Random(2))
    header = bytearray(encode_pack_header(other, 1))
    assert other_store(header, mine) == other.store
    assert other_store(header, other) is None
    header[20] ^= 1
    assert other_store(header, mine) is None
    assert other_store(b"", mine) is None


def test_groups_start_at_whole_blocks() -> None:
    assert [align_group(offset) for offset in (0, 1, 4096, 4097)] == [0, 4096, 4096, 8192]
