"""Which shard lies."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Corrupt, TooFewShards
from p2pstore.pipeline.erasure.code import Code
from p2pstore.pipeline.erasure.salvage import find_liars
from tests.pipeline.samples import noise
from tests.pipeline.test_code import coded

LENGTH = 512


def lie(row: bytes) -> bytes:
    return noise(len(row), "lie")


@settings(max_examples=15)
@given(st.integers(2, 12), st.data())
def test_two_shards_more_than_k_locate_one_liar(needed: int, data: st.DataObject) -> None:
    indices = data.draw(st.permutations(range(needed + 6)))[: needed + 2]
    rows = {index: row for index, row in coded(needed, needed + 6, LENGTH).items() if index in indices}
    liar = data.draw(st.sampled_from(sorted(rows)))
    rows[liar] = lie(rows[liar])
    assert find_liars(rows, code=Code.MOTHER, needed=needed) == [liar]


@settings(max_examples=5)
@given(st.randoms(use_true_random=False))
def test_four_more_locate_two(rng: random.Random) -> None:
    rows = coded(4, 8, LENGTH)
    liars = sorted(rng.sample(range(8), 2))
    for liar in liars:
        rows[liar] = noise(LENGTH, f"lie {liar}")
    assert find_liars(rows, code=Code.MOTHER, needed=4) == liars


def test_a_single_wrong_byte_in_a_long_shard_is_a_lie() -> None:
    rows = coded(4, 6, 300_000)
    wrong = bytearray(rows[2])
    wrong[222_222] ^= 1
    rows[2] = bytes(wrong)
    assert find_liars(rows, code=Code.MOTHER, needed=4) == [2]


def test_liars_that_lie_in_different_places_are_all_found() -> None:
    rows = coded(4, 7, LENGTH)
    rows[1] = lie(rows[1])[:200] + rows[1][200:]
    rows[6] = rows[6][:200] + lie(rows[6])[200:]
    assert find_liars(rows, code=Code.MOTHER, needed=4) == [1, 6]


def test_honest_shards_accuse_nobody() -> None:
    assert find_liars(coded(4, 6, LENGTH), code=Code.MOTHER, needed=4) == []


def test_one_more_than_k_cannot_tell() -> None:
    with pytest.raises(TooFewShards) as caught:
        find_liars(coded(4, 5), code=Code.MOTHER, needed=4)
    assert caught.value.needed == 6


def test_more_liars_than_can_be_located_are_no_verdict() -> None:
    rows = coded(4, 6, LENGTH)
    rows[0], rows[5] = lie(rows[0]), noise(LENGTH, "another lie")
    with pytest.raises(Corrupt):
        find_liars(rows, code=Code.MOTHER, needed=4)


def test_of_copies_the_majority_is_believed() -> None:
    copies = {0: b"true", 1: b"lies", 2: b"true"}
    assert find_liars(copies, code=Code.COPIES, needed=1) == [1]
    with pytest.raises(Corrupt):
        find_liars(copies | {3: b"lies"}, code=Code.COPIES, needed=1)
    with pytest.raises(TooFewShards):
        find_liars({0: b"true", 1: b"lies"}, code=Code.COPIES, needed=1)
