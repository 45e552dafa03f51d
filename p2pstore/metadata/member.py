"""What the roster says about one peer: a current member, a removed one, or one that somebody wants removed."""

from __future__ import annotations

from dataclasses import dataclass

from p2pstore.ids import PeerId
from p2pstore.keys.generation import Recipient
from p2pstore.metadata.roster_statements import Duty, Endpoints, NewRoot, StatementId
from p2pstore.seams.network import PeerEndpoint


@dataclass(frozen=True, slots=True)
class Member:
    """A current member.

    Attributes:
        peer_id: BLAKE3 of `public`.
        name: unique in the household: where two machines chose one name, the later is shown as "name-2".
        public: Ed25519 public key.
        curve_public: CURVE public key.
        role: "admin", "member" or "storage".
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        capacity_bytes: how much of its disk it gives.
        joined: wall time of its enrolment, as the admin that enrolled it believed.
        endpoints: where it last said that it listens.
        duty: whether it is to leave.
        successor: who takes over what it holds, if somebody was named.
    """

    peer_id: PeerId
    name: str
    public: bytes
    curve_public: bytes
    role: str
    site: str
    steadiness: str
    capacity_bytes: int
    joined: float
    endpoints: Endpoints
    duty: Duty = Duty.STAYS
    successor: PeerId | None = None

    @property
    def leaves(self) -> bool:
        """Whether it is on its way out: it gets nothing new, and nothing is to depend on it."""
        return self.duty is not Duty.STAYS

    @property
    def peer_endpoint(self) -> PeerEndpoint:
        """What the network seam wants to know."""
        return PeerEndpoint(self.endpoints.control, self.endpoints.bulk, self.curve_public)

    @property
    def recipient(self) -> Recipient:
        """To whom, and how much of a generation is sealed for it."""
        return Recipient(self.curve_public, self.role != "storage")


@dataclass(frozen=True, slots=True)
class RemovedPeer:
    """A peer that was a member.

    Attributes:
        peer_id: who.
        name: what it was called.
        by: who removed it, sorted; the root is the PeerId of its public key.
        stated_s: wall time of the earliest of the removals.
        cuts: their cuts, sorted, each once.
        retired: it was on its way out when it was removed.
        curve_public: its CURVE public key.
        successor: who takes over what it held, if somebody was named.
    """

    peer_id: PeerId
    name: str
    by: tuple[PeerId, ...]
    stated_s: float
    cuts: tuple[bytes, ...]
    retired: bool = False
    curve_public: bytes = b""
    successor: PeerId | None = None


@dataclass(frozen=True, slots=True)
class PendingRemoval:
    """Votes to remove an admin that do not suffice (yet)."""

    peer_id: PeerId
    voters: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class PendingRenewal:
    """Votes of admins for a new paper that do not suffice (yet).

    Attributes:
        new: its keys.
        voters: the admins that agree, sorted.
        statements: the ids of their statements.
    """

    new: NewRoot
    voters: tuple[PeerId, ...]
    statements: tuple[StatementId, ...]
