"""The real datagram seam: one UDP socket, drained at every wake-up."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import trio

from dht.limits import BATCH_MAX, DATAGRAM_BYTES_MAX
from dht.seams import Address

_MAPPED = "::ffff:"


class UdpDatagrams:
    """A bound UDP socket. An IPv6 host such as "::" takes IPv4 too; IPv4 addresses are shown as IPv4 either way."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind at once. Raises OSError if the address is taken or is none of ours."""
        self._is_v6 = ":" in host
        self._socket = socket.socket(socket.AF_INET6 if self._is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if self._is_v6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        self._address: Address = self._socket.getsockname()[:2]

    @property
    def address(self) -> Address:
        """Where it is bound."""
        return self._address

    def send(self, data: bytes, address: Address) -> None:
        """Hand `data` to the kernel; what it cannot take now, or cannot route, is dropped."""
        host, port = address
        if self._is_v6 and ":" not in host:
            host = _MAPPED + host
        try:
            self._socket.sendto(data, (host, port))
        except OSError:  # a full buffer, no route, a closed socket: all of them are a lost datagram
            return

    async def receive(self) -> Sequence[tuple[bytes, Address]]:
        """Wait for datagrams and take all that are there, at most 64."""
        while True:
            if self._socket.fileno() < 0:
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(self._socket)
            if batch := self._drain():
                return batch

    def _drain(self) -> list[tuple[bytes, Address]]:
        batch: list[tuple[bytes, Address]] = []
        for _ in range(BATCH_MAX):
            try:
                data, source = self._socket.recvfrom(DATAGRAM_BYTES_MAX + 1)  # a longer one shows, and is refused
            except BlockingIOError:
                break
            except OSError:  # an ICMP error about something sent earlier, on systems that report it here
                continue
            host: str = source[0]
            batch.append((data, (host.removeprefix(_MAPPED) if "." in host else host, source[1])))
        return batch

    def close(self) -> None:
        """Let go of the port; a waiting receive raises trio.ClosedResourceError."""
        if self._socket.fileno() >= 0:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
