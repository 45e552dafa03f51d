"""What would be left, said by the verdict's own arithmetic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import ChunkId, EncodingId, PeerId
from p2pstore.placement.promise import Promise
from p2pstore.placement.verdict import State
from p2pstore.placement.what_if import CountedStripe, Leaving, Outlook, Worst, can_leave, sentence_without


def peer(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def stripe(number: int = 1, machines: int = 6, needed: int = 4, promise: Promise = Promise.ANY_2) -> CountedStripe:
    held = {peer(n): [n] for n in range(machines)}
    return CountedStripe(EncodingId(bytes([number]) * 32), ChunkId(bytes(32)), needed, 1000, promise, held)


def outlook(*stripes: CountedStripe) -> Outlook:
    found = Outlook()
    for each in stripes:
        found.add(each)
    return found


def test_the_worst_piece_decides() -> None:
    whole = stripe()
    states = [outlook(whole, whole.without({peer(n) for n in range(lost)})).state for lost in range(4)]
    assert states == [State.SAFE, State.THIN, State.RISK, State.LOST]
    assert outlook().state is State.SAFE


def test_the_sentence_says_what_could_fail_beside() -> None:
    whole = stripe()
    sentences = [
        sentence_without(["Attic"] * lost, outlook(whole), outlook(whole.without({peer(n) for n in range(lost)})))
        for lost in (1, 2, 3)
    ]
    assert sentences == [
        "Without Attic everything could still be read, and any one more machine could fail.",
        "Without Attic and Attic everything could still be read, but no further failure would be survived.",
        "Without Attic, Attic and Attic, 1 of 1 pieces could not be read any more.",
    ]
    lost = outlook(stripe(machines=3))
    assert "nothing more would be lost" in sentence_without(["x"], lost, lost)


def leave(after: Outlook, *, room_bytes: int = 10**6, short: int = 0, admins_left: int = 1) -> Leaving:
    return can_leave(
        after, before=outlook(stripe()), rebuilt_bytes=3000, room_bytes=room_bytes, short=short, admins_left=admins_left
    )


def test_a_machine_can_leave_when_one_more_failure_would_be_borne_and_the_others_can_make_up_for_it() -> None:
    one = outlook(stripe().without({peer(0)}))
    assert leave(one) == Leaving(True, ("3,000 bytes would be rebuilt on those who stay",))
    assert not leave(outlook(stripe().without({peer(0), peer(1)}))).possible
    assert not leave(one, room_bytes=2999).possible
    assert not leave(one, short=1).possible
    assert not leave(one, admins_left=0).possible


@given(st.lists(st.integers(0, 6), max_size=20), st.integers(0, 5))
def test_the_worst_are_those_that_bear_least_and_none_that_is_safe(machines: list[int], count: int) -> None:
    stripes = [stripe(number, machines=each) for number, each in enumerate(machines)]
    worst = Worst(count)
    for each in stripes:
        worst.add(each)
    least = sorted(each.health.survives for each in stripes if each.state is not State.SAFE)[:count]
    assert [each.health.survives for each in worst.stripes()] == least
