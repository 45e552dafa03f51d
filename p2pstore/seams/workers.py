"""The workers seam: where heavy CPU work and blocking calls go.

A real hop to a thread costs about 100 µs (facts), so a job is a whole chunk's work, never a step of it, and calls only
code that releases the interpreter lock for its heavy part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class Workers(Protocol):
    """Runs plain functions off the event loop."""

    async def run(self, job: Callable[[*Ts], T], *args: *Ts, cost_s: float = 0.0) -> T:
        """Run `job(*args)` and return what it returns, or raise what it raises.

        A cancelled caller is released only when the job has ended: jobs are short, and one that outlived its caller
        would write to buffers that somebody else owns by then.

        Args:
            job: A function that never touches trio.
            args: Its arguments.
            cost_s: CPU seconds that the job takes about; the simulation lets so much virtual time pass.
        """
        ...
