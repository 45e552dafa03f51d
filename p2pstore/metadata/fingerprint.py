"""The fingerprint of a ledger's state: which operations are live, in 4,096 buckets that can be compared in ranges.

An operation is live until one that names it as superseded was applied. Live operations are kept as blocks: 256 sequence
numbers of one writer, a bit each. A block falls into a bucket by its hash; a bucket is the sum of its blocks' hashes,
so that it follows a change without a look at its other blocks. Docs: docs/protocols/metadata.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from blake3 import blake3

from p2pstore.metadata.vector import Writer

BLOCK_DOTS: Final = 256
"""Sequence numbers in a block. A commit of 1,000 operations touches five buckets; a lost one is told in 32 bytes."""

BITS_BYTES: Final = BLOCK_DOTS // 8

BUCKETS: Final = 4096

SUM_BYTES: Final = 16
"""Sums are modulo 2^128."""

NO_SUMS: Final = bytes(BUCKETS * SUM_BYTES)
"""The fingerprint of an empty ledger."""

ALL_LIVE: Final = (1 << BLOCK_DOTS) - 1

_MODULUS: Final = 1 << (8 * SUM_BYTES)
_VALUE_CONTEXT: Final = "p2pstore live block 1"
_BUCKET_CONTEXT: Final = "p2pstore live bucket 1"
_RANGE_CONTEXT: Final = "p2pstore live range 1"


class Block(NamedTuple):
    """256 sequence numbers of a writer: number * 256 + 1 to number * 256 + 256."""

    writer: Writer
    number: int


class DotRange(NamedTuple):
    """Sequence numbers `first` to `last` of a writer."""

    writer: Writer
    first: int
    last: int


def block_of(sequence: int) -> tuple[int, int]:
    """The number of the block that a sequence number is in, and its bit there."""
    return divmod(sequence - 1, BLOCK_DOTS)


def applied_bits(number: int, upto: int) -> int:
    """The bits of block `number` whose sequence numbers are at most `upto`."""
    count = min(max(upto - number * BLOCK_DOTS, 0), BLOCK_DOTS)
    return (1 << count) - 1


def _name(block: Block) -> bytes:
    return b"".join((*block.writer, block.number.to_bytes(8, "big")))


@lru_cache(maxsize=8192)
def bucket_of(block: Block) -> int:
    """Which bucket a block is in."""
    return int.from_bytes(blake3(_name(block), derive_key_context=_BUCKET_CONTEXT).digest(2), "big") % BUCKETS


def block_value(block: Block, bits: int) -> int:
    """What a block adds to its bucket: nothing where nothing is live."""
    if not bits:
        return 0
    name = _name(block) + bits.to_bytes(BITS_BYTES, "big")
    return int.from_bytes(blake3(name, derive_key_context=_VALUE_CONTEXT).digest(SUM_BYTES), "big")


def sum_after(total: int, out: int, into: int) -> int:
    """A bucket's sum when a block's value changed from `out` to `into`."""
    return (total - out + into) % _MODULUS


def range_digest(sums: bytes | bytearray, start: int, width: int) -> bytes:
    """16 bytes that are equal where the buckets from `start` on are."""
    piece = bytes(sums[start * SUM_BYTES : (start + width) * SUM_BYTES])
    return blake3(piece, derive_key_context=_RANGE_CONTEXT).digest(16)


def fingerprint(sums: bytes | bytearray) -> bytes:
    """16 bytes that are equal where all buckets are."""
    return range_digest(sums, 0, BUCKETS)


def only_in(mine: dict[Block, int], other: dict[Block, int]) -> list[DotRange]:
    """Dots live in `mine` and not in `other`, as ranges in rising order."""
    found: list[DotRange] = []
    for block in sorted(mine):
        bits = mine[block] & ~other.get(block, 0)
        found.extend(bit_ranges(block, bits))
    return joined(found)


def bit_ranges(block: Block, bits: int) -> list[DotRange]:
    """The bits that are set, as ranges."""
    found: list[DotRange] = []
    start = block.number * BLOCK_DOTS + 1
    while bits:
        low = (bits & -bits).bit_length() - 1
        length = ((bits >> low) ^ ((bits >> low) + 1)).bit_length() - 1
        found.append(DotRange(block.writer, start + low, start + low + length - 1))
        bits &= ~(((1 << length) - 1) << low)
    return found


def joined(ranges: Iterable[DotRange]) -> list[DotRange]:
    """Rising ranges, those that touch or overlap made one."""
    found: list[DotRange] = []
    for each in sorted(ranges):
        if found and found[-1].writer == each.writer and each.first <= found[-1].last + 1:
            found[-1] = found[-1]._replace(last=max(found[-1].last, each.last))
        else:
            found.append(each)
    return found


def count_dots(ranges: Sequence[DotRange]) -> int:
    """How many dots some disjoint ranges hold."""
    return sum(each.last - each.first + 1 for each in ranges)
