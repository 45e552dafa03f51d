"""Capacity against a linear program, and promises kept on whatever machines there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from p2pstore.ids import PeerId
from p2pstore.placement.capacity import bound, usable, with_disk, with_site
from p2pstore.placement.layout import READS, cheapest_layout
from p2pstore.placement.planner import DATA_SHARDS_MOST, extend_stripe, health_with, plan_stripe, shortfalls
from p2pstore.placement.promise import PROMISES, Promise, failure_sets
from p2pstore.placement.ranking import AWAKE, Candidate, Offer, awake_share, offers_of
from simulations.catalogue import CATALOGUE, GB, Owned


def candidates_of(machines: Sequence[Owned]) -> list[Candidate]:
    return [
        Candidate(
            PeerId(bytes([number + 1]) * 32),
            each.gigabytes * GB,
            awake_share(each.steadiness),
            each.site,
            each.gigabytes * GB,
        )
        for number, each in enumerate(machines)
    ]


def solve(columns: Sequence[Sequence[float]], sizes: Sequence[float]) -> tuple[float, np.ndarray]:
    """The most data that layouts, bytes on each machine per byte of data, can store; and the price of each machine."""
    found = linprog(-np.ones(len(columns)), A_ub=np.array(columns).T, b_ub=np.array(sizes), method="highs")
    return -found.fun, -found.ineqlin.marginals


def most_by_program(candidates: Sequence[Candidate], promise: Promise) -> float:
    """The linear program over all layouts of up to DATA_SHARDS_MOST data shards that keep `promise` and read READS of
    the time (over all that keep it where none does): solved by adding the layout that is cheapest at the program's own
    prices, until none is cheap enough to be worth it."""
    sizes = [each.free_bytes / GB for each in candidates]
    prices = np.array([1 / size for size in sizes])
    columns: dict[tuple[float, ...], None] = {}
    poor_too = False
    most = 0.0
    for _ in range(400):
        before = len(columns)
        for needed in range(1, DATA_SHARDS_MOST + 1):
            offers = [
                Offer(each.peer, max(float(price), 1e-12), 255, each.awake, each.site)
                for each, price in zip(candidates, prices, strict=True)
            ]
            layout = cheapest_layout(needed, promise, offers)
            if layout is None or (layout.reads < READS and not poor_too):
                continue
            column = tuple(layout.counts.get(each.peer, 0) / needed for each in candidates)
            if not columns or float(np.dot(column, prices)) < 1 - 1e-6:
                columns[column] = None
        if len(columns) == before:
            if columns or poor_too:
                return most
            poor_too = True
            continue
        most, prices = solve(list(columns), sizes)
    raise AssertionError("does not end")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda each: each.value)
@pytest.mark.parametrize("name", CATALOGUE)
def test_uploads_store_at_least_95_percent_of_what_a_linear_program_could(name: str, promise: Promise) -> None:
    candidates = candidates_of(CATALOGUE[name])
    most = most_by_program(candidates, promise) * GB
    assert most <= bound(candidates, promise) * 1.0001
    found = usable(candidates, promise).bytes
    assert found >= 0.95 * most
    assert found <= bound(candidates, promise) * 1.0001
    if shortfalls(offers_of(b"", candidates, shard_bytes=1), promise):
        assert found == 0


def test_the_bound_is_the_linear_program_over_every_layout_there_is() -> None:
    """For two households small enough to write all layouts down: k up to 4, any number of shards on each machine."""
    for name in ("a lone PC at the cabin", "a couple"):
        candidates = candidates_of(CATALOGUE[name])
        for promise in PROMISES:
            sites = {each.peer: each.site for each in candidates}
            failures = list(failure_sets(list(sites), promise, sites))
            columns = []
            for needed in range(1, 5):
                for counts in np.ndindex(*(needed + 1,) * len(candidates)):
                    held = dict(zip(sites, counts, strict=True))
                    if all(sum(held.values()) - sum(held[peer] for peer in each) >= needed for each in failures):
                        columns.append([count / needed for count in counts])
            most = solve(columns, [each.free_bytes / GB for each in candidates])[0] if columns else 0.0
            assert most == pytest.approx(bound(candidates, promise) / GB)


def test_a_second_house_makes_a_house_possible_and_a_disk_adds_what_it_can() -> None:
    candidates = candidates_of(CATALOGUE["a couple"])
    assert usable(candidates, Promise.HOUSE).bytes == 0
    assert usable(with_site(candidates, "cabin", 1000 * GB), Promise.HOUSE).bytes > 950 * GB
    before = usable(candidates, Promise.ANY_1).bytes
    assert usable(with_disk(candidates, candidates[0].peer, 1000 * GB), Promise.ANY_1).bytes < 1.02 * before
    assert usable(with_disk(candidates, candidates[1].peer, 1000 * GB), Promise.ANY_1).bytes > 2 * before


@st.composite
def households(draw: st.DrawFn) -> list[Offer]:
    """1 to 12 machines of any kind in 1 to 4 places, some with little room."""
    return [
        Offer(
            PeerId(bytes([number + 1]) * 32),
            draw(st.floats(0.01, 100)),
            draw(st.sampled_from([1, 2, 5, 255])),
            draw(st.sampled_from(sorted(AWAKE.values()))),
            draw(st.sampled_from(["home", "cabin", "office", "parents"])),
        )
        for number in range(draw(st.integers(1, 12)))
    ]


@settings(max_examples=200, deadline=None)
@given(households(), st.sampled_from(PROMISES))
def test_a_plan_survives_every_promised_failure_or_says_which_part_cannot_be_kept(
    offers: list[Offer], promise: Promise
) -> None:
    plan = plan_stripe(offers, promise)
    counts = Counter(plan.holders)
    room = {offer.peer: offer.room for offer in offers}
    sites = {offer.peer: offer.site for offer in offers}
    assert all(count <= room[peer] for peer, count in counts.items())
    kept = promise if plan.kept else plan.keeps
    if kept is not None:
        for failed in failure_sets(list(counts), kept, sites):
            assert sum(count for peer, count in counts.items() if peer not in failed) >= plan.needed
    if not plan.kept and all(offer.room == 255 for offer in offers):
        missing = shortfalls(offers, promise)
        assert missing
        assert all(each.part in promise.failures for each in missing)
    if plan.kept:
        assert not shortfalls(offers, promise)


@settings(max_examples=200, deadline=None)
@given(households(), st.sampled_from(PROMISES), st.sampled_from(PROMISES))
def test_raising_a_promise_adds_to_what_is_placed_and_ends_where_the_new_one_holds(
    offers: list[Offer], first: Promise, then: Promise
) -> None:
    offers = [Offer(each.peer, each.price, 255, each.awake, each.site) for each in offers]
    sites = {offer.peer: offer.site for offer in offers}
    plan = plan_stripe(offers, first)
    held: dict[PeerId, list[int]] = {}
    for index, peer in enumerate(plan.holders):
        held.setdefault(peer, []).append(index)
    added = extend_stripe(plan.needed, held, offers, first | then, sites=sites)
    assert all(index not in held.get(peer, ()) for peer, index in added)
    health = health_with(plan.needed, held, added, sites)
    assert health.keeps(first | then) == (not shortfalls(offers, first | then))
