"""Is a run a function of its seed? Runs it here and in another process with another hash seed, and compares."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from simulations.run import run_plan
from simulations.schedule import Plan

TIMEOUT_S: Final = 900.0
"""Real seconds for the other process."""


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two runs of one plan part.

    Attributes:
        event: its number, from 0.
        here: what happened in this process; "" if its trace had ended.
        there: what happened in the other one.
    """

    event: int
    here: str
    there: str


def first_difference(here: list[str], there: list[str]) -> Divergence | None:
    """The first event in which two traces differ."""
    for number, (ours, theirs) in enumerate(zip_longest(here, there, fillvalue="")):
        if ours != theirs:
            return Divergence(number, ours, theirs)
    return None


def check_determinism(plan: Plan, *, hash_seed: int = 77) -> Divergence | None:
    """Run a plan twice, the second time in a process with another PYTHONHASHSEED; where they part, None for nowhere."""
    with tempfile.TemporaryDirectory() as folder:
        plan_file, trace_file = Path(folder) / "plan.json", Path(folder) / "trace"
        plan_file.write_text(plan.encode(), "utf-8")
        subprocess.run(  # noqa: S603  our own interpreter and our own module
            [sys.executable, "-P", "-m", "simulations.determinism", str(plan_file), str(trace_file)],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(hash_seed),
                "PYTHONPATH": os.pathsep.join(filter(None, [str(Path(__file__).parents[1]), *sys.path])),
            },
            check=True,
            timeout=TIMEOUT_S,
        )
        there = trace_file.read_text("utf-8").splitlines()
    return first_difference(run_plan(plan, keep_trace=True).lines or [], there)


if __name__ == "__main__":
    result = run_plan(Plan.decode(Path(sys.argv[1]).read_text("utf-8")), keep_trace=True)
    Path(sys.argv[2]).write_text("\n".join(result.lines or []), "utf-8")
