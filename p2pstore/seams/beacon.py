"""The beacon seam: small datagrams to everybody on the local network, and answers to one."""

from __future__ import annotations

from typing import Protocol

UdpAddress = tuple[str, int]
"""Host and port of a datagram's sender."""


class BeaconDatagrams(Protocol):
    """Shouting, hearing, answering. Anything may be lost, repeated or made up by anybody."""

    async def shout(self, data: bytes) -> None:
        """Send to everybody who listens on the local networks. A network that cannot be reached is passed over."""
        ...

    async def answer(self, data: bytes, address: UdpAddress) -> None:
        """Send to one."""
        ...

    async def receive(self) -> tuple[bytes, UdpAddress]:
        """The next datagram (shouted, for one who listens; an answer, for one who asks) and who sent it."""
        ...
