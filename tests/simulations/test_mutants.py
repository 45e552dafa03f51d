"""Who watches the watchmen: bugs planted into the real code are caught within a few seeds."""

from __future__ import annotations

import pytest

from simulations.determinism import first_difference
from simulations.mutants import MUTANTS, set_iterated
from simulations.run import run_plan
from simulations.schedule import Plan
from simulations.swarm import swarm_plan


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_planted_bug_is_caught(name: str) -> None:
    mutant = MUTANTS[name]
    signatures = []
    for seed in range(1, mutant.seeds + 1):
        with mutant.plant():
            result = run_plan(mutant.plan(seed))
        signatures.append(result.signature)
        if mutant.caught_by & {violation.invariant for violation in result.violations}:
            return
    pytest.fail(f"{name} was not caught within {mutant.seeds} seeds: {signatures}")


@pytest.mark.parametrize("name", ["wal-without-fsync", "sequence-reuse", "promise-overcounted"])
def test_the_weather_of_the_planted_bugs_does_no_harm_to_the_real_code(name: str) -> None:
    result = run_plan(MUTANTS[name].plan(1))
    assert result.held, (result.violations, result.bugs)


def test_the_first_event_that_differs_is_named() -> None:
    plan: Plan = swarm_plan(2, peers=3, load_s=60.0)
    honest = run_plan(plan, keep_trace=True).lines or []
    with set_iterated():
        shuffled = run_plan(plan, keep_trace=True).lines or []
    found = first_difference(honest, shuffled)
    if found is not None:  # three ids in the order of their hashes may be in rising order by chance
        assert honest[found.event] == found.here != found.there
        assert honest[: found.event] == shuffled[: found.event]
    assert first_difference(honest, honest) is None
    assert first_difference(["a", "b"], ["a"]) is not None
