"""The clock of a simulated machine: it can be suspended, and its wall clock can be wrong."""

from __future__ import annotations

import itertools
import math
import weakref
from typing import Final

import trio

WALL_START_S: Final = 1_767_225_600.0
"""The wall time at which trio's clock shows 0: 2026-01-01, so that runs of one seed show the same dates."""


SLACK_S: Final = 1e-8
"""Added to every wait, so that who waits until a moment finds it passed, however sums and differences were rounded. A
clock that moves only when all wait would stand still otherwise: whoever asks again at once is never waited for. Ten
virtual years are told apart to 4e-8 s at worst, one to 4e-9."""


class SimulatedClock:
    """One machine's time on the world's (trio's) clock.

    While it is suspended none of its timers fires: `suspend` puts their deadlines off for ever, `resume` sets them
    anew. Tasks that wait for something else (a message) are the simulated network's to hold back: `wait_awake`.
    """

    def __init__(self, *, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s
        """How far the wall clock is ahead of the world's; may be changed at any time."""
        self._asleep_s = 0.0
        self._suspended_at: float | None = None
        self._left_s: dict[int, float] = {}
        self._scopes: dict[int, weakref.ref[trio.CancelScope]] = {}
        self._numbers = itertools.count()
        self._awake = trio.Event()
        self._awake.set()

    def now_s(self) -> float:
        at = trio.current_time() if self._suspended_at is None else self._suspended_at
        return at - self._asleep_s

    def wall_s(self) -> float:
        return WALL_START_S + trio.current_time() + self.skew_s

    async def sleep(self, seconds: float) -> None:
        with self.move_on_after(seconds):
            await trio.sleep_forever()

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        seconds = seconds + SLACK_S if seconds > 0 else 0.0
        number = next(self._numbers)
        if self._suspended_at is None:
            scope = trio.CancelScope(deadline=trio.current_time() + seconds)
        else:
            scope = trio.CancelScope()
            self._left_s[number] = seconds

        def forget(_: object) -> None:
            self._scopes.pop(number, None)
            self._left_s.pop(number, None)

        self._scopes[number] = weakref.ref(scope, forget)
        return scope

    @property
    def suspended(self) -> bool:
        """True between `suspend` and `resume`."""
        return self._suspended_at is not None

    async def wait_awake(self) -> None:
        """Return at once unless the machine is suspended; then when it is resumed."""
        await self._awake.wait()

    def suspend(self) -> None:
        """Close the lid: no timer of this machine fires until `resume`."""
        assert self._suspended_at is None, "suspended already"
        self._suspended_at = now = trio.current_time()
        self._awake = trio.Event()
        for number, reference in list(self._scopes.items()):
            if (scope := reference()) is not None and scope.deadline < math.inf:
                self._left_s[number] = scope.deadline - now
                scope.deadline = math.inf

    def resume(self, *, stalled: bool = False) -> None:
        """Open the lid.

        Args:
            stalled: the monotonic clock ran on (SIGSTOP, a paused virtual machine): every timer that came due
                meanwhile fires now. Otherwise it stood still, and timers go on with what they had left.
        """
        assert self._suspended_at is not None, "not suspended"
        now = trio.current_time()
        away_s = now - self._suspended_at
        if not stalled:
            self._asleep_s += away_s
        for number, left_s in sorted(self._left_s.items()):
            if (scope := self._scopes[number]()) is not None:
                scope.deadline = now + (max(0.0, left_s - away_s) if stalled else left_s)
        self._left_s.clear()
        self._suspended_at = None
        self._awake.set()
