"""The workers seam done for real: a few threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar, TypeVarTuple, Unpack

import trio

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

WORKER_THREADS: Final = 2
"""One thread computes while another waits for the disk; more would only take cores from the rest of the machine."""


class ThreadWorkers:
    """At most `threads` jobs at once; further ones wait in order, and only that wait can be cancelled."""

    def __init__(self, threads: int = WORKER_THREADS) -> None:
        self._limiter = trio.CapacityLimiter(threads)

    async def run(self, job: Callable[[Unpack[Ts]], T], *args: *Ts, cost_s: float = 0.0) -> T:  # noqa: ARG002
        return await trio.to_thread.run_sync(job, *args, abandon_on_cancel=False, limiter=self._limiter)
