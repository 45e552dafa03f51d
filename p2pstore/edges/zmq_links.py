"""Sockets between peers as libzmq has them: options, the handshake's doorman, connection events, cutting one.

Identity is what the doorman (ZAP) wrote into a connection's User-Id after CURVE proved the key; never a routing id,
which any peer could claim. facts: libzmq keeps neither order nor promises beyond one connection, so a dialled socket
lives exactly as long as its connection (no reconnecting underneath) and nothing stale survives in its queue.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Final

import trio
import zmq
from zmq.utils.monitor import parse_monitor_message

from p2pstore.edges.trio_zmq import TrioSocket
from p2pstore.limits import (
    BULK_PAYLOAD_BYTES_MAX,
    CONTROL_MESSAGE_BYTES_MAX,
    HEADER_BYTES_MAX,
    LINK_BACKLOG_MESSAGES,
    LINK_QUEUE_MESSAGES,
)
from p2pstore.protocols.links import LinkTiming
from p2pstore.seams.network import Plane

ZAP_DOMAIN: Final = b"p2pstore"
"""Without a domain, libzmq lets everybody in when the doorman is away."""

ZAP_ADDRESS: Final = "inproc://zeromq.zap.01"

FRAME_BYTES_MAX: Final = {
    Plane.CONTROL: CONTROL_MESSAGE_BYTES_MAX + HEADER_BYTES_MAX,
    Plane.BULK: BULK_PAYLOAD_BYTES_MAX + HEADER_BYTES_MAX,
}
"""libzmq cuts whoever sends a larger frame; what is smaller but too large is refused by protocols.wire."""

SOCKET_BUFFER_BYTES: Final = {Plane.CONTROL: 128 * 1024, Plane.BULK: 1024 * 1024}
"""Kernel buffers: small on the control plane, where what is queued is delay; larger where shards stream."""

IO_THREADS: Final = len(Plane)
"""One for each plane: the one that encrypts shards would keep pings waiting."""

HANDSHAKE_S: Final = 5.0
"""A connection that has not proven its key by then is closed: strangers' silent connections do not add up."""

_monitor_numbers = count(1)


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """Our CURVE key pair, raw."""

    public: bytes
    secret: bytes


def _configure(raw: zmq.Socket[bytes], plane: Plane, keys: CurveKeys, timing: LinkTiming) -> None:
    raw.set(zmq.LINGER, 0)
    raw.set(zmq.IPV6, 1)
    raw.set(zmq.AFFINITY, 1 << plane)
    raw.set(zmq.SNDHWM, LINK_QUEUE_MESSAGES)
    raw.set(zmq.RCVHWM, LINK_QUEUE_MESSAGES if plane is Plane.CONTROL else LINK_BACKLOG_MESSAGES)
    raw.set(zmq.MAXMSGSIZE, FRAME_BYTES_MAX[plane])
    raw.set(zmq.SNDBUF, SOCKET_BUFFER_BYTES[plane])
    raw.set(zmq.RCVBUF, SOCKET_BUFFER_BYTES[plane])
    # The kernel gives up on bytes that nobody takes; libzmq sends no heartbeats, and misses none, while they wait.
    raw.set(zmq.TCP_MAXRT, int(timing.heartbeat_timeout_s * 1000))
    raw.set(zmq.HANDSHAKE_IVL, int(HANDSHAKE_S * 1000))
    raw.set(zmq.CURVE_PUBLICKEY, keys.public)
    raw.set(zmq.CURVE_SECRETKEY, keys.secret)


def open_router(
    context: zmq.Context[zmq.Socket[bytes]], plane: Plane, keys: CurveKeys, timing: LinkTiming
) -> zmq.Socket[bytes]:
    """A socket that peers dial. The doorman must be at his post before it is bound."""
    raw = context.socket(zmq.ROUTER)
    _configure(raw, plane, keys, timing)
    raw.set(zmq.ROUTER_MANDATORY, 1)
    raw.set(zmq.CURVE_SERVER, 1)
    raw.set(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    return raw


def open_dealer(
    context: zmq.Context[zmq.Socket[bytes]], plane: Plane, keys: CurveKeys, curve_public: bytes, timing: LinkTiming
) -> zmq.Socket[bytes]:
    """A socket for one connection to the holder of `curve_public`.

    The dialling side alone sends heartbeats (their time to live makes the other side watch, too), on the control
    plane only: a heartbeat behind a queue of shards would say nothing.
    """
    raw = context.socket(zmq.DEALER)
    _configure(raw, plane, keys, timing)
    raw.set(zmq.CURVE_SERVERKEY, curve_public)
    raw.set(zmq.IMMEDIATE, 1)
    raw.set(zmq.RECONNECT_IVL, -1)
    timeout_ms = int(timing.heartbeat_timeout_s * 1000)
    if plane is Plane.CONTROL:
        raw.set(zmq.HEARTBEAT_IVL, int(timing.heartbeat_interval_s * 1000))
        raw.set(zmq.HEARTBEAT_TIMEOUT, timeout_ms)
        raw.set(zmq.HEARTBEAT_TTL, timeout_ms)
    return raw


def bound_port(raw: zmq.Socket[bytes]) -> int:
    """The port that a socket is bound to."""
    endpoint = raw.get(zmq.LAST_ENDPOINT)
    assert isinstance(endpoint, bytes)
    return int(endpoint.rstrip(b"\0").rpartition(b":")[2])


class Monitor:
    """The connection events of one socket, in order. To be closed before the socket itself.

    libzmq's thread tells events by a send that blocks. While nobody could take the event, no connection of any socket
    on that thread would move (issue 3575 of libzmq): so the queue has no bound, and stopping comes before hanging up.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], raw: zmq.Socket[bytes], events: int) -> None:
        address = f"inproc://monitor.{next(_monitor_numbers)}"
        self._watched = raw
        raw.monitor(address, events)
        pair = context.socket(zmq.PAIR)
        pair.set(zmq.LINGER, 0)
        pair.set(zmq.RCVHWM, 0)
        pair.connect(address)
        self._socket = TrioSocket(pair)

    async def run(self) -> None:
        """As TrioSocket.run."""
        await self._socket.run()

    async def next_event(self) -> tuple[int, int]:
        """(event, value); the value of DISCONNECTED is the connection's descriptor."""
        parts = await self._socket.receive()
        event = parse_monitor_message([part.bytes for part in parts])
        return int(event["event"]), int(event["value"])

    def close(self) -> None:
        """Stop listening to events."""
        assert not self._watched.closed, "a socket that is closed before its monitor can stop libzmq's thread"
        self._watched.disable_monitor()
        self._socket.close()


async def serve_doorman(zap: TrioSocket, admits: Callable[[bytes], bool]) -> None:
    """Answer libzmq's question, for each connection that proved a CURVE key: may it come in (RFC 27/ZAP)?

    A connection that may carries the hexadecimal public key as its User-Id.
    """
    while True:
        parts = [part.bytes for part in await zap.receive()]
        envelope = parts[: parts.index(b"") + 1]
        _version, request_id, _domain, _address, _routing_id, mechanism, *credentials = parts[len(envelope) :]
        curve_public = credentials[0] if mechanism == b"CURVE" and credentials else b""
        if curve_public and admits(curve_public):
            zap.send([*envelope, b"1.0", request_id, b"200", b"OK", curve_public.hex().encode(), b""])
        else:
            zap.send([*envelope, b"1.0", request_id, b"400", b"not a member", b"", b""])


def curve_public_of(part: zmq.Frame) -> bytes | None:
    """The key that the connection of a received part has proven."""
    try:
        return bytes.fromhex(str(part.get("User-Id")))
    except (zmq.ZMQError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted TCP connection inside libzmq.

    Attributes:
        descriptor: libzmq's descriptor; -1 if unknown. The kernel may give the number to somebody else once closed.
        remote: the peer's address and port: with it, the descriptor can be told from a successor.
    """

    descriptor: int
    remote: object

    @classmethod
    def of(cls, part: zmq.Frame) -> Connection:
        """The connection that a received part came over."""
        descriptor = int(part.get(zmq.SRCFD))
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
            return cls(descriptor, connection.getpeername())
        return cls(-1, None)

    def shut(self) -> None:
        """Close the connection. libzmq cannot close one of a ROUTER's connections; the kernel can."""
        if self.descriptor < 0:
            return
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.descriptor)) as connection:
            if connection.getpeername() == self.remote:
                connection.shutdown(socket.SHUT_RDWR)


async def numeric_addresses(address: str) -> list[str]:
    """HOST:PORT with the host as numbers: libzmq would look the name up on the thread that serves everybody.

    Empty if the address does not parse or the name is unknown: addresses come from other members.
    """
    host, _, port = address.rpartition(":")
    try:
        found = await trio.socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError, UnicodeError):
        return []
    numeric = [
        f"[{name[0]!s}]:{name[1]!s}" if family == socket.AF_INET6 else f"{name[0]!s}:{name[1]!s}"
        for family, _, _, _, name in found
    ]
    return list(dict.fromkeys(numeric))
