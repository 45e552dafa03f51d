"""The estimate of a year's losses, against closed forms and against what a household can see."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import PeerId
from p2pstore.placement.promise import Promise
from p2pstore.placement.prospect import Household, PlannedMachine, Prospect, prospect
from p2pstore.placement.risk import (
    LEAST_SHOWN,
    YEAR_DAYS,
    Hazard,
    Layout,
    rate_together,
    two_digits,
    yearly_risk,
)

T = 10**12


def peer(number: int) -> PeerId:
    return PeerId(number.to_bytes(32, "big"))


def machines(count: int, yearly: float, days: float) -> list[Hazard]:
    return [Hazard(f"m{number}", False, frozenset([peer(number)]), yearly, days) for number in range(count)]


def even(needed: int, total: int) -> Layout:
    return Layout(needed, tuple((peer(number), 1) for number in range(total)))


@pytest.mark.parametrize(
    ("needed", "total", "yearly", "days"),
    [(1, 2, 0.01, 1), (1, 2, 0.02, 30), (2, 3, 0.05, 7), (4, 6, 0.02, 7), (4, 6, 0.05, 30), (1, 3, 0.02, 30)],
)
def test_equal_machines_at_places_of_their_own_follow_the_closed_form(
    needed: int, total: int, yearly: float, days: float
) -> None:
    parity = total - needed
    expected = total * math.comb(total - 1, parity) * yearly ** (parity + 1) * (days / YEAR_DAYS) ** parity
    found = yearly_risk([even(needed, total)], machines(total, yearly, days))
    assert found.probability == pytest.approx(expected, rel=0.04)


def test_one_roof_over_everything_dominates_whatever_the_code() -> None:
    roof = Hazard("home", True, frozenset(peer(number) for number in range(6)), 0.01, 30)
    found = yearly_risk([even(4, 6)], [*machines(6, 0.02, 10), roof])
    assert found.probability == pytest.approx(0.01, rel=0.01)
    cause, share = found.causes[0]
    assert "home" in cause
    assert share > 0.99


def test_what_a_part_of_a_set_loses_is_counted_once() -> None:
    lone = Layout(1, ((peer(0), 1),))
    found = yearly_risk([lone], machines(3, 0.05, 10))
    assert found.probability == pytest.approx(-math.expm1(-0.05), rel=1e-6)
    assert found.causes == (("m0 is lost", 1.0),)


def test_the_layout_that_bears_least_decides_and_others_add_what_they_add() -> None:
    pairs = [Layout(1, ((peer(a), 1), (peer(b), 1))) for a, b in combinations(range(4), 2)]
    one = yearly_risk(pairs[:1], machines(4, 0.02, 10)).probability
    assert yearly_risk(pairs, machines(4, 0.02, 10)).probability == pytest.approx(6 * one, rel=1e-3)
    assert yearly_risk(pairs[:1] * 5, machines(4, 0.02, 10)).probability == one


@given(
    counts=st.lists(st.integers(1, 3), min_size=2, max_size=6),
    needed=st.integers(1, 4),
    yearly=st.floats(0.001, 0.2),
    days=st.floats(0.1, 60),
)
def test_more_time_and_more_hazards_never_make_it_safer_and_another_shard_never_less_safe(
    counts: list[int], needed: int, yearly: float, days: float
) -> None:
    layout = Layout(needed, tuple((peer(number), count) for number, count in enumerate(counts)))
    hazards = machines(len(counts), yearly, days)
    before = yearly_risk([layout], hazards).probability
    assert 0 <= before <= 1
    assert yearly_risk([layout], machines(len(counts), yearly, days * 2)).probability >= before
    roof = Hazard("home", True, frozenset(peer(number) for number in range(len(counts))), 0.01, 30)
    assert yearly_risk([layout], [*hazards, roof]).probability >= before
    more = Layout(needed, (*layout.counts, (peer(99), 1)))
    assert yearly_risk([more], hazards).probability <= before * (1 + 1e-9)


def test_a_set_is_counted_by_which_of_it_is_the_last() -> None:
    a, b = machines(2, 0.02, 10)
    assert rate_together([a, b]) == pytest.approx(2 * 0.02 * 0.02 * 10 / YEAR_DAYS, rel=1e-3)
    assert two_digits(0.0123456) == 0.012


def planned(name: str, site: str, size: int = T, steadiness: str = "always-on", **other: float) -> PlannedMachine:
    numbers = {"awake": 0.99, "lost_yearly": 0.02, "absences_yearly": 0.0, **other}
    return PlannedMachine(name, site, steadiness, size, **numbers)


def judged(*them: PlannedMachine, promise: Promise = Promise.ANY_1, stored: int | None = T // 2) -> Prospect:
    sites = {each.site: 0.01 for each in them}
    return prospect(Household(them, promise, stored, sites, 14.0, 2.5e6))


def test_a_second_site_and_the_promise_to_use_it_take_the_fire_away() -> None:
    found = judged(planned("a", "home"), planned("b", "home"))
    assert (found.kept, found.survives, found.house) == (True, 1, False)
    assert found.risk.probability == pytest.approx(0.01, rel=0.1)
    with_house = found.changes[-1]
    assert (with_house.what, with_house.promise, with_house.house) == ("promise", Promise.HOUSE, True)
    assert with_house.risk.probability < 0.001


def test_what_is_rebuilt_is_what_is_lost_at_the_rate_at_which_it_is() -> None:
    found = judged(planned("a", "home"), planned("b", "cabin"), promise=Promise.HOUSE)
    assert found.stored_bytes == pytest.approx(T, rel=0.01)
    assert found.rebuilt_bytes == pytest.approx(2 * (0.02 + 0.01) * T / 2, rel=0.01)
    assert found.absence_bytes == 0
    assert found.sent_bytes == found.rebuilt_bytes  # copies: nothing else is read


def test_absences_cost_only_where_others_can_take_over() -> None:
    away = [planned(name, "home", steadiness="laptop", absences_yearly=1.0) for name in ("a", "b", "c")]
    assert judged(*away[:2]).absence_bytes == 0
    assert judged(*away).absence_bytes > 0


def test_a_lone_machine_is_told_so_and_loses_what_it_loses() -> None:
    found = judged(planned("a", "home"))
    assert (found.kept, found.survives, found.usable_bytes) == (False, 0, 0)
    assert found.data_bytes == T // 2
    assert found.risk.probability == pytest.approx(0.03, rel=0.02)
    assert found.missing
    assert [each.kept for each in found.changes] == [False, True, True]


def test_more_than_fits_is_no_household_for_it() -> None:
    found = judged(planned("a", "home"), planned("b", "home"), stored=3 * T)
    assert (found.kept, found.fits) == (True, False)
    assert found.data_bytes == found.usable_bytes == pytest.approx(0.85 * T, rel=0.02)


def test_four_houses_are_beyond_what_is_stated() -> None:
    found = judged(*(planned(f"m{number}", f"s{number}") for number in range(8)), promise=Promise(2, True))
    assert found.house
    assert found.survives >= 2
    assert found.risk.probability < 100 * LEAST_SHOWN
