"""The workers of a simulated machine: a job takes virtual time, then runs on the spot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple, Unpack

import trio

from p2pstore.seams.clock import Clock
from simulations.virtual import TICK_S

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class SlowThing(Protocol):
    """What the workers ask of a simulated disk: how long its calls took, and whether they return at all."""

    def take_elapsed_s(self) -> float:
        """Virtual seconds spent in calls since last asked."""
        ...

    async def wait_unstuck(self) -> None:
        """Return when calls return."""
        ...


class InlineWorkers:
    """Runs a job in the loop's own thread after `cost_s` virtual seconds: a real thread would let a clock that jumps
    leap over hours meanwhile (with a 20 ms thread, 3,600 virtual seconds: measured).

    Jobs shorter than a tick of the clock run at once and are owed for: one wait pays for many of them. Without that
    most of a run's time would go into waits of a millisecond.

    Args:
        clock: The machine's clock.
        disk: The machine's disk, whose slowness its jobs suffer.
        threads: How many jobs run at once.
    """

    def __init__(self, clock: Clock, disk: SlowThing | None = None, *, threads: int = 2) -> None:
        self._clock = clock
        self._disk = disk
        self._limiter = trio.CapacityLimiter(threads)
        self._owed_s = 0.0

    async def run(self, job: Callable[[Unpack[Ts]], T], *args: *Ts, cost_s: float = 0.0) -> T:
        async with self._limiter:
            with trio.CancelScope(shield=True):  # as a thread that has started cannot be called back
                await self._spend(cost_s)
                if self._disk is not None:
                    await self._disk.wait_unstuck()
                try:
                    result = job(*args)
                finally:
                    if self._disk is not None and (elapsed_s := self._disk.take_elapsed_s()) > 0:
                        await self._spend(elapsed_s)
        return result

    async def _spend(self, seconds: float) -> None:
        """Let so much virtual time pass, now or with what comes next."""
        self._owed_s += seconds
        if self._owed_s >= TICK_S:
            owed_s, self._owed_s = self._owed_s, 0.0
            await self._clock.sleep(owed_s)
        else:
            await trio.lowlevel.checkpoint()
