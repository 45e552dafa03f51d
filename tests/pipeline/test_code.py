"""The erasure code as shards see it."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import TooFewShards
from p2pstore.limits import DATA_SHARDS_MAX, MIB, SEALED_BYTES_MAX
from p2pstore.pipeline.erasure.code import Code, encode_parity, rebuild_rows, shard_length
from p2pstore.pipeline.sealing import SEALED_BYTES_MIN
from tests.pipeline.samples import noise, vectors


def coded(needed: int, total: int, length: int = 64) -> dict[int, bytes]:
    data = [noise(length, f"{needed} {row}") for row in range(needed)]
    parity = made(data, range(needed, total))
    return dict(enumerate(data)) | parity


def made(data: list[bytes], indices: Iterable[int]) -> dict[int, bytes]:
    targets = {index: memoryview(bytearray(len(data[0]))) for index in indices}
    encode_parity(data, targets)
    return {index: bytes(target) for index, target in targets.items()}


def rebuilt(rows: dict[int, bytes], wanted: Iterable[int], needed: int) -> dict[int, bytes]:
    length = len(next(iter(rows.values())))
    targets = {index: memoryview(bytearray(length)) for index in wanted}
    rebuild_rows(rows, targets, needed=needed)
    return {index: bytes(target) for index, target in targets.items()}


@pytest.mark.parametrize(("needed", "total"), [(k, n) for n in range(2, 9) for k in range(1, n)])
def test_every_loss_that_leaves_k_is_repaired(needed: int, total: int) -> None:
    rows = coded(needed, total)
    for kept in combinations(range(total), needed):
        survivors = {index: rows[index] for index in kept}
        lost = [index for index in range(total) if index not in kept]
        assert rebuilt(survivors, lost, needed) == {index: rows[index] for index in lost}


@given(st.integers(1, 40), st.data())
def test_parity_added_later_decodes_with_the_old_shards(needed: int, data: st.DataObject) -> None:
    rows = coded(needed, needed + 2)
    later = data.draw(st.sets(st.integers(needed + 2, needed + 31), min_size=1, max_size=8))
    rows |= made([rows[index] for index in range(needed)], later)
    kept = data.draw(st.permutations(sorted(rows)))[:needed]
    assert rebuilt({index: rows[index] for index in kept}, rows, needed) == rows


@given(st.integers(2, DATA_SHARDS_MAX))
def test_parity_does_not_depend_on_how_much_of_it_is_made(needed: int) -> None:
    data = list(coded(needed, needed).values())
    assert made(data, [needed + 3]) == {needed + 3: made(data, range(needed, needed + 5))[needed + 3]}


def test_fewer_than_k_are_too_few() -> None:
    rows = coded(4, 6)
    with pytest.raises(TooFewShards) as caught:
        rebuilt({index: rows[index] for index in (0, 3, 5)}, [1], 4)
    assert (caught.value.needed, caught.value.found) == (4, 3)


@pytest.mark.parametrize("index", [-1, 0, 3, 36])
def test_an_index_that_is_not_parity_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="parity"):
        made(list(coded(4, 4).values()), [index])


@given(st.integers(SEALED_BYTES_MIN, SEALED_BYTES_MAX), st.integers(1, DATA_SHARDS_MAX))
def test_shards_hold_the_sealed_chunk_in_whole_lanes(sealed_length: int, needed: int) -> None:
    length = shard_length(sealed_length, code=Code.MOTHER, needed=needed)
    assert needed * length >= sealed_length
    assert length <= sealed_length / needed + 128
    assert length % 64 == 0


def test_rows_are_never_a_whole_number_of_pages_apart() -> None:
    for sealed_length in range(1 * MIB - 200, 1 * MIB + 200):
        assert shard_length(sealed_length, code=Code.MOTHER, needed=4) % 4096


def test_a_copy_is_as_long_as_what_it_copies() -> None:
    assert shard_length(5001, code=Code.COPIES, needed=1) == 5001


def test_parity_is_as_frozen() -> None:
    for vector in vectors("erasure"):
        data = [bytes.fromhex(row) for row in vector["data"]]
        needed = vector["needed"]
        parity = {needed + row: bytes.fromhex(each) for row, each in enumerate(vector["parity"])}
        assert made(data, parity) == parity
