from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from simulations.oracle import Violation
from simulations.run import Result
from simulations.schedule import Fault, Plan
from simulations.shrink import Budget, ddmin, shrink
from simulations.swarm import household


@given(st.lists(st.integers(0, 40), unique=True, min_size=1), st.data())
def test_finds_exactly_the_events_that_are_needed(events: list[int], data: st.DataObject) -> None:
    needed = set(data.draw(st.lists(st.sampled_from(events), unique=True, min_size=1, max_size=4)))

    def fails(kept: Sequence[int]) -> bool:
        return needed <= set(kept)

    small = ddmin(events, fails, Budget(10_000))
    assert set(small) == needed
    assert small == [event for event in events if event in needed]


def test_stops_when_the_budget_is_spent() -> None:
    assert ddmin(list(range(100)), lambda kept: 3 in kept, Budget(0)) == list(range(100))


def test_a_plan_gets_fewer_faults_and_less_time_and_fails_as_before() -> None:
    faults = tuple(Fault(float(10 * number), "crash", number % 3) for number in range(12))
    plan = Plan("test", 1, household(3), load_s=1200.0, faults=faults)

    def run(candidate: Plan) -> Result:
        at = {fault.at_s for fault in candidate.faults}
        wrong = [Violation("reads", 0.0, "bad")] if {20.0, 70.0} <= at else [Violation("other", 0.0, "bad")]
        return Result(candidate, violations=wrong, done=Counter())

    small = shrink(plan, run=run)
    assert [fault.at_s for fault in small.faults] == [20.0, 70.0]
    assert small.load_s < 120


def test_a_plan_that_holds_stays_as_it_is() -> None:
    plan = Plan("test", 1, household(3), faults=(Fault(1.0, "crash", 0),))
    assert shrink(plan, run=Result) == plan
