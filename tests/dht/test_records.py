"""Endpoint records: signed, bounded, the newest wins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from dht.errors import Forged, Malformed, Misuse
from dht.limits import RECORD_BYTES_MAX, RECORDS_HELD_MAX
from dht.records import EndpointRecord, RecordStore, make_record, read_record
from simulations.dht_nodes import toy_id, toy_signature, toy_verify


def record(public: bytes = bytes(32), *, sequence: int = 1, expires_s: int = 1000, body: bytes = b"") -> EndpointRecord:
    return make_record(
        public,
        sequence=sequence,
        expires_s=expires_s,
        addresses=("10.0.0.1:7000", "[2001:db8::1]:7000"),
        body=body,
        sign=lambda message: toy_signature(public, message),
        id_of=toy_id,
    )


def store(verify: Callable[[bytes, bytes, bytes], bool] = toy_verify) -> RecordStore:
    return RecordStore(bytes(32), verify=verify, id_of=toy_id)


def test_reads_what_it_made_with_real_signatures() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = private.public_key().public_bytes_raw()

    def verify(key: bytes, signature: bytes, message: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    made = make_record(
        public, sequence=5, expires_s=99, addresses=("h:1",), body=b"b", sign=private.sign, id_of=toy_id
    )
    assert read_record(made.encoded, verify=verify, id_of=toy_id) == made
    with pytest.raises(Forged):
        read_record(made.encoded.replace(b"h:1", b"h:2"), verify=verify, id_of=toy_id)


def test_the_largest_record_allowed_fits() -> None:
    largest = make_record(
        bytes(32),
        sequence=2**62,
        expires_s=2**40,
        addresses=("x" * 60, "y" * 60),
        body=bytes(600),
        sign=lambda _message: bytes(64),
        id_of=toy_id,
    )
    assert len(largest.encoded) <= RECORD_BYTES_MAX


@pytest.mark.parametrize(
    ("addresses", "body"),
    [(("x",) * 9, b""), (("x" * 65,), b""), ((), bytes(601)), (("x" * 64,) * 8, bytes(600))],
)
def test_refuses_to_make_one_that_nobody_would_take(addresses: tuple[str, ...], body: bytes) -> None:
    with pytest.raises(Misuse):
        make_record(
            bytes(32), sequence=1, expires_s=1, addresses=addresses, body=body, sign=lambda _: bytes(64), id_of=toy_id
        )


def test_the_same_bytes_are_verified_once() -> None:
    checked: list[bytes] = []

    def verify(public: bytes, signature: bytes, message: bytes) -> bool:
        checked.append(message)
        return True

    records = store(verify)
    for _ in range(5):
        records.read(record().encoded, wall_s=0.0)
    assert len(checked) == 1


def test_keeps_the_higher_sequence_whatever_the_order() -> None:
    for order in ((1, 2), (2, 1)):
        records = store()
        for sequence in order:
            records.keep(record(sequence=sequence), None)
        held = records.get(record().peer, wall_s=0.0)
        assert held is not None
        assert held.sequence == 2


def test_an_expired_record_is_gone() -> None:
    records = store()
    records.keep(record(expires_s=1000), None)
    assert records.get(record().peer, wall_s=999.0) is not None
    assert records.get(record().peer, wall_s=1000.0) is None
    with pytest.raises(Malformed):
        records.read(record(expires_s=1000).encoded, wall_s=1000.0)


def test_beyond_its_bound_it_keeps_the_nearest_to_itself() -> None:
    records = store()
    made = [record(number.to_bytes(32)) for number in range(RECORDS_HELD_MAX + 50)]
    for one in made:
        records.keep(one, None)
    assert len(records) == RECORDS_HELD_MAX
    nearest = sorted(one.peer for one in made)[:RECORDS_HELD_MAX]
    assert all(records.get(peer, wall_s=0.0) for peer in nearest)
