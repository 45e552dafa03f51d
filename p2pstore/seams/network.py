"""The network seam: requests between peers that know who the other is.

Two planes, so that shards never delay gossip. A request either gets its reply or raises; a request that timed out may
still be carried out, so every request is idempotent. Who asks is proven by the transport (CURVE key bound by the
roster), never claimed in a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple, Protocol

import trio

from p2pstore.ids import PeerId
from p2pstore.packing import Buffer


class Plane(IntEnum):
    """Which socket a message takes."""

    CONTROL = 0
    BULK = 1


@dataclass(frozen=True, slots=True)
class Message:
    """A request or its reply.

    Attributes:
        kind: what is asked, e.g. "shard.put"; unknown kinds are refused politely with code "unknown-kind".
        args: small values for the msgpack header; unchecked until the handler's door has read them.
        payload: bulk bytes beside the header, never inside it; travels without copying. The sender must not change
            the buffer before `request` has returned or raised (a reply's payload: never again); a receiver that
            keeps it beyond the handler keeps the whole frame alive.
    """

    kind: str
    args: Mapping[str, Any] = field(default_factory=dict)
    payload: Buffer = b""


Handler = Callable[[PeerId, Message], Awaitable[Message]]
"""Serves one request of a proven peer. It raises P2PStoreError to refuse (the requester sees Refused with a code)."""


@dataclass(frozen=True, slots=True)
class PeerEndpoint:
    """Where and how a peer can be dialled.

    Attributes:
        control: addresses of the control plane as HOST:PORT, best first; empty: it cannot be dialled.
        bulk: the same for the bulk plane.
        curve_public: its CURVE public key, 32 raw bytes, bound to the PeerId by the roster.
    """

    control: tuple[str, ...]
    bulk: tuple[str, ...]
    curve_public: bytes


class Network(Protocol):
    """Requests to peers, and a handler for theirs."""

    async def request(
        self, peer: PeerId, message: Message, *, plane: Plane = Plane.CONTROL, timeout_s: float = 15.0
    ) -> Message:
        """Send one request and wait for its reply.

        Raises:
            Unreachable: no connection, and none could be made.
            TimedOut: no reply in `timeout_s` (the clock starts when the byte window lets the request go).
            Busy: the peer serves as many requests of ours as it will.
            Refused: the peer's handler raised; `code` says why.
        """
        ...

    def linked_peers(self) -> list[PeerId]:
        """Peers with a link that carried something within the heartbeat timeout, sorted."""
        ...


@dataclass(frozen=True, slots=True)
class LinkStats:
    """What the links of one peer have carried since the network started.

    Attributes:
        linked: whether a control link is up now.
        round_trip_s: smoothed time to a reply without payload on the control plane; None before the first exchange.
        sent_bytes: header and payload bytes handed to the links.
        received_bytes: header and payload bytes that came.
        malformed: messages of the peer that did not parse.
        came_in: whether the peer has opened a link to us: it can reach us.
    """

    linked: bool
    round_trip_s: float | None
    sent_bytes: int
    received_bytes: int
    malformed: int
    came_in: bool = False


class Listen(NamedTuple):
    """Where to listen: "127.0.0.1", "*" (every interface, IPv4 and IPv6) or another address; port 0: any free one."""

    host: str
    control: int = 0
    bulk: int = 0


class Bound(NamedTuple):
    """The ports that a network listens on."""

    control: int
    bulk: int


class PeerNetwork(Network, Protocol):
    """A Network and the care of its links: what the daemon and the node hold. Services get the Network half."""

    on_link_change: Callable[[PeerId, bool], None] | None
    """Called (on the event loop, not to wait) when a peer's first control link is up or its last one is down."""

    on_fault: Callable[[PeerId | None, BaseException], None] | None
    """Called with what must not end the daemon and must not be hidden: a handler's bug, a peer's malformed message."""

    @property
    def bound(self) -> Bound | None:
        """The ports listened on, once running and listening."""
        ...

    async def run(
        self,
        handler: Handler,
        *,
        listen: Listen | None = None,
        task_status: trio.TaskStatus[Bound | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve `handler` to peers until cancelled; reports the bound ports when up. Requests need it running."""
        ...

    def keep_linked(self, peers: Iterable[PeerId]) -> None:
        """From now on keep links on both planes to these peers (and only these), dialling those that have an address.

        A peer that cannot be dialled is reached over the links that it keeps: on its own machine, this call keeps them.
        """
        ...

    def drop(self, peer: PeerId) -> None:
        """Close every link of `peer`, who left the roster; `admit` must refuse it by now. Its requests fail."""
        ...

    def redial(self) -> None:
        """Close every link and dial anew, at once: the machine woke, or its address changed."""
        ...

    def link_stats(self, peer: PeerId) -> LinkStats:
        """Counters of one peer; zeros for one never heard."""
        ...
