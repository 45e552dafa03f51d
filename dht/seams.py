"""The two seams of the DHT: datagrams and time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import trio

Address = tuple[str, int]
"""(numeric IPv4 or IPv6 host, UDP port)."""


class Datagrams(Protocol):
    """A bound datagram socket: whatever is sent may be lost, doubled, late or out of order."""

    @property
    def address(self) -> Address:
        """Where it is bound."""
        ...

    def send(self, data: bytes, address: Address) -> None:
        """Send at most 1,200 bytes, or drop them. Never waits, never raises for what the network did."""
        ...

    async def receive(self) -> Sequence[tuple[bytes, Address]]:
        """Wait until something is there, then return all of it (at most 64 datagrams), each with its source.

        Cancelling loses nothing. One task at a time. Raises trio.ClosedResourceError once the socket is closed.
        """
        ...


class Clock(Protocol):
    """Time as one machine sees it (the same shape as p2pstore's clock seam)."""

    def now_s(self) -> float:
        """Monotonic seconds from an arbitrary start."""
        ...

    def wall_s(self) -> float:
        """Seconds since 1970 as this machine believes."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        ...

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        """A cancel scope that ends by itself after so long."""
        ...
