"""The fingerprint follows every change, finds every difference, and is what it was."""

from __future__ import annotations

import json
import random
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.metadata.fingerprint import (
    ALL_LIVE,
    BLOCK_DOTS,
    NO_SUMS,
    SUM_BYTES,
    Block,
    DotRange,
    applied_bits,
    bit_ranges,
    block_of,
    block_value,
    bucket_of,
    count_dots,
    fingerprint,
    joined,
    only_in,
    range_digest,
    sum_after,
)
from p2pstore.metadata.vector import Writer
from tests.metadata.samples import OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "fingerprint.json"


def sums_of(blocks: dict[Block, int]) -> bytes:
    """The sums of some blocks, from nothing."""
    sums = bytearray(NO_SUMS)
    for block, bits in blocks.items():
        at = slice(bucket_of(block) * SUM_BYTES, (bucket_of(block) + 1) * SUM_BYTES)
        total = sum_after(int.from_bytes(sums[at], "big"), 0, block_value(block, bits))
        sums[at] = total.to_bytes(SUM_BYTES, "big")
    return bytes(sums)


def test_a_sequence_number_is_a_bit_of_a_block() -> None:
    assert block_of(1) == (0, 0)
    assert block_of(BLOCK_DOTS) == (0, BLOCK_DOTS - 1)
    assert block_of(BLOCK_DOTS + 1) == (1, 0)
    assert applied_bits(0, 3) == 0b111
    assert applied_bits(1, BLOCK_DOTS) == 0
    assert applied_bits(1, 5 * BLOCK_DOTS) == ALL_LIVE


@given(st.sets(st.integers(1, 700)))
def test_ranges_hold_exactly_the_dots(sequences: set[int]) -> None:
    blocks: dict[Block, int] = {}
    for sequence in sequences:
        number, bit = block_of(sequence)
        blocks[Block(WRITER, number)] = blocks.get(Block(WRITER, number), 0) | 1 << bit
    ranges = only_in(blocks, {})
    assert {at for each in ranges for at in range(each.first, each.last + 1)} == sequences
    assert count_dots(ranges) == len(sequences)
    assert joined(ranges) == ranges, "as few as can be"
    assert only_in(blocks, blocks) == []


@given(st.integers(0, 2**32))
def test_a_difference_of_one_dot_shows_and_goes_when_it_goes(seed: int) -> None:
    rng = random.Random(seed)
    blocks = {
        Block(rng.choice((WRITER, OTHER)), rng.randrange(20)): rng.getrandbits(BLOCK_DOTS) for _ in range(10)
    }
    before = sums_of(blocks)
    block = rng.choice(sorted(blocks))
    changed = {**blocks, block: blocks[block] ^ (1 << rng.randrange(BLOCK_DOTS))}
    after = sums_of(changed)
    assert fingerprint(after) != fingerprint(before)
    differing = [at for at in range(4096) if range_digest(before, at, 1) != range_digest(after, at, 1)]
    assert differing == [bucket_of(block)]
    assert count_dots(only_in(changed, blocks)) + count_dots(only_in(blocks, changed)) == 1
    assert sums_of(blocks) == before


def test_fingerprints_are_what_they_were() -> None:
    kept = json.loads(VECTORS.read_text())
    writer = Writer(*(bytes.fromhex(kept[name]) for name in ("author", "incarnation")))  # type: ignore[arg-type]
    assert writer == WRITER
    blocks = {Block(WRITER, int(number)): int(bits, 16) for number, bits in kept["blocks"].items()}
    assert {str(block.number): bucket_of(block) for block in blocks} == kept["buckets"]
    values = {str(block.number): f"{block_value(block, bits):032x}" for block, bits in blocks.items()}
    assert values == kept["values"]
    sums = sums_of(blocks)
    assert range_digest(sums, 256, 256).hex() == kept["digest of buckets 256 to 511"]
    assert fingerprint(sums).hex() == kept["fingerprint"]
    assert fingerprint(NO_SUMS).hex() == kept["fingerprint of nothing"]
    assert bit_ranges(Block(WRITER, 1), 0b1011) == [DotRange(WRITER, 257, 258), DotRange(WRITER, 260, 260)]
