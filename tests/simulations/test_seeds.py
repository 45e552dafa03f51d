"""A fixed mix of short runs: what must hold on every change. `p2pstore sim swarm` runs as many more as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

import simulations
from simulations.determinism import check_determinism
from simulations.run import run_plan
from simulations.schedule import Plan
from simulations.swarm import swarm_plan

REGRESSIONS = sorted((Path(simulations.__file__).parent / "regressions").glob("*.json"))


@pytest.mark.parametrize("seed", [1, 2, 3, 6, 9])
def test_every_invariant_holds_whatever_befalls_the_household(seed: int) -> None:
    result = run_plan(swarm_plan(seed, peers=4, load_s=300.0))
    assert result.held, (result.violations, result.bugs)
    assert result.figures["operations"] > 3


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    result = run_plan(Plan.decode(path.read_text("utf-8")))
    assert result.held, (result.violations, result.bugs)


@pytest.mark.parametrize("seed", [4, 5])
def test_a_run_is_a_function_of_its_seed_in_any_process(seed: int) -> None:
    assert check_determinism(swarm_plan(seed, peers=3, load_s=120.0), hash_seed=seed) is None


def test_another_seed_is_another_run() -> None:
    first, second = (run_plan(swarm_plan(seed, peers=2, load_s=60.0)) for seed in (8, 9))
    assert first.digest != second.digest
