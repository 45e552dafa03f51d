"""Arithmetic of GF(2^8) and the matrices of the code."""

from __future__ import annotations

import random

import pytest
import reedsolo
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.limits import DATA_SHARDS_MAX, MOTHER_PARITY
from p2pstore.pipeline.erasure.matrix import Matrix, combination, inverse, mother_rows, product
from tests.pipeline.samples import noise, vectors

ELEMENT = st.integers(0, 255)


def applied(matrix: Matrix, column: bytes) -> bytes:
    sums = []
    for row in matrix:
        total = 0
        for factor, element in zip(row, column, strict=True):
            total ^= product(factor, element)
        sums.append(total)
    return bytes(sums)


@given(ELEMENT, ELEMENT, ELEMENT)
def test_the_field_is_one(a: int, b: int, c: int) -> None:
    assert product(a, b) == product(b, a)
    assert product(a, product(b, c)) == product(product(a, b), c)
    assert product(a, b ^ c) == product(a, b) ^ product(a, c)
    assert a == 0 or product(a, inverse(a)) == 1


def test_the_field_is_reedsolos() -> None:
    reedsolo.init_tables(0x11D)  # its tables are empty until somebody makes a codec
    for a in range(0, 256, 5):
        for b in range(256):
            assert product(a, b) == reedsolo.gf_mul(a, b)


@pytest.mark.parametrize("needed", [1, 2, 3, 4, 6, 10, 16, 17, 50, 100, 222, 223])
def test_parity_is_what_reedsolo_computes(needed: int) -> None:
    for seed in "abc":
        column = noise(needed, seed)
        wanted = bytes(reedsolo.RSCodec(MOTHER_PARITY).encode(column))[needed:]
        assert applied(mother_rows(needed), column) == wanted


@given(st.integers(1, DATA_SHARDS_MAX), st.randoms(use_true_random=False))
def test_any_k_shards_give_any_others(needed: int, rng: random.Random) -> None:
    column = rng.randbytes(needed)
    word = column + applied(mother_rows(needed), column)
    have = tuple(rng.sample(range(len(word)), needed))
    wanted = tuple(rng.sample(range(len(word)), 5 if needed > 1 else 2))
    matrix = combination(needed, have, wanted)
    assert applied(matrix, bytes(word[index] for index in have)) == bytes(word[index] for index in wanted)


@pytest.mark.parametrize("needed", [0, -1, DATA_SHARDS_MAX + 1])
def test_a_k_that_no_code_has_is_refused(needed: int) -> None:
    with pytest.raises(ValueError, match="k is"):
        mother_rows(needed)


@pytest.mark.parametrize("have", [(0, 1), (0, 1, 1), (0, 1, 2, 3), (0, 1, 35), (-1, 0, 1)])
def test_a_wrong_set_of_shards_is_refused(have: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shard"):
        combination(3, have, (2,))


def test_rows_are_as_frozen() -> None:
    for vector in vectors("erasure"):
        rows = [row.hex() for row in mother_rows(vector["needed"])]
        assert rows[: len(vector["rows"])] == vector["rows"]
