"""Operations: opened by members to exactly what was sealed, opaque to the rest."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import Dot, EntryId, Incarnation
from p2pstore.limits import OPERATION_PADDED_BYTES_MIN
from p2pstore.metadata.operations import (
    MetadataKeys,
    SealedOperation,
    StripeStatement,
    decode_operation,
    encode_stripe,
    open_operation,
    operation_padded_length,
    seal_operation,
)
from p2pstore.metadata.vector import Writer
from p2pstore.metadata.version import Inline, Version
from p2pstore.packing import pack
from tests.metadata.samples import FILE, KEYS, LARGE, OTHER, PAGE, STRIPE, SUPERSEDED, WRITER
from tests.metadata.test_version import versions

DOT = Dot(*WRITER, 5)


def sealed(data: bytes, writer: Writer = WRITER) -> SealedOperation:
    """`data` as a sealed operation."""
    operation = decode_operation(data, writer)
    assert isinstance(operation, SealedOperation)
    return operation


@given(versions(), st.integers(1, 2**53))
def test_a_member_reads_what_was_sealed(version: Version, sequence: int) -> None:
    dot = Dot(*WRITER, sequence)
    operation = sealed(seal_operation(version, dot, KEYS, SUPERSEDED))
    assert operation.superseded == tuple(sorted(SUPERSEDED))
    assert open_operation(operation, dot, KEYS) == version


def test_manifest_pages_and_stripes_survive_too() -> None:
    assert open_operation(sealed(seal_operation(PAGE, DOT, KEYS)), DOT, KEYS) == PAGE
    assert decode_operation(encode_stripe(STRIPE), WRITER) == STRIPE


def test_opens_under_its_own_dot_and_keys_only() -> None:
    operation = sealed(seal_operation(FILE, DOT, KEYS, SUPERSEDED))
    open_it = partial(open_operation, operation)
    for dot, keys in (
        (DOT._replace(sequence=6), KEYS),
        (DOT._replace(incarnation=Incarnation(b"another.")), KEYS),
        (DOT._replace(author=OTHER.author), KEYS),
        (DOT, MetadataKeys(KEYS.generation, bytes(32))),
    ):
        with pytest.raises(Forged):
            open_it(dot, keys)
    for changed in (
        replace(operation, superseded=()),
        replace(operation, tag=bytes(16)),
        replace(operation, nonce=bytes(12)),
        replace(operation, box=operation.box[:-1] + b"?"),
        replace(operation, box=b""),
    ):
        with pytest.raises(Forged):
            open_operation(changed, DOT, KEYS)


def test_one_nonce_never_meets_two_contents() -> None:
    nonces = set()
    for dot in (DOT, DOT._replace(sequence=6)):
        for version in (FILE, replace(FILE, mode=0), replace(FILE, content=Inline(b"other"))):
            for superseded in ((), SUPERSEDED):
                nonces.add(sealed(seal_operation(version, dot, KEYS, superseded)).nonce)
    assert len(nonces) == 12
    assert seal_operation(FILE, DOT, KEYS) == seal_operation(FILE, DOT, KEYS), "a retry gives the same bytes"


def test_a_blind_reader_sees_which_entry_is_touched_again_and_no_more() -> None:
    first, again = (sealed(seal_operation(v, DOT, KEYS)) for v in (FILE, replace(FILE, name=b"renamed")))
    other = sealed(seal_operation(replace(FILE, entry=EntryId(b"x" * 16)), DOT, KEYS))
    assert first.tag == again.tag != other.tag
    assert first.tag != FILE.entry
    assert len(first.box) == len(again.box) == OPERATION_PADDED_BYTES_MIN + 16, "most look alike"
    for operation in (first, again):
        assert FILE.name not in operation.box
        assert b"small" not in operation.box


@given(st.integers(0, 2**20))
def test_padding_is_at_most_an_eighth_and_idempotent(length: int) -> None:
    padded = operation_padded_length(length)
    assert padded >= max(length, OPERATION_PADDED_BYTES_MIN)
    assert padded <= max(OPERATION_PADDED_BYTES_MIN, length * 1.125)
    assert operation_padded_length(padded) == padded


def test_kinds_of_later_builds_are_carried_unread() -> None:
    assert decode_operation(pack([99, "whatever", {"it": "is"}]), WRITER) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        pack([]),
        pack([1]),
        pack([1, b"t" * 16, [0], b"n" * 12, b"box"]),
        pack([1, b"t" * 16, [2, 1], b"n" * 12, b"box"]),
        pack([1, b"t" * 16, [1, 1], b"n" * 12, b"box"]),
        pack([1, b"t" * 16, [[b"short", b"i" * 8, 1]], b"n" * 12, b"box"]),
        pack([1, b"t" * 16, [], b"n" * 12, b"box", "more"]),
        pack([2, b"e" * 32, b"c" * 32, 0, 1, 1, "any-2"]),
        pack([2, b"e" * 32, b"c" * 32, 224, 1, 1, "any-2"]),
        pack([2, b"e" * 32, b"c" * 32, 4, 1, 1, "x" * 65]),
    ],
)
def test_refuses_wrong_fields(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_operation(data, WRITER)


def test_properly_sealed_rubbish_is_malformed() -> None:
    bad = replace(LARGE)
    object.__setattr__(bad, "name", b"a/b")
    with pytest.raises(Malformed):
        open_operation(sealed(seal_operation(bad, DOT, KEYS)), DOT, KEYS)


def test_a_stripe_statement_is_a_value() -> None:
    assert isinstance(decode_operation(encode_stripe(STRIPE), OTHER), StripeStatement)
