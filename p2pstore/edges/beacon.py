"""The beacon seam done for real: IPv4 multicast on the local networks, one hop."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import sys
from collections.abc import Sequence
from typing import Final, Self

import trio

from p2pstore.errors import Unavailable
from p2pstore.protocols.beacon import BEACON_BYTES_MAX
from p2pstore.seams.beacon import UdpAddress

BEACON_GROUP: Final = "239.255.112.50"
"""A group of the "local scope" (RFC 2365): no router passes it on."""

BEACON_PORT: Final = 41520
"""Not registered to anybody. Bound together with the group, so that it collides with no ordinary socket."""

_MEMBERSHIP: Final = struct.Struct("=4s4si")
"""struct ip_mreqn: group, interface address (unused), interface index."""


_IP_MULTICAST_ALL: Final = 49
"""Linux: 0 hears only what came in by the interfaces that this socket joined on, not what any socket joined on."""


def loopback_interfaces() -> tuple[str, ...]:
    """Interfaces that reach only this machine: for households that live on one."""
    return tuple(name for _, name in socket.if_nameindex() if name.rstrip("0123456789") == "lo")


class MulticastBeacon:
    """Sockets of one who listens (a daemon) or of one who asks (a newcomer). Use as a context manager.

    Args:
        listen: hear what is shouted; otherwise hear the answers to what we shout.
        interfaces: names of the interfaces to use; None: all.
        group: multicast group.
        port: its port; every daemon of a machine shares it.

    Raises:
        Unavailable: none of the interfaces does multicast.
    """

    def __init__(
        self,
        *,
        listen: bool,
        interfaces: Sequence[str] | None = None,
        group: str = BEACON_GROUP,
        port: int = BEACON_PORT,
    ) -> None:
        names = [name for _, name in socket.if_nameindex()] if interfaces is None else list(interfaces)
        self._indexes = [socket.if_nametoindex(name) for name in names]
        self._group = group
        self._port = port
        only_here = set(names) <= set(loopback_interfaces())
        self._voice = trio.socket.from_stdlib_socket(_speaking_socket(only_here=only_here))
        self._ear = self._voice
        if listen:
            try:
                self._ear = self._listening_socket()
            except BaseException:
                self._voice.close()
                raise

    def _listening_socket(self) -> trio.socket.SocketType:
        raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sys.platform == "linux":
                raw.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
            else:  # BSD systems let several sockets share a multicast port by this option only
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            raw.bind((self._group, self._port))
            self._join(raw)
            return trio.socket.from_stdlib_socket(raw)
        except BaseException:
            raw.close()
            raise

    def _join(self, raw: socket.socket) -> None:
        joined = 0
        for index in self._indexes:
            membership = _MEMBERSHIP.pack(socket.inet_aton(self._group), bytes(4), index)
            with contextlib.suppress(OSError):  # an interface without IPv4, or that is down
                raw.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
                joined += 1
        if not joined:
            raise Unavailable("no network interface does multicast")

    async def shout(self, data: bytes) -> None:
        for index in self._indexes:
            interface = _MEMBERSHIP.pack(bytes(4), bytes(4), index)
            with contextlib.suppress(OSError):  # down, or without an address: the others may do
                self._voice.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
                await self._voice.sendto(data, (self._group, self._port))

    async def answer(self, data: bytes, address: UdpAddress) -> None:
        with contextlib.suppress(OSError):  # the network is gone, or the address was made up
            await self._voice.sendto(data, address)

    async def receive(self) -> tuple[bytes, UdpAddress]:
        while True:
            try:
                data, address = await self._ear.recvfrom(BEACON_BYTES_MAX + 1)
            except OSError as error:
                # An earlier answer met a closed port, or an interface went away: no reason to stop hearing.
                if error.errno not in (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN):
                    raise
                await trio.lowlevel.checkpoint()
                continue
            return data, (address[0], address[1])

    def close(self) -> None:
        """Let go of the sockets."""
        self._voice.close()
        self._ear.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _speaking_socket(*, only_here: bool) -> socket.socket:
    raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        raw.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        # Left to itself, Linux sends on the loopback interface from the machine's outer address, where a daemon that
        # listens on 127.0.0.1 cannot be dialled.
        raw.bind(("127.0.0.1" if only_here else "", 0))
    except BaseException:
        raw.close()
        raise
    return raw
