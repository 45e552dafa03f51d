"""Padmé."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.limits import CHUNK_BYTES_MAX, PADDED_BYTES_MIN
from p2pstore.pipeline.padding import padded_length
from tests.pipeline.samples import vectors

LENGTHS = st.integers(0, 2 * CHUNK_BYTES_MAX)


@given(LENGTHS)
def test_costs_at_most_twelve_per_cent(length: int) -> None:
    padded = padded_length(length)
    assert length <= padded <= max(PADDED_BYTES_MIN, length * 1.12)


@given(LENGTHS)
def test_padding_a_padded_length_changes_nothing(length: int) -> None:
    assert padded_length(padded_length(length)) == padded_length(length)


@given(LENGTHS, LENGTHS)
def test_longer_is_never_padded_shorter(a: int, b: int) -> None:
    assert padded_length(min(a, b)) <= padded_length(max(a, b))


def test_few_lengths_are_left() -> None:
    assert len({padded_length(length) for length in range(0, CHUNK_BYTES_MAX, 997)}) < 300


def test_lengths_are_as_frozen() -> None:
    for length, padded in vectors("padding"):
        assert padded_length(length) == padded, length
