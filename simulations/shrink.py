"""Makes a failing plan small: delta debugging over its faults, then a shorter load.

Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002 (ddmin).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from simulations.run import Result, run_plan
from simulations.schedule import Plan

T = TypeVar("T")

RUNS_MAX: Final = 60
"""A run takes seconds; most schedules of a dozen faults are minimal after 20 to 40."""


class Budget:
    """So many tries and no more."""

    def __init__(self, tries: int) -> None:
        self.left = tries

    def spend(self) -> bool:
        """Whether one more try is allowed."""
        self.left -= 1
        return self.left >= 0


def ddmin(events: Sequence[T], fails: Callable[[Sequence[T]], bool], budget: Budget) -> list[T]:
    """A subsequence of `events` that still fails and from which, budget permitting, no single event can be taken."""
    kept = list(events)
    parts = 2
    while len(kept) >= 1:
        size = max(1, -(-len(kept) // parts))
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if not budget.spend():
                return kept
            if fails(rest):
                kept, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                return kept
            parts = min(len(kept), parts * 2)
    return kept


def shrink(
    plan: Plan,
    *,
    run: Callable[[Plan], Result] = run_plan,
    runs_max: int = RUNS_MAX,
    tell: Callable[[str], None] = lambda _: None,
) -> Plan:
    """The smallest plan found that fails in the same way; `plan` itself if it does not fail."""
    signature = run(plan).signature
    if not signature:
        return plan
    budget = Budget(runs_max)

    def fails_with(candidate: Plan) -> bool:
        failed = run(candidate).signature == signature
        tell(f"{len(candidate.faults)} faults, {candidate.load_s:.0f} s: {'fails' if failed else 'holds'}")
        return failed

    faults = ddmin(plan.faults, lambda kept: fails_with(replace(plan, faults=tuple(kept))), budget)
    plan = replace(plan, faults=tuple(faults))
    while plan.load_s > 60 and budget.spend():
        last_s = max((fault.at_s for fault in plan.faults), default=0.0)
        shorter = replace(plan, load_s=round(max(plan.load_s / 2, last_s + 1.0), 1))
        if shorter.load_s >= plan.load_s or not fails_with(shorter):
            break
        plan = shorter
    return plan
