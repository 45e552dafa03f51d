"""The planner keeps promises on the machines at hand."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import EncodingId, PeerId
from p2pstore.placement.planner import extend_stripe, health_with, plan_stripe, surplus
from p2pstore.placement.promise import Promise, failure_sets, household_promise, stripe_health
from p2pstore.placement.ranking import Candidate, Offer, plain_offers, rank


def machine(number: int) -> PeerId:
    return PeerId(bytes([number]) * 32)


def offers(count: int) -> list[Offer]:
    """Machines at one site that are always on."""
    return plain_offers([machine(i) for i in range(count)], {})


def brute_force_survives(needed: int, held: dict[PeerId, list[int]]) -> int:
    for size in range(len(held) + 1):
        for failed in combinations(held, size):
            left = {i for peer, indices in held.items() if peer not in failed for i in indices}
            if len(left) < needed:
                return size - 1
    return len(held)


def test_the_household_promise_grows_with_its_machines() -> None:
    assert [household_promise(n) for n in (1, 2, 3, 5, 6, 30)] == [
        Promise.ANY_1,
        Promise.ANY_1,
        Promise.ANY_1,
        Promise.ANY_1,
        Promise.ANY_2,
        Promise.ANY_2,
    ]


def test_machines_that_are_always_on_hold_one_shard_each() -> None:
    plans = {count: plan_stripe(offers(count), Promise.ANY_2) for count in (3, 4, 6, 9, 12, 13)}
    assert {count: (p.needed, p.total) for count, p in plans.items()} == {
        3: (1, 3),
        4: (2, 4),
        6: (4, 6),
        9: (7, 9),
        12: (10, 12),
        13: (10, 12),
    }


@given(st.integers(1, 14), st.sampled_from([Promise.ANY_1, Promise.ANY_2]))
def test_a_plan_that_says_it_keeps_its_promise_survives_every_promised_failure(count: int, promise: Promise) -> None:
    plan = plan_stripe(offers(count), promise)
    held: dict[PeerId, list[int]] = {}
    for index, peer in enumerate(plan.holders):
        held.setdefault(peer, []).append(index)
    for failed in failure_sets(list(held), promise):
        left = {index for peer, indices in held.items() if peer not in failed for index in indices}
        assert not plan.kept or len(left) >= plan.needed
    assert plan.kept == (count > promise.machines)


@given(
    st.integers(1, 5),
    st.dictionaries(st.integers(0, 6).map(machine), st.lists(st.integers(0, 9), unique=True, max_size=4), max_size=6),
)
def test_stripe_health_agrees_with_trying_every_failure(needed: int, held: dict[PeerId, list[int]]) -> None:
    if needed == 1:
        held = {peer: indices[:1] for peer, indices in held.items() if indices}
        distinct = {peer: [number] for number, peer in enumerate(held)}
        held = distinct
    held = {peer: indices for peer, indices in held.items() if indices}
    health = stripe_health(needed, held)
    expected = brute_force_survives(needed, held) if held else -1
    assert health.survives == expected
    assert health.readable == (expected >= 0)


@given(
    st.integers(2, 6),
    st.integers(1, 8),
    st.data(),
)
def test_extending_a_stripe_reaches_the_promise_whenever_enough_machines_are_left(
    needed: int, machine_count: int, data: st.DataObject
) -> None:
    machines = [machine(i) for i in range(machine_count)]
    placed = data.draw(st.lists(st.sampled_from(machines), unique=True, max_size=min(needed, machine_count)))
    held = {peer: [index] for index, peer in enumerate(placed)}
    added = extend_stripe(needed, held, offers(machine_count), Promise.ANY_2)
    health = health_with(needed, held, added)
    assert health.keeps(Promise.ANY_2) == (machine_count >= 3)
    assert len(added) == len(set(added)), "nothing is sent twice to one machine"


def test_nothing_is_added_to_a_stripe_that_keeps_its_promise() -> None:
    held = {machine(i): [i] for i in range(6)}
    assert extend_stripe(4, held, offers(6), Promise.ANY_2) == []


def test_copies_never_go_twice_to_one_machine() -> None:
    assert extend_stripe(1, {machine(0): [0]}, offers(2), Promise.ANY_2) == [(machine(1), 1)]
    assert len(extend_stripe(1, {}, offers(6), Promise.ANY_2)) == 3


def test_ranking_prefers_the_emptiest_skips_the_full_and_lets_equals_take_turns() -> None:
    big, small, full = machine(1), machine(2), machine(3)
    candidates = [Candidate(big, 4_000), Candidate(small, 1_000), Candidate(full, 10)]
    ranked = [rank(EncodingId(bytes([n]) * 32), candidates, shard_bytes=100) for n in range(200)]
    assert all(each == [big, small] for each in ranked)
    equal = [Candidate(big, 4_000), Candidate(small, 4_000)]
    firsts = [rank(EncodingId(bytes([n]) * 32), equal, shard_bytes=100)[0] for n in range(200)]
    assert 70 < firsts.count(big) < 130
    used = [Candidate(big, 2_000, given_bytes=4_000), Candidate(small, 1_900, given_bytes=1_900)]
    assert rank(EncodingId(bytes(32)), used, shard_bytes=100) == [small, big], "half full costs four times as much"


@given(st.integers(2, 6), st.integers(3, 8))
def test_a_stripe_kept_here_spreads_out_and_leaves_no_surplus(needed: int, machine_count: int) -> None:
    me = machine(0)
    held = {me: list(range(needed))}
    added = extend_stripe(needed, held, offers(machine_count), Promise.ANY_2)
    for peer, index in added:
        held.setdefault(peer, []).append(index)
    assert stripe_health(needed, held).keeps(Promise.ANY_2)
    dropped = surplus(needed, held, me, Promise.ANY_2)
    held[me] = [index for index in held[me] if index not in dropped]
    assert stripe_health(needed, held).keeps(Promise.ANY_2), "dropping the surplus breaks nothing"
    if machine_count >= needed + 2:
        assert sum(map(len, held.values())) <= needed + 3, "one shard a machine is what is left"
