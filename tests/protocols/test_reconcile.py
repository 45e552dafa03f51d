"""Two states of one vector: the conversation finds exactly what differs, in few and small messages."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.metadata.fingerprint import BLOCK_DOTS, Block, bucket_of, count_dots, joined, only_in
from p2pstore.metadata.vector import Vector
from p2pstore.packing import pack
from p2pstore.protocols import reconcile
from p2pstore.protocols.reconcile import Comparison, Ranges
from p2pstore.seams.network import Message
from tests.metadata.samples import OTHER, WRITER
from tests.metadata.test_fingerprint import sums_of

UPTO = 50_000
VECTOR = Vector({WRITER: UPTO, OTHER: UPTO})


def full() -> dict[Block, int]:
    """Everything live."""
    return {
        Block(writer, number): (1 << min(BLOCK_DOTS, UPTO - number * BLOCK_DOTS)) - 1
        for writer in (WRITER, OTHER)
        for number in range(-(-UPTO // BLOCK_DOTS))
    }


def talk(ours: dict[Block, int], theirs: dict[Block, int], *, vector: Vector = VECTOR) -> tuple[Comparison, int, int]:
    """The comparison at its end; messages asked, bytes both ways."""
    comparison = Comparison(VECTOR, sums_of(ours))
    count = size = 0
    while (ranges := comparison.next_ranges()) is not None:
        request = reconcile.ranges_message(ranges)
        asked = reconcile.read_ranges(request)
        reply = reconcile.ranges_message(reconcile.answer_ranges(asked, vector.root(), sums_of(theirs)))
        comparison.ranges_told(reconcile.read_ranges(reply))
        count, size = count + 1, size + len(request.payload) + len(reply.payload)
    while buckets := comparison.next_buckets():
        request = reconcile.blocks_request(comparison.root, buckets)
        root, wanted = reconcile.read_blocks_request(request)
        assert root == VECTOR.root()
        told = {block: bits for block, bits in theirs.items() if bucket_of(block) in wanted}
        reply = reconcile.blocks_message(vector.root(), told)
        mine = {block: bits for block, bits in ours.items() if bucket_of(block) in buckets}
        comparison.blocks_told(*reconcile.read_blocks(reply), mine)
        count, size = count + 1, size + len(request.payload) + len(reply.payload)
    return comparison, count, size


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 10)
def test_exactly_what_differs_is_found_on_both_sides(seed: int) -> None:
    rng = random.Random(seed)
    ours, theirs = full(), full()
    for state in (ours, theirs):
        for _ in range(rng.choice([0, 1, 1, 5, 300])):
            block = rng.choice(sorted(state))
            state[block] &= rng.choice([0, ~(1 << rng.randrange(BLOCK_DOTS)), rng.getrandbits(BLOCK_DOTS)])
    comparison, _, _ = talk(ours, theirs)
    assert joined(comparison.lacking) == only_in(theirs, ours)
    assert joined(comparison.lacked) == only_in(ours, theirs)
    assert not comparison.moved


def test_one_lost_commit_in_a_hundred_thousand_operations_costs_three_kilobytes() -> None:
    ours, theirs = full(), full()
    ours[Block(WRITER, 77)] &= ~(0b1111 << 40)
    comparison, count, size = talk(ours, theirs)
    assert count_dots(comparison.lacking) == 4
    assert count == 4
    assert size < 3000


def test_equal_states_end_at_the_first_answer() -> None:
    comparison, count, _ = talk(full(), full())
    assert count == 1
    assert comparison.lacking == comparison.lacked == []


def test_another_vector_by_now_is_no_difference() -> None:
    ours = full()
    del ours[Block(WRITER, 3)]
    comparison, count, _ = talk(ours, full(), vector=VECTOR.with_entries([(WRITER, UPTO + 1)]))
    assert (comparison.moved, count, comparison.lacking) == (True, 1, [])


def test_what_our_vector_does_not_cover_is_not_lacking() -> None:
    theirs = full()
    theirs[Block(WRITER, UPTO // BLOCK_DOTS)] = (1 << BLOCK_DOTS) - 1
    theirs[Block(OTHER, 10_000)] = 1
    comparison, _, _ = talk(full(), theirs)
    assert comparison.lacking == []


def test_answers_to_something_else_are_refused() -> None:
    comparison = Comparison(VECTOR, sums_of(full()))
    ranges = comparison.next_ranges()
    assert ranges is not None
    with pytest.raises(Malformed):
        comparison.ranges_told(Ranges(VECTOR.root(), ranges.width, ranges.starts[1:], (bytes(16),) * 15))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (reconcile.RANGES, [1, bytes(16), 256, [4000], []]),
        (reconcile.RANGES, [1, bytes(16), 1, [4096], []]),
        (reconcile.RANGES, [1, bytes(15), 1, [1], []]),
        (reconcile.BLOCKS, [1, bytes(16), list(range(129))]),
        (reconcile.FETCH, [1, [[bytes(32), bytes(8), 5, 4]]]),
        (reconcile.FETCH, [1, [[bytes(32), bytes(8), 0, 4]]]),
        (reconcile.FETCH, [2, []]),
    ],
)
def test_nonsense_is_refused_at_the_door(kind: str, body: list[object]) -> None:
    read = {
        reconcile.RANGES: reconcile.read_ranges,
        reconcile.BLOCKS: reconcile.read_blocks_request,
        reconcile.FETCH: reconcile.read_fetch,
    }[kind]
    with pytest.raises(Malformed):
        read(Message(kind, payload=pack(body)))


def test_a_fetch_is_read_as_it_was_written() -> None:
    ranges = only_in({Block(WRITER, 0): 0b1011, Block(OTHER, 9): 1 << 255}, {})
    assert reconcile.read_fetch(reconcile.fetch_message(ranges)) == ranges
