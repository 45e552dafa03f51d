from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from simulations.faults import KINDS
from simulations.scenarios import SCENARIOS
from simulations.schedule import Plan
from simulations.swarm import LIVENESS_IN, swarm_plan


@given(st.integers(0, 10_000))
def test_a_plan_comes_back_from_its_file(seed: int) -> None:
    plan = swarm_plan(seed)
    assert Plan.decode(plan.encode()) == plan
    assert {fault.kind for fault in plan.faults} <= set(KINDS)
    assert bool(plan.core) == (seed % LIVENESS_IN == LIVENESS_IN - 1)


def test_every_kind_of_fault_is_in_some_seed_of_a_swarm() -> None:
    seen = {fault.kind for seed in range(60) for fault in swarm_plan(seed).faults}
    assert seen | {"destroy", "lose-rows", "upgrade"} == set(KINDS)  # those have scenarios and tests of their own


def test_a_seed_is_one_plan() -> None:
    assert swarm_plan(7) == swarm_plan(7)
    assert swarm_plan(7) != swarm_plan(8)


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_every_scenario_makes_a_plan_for_other_numbers_too(name: str) -> None:
    plan = SCENARIOS[name].plan(name, seed=3, peers=4, days=0.01)
    assert len(plan.machines) == 4
    assert plan.faults
    assert all(fault.kind in KINDS and 0 <= fault.at_s <= plan.load_s for fault in plan.faults)
    assert Plan.decode(plan.encode()) == plan


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "machines": 3}'])
def test_a_file_that_is_no_plan_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        Plan.decode(text)
