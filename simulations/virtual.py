"""Runs a coroutine in virtual time: one seed, one order of everything, no wall clock.

trio has no public support for this. What is used of its inside is checked at start-up, so that another trio is an error
and not a run that cannot be repeated.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, TypeVar

import apsw
import trio
import trio._core._run as trio_run
import trio.testing

from simulations.randomness import derived
from simulations.tripwires import tripwires

TICK_S: Final = 0.005
"""Deadlines within one tick fire together, and tasks that are due together meet in an order that the seed decides.
With 5 ms instead of 1 ms six idle nodes need 40 % less CPU (`python -m benchmarks.simulation idle`), and every distance
in the simulated network is longer."""

T = TypeVar("T")


class WrongTrio(RuntimeError):
    """This trio has not the inside that deterministic runs need."""


class Stuck(RuntimeError):
    """Nothing will ever happen again in a world that has not ended."""


def check_hooks() -> None:
    """Raises WrongTrio unless everything private that is used here exists and does what it did."""
    clock = trio.testing.MockClock()
    wanted = {
        "_run._ALLOW_DETERMINISTIC_SCHEDULING": isinstance(
            getattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", None), bool
        ),
        "_run._r": isinstance(getattr(trio_run, "_r", None), Random),
        "Task._counter": any(each.name == "_counter" for each in trio_run.Task.__attrs_attrs__),
        "MockClock._autojump": callable(getattr(clock, "_autojump", None)),
        "MockClock._real_clock": callable(getattr(clock, "_real_clock", None)),
        "MockClock._virtual_base": isinstance(getattr(clock, "_virtual_base", None), float),
        "GLOBAL_RUN_CONTEXT": hasattr(trio_run, "GLOBAL_RUN_CONTEXT"),
        "Deadlines.next_deadline": callable(getattr(trio_run.Deadlines, "next_deadline", None)),
    }
    missing = sorted(name for name, there in wanted.items() if not there)
    if missing:
        raise WrongTrio(f"trio {trio.__version__} has no {', '.join(missing)}")


def tick_clock(tick_s: float = TICK_S) -> trio.testing.MockClock:
    """A clock that knows no real time; when all tasks wait, it jumps to the first tick at the next deadline."""
    clock = trio.testing.MockClock(autojump_threshold=0)

    def jump() -> None:
        deadline_s = inside.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()
        now_s = hooks._virtual_base
        if deadline_s == math.inf:
            raise Stuck("all tasks wait for one another, and none for a time")
        if now_s < deadline_s:
            hooks._virtual_base = max(math.ceil(deadline_s / tick_s - 1e-5) * tick_s, deadline_s)

    hooks: Any = clock
    inside: Any = trio_run
    hooks.current_time = lambda: hooks._virtual_base  # asked many times a step, and moved by jumps alone
    hooks._real_clock = lambda: 0.0
    hooks._real_base = 0.0
    hooks._autojump = jump
    return clock


def run_virtual(
    main: Callable[[], Awaitable[T]], *, seed: int, tick_s: float = TICK_S, guarded: bool = True
) -> T:
    """Run `main()` to its end in virtual time.

    Args:
        main: what to run.
        seed: decides in which order tasks that are ready together run.
        tick_s: the grid of the clock.
        guarded: real clocks, sockets, threads, files and randomness raise meanwhile.

    Raises:
        WrongTrio: see `check_hooks`.
    """
    check_hooks()
    hooks: Any = trio_run
    before = hooks._ALLOW_DETERMINISTIC_SCHEDULING, hooks._r
    apsw.randomness(0)  # SQLite's generator starts anew: the salts of its journals are on simulated disks

    async def guarded_main() -> T:
        if not guarded:
            return await main()
        with tripwires():
            return await main()

    try:
        hooks._ALLOW_DETERMINISTIC_SCHEDULING = True
        hooks._r = derived(seed, "scheduler")
        return trio.run(guarded_main, clock=tick_clock(tick_s))
    finally:
        hooks._ALLOW_DETERMINISTIC_SCHEDULING, hooks._r = before
