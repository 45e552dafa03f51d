"""Which links are live, which of a peer's links to use, and when a peer counts as linked. Pure bookkeeping."""

from __future__ import annotations

from dataclasses import dataclass

from p2pstore.ids import PeerId
from p2pstore.limits import (
    DIAL_TIMEOUT_S,
    HEARTBEAT_INTERVAL_S,
    HEARTBEAT_TIMEOUT_S,
    LINKS_PER_PEER_MAX,
    REDIAL_FIRST_S,
    REDIAL_MAX_S,
)
from p2pstore.protocols.requests import LinkId
from p2pstore.seams.network import LinkStats, Plane

ROUND_TRIP_WEIGHT = 1 / 8
"""Share of a new sample in the smoothed round trip, as TCP has it (RFC 6298)."""


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """How patient a network is, in seconds; see limits.py for the reasons of the defaults."""

    heartbeat_interval_s: float = HEARTBEAT_INTERVAL_S
    heartbeat_timeout_s: float = HEARTBEAT_TIMEOUT_S
    dial_timeout_s: float = DIAL_TIMEOUT_S
    redial_first_s: float = REDIAL_FIRST_S
    redial_max_s: float = REDIAL_MAX_S


@dataclass(frozen=True, slots=True)
class Removed:
    """What the end of a link means.

    Attributes:
        orphans: bulk links of a peer without a control link: nothing watches them any more, so they are to be cut.
        peer_lost: the peer's last control link is down.
    """

    peer: PeerId
    plane: Plane
    orphans: tuple[LinkId, ...] = ()
    peer_lost: bool = False


class Links:
    """The links on which both sides have said hello. A peer's newest link is the freshest evidence: use that."""

    def __init__(self) -> None:
        self._of: dict[tuple[PeerId, Plane], list[LinkId]] = {}
        self._whose: dict[LinkId, tuple[PeerId, Plane]] = {}

    def add(self, link: LinkId, peer: PeerId, plane: Plane) -> list[LinkId]:
        """A link is ready. Returns the oldest ones beyond the limit, to be cut."""
        links = self._of.setdefault((peer, plane), [])
        links.append(link)
        self._whose[link] = (peer, plane)
        return links[:-LINKS_PER_PEER_MAX]

    def remove(self, link: LinkId) -> Removed | None:
        """A link is down; None if it was never added, or removed before."""
        whose = self._whose.pop(link, None)
        if whose is None:
            return None
        peer, plane = whose
        links = self._of[whose]
        links.remove(link)
        if links:
            return Removed(peer, plane)
        del self._of[whose]
        if plane is not Plane.CONTROL:
            return Removed(peer, plane)
        return Removed(peer, plane, orphans=tuple(self._of.get((peer, Plane.BULK), ())), peer_lost=True)

    def best(self, peer: PeerId, plane: Plane) -> LinkId | None:
        """The link to use."""
        links = self._of.get((peer, plane))
        return links[-1] if links else None

    def has(self, link: LinkId) -> bool:
        """Whether the link is ready and not down."""
        return link in self._whose

    def count(self, peer: PeerId, plane: Plane) -> int:
        """Live links of a peer on a plane."""
        return len(self._of.get((peer, plane), ()))

    def linked(self) -> list[PeerId]:
        """Peers with a control link, sorted."""
        return sorted(peer for peer, plane in self._of if plane is Plane.CONTROL)


@dataclass(slots=True)
class Counters:
    """LinkStats while they grow."""

    sent_bytes: int = 0
    received_bytes: int = 0
    malformed: int = 0
    round_trip_s: float | None = None
    came_in: bool = False

    def round_trip(self, sample_s: float) -> None:
        """Take one sample into the smoothed round trip."""
        if self.round_trip_s is None:
            self.round_trip_s = sample_s
        else:
            self.round_trip_s += ROUND_TRIP_WEIGHT * (sample_s - self.round_trip_s)

    def stats(self, *, linked: bool) -> LinkStats:
        """As a value."""
        return LinkStats(
            linked, self.round_trip_s, self.sent_bytes, self.received_bytes, self.malformed, self.came_in
        )
