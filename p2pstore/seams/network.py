"""The network seam: requests between peers that know who the other is.

Two planes, so that shards never delay gossip. A request either gets its reply or raises; a request that timed out may
still be carried out, so every request is idempotent. Who asks is proven by the transport (CURVE key bound by the
roster), never claimed in a message.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

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
            the buffer before the reply; a receiver that keeps it beyond the handler keeps the whole frame alive.
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
