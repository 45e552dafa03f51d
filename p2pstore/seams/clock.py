"""The clock seam: what time it is, and waiting for it to pass.

Services never call `trio.sleep` or `time.*`: a simulated machine can be suspended or have a wrong wall clock, and only
its own clock knows.
"""

from __future__ import annotations

from typing import Protocol

import trio


class Clock(Protocol):
    """Time as one machine sees it."""

    def now_s(self) -> float:
        """Monotonic seconds from an arbitrary start; stands still while the machine is suspended."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 as this machine believes; may jump, may be years wrong. Never decides about data."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long on this machine's monotonic clock. A checkpoint even for 0."""
        ...

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        """A cancel scope that ends by itself after so long on this machine's monotonic clock."""
        ...
