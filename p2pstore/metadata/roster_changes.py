"""What to sign for each change of membership: founding, enrolling, removing, and keeping the key generations right.

Pure: each takes a roster and gives the statements that make the next one. Who passes them on makes them durable first.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import NamedTuple

from p2pstore.errors import Misuse, PeerFault
from p2pstore.ids import PeerId
from p2pstore.keys.generation import Generation, Keyring, Recipient, open_envelope, seal_generation
from p2pstore.keys.household import HouseholdKeys
from p2pstore.keys.identity import Identity, Signer, peer_id_of
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_codec import (
    make_card,
    make_certificate,
    make_enrolment,
    make_generation,
    make_genesis,
    make_removal,
    make_renewal,
    make_update,
    read_card,
)
from p2pstore.metadata.roster_statements import SELF_SIGNED, Duty, Fact, NewRoot, Profile, StatementId, network_id_of


class NotAllowed(Misuse):
    """Only an admin, or the paper key, can do this."""


class Founding(NamedTuple):
    """A new household: its roster, and the first machine's keys."""

    roster: Roster
    keyring: Keyring


def found(
    household: HouseholdKeys, identity: Identity, *, name: str, profile: Profile, now_s: float, rng: random.Random
) -> Founding:
    """A household of one machine, its first admin.

    Args:
        household: keys of the household secret; the caller forgets them afterwards.
        identity: the first machine's.
        name: the household's name.
        profile: the first machine's; its role is "admin".
        now_s: wall time.
        rng: for the first key generation.

    Raises:
        Malformed: a name that is none.
    """
    genesis = make_genesis(household, name=name, created_s=now_s)
    network = network_id_of(genesis)
    generation = Generation.generate(rng)
    recipients = [Recipient(household.recovery_public, True), Recipient(identity.curve_public, True)]
    envelopes = seal_generation(generation, recipients, network=network, rng=rng)
    enrolment = make_enrolment(
        household, network, card=make_card(identity, network), profile=profile, joined_s=now_s, envelopes=()
    )
    keys = make_generation(
        household, network, generation=generation.id, number=1, envelopes=envelopes, stated_s=now_s
    )
    return Founding(Roster.from_statements([genesis, enrolment, keys]), Keyring((generation,)))


def enrol(
    signer: Identity,
    roster: Roster,
    keyring: Keyring,
    *,
    card: bytes,
    profile: Profile,
    now_s: float,
    rng: random.Random,
) -> bytes:
    """The statement by which an admin makes a newcomer a member, with every generation's envelope for it.

    Raises:
        NotAllowed: the signer is no admin, or the newcomer was removed once (it needs a new identity).
        Malformed, Forged: the card or the profile is not valid.
    """
    demand_admin(signer, roster)
    newcomer = read_card(card, roster.network_id)
    if newcomer.peer_id in {each.peer_id for each in roster.removed()}:
        raise NotAllowed("a removed machine needs a new identity")
    recipient = Recipient(newcomer.curve_public, profile.role != "storage")
    held = [each for each in keyring.newest_first(roster) if each.whole]
    envelopes = [
        envelope
        for generation in held
        for envelope in seal_generation(generation, [recipient], network=roster.network_id, rng=rng)
    ]
    return make_enrolment(
        signer, roster.network_id, card=card, profile=profile, joined_s=now_s, envelopes=envelopes
    )


def remove(
    signer: Signer,
    roster: Roster,
    subject: PeerId,
    *,
    now_s: float,
    cut: bytes = b"",
    kept: list[StatementId] | None = None,
) -> bytes:
    """The statement by which an admin, or the root, removes a peer. Follow it with `mend_generations`.

    Args:
        signer: an admin's identity, or the household keys.
        roster: as known now.
        subject: who is to go.
        now_s: wall time.
        cut: the version vector beyond which its operations are frozen.
        kept: which of its statements stay valid; by default all that `roster` holds. After a theft, name those from
            before it.

    Raises:
        NotAllowed: the signer is neither.
    """
    demand_admin(signer, roster)
    return make_removal(
        signer,
        roster.network_id,
        subject=subject,
        kept=roster.statement_ids_by(subject) if kept is None else kept,
        cut=cut,
        stated_s=now_s,
        sequence=roster.next_root_sequence(subject) if roster.is_root(signer.public) else 0,
    )


def renew(
    signer: Signer, roster: Roster, new: NewRoot, *, now_s: float, kept: list[StatementId] | None = None
) -> bytes:
    """The statement by which a new paper replaces the old one, or an admin's vote for it. Follow it with
    `mend_generations` and `share_generations`, which seal to the new recovery key.

    Args:
        signer: the keys of the old paper, or an admin's identity.
        roster: as known now.
        new: made with `make_new_root` from the new paper, or what another admin voted for.
        now_s: wall time.
        kept: which statements of the old root stay valid; by default all that `roster` holds.

    Raises:
        NotAllowed: the signer is neither, or `new` replaces another root.
    """
    demand_admin(signer, roster)
    if new.replaced != roster.root_public:
        raise NotAllowed("that would replace another paper than this household's")
    ids = roster.statement_ids_by(peer_id_of(roster.root_public)) if kept is None else kept
    return make_renewal(signer, roster.network_id, new=new, kept=ids, stated_s=now_s)


@dataclass(frozen=True, slots=True)
class Mend:
    """What makes a key generation fit the current members again; nothing to do if both are empty."""

    statements: tuple[bytes, ...] = ()
    generations: tuple[Generation, ...] = ()


def mend_generations(signer: Signer, roster: Roster, keyring: Keyring, *, now_s: float, rng: random.Random) -> Mend:
    """What an admin signs when no generation's recipients equal the current members.

    Envelopes for those who lack the newest generation, if nobody has it who should not; else a new generation.

    Raises:
        NotAllowed: the signer is no admin.
    """
    wanted = roster.recipients_wanted()
    if any(roster.recipients_of(name) == wanted for name in roster.generation_ids()):
        return Mend()
    demand_admin(signer, roster)
    for generation in keyring.newest_first(roster):
        had = roster.recipients_of(generation.id)
        if generation.whole and had < wanted:
            number = max(roster.generation_number(generation.id), 1)
            return Mend((_generation_statement(signer, roster, generation, wanted - had, number, now_s, rng),))
    fresh = Generation.generate(rng)
    number = roster.next_generation_number
    return Mend((_generation_statement(signer, roster, fresh, wanted, number, now_s, rng),), (fresh,))


def share_generations(
    signer: Signer, roster: Roster, keyring: Keyring, *, now_s: float, rng: random.Random
) -> tuple[bytes, ...]:
    """Envelopes of every generation held here for members that should have it and do not, all but blind ones.

    A storage peer that became a member has no old generation; nor has who was enrolled by an admin that had not heard
    of one yet. Nobody gets what was not meant for members: removed machines are no members.

    Raises:
        NotAllowed: there is something to sign, and the signer is no admin.
    """
    statements = []
    for generation in keyring.newest_first(roster):
        had = {recipient.public for recipient in roster.recipients_of(generation.id) if recipient.whole}
        lacking = [each for each in sorted(roster.recipients_wanted()) if each.whole and each.public not in had]
        if not generation.whole or not lacking:
            continue
        demand_admin(signer, roster)
        number = max(roster.generation_number(generation.id), 1)
        statements.append(
            _generation_statement(signer, roster, generation, frozenset(lacking), number, now_s, rng)
        )
    return tuple(statements)


def update(signer: Signer, roster: Roster, subject: PeerId, about: Fact, value: str | int) -> bytes:
    """The statement by which a fact about a member changes.

    Raises:
        NotAllowed: the signer may not say this: an admin says names, sites and roles, each machine the rest of itself.
    """
    if about not in SELF_SIGNED:
        demand_admin(signer, roster)
    elif signer.public != roster.root_public and peer_id_of(signer.public) != subject:
        raise NotAllowed("each machine says this of itself")
    return make_update(
        signer,
        roster.network_id,
        subject=subject,
        about=about,
        sequence=roster.next_sequence(subject, about),
        value=value,
    )


def retire(
    signer: Signer, roster: Roster, subject: PeerId, duty: Duty, successor: PeerId | None = None
) -> list[bytes]:
    """The statements by which a member is to leave, or to stay after all.

    Args:
        signer: an admin, the root, or the subject itself.
        roster: as known now.
        subject: a member.
        duty: what it is to do.
        successor: a member that takes over what it holds.

    Raises:
        NotAllowed: the signer is none of these.
    """
    if peer_id_of(signer.public) != subject:
        demand_admin(signer, roster)
    said: list[tuple[Fact, str | bytes]] = [(Fact.SUCCESSOR, successor or b""), (Fact.DUTY, duty)]
    return [
        make_update(
            signer,
            roster.network_id,
            subject=subject,
            about=about,
            sequence=roster.next_sequence(subject, about),
            value=str(value) if isinstance(value, Duty) else value,
        )
        for about, value in said
    ]


def change_role(signer: Signer, roster: Roster, subject: PeerId, role: str) -> list[bytes]:
    """The statements that give a member another role. Follow them with `mend_generations` and `share_generations`.

    Raises:
        NotAllowed: the signer is no admin, or the subject is one: an admin stays one.
    """
    demand_admin(signer, roster)
    member = roster.member(subject)
    if member is None or (member.role == "admin" and role != "admin"):
        raise NotAllowed("an admin stays one until it is removed")
    if role != "admin":
        return [update(signer, roster, subject, Fact.ROLE, role)]
    return [make_certificate(signer, roster.network_id, subject=subject)]


def _generation_statement(
    signer: Signer,
    roster: Roster,
    generation: Generation,
    recipients: frozenset[Recipient],
    number: int,
    now_s: float,
    rng: random.Random,
) -> bytes:
    envelopes = seal_generation(generation, sorted(recipients), network=roster.network_id, rng=rng)
    return make_generation(
        signer, roster.network_id, generation=generation.id, number=number, envelopes=envelopes, stated_s=now_s
    )


def open_generations(roster: Roster, curve_public: bytes, curve_secret: bytes) -> Keyring:
    """Every generation that this key (a member's CURVE key, or the recovery key) opens; lying envelopes are skipped."""
    opened = []
    for envelope in roster.envelopes_for(curve_public):
        try:
            opened.append(open_envelope(envelope, curve_secret, network=roster.network_id))
        except PeerFault:
            continue
    return Keyring(tuple(opened))


def demand_admin(signer: Signer, roster: Roster) -> None:
    """Raises NotAllowed unless the signer is an admin, or the root."""
    if not may_sign(signer, roster):
        raise NotAllowed("only an admin may change who is a member")


def may_sign(signer: Signer, roster: Roster) -> bool:
    """Whether the signer is an admin, or the root."""
    member = roster.member(peer_id_of(signer.public))
    return roster.is_root(signer.public) or (member is not None and member.role == "admin")
