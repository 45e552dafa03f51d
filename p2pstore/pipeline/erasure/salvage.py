"""Which shard lies, when no hash can be trusted: reedsolo locates errors column by column.

A stripe whose shards all carry right hashes and yet do not open has a holder that hashed rubbish. The code itself
says which, given at least two shards more than k for one liar (2 e more for e).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from p2pstore.errors import Corrupt, TooFewShards
from p2pstore.limits import MOTHER_PARITY
from p2pstore.packing import Buffer
from p2pstore.pipeline.erasure.code import Code, rebuild_rows

_SAMPLE_COLUMNS: Final = 32
"""Columns given to reedsolo per round (0.2 to 10 ms each, by k). One would do for one liar, but a column in which
several liars differ can be located wrongly; the majority of columns, and the check afterwards, are not fooled."""

_COMPARE_BYTES: Final = 64 * 1024
"""Rows are compared in blocks of this size before they are compared byte by byte."""


def find_liars(rows: Mapping[int, Buffer], *, code: Code, needed: int) -> list[int]:
    """The indices of the rows that contradict the others, sorted; empty if all agree.

    The answer is proven before it is given: without the liars, the rest agrees in every column and has at least one
    shard more than k (of copies: the rest is identical and more than half of all).

    Raises:
        TooFewShards: there are not k + 2 rows (3 copies): one liar among fewer cannot be told from the rest.
        Corrupt: more lie than can be located with these shards.
        ValueError: rows that differ in length.
    """
    enough = 3 if code is Code.COPIES else needed + 2
    if len(rows) < enough:
        raise TooFewShards(enough, len(rows))
    return _odd_copies(rows) if code is Code.COPIES else _lying_rows(dict(rows), needed)


def _odd_copies(rows: Mapping[int, Buffer]) -> list[int]:
    groups: dict[bytes, list[int]] = {}
    for index in sorted(rows):
        groups.setdefault(bytes(rows[index]), []).append(index)
    largest = max(groups.values(), key=len)
    if 2 * len(largest) <= len(rows):
        raise Corrupt("no copy has a majority")
    return sorted(set(rows) - set(largest))


def _lying_rows(rows: dict[int, Buffer], needed: int) -> list[int]:
    liars: list[int] = []
    while columns := _inconsistent_columns(rows, needed):
        if len(rows) < needed + 2:
            raise Corrupt("the shards contradict each other, and too few are left to tell which lie")
        accused = Counter[int]()
        for column in columns:
            accused.update(_located(rows, column, needed))
        if not accused:
            raise Corrupt("the shards contradict each other in more places than the code can locate")
        worst = min(accused, key=lambda index: (-accused[index], index))
        liars.append(worst)
        del rows[worst]
    return sorted(liars)


def _inconsistent_columns(rows: Mapping[int, Buffer], needed: int) -> Sequence[int]:
    """A sample of the columns in which k of the rows do not predict the others."""
    basis = {index: rows[index] for index in sorted(rows)[:needed]}
    others = [index for index in sorted(rows) if index not in basis]
    length = len(rows[others[0]])
    predicted = {index: memoryview(bytearray(length)) for index in others}
    rebuild_rows(basis, predicted, needed=needed)
    columns: set[int] = set()
    for index in others:
        columns.update(_differences(memoryview(rows[index]), predicted[index]))
    ordered = sorted(columns)
    return ordered[:: max(1, len(ordered) // _SAMPLE_COLUMNS)]


def _differences(a: memoryview, b: memoryview) -> list[int]:
    """Where two rows differ; at most a sample of each block that does, so that a lie of megabytes stays cheap."""
    found = []
    for begin in range(0, len(a), _COMPARE_BYTES):
        left, right = bytes(a[begin : begin + _COMPARE_BYTES]), bytes(b[begin : begin + _COMPARE_BYTES])
        if left != right:
            here = [begin + place for place, (x, y) in enumerate(zip(left, right, strict=True)) if x != y]
            found += here[:: max(1, len(here) // _SAMPLE_COLUMNS)]
    return found


def _located(rows: Mapping[int, Buffer], column: int, needed: int) -> list[int]:
    """The rows that reedsolo finds wrong in one column, or nothing where it cannot tell."""
    import reedsolo

    length = needed + MOTHER_PARITY
    word = bytearray(length)
    for index, row in rows.items():
        word[index] = row[column]
    absent = [index for index in range(length) if index not in rows]
    try:
        _, _, corrected = reedsolo.RSCodec(MOTHER_PARITY).decode(word, erase_pos=absent)
    except reedsolo.ReedSolomonError:
        return []
    return sorted(set(corrected) - set(absent))
