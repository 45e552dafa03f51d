"""A receipt is a holder's word about exactly what it was sent, or nothing."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import EncodingId, NetworkId, ShardId, StoreId
from p2pstore.keys.identity import Identity, verify
from p2pstore.placement.receipt import Receipt, read_receipt, sign_receipt

VECTOR = Path(__file__).parents[1] / "vectors" / "receipt.json"
NETWORK = NetworkId(b"n" * 32)
HOLDER = Identity.generate(random.Random(5))
SHARDS = {ShardId(EncodingId(bytes([n]) * 32), n): bytes([n + 7]) * 32 for n in (3, 1, 2)}
RECEIPT = Receipt(HOLDER.peer_id, StoreId(b"s" * 16), 1_800_000_000, SHARDS)


def read(data: bytes, *, network: NetworkId = NETWORK, expected: dict[ShardId, bytes] = SHARDS) -> Receipt:
    return read_receipt(
        data, network, public=HOLDER.public, holder=HOLDER.peer_id, expected=expected, verify=verify
    )


def test_a_receipt_reads_back_whatever_the_order_it_was_made_in() -> None:
    signed = sign_receipt(RECEIPT, NETWORK, HOLDER.sign)
    assert read(signed) == RECEIPT
    other_order = Receipt(RECEIPT.holder, RECEIPT.store, RECEIPT.wall_s, dict(reversed(list(SHARDS.items()))))
    assert sign_receipt(other_order, NETWORK, HOLDER.sign) == signed


def test_the_vector_never_changes() -> None:
    vector = json.loads(VECTOR.read_text())
    assert sign_receipt(RECEIPT, NETWORK, HOLDER.sign).hex() == vector["receipt"]


def test_it_counts_for_nothing_else() -> None:
    signed = sign_receipt(RECEIPT, NETWORK, HOLDER.sign)
    fewer = dict(list(SHARDS.items())[:2])
    changed = dict.fromkeys(SHARDS, b"x" * 32)
    for expected in (fewer, changed, {}):
        with pytest.raises(Forged):
            read(signed, expected=expected)
    with pytest.raises(Forged):
        read(signed, network=NetworkId(b"m" * 32))
    stranger = Identity.generate(random.Random(6))
    with pytest.raises(Forged):
        read(sign_receipt(RECEIPT, NETWORK, stranger.sign))


@given(st.binary(max_size=600) | st.builds(lambda at, bit: (at, bit), st.integers(0, 499), st.integers(0, 7)))
def test_bytes_that_are_no_receipt_are_malformed_or_forged(noise: bytes | tuple[int, int]) -> None:
    signed = sign_receipt(RECEIPT, NETWORK, HOLDER.sign)
    if isinstance(noise, tuple):
        data = bytearray(signed)
        data[noise[0] % len(data)] ^= 1 << noise[1]
        noise = bytes(data)
    with pytest.raises((Malformed, Forged)):
        read(noise)
