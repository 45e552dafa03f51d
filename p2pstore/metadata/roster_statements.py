"""What can be said about membership: one frozen type for each kind of signed statement.

`roster_codec.py` turns them into bytes and back; `roster_judgement.py` decides which of them stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Final, NewType

from blake3 import blake3

from p2pstore.ids import GenerationId, NetworkId, PeerId
from p2pstore.keys.generation import Envelope
from p2pstore.keys.identity import peer_id_of

STATEMENT_ID_BYTES: Final = 16
"""Long enough that no two statements of a household ever share an id; short enough to list thousands in a message."""

ROLES: Final = ("admin", "member", "storage")
STEADINESSES: Final = ("always-on", "desktop", "laptop")

StatementId = NewType("StatementId", bytes)
"""First 16 bytes of the BLAKE3 of a statement's bytes."""


class Kind(IntEnum):
    """What a statement says. Numbers are for ever."""

    GENESIS = 0
    ENROLMENT = 1
    CERTIFICATE = 2
    UPDATE = 3
    REMOVAL = 4
    GENERATION = 5
    REINSTATEMENT = 6
    RENEWAL = 7


class Fact(IntEnum):
    """What an update changes about a peer. Numbers are for ever."""

    NAME = 0
    SITE = 1
    ROLE = 2
    STEADINESS = 3
    CAPACITY = 4
    ENDPOINTS = 5
    DUTY = 6
    SUCCESSOR = 7


SELF_SIGNED: Final = frozenset({Fact.STEADINESS, Fact.CAPACITY, Fact.ENDPOINTS})
"""What a peer says about itself; the rest an admin says."""

SAID_BY_BOTH: Final = frozenset({Fact.DUTY, Fact.SUCCESSOR})
"""What an admin may say about any peer, and every peer about itself."""


class Duty(StrEnum):
    """Whether a peer is to stay. The value is the word in the statement."""

    STAYS = "stays"
    LEAVES = "leaves"
    """What it holds is written elsewhere; then it is removed, and erases itself."""
    LEAVES_ANYWAY = "leaves-anyway"
    """The same, also if promises cannot be kept without it; what it holds must be readable without it all the same."""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where a peer listens; best address first, each HOST:PORT; empty where it cannot be dialled.

    Attributes:
        control: control plane (TCP).
        bulk: bulk plane (TCP).
        datagram: DHT (UDP).
    """

    control: tuple[str, ...] = ()
    bulk: tuple[str, ...] = ()
    datagram: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Card:
    """A peer's two public keys, bound to each other and to one network by its own signature."""

    public: bytes
    curve_public: bytes
    signature: bytes = field(repr=False)

    @property
    def peer_id(self) -> PeerId:
        """The peer that it names."""
        return peer_id_of(self.public)


@dataclass(frozen=True, slots=True)
class Genesis:
    """The beginning of a household: its root and recovery keys, its name, wall time of `init`."""

    root_public: bytes
    recovery_public: bytes
    recovery_curve_public: bytes
    name: str
    created_s: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What an enrolment says of a machine, until an update says otherwise.

    Attributes:
        name: what people call it.
        role: "admin", "member" or "storage".
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        capacity_bytes: how much of its disk it gives.
    """

    name: str
    role: str
    site: str
    steadiness: str
    capacity_bytes: int


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An admin (or the root) makes a peer a member."""

    card: Card
    profile: Profile
    joined_s: float
    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Certificate:
    """An admin (or the root) makes a member an admin, or vouches for one that is."""

    subject: PeerId


@dataclass(frozen=True, slots=True)
class Update:
    """One fact about a peer changes. Of two, the higher sequence wins; root beats all."""

    subject: PeerId
    about: Fact
    sequence: int
    value: str | int | bytes | Endpoints


@dataclass(frozen=True, slots=True)
class Removal:
    """A peer is a member no more. For an admin, it takes the root or a quorum (see `Roster`).

    Attributes:
        subject: who.
        sequence: only the root's counts: its higher one of removal and reinstatement wins.
        stated_s: wall time.
        kept: statements of the removed peer that stay valid; the rest of what it signed is void. The remover names
            what it knew: so a thief's later (or backdated) statements fall, and the family's enrolments stand.
        cut: the version vector beyond which the peer's operations are frozen; opaque here.
    """

    subject: PeerId
    sequence: int
    stated_s: float
    kept: tuple[StatementId, ...]
    cut: bytes


@dataclass(frozen=True, slots=True)
class GenerationStatement:
    """A key generation exists, and these are its envelopes; more may follow in other statements."""

    generation: GenerationId
    number: int
    stated_s: float
    envelopes: tuple[Envelope, ...]


@dataclass(frozen=True, slots=True)
class Reinstatement:
    """The root says that a peer is a member after all, and may be removed by the root only from now on."""

    subject: PeerId
    sequence: int


@dataclass(frozen=True, slots=True)
class NewRoot:
    """The keys of a new paper, bound to what they replace by the new root's own signature.

    Attributes:
        replaced: public key of the root that it replaces.
        root_public, recovery_public, recovery_curve_public: as in a genesis.
        signature: of the new root.
    """

    replaced: bytes
    root_public: bytes
    recovery_public: bytes
    recovery_curve_public: bytes
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Renewal:
    """The root, or an admin, says that a new paper key replaces the old. Admins count when all of them say the same.

    Attributes:
        new: the new keys.
        stated_s: wall time.
        kept: statements of the old root that stay valid; the rest of what it signed is void.
    """

    new: NewRoot
    stated_s: float
    kept: tuple[StatementId, ...]


Body = Genesis | Enrolment | Certificate | Update | Removal | GenerationStatement | Reinstatement | Renewal


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose signature was checked.

    Attributes:
        id: first 16 bytes of the BLAKE3 of `data`.
        signer: Ed25519 public key.
        body: what it says.
        data: its bytes.
    """

    id: StatementId
    signer: bytes
    body: Body
    data: bytes = field(repr=False)

    @property
    def author(self) -> PeerId:
        """The signer's PeerId (the root has one too, that of no peer)."""
        return peer_id_of(self.signer)


def network_id_of(genesis: bytes) -> NetworkId:
    """The network id: BLAKE3 of the genesis statement's bytes."""
    return NetworkId(blake3(genesis).digest())


def statement_id_of(data: bytes) -> StatementId:
    """The id of a statement's bytes."""
    return StatementId(blake3(data).digest(STATEMENT_ID_BYTES))
