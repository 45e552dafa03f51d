"""The erasure code as shards see it: how long a shard is, how parity is made, how what is missing comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from p2pstore.errors import TooFewShards
from p2pstore.limits import MOTHER_PARITY, SHARD_LENGTH_STEP
from p2pstore.packing import Buffer
from p2pstore.pipeline.erasure.kernels import Kernel, multiply
from p2pstore.pipeline.erasure.matrix import combination, mother_rows

_PAGE: Final = 4096
"""Rows that lie a multiple of this apart share cache sets: the product is up to three times slower."""


class Code(IntEnum):
    """How the shards of a stripe are made. Numbers are for ever: they are hashed into encoding ids."""

    COPIES = 0
    """Every shard is the sealed chunk itself; k = 1."""

    MOTHER = 1
    """Reed-Solomon, 0x11d, the mother code of k with 32 parity shards, punctured."""


def shard_length(sealed_length: int, *, code: Code, needed: int) -> int:
    """How many bytes each shard of a sealed chunk has.

    A copy is as long as the sealed chunk. A row is a k-th of it, rounded up to whole SIMD lanes and never a multiple
    of the page size: rows lie back to back in memory.
    """
    if code is Code.COPIES:
        return sealed_length
    length = -(-sealed_length // needed)
    length = -(-length // SHARD_LENGTH_STEP) * SHARD_LENGTH_STEP
    return length if length % _PAGE else length + SHARD_LENGTH_STEP


def encode_parity(
    data: Sequence[Buffer], targets: Mapping[int, memoryview], *, kernel: Kernel | None = None
) -> None:
    """Write the parity shards of `data` (k rows) to `targets`, by shard index (k to k + 31).

    Raises:
        ValueError: rows that differ in length, or an index that is not a parity shard's.
    """
    needed = len(data)
    rows = mother_rows(needed)
    indices = sorted(targets)
    if indices and not (needed <= indices[0] and indices[-1] < needed + MOTHER_PARITY):
        raise ValueError(f"parity shards of k = {needed} are {needed} to {needed + MOTHER_PARITY - 1}, not {indices}")
    matrix = tuple(rows[index - needed] for index in indices)
    multiply(matrix, data, [targets[index] for index in indices], kernel=kernel)


def rebuild_rows(
    rows: Mapping[int, Buffer],
    targets: Mapping[int, memoryview],
    *,
    needed: int,
    kernel: Kernel | None = None,
) -> None:
    """Write the shards that `targets` names, data or parity, from any k of `rows`; data rows are preferred.

    Raises:
        TooFewShards: fewer than k rows.
        ValueError: rows that differ in length, or an index that the code does not have.
    """
    if len(rows) < needed:
        raise TooFewShards(needed, len(rows))
    have = tuple(sorted(rows)[:needed])
    wanted = tuple(sorted(targets))
    matrix = combination(needed, have, wanted)
    multiply(matrix, [rows[index] for index in have], [targets[index] for index in wanted], kernel=kernel)
