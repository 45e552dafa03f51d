"""Which matrix turns the shards at hand into the shards wanted: arithmetic of GF(2^8), polynomial 0x11d."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from p2pstore.limits import DATA_SHARDS_MAX, MOTHER_PARITY

Matrix = tuple[bytes, ...]
"""Rows of coefficients, all of one length."""

_POLYNOMIAL: Final = 0x11D
"""The field of reedsolo, ISA-L and the CD: x is a primitive element."""


def _powers() -> tuple[bytes, bytes]:
    powers = bytearray(510)
    logarithms = bytearray(256)
    element = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = element
        logarithms[element] = exponent
        element <<= 1
        if element & 0x100:
            element ^= _POLYNOMIAL
    return bytes(powers), bytes(logarithms)


_POWERS, _LOGARITHMS = _powers()


def product(a: int, b: int) -> int:
    """The product of two field elements."""
    return _POWERS[_LOGARITHMS[a] + _LOGARITHMS[b]] if a and b else 0


def inverse(a: int) -> int:
    """The element whose product with `a`, not zero, is one."""
    return _POWERS[255 - _LOGARITHMS[a]]


@lru_cache(maxsize=256)
def multiples(factor: int) -> bytes:
    """The products of `factor` with 0 to 255: a table for `bytes.translate`."""
    return bytes(product(factor, element) for element in range(256))


def scaled(row: bytes, factor: int) -> bytes:
    """`row` times `factor`, element by element."""
    return row.translate(multiples(factor))


def added(a: bytes, b: bytes) -> bytes:
    """The sum (exclusive or) of two rows of one length."""
    return (int.from_bytes(a, "little") ^ int.from_bytes(b, "little")).to_bytes(len(a), "little")


@lru_cache(maxsize=DATA_SHARDS_MAX)
def mother_rows(needed: int) -> Matrix:
    """The rows that turn `needed` data shards into the parity shards of the mother code of that k.

    Its first m rows are the code with m parity shards, so that parity is added later without touching what is there.

    Args:
        needed: k, data shards, 1 to DATA_SHARDS_MAX.

    Returns:
        MOTHER_PARITY rows of k elements, equal to `reedsolo.RSCodec(MOTHER_PARITY).encode(column)[k:]` per column.

    Raises:
        ValueError: k is out of range.

    Source: Wicker and Bhargava, "Reed-Solomon Codes and Their Applications", 1994, chapter 3.
    """
    if not 1 <= needed <= DATA_SHARDS_MAX:
        raise ValueError(f"k is {needed}, allowed is 1 to {DATA_SHARDS_MAX}")
    generator = bytes([1])
    for exponent in range(MOTHER_PARITY):  # times (x - 2^exponent)
        generator = added(generator + b"\0", b"\0" + scaled(generator, _POWERS[exponent]))
    tail = generator[1:]
    remainder = tail  # x^32 modulo the generator: what the last data shard adds to each parity shard
    columns = []
    for _ in range(needed):
        columns.append(remainder)
        remainder = added(remainder[1:] + b"\0", scaled(tail, remainder[0]))
    columns.reverse()
    return tuple(bytes(column[row] for column in columns) for row in range(MOTHER_PARITY))


@lru_cache(maxsize=1024)
def combination(needed: int, have: tuple[int, ...], wanted: tuple[int, ...]) -> Matrix:
    """The rows that turn the shards `have` into the shards `wanted`; cached by loss pattern.

    Only the data shards that are missing are solved for, at most MOTHER_PARITY of them, so the cost is that of a small
    system even for a large k.

    Args:
        needed: k.
        have: k distinct indices, data (below k) or parity, in the order in which the shards will be given.
        wanted: Indices, in the order in which the rows come.

    Raises:
        ValueError: not k distinct indices, or an index that the code does not have.
    """
    rows = mother_rows(needed)
    if len(have) != needed or len(set(have)) != needed:
        raise ValueError(f"{needed} distinct shards are needed, not {have}")
    if not all(0 <= index < needed + MOTHER_PARITY for index in have + wanted):
        raise ValueError("a shard index that the code does not have")
    data = {index: _unit(position, needed) for position, index in enumerate(have) if index < needed}
    missing = [index for index in range(needed) if index not in data]
    equations = []  # of each parity shard at hand: its share of what is missing = itself + its share of what is there
    for position, index in enumerate(have):
        if index >= needed:
            row = rows[index - needed]
            known = _weighted({i: row[i] for i in data}, data, _unit(position, needed))
            equations.append((bytes(row[i] for i in missing), known))
    data.update(zip(missing, _solved(equations), strict=True))
    return tuple(
        data[index] if index < needed else _weighted(dict(enumerate(rows[index - needed])), data, bytes(needed))
        for index in wanted
    )


def _unit(position: int, length: int) -> bytes:
    return bytes(position) + b"\1" + bytes(length - position - 1)


def _weighted(weights: dict[int, int], rows: dict[int, bytes], start: bytes) -> bytes:
    total = start
    for index in sorted(weights):
        if weights[index]:
            total = added(total, scaled(rows[index], weights[index]))
    return total


def _solved(equations: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The unknown rows of a square system (coefficients, known row), by Gauss and Jordan."""
    left = [list(coefficients) for coefficients, _ in equations]
    right = [known for _, known in equations]
    for column in range(len(left)):
        pivot = next(row for row in range(column, len(left)) if left[row][column])  # any k shards decode: there is one
        left[column], left[pivot] = left[pivot], left[column]
        right[column], right[pivot] = right[pivot], right[column]
        factor = inverse(left[column][column])
        left[column] = list(scaled(bytes(left[column]), factor))
        right[column] = scaled(right[column], factor)
        for row in range(len(left)):
            if row != column and (factor := left[row][column]):
                left[row] = list(added(bytes(left[row]), scaled(bytes(left[column]), factor)))
                right[row] = added(right[row], scaled(right[column], factor))
    return right
