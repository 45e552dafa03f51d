"""The clock seam done for real: trio's monotonic clock and the system's wall clock."""

from __future__ import annotations

import time

import trio


class RealClock:
    """The machine's own time. On Linux and macOS trio's clock stands still while the machine is suspended."""

    def now_s(self) -> float:
        return trio.current_time()

    def wall_s(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(max(0.0, seconds))

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        return trio.move_on_after(max(0.0, seconds))
