"""The roster: who is a member, judged from a set of signed statements and from nothing else.

`Roster.from_statements` is a pure function of a *set*: order, repetition and company of invalid statements change
nothing, so merging two rosters is the union of their statements.

The rules of authority are written down in `roster_judgement.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from typing import Final

from blake3 import blake3

from p2pstore.errors import Malformed, PeerFault
from p2pstore.ids import GenerationId, NetworkId, PeerId
from p2pstore.keys.generation import Envelope, Recipient
from p2pstore.metadata.member import Member, PendingRemoval, PendingRenewal, RemovedPeer
from p2pstore.metadata.roster_codec import is_genesis, read_statement
from p2pstore.metadata.roster_judgement import judge
from p2pstore.metadata.roster_statements import (
    Certificate,
    Enrolment,
    Fact,
    Genesis,
    Reinstatement,
    Removal,
    Statement,
    StatementId,
    network_id_of,
)

__all__ = ["Member", "PendingRemoval", "RemovedPeer", "Roster"]

DIGEST_BYTES: Final = 16


class Roster:
    """Who is a member of one household. Frozen: every change gives another roster."""

    def __init__(self, network_id: NetworkId, statements: Mapping[StatementId, Statement], unreadable: int) -> None:
        """Not called from outside; see `from_statements`. `statements` holds the genesis."""
        genesis = next(
            each.body
            for each in statements.values()
            if isinstance(each.body, Genesis) and network_id_of(each.data) == network_id
        )
        self.network_id = network_id
        self.name = genesis.name
        self.created_s = genesis.created_s
        judged = judge(genesis, statements)
        self.root_public = judged.keys.root_public
        self.recovery_public = judged.keys.recovery_public
        self.recovery_curve_public = judged.keys.recovery_curve_public
        self.renewed = judged.keys is not genesis
        self._outvoted = judged.outvoted
        self._renewals = judged.renewals
        self.ignored = unreadable + judged.ignored
        self._statements = judged.retained
        self._members = judged.members
        self._removed = judged.removed
        self._pending = judged.pending
        self._sequences = judged.sequences
        self._generations = judged.generations
        self._envelopes = judged.envelopes
        self._may_remove = judged.may_remove

    @classmethod
    def from_statements(cls, statements: Iterable[bytes], network_id: NetworkId | None = None) -> Roster:
        """The roster that a set of statements gives.

        Args:
            statements: in any order, some perhaps invalid: those are ignored and counted.
            network_id: the household that is meant; without it, there must be exactly one genesis statement.

        Raises:
            Malformed: no genesis statement of that household among them, or more than one to choose from.
        """
        found = sorted(set(statements))
        if network_id is None:
            begins = {network_id_of(data) for data in found if is_genesis(data)}
            if len(begins) != 1:
                raise Malformed(f"roster: {len(begins)} genesis statements")
            network_id = begins.pop()
        read, unreadable = _read_all(found, network_id)
        if not any(isinstance(each.body, Genesis) for each in read.values()):
            raise Malformed("roster: no genesis statement of this household")
        return cls(network_id, read, unreadable)

    def with_statements(self, statements: Iterable[bytes]) -> Roster:
        """This roster and some more statements; only new ones are verified. Returns itself if there is none."""
        fresh = sorted({bytes(data) for data in statements} - {each.data for each in self._statements.values()})
        read, unreadable = _read_all(fresh, self.network_id)
        if not read:
            return self
        return Roster(self.network_id, {**self._statements, **read}, unreadable)

    def merge(self, other: Roster) -> Roster:
        """The union of both. Raises Malformed for another household's roster."""
        if other.network_id != self.network_id:
            raise Malformed("roster: of another household")
        return Roster(self.network_id, {**self._statements, **other._statements}, 0)

    def __eq__(self, other: object) -> bool:
        """Two rosters are equal if they hold the same statements of the same household."""
        return isinstance(other, Roster) and self._statements.keys() == other._statements.keys()

    def __hash__(self) -> int:
        return hash(self.digest)

    # --- sync -----------------------------------------------------------------------------------------------------

    def statements(self) -> list[bytes]:
        """Every statement worth keeping, sorted by id: what `from_statements` wants back."""
        return [self._statements[name].data for name in self.statement_ids()]

    def statement_ids(self) -> list[StatementId]:
        """The ids of `statements()`, sorted."""
        return sorted(self._statements)

    def missing(self, ids: Collection[bytes]) -> list[bytes]:
        """Our statements that somebody lacks who has `ids`, sorted by id."""
        had = frozenset(ids)
        return [self._statements[name].data for name in self.statement_ids() if name not in had]

    @cached_property
    def digest(self) -> bytes:
        """16 bytes that are equal where the statements are."""
        return blake3(self.network_id + b"".join(self.statement_ids())).digest(DIGEST_BYTES)

    def statement_ids_by(self, author: PeerId) -> list[StatementId]:
        """Ids of all that `author` signed, sorted: what a removal of an honest machine's keys names as kept."""
        return sorted(name for name, each in self._statements.items() if each.author == author)

    def enrolled_by(self, author: PeerId) -> list[PeerId]:
        """Current members whose enrolment `author` signed, sorted: what to look at when it was a thief's."""
        found = {
            each.body.card.peer_id
            for each in self._statements.values()
            if isinstance(each.body, Enrolment) and each.author == author
        }
        return sorted(peer for peer in found if peer in self._members)

    # --- members --------------------------------------------------------------------------------------------------

    def members(self) -> list[Member]:
        """The current members, sorted by PeerId."""
        return [self._members[name] for name in sorted(self._members)]

    def member(self, peer: PeerId) -> Member | None:
        """The current member of this id."""
        return self._members.get(peer)

    def by_curve(self, curve_public: bytes) -> Member | None:
        """The current member whose CURVE key this is."""
        return self._by_curve.get(curve_public)

    def by_name(self, name: str) -> Member | None:
        """The current member that is shown under this name, in any case."""
        return next((each for each in self.members() if each.name.casefold() == name.casefold()), None)

    def admins(self) -> list[Member]:
        """Members that may invite and remove, sorted by PeerId."""
        return [each for each in self.members() if each.role == "admin"]

    def removed(self) -> list[RemovedPeer]:
        """Peers that were members, sorted by PeerId."""
        return [self._removed[name] for name in sorted(self._removed)]

    def may_remove(self, subject: PeerId, voters: Collection[PeerId]) -> bool:
        """Whether removals signed by these admins would remove `subject`, itself an admin or not."""
        return self._may_remove(subject, voters)

    def statements_of_removal(self, peer: PeerId) -> list[bytes]:
        """What tells a peer that it was removed: the removals of it, and by whose authority; [] for a member."""
        if peer not in self._removed:
            return []
        return [
            each.data
            for _, each in sorted(self._statements.items())
            if (isinstance(each.body, Removal) and each.body.subject == peer) or isinstance(each.body, Certificate)
        ]

    def pending_removals(self) -> list[PendingRemoval]:
        """Votes against admins that do not suffice, sorted by PeerId."""
        return list(self._pending)

    def pending_renewals(self) -> list[PendingRenewal]:
        """Votes for a new paper that do not suffice, sorted by its root."""
        return list(self._renewals)

    def is_root(self, public: bytes) -> bool:
        """Whether this key may sign as the root: the paper's, or that of a paper that only admins have replaced, whose
        removal of one of them counts."""
        return public == self.root_public or public in self._outvoted

    def next_sequence(self, subject: PeerId, about: Fact) -> int:
        """The sequence number for the next update of one fact about one peer."""
        return self._sequences.get((subject, about), 0) + 1

    def next_root_sequence(self, subject: PeerId) -> int:
        """The sequence number for the root's next removal or reinstatement of a peer."""
        bodies = [each.body for each in self._statements.values()]
        return 1 + max(
            (each.sequence for each in bodies if isinstance(each, Removal | Reinstatement) and each.subject == subject),
            default=0,
        )

    def public_of(self, peer: PeerId) -> bytes | None:
        """The Ed25519 key of a member or of a peer that was one: its old signatures stay checkable."""
        return self._publics.get(peer)

    @cached_property
    def _publics(self) -> dict[PeerId, bytes]:
        cards = [each.body.card for each in self._statements.values() if isinstance(each.body, Enrolment)]
        return {card.peer_id: card.public for card in cards}

    @cached_property
    def _by_curve(self) -> dict[bytes, Member]:
        # Enrolment proves possession of the curve key, so two claims to one are an admin's lie; the older one stands.
        owners: dict[bytes, Member] = {}
        for member in sorted(self._members.values(), key=lambda each: (each.joined, each.peer_id), reverse=True):
            owners[member.curve_public] = member
        return owners

    # --- generations ----------------------------------------------------------------------------------------------

    def generation_ids(self) -> list[GenerationId]:
        """Key generations with envelopes, the newest first."""
        return sorted(self._envelopes, key=lambda name: (self._generations.get(name, 0), name), reverse=True)

    def generation_number(self, generation: GenerationId) -> int:
        """Its place in the order of generations; 0 if no statement gave it one."""
        return self._generations.get(generation, 0)

    @property
    def next_generation_number(self) -> int:
        """The number for a new generation."""
        return 1 + max(self._generations.values(), default=0)

    def recipients_of(self, generation: GenerationId) -> frozenset[Recipient]:
        """Everybody who was ever given this generation; given part and whole, the whole counts."""
        whole: dict[bytes, bool] = {}
        for envelope in self._envelopes.get(generation, ()):
            recipient = envelope.recipient
            whole[recipient.public] = whole.get(recipient.public, False) or recipient.whole
        return frozenset(Recipient(public, whole[public]) for public in whole)

    def recipients_wanted(self) -> frozenset[Recipient]:
        """The current members and the recovery key."""
        return frozenset([Recipient(self.recovery_public, True), *(each.recipient for each in self._members.values())])

    def envelopes_for(self, curve_public: bytes) -> list[Envelope]:
        """Envelopes to one recipient (a member's CURVE key, or the recovery key), the newest generation first."""
        return [
            envelope
            for name in self.generation_ids()
            for envelope in self._envelopes[name]
            if envelope.recipient.public == curve_public
        ]


def _read_all(statements: Iterable[bytes], network: NetworkId) -> tuple[dict[StatementId, Statement], int]:
    read: dict[StatementId, Statement] = {}
    unreadable = 0
    for data in statements:
        try:
            statement = read_statement(data, network)
        except PeerFault:
            unreadable += 1
            continue
        if isinstance(statement.body, Genesis) and network_id_of(statement.data) != network:
            unreadable += 1
            continue
        read[statement.id] = statement
    return read, unreadable
