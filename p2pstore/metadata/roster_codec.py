"""Membership statements as bytes: making them, and reading them with everything checked but the right to say it.

A statement is `[1, kind, signer, body, signature]`; the signature covers the network id, so that it means nothing in
another household. Format: docs/formats/roster.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from p2pstore.errors import Malformed, PeerFault
from p2pstore.ids import GenerationId, NetworkId, PeerId, generation_id, peer_id
from p2pstore.keys.generation import SEALED_GENERATION_BYTES_MAX, Envelope, Recipient
from p2pstore.keys.household import HouseholdKeys
from p2pstore.keys.identity import KEY_BYTES, SIGNATURE_BYTES, Identity, Signer, in_context, verify
from p2pstore.limits import ROSTER_MEMBERS_MAX, ROSTER_STATEMENT_BYTES_MAX
from p2pstore.metadata.roster_statements import (
    ROLES,
    STATEMENT_ID_BYTES,
    STEADINESSES,
    Body,
    Card,
    Certificate,
    Duty,
    Endpoints,
    Enrolment,
    Fact,
    GenerationStatement,
    Genesis,
    Kind,
    NewRoot,
    Profile,
    Reinstatement,
    Removal,
    Renewal,
    Statement,
    StatementId,
    Update,
    statement_id_of,
)
from p2pstore.packing import Buffer, Fields, pack, unpack

STATEMENT_VERSION: Final = 1
CARD_VERSION: Final = 1
CARD_BYTES_MAX: Final = 256

NAME_CHARACTERS_MAX: Final = 63
"""A machine's, household's or site's name: one line of any screen, as long as a host name's label."""

ADDRESSES_MAX: Final = 8
"""Addresses per plane: a machine with more interfaces has them tried by the ones it names first."""

ADDRESS_CHARACTERS_MAX: Final = 262
"""HOST:PORT with the longest DNS name (253) or a bracketed IPv6 address with its scope."""

ENVELOPES_MAX: Final = ROSTER_MEMBERS_MAX + 1
"""Every member and the recovery key; for a newcomer, as many generations."""

KEPT_MAX: Final = 8192
"""Statements of a removed admin that stay valid (128 KiB): eight for each member a household can have."""

CUT_BYTES_MAX: Final = 64 * 1024
"""The opaque cut of a removal: a version vector (about 48 B a peer) of more members than there can be."""

SEQUENCE_MAX: Final = 2**53
"""What every language's integers can hold; one change a second lasts longer than the sun."""

CAPACITY_BYTES_MAX: Final = 2**60
"""An exbibyte: more is a mistake."""

TIME_S_MAX: Final = 2.0**40
"""A wall time after the year 36,000 is a mistake."""

_CONTEXT_STATEMENT: Final = "roster statement"
_CONTEXT_CARD: Final = "peer card"
_CONTEXT_NEW_ROOT: Final = "new root"
_NO_NETWORK: Final = NetworkId(bytes(32))
"""In place of the network id in the genesis statement, whose hash is the network id."""


# --- making -------------------------------------------------------------------------------------------------------


def make_genesis(household: HouseholdKeys, *, name: str, created_s: float) -> bytes:
    """The genesis statement, signed by the root. Raises Malformed for a name that is none."""
    body = [
        household.public,
        household.recovery_public,
        household.recovery_curve_public,
        checked_name(name),
        float(created_s),
    ]
    return _sealed(household, _NO_NETWORK, Kind.GENESIS, body)


def make_card(identity: Identity, network: NetworkId) -> bytes:
    """A newcomer's card, for whoever enrols it."""
    message = in_context(_CONTEXT_CARD, network + identity.public + identity.curve_public)
    return pack([CARD_VERSION, identity.public, identity.curve_public, identity.sign(message)])


def make_enrolment(
    signer: Signer, network: NetworkId, *, card: bytes, profile: Profile, joined_s: float, envelopes: Iterable[Envelope]
) -> bytes:
    """An enrolment. Raises Malformed or Forged for a card or profile that would not be accepted."""
    read_card(card, network)
    body = [card, *profile_fields(checked_profile(profile)), float(joined_s), _envelope_fields(envelopes)]
    return _sealed(signer, network, Kind.ENROLMENT, body)


def make_certificate(signer: Signer, network: NetworkId, *, subject: PeerId) -> bytes:
    """An admin certificate."""
    return _sealed(signer, network, Kind.CERTIFICATE, [subject])


def make_update(
    signer: Signer,
    network: NetworkId,
    *,
    subject: PeerId,
    about: Fact,
    sequence: int,
    value: str | int | bytes | Endpoints,
) -> bytes:
    """An update of one fact; `Roster.next_sequence` gives the sequence. Raises Malformed for a value that is none."""
    if isinstance(value, Endpoints):
        encoded: Any = [list(value.control), list(value.bulk), list(value.datagram)]
    else:
        encoded = value
    _read_value(about, encoded)
    return _sealed(signer, network, Kind.UPDATE, [subject, int(about), sequence, encoded])


def make_removal(
    signer: Signer,
    network: NetworkId,
    *,
    subject: PeerId,
    kept: Iterable[StatementId] = (),
    cut: bytes = b"",
    stated_s: float = 0.0,
    sequence: int = 0,
) -> bytes:
    """A removal; `Roster.statement_ids_by(subject)` gives `kept`."""
    return _sealed(signer, network, Kind.REMOVAL, [subject, sequence, float(stated_s), sorted(kept), cut])


def make_generation(
    signer: Signer,
    network: NetworkId,
    *,
    generation: GenerationId,
    number: int,
    envelopes: Iterable[Envelope],
    stated_s: float = 0.0,
) -> bytes:
    """Envelopes of a generation: a new one (number = `Roster.next_generation_number`) or more of an old one."""
    body = [generation, number, float(stated_s), _envelope_fields(envelopes)]
    return _sealed(signer, network, Kind.GENERATION, body)


def make_reinstatement(household: HouseholdKeys, network: NetworkId, *, subject: PeerId, sequence: int) -> bytes:
    """A reinstatement by the root."""
    return _sealed(household, network, Kind.REINSTATEMENT, [subject, sequence])


def make_new_root(fresh: HouseholdKeys, network: NetworkId, *, replaced: bytes) -> NewRoot:
    """The keys of a new paper, which is in the caller's hands, in place of the root `replaced`."""
    new = NewRoot(replaced, fresh.public, fresh.recovery_public, fresh.recovery_curve_public, b"")
    return replace(new, signature=fresh.sign(_new_root_message(network, new)))


def make_renewal(
    signer: Signer, network: NetworkId, *, new: NewRoot, kept: Iterable[StatementId], stated_s: float
) -> bytes:
    """A renewal by the old root, or an admin's vote for one."""
    keys = [new.replaced, new.root_public, new.recovery_public, new.recovery_curve_public, new.signature]
    return _sealed(signer, network, Kind.RENEWAL, [keys, float(stated_s), sorted(kept)])


def _new_root_message(network: NetworkId, new: NewRoot) -> bytes:
    keys = new.replaced + new.root_public + new.recovery_public + new.recovery_curve_public
    return in_context(_CONTEXT_NEW_ROOT, network + keys)


def _sealed(signer: Signer, network: NetworkId, kind: Kind, body: Sequence[Any]) -> bytes:
    packed = pack(body)
    signature = signer.sign(_signed_message(network, kind, packed))
    data = pack([STATEMENT_VERSION, int(kind), signer.public, packed, signature])
    if len(data) > ROSTER_STATEMENT_BYTES_MAX:
        raise Malformed(f"statement of {len(data)} bytes")
    return data


def _signed_message(network: NetworkId, kind: Kind, packed: bytes) -> bytes:
    return in_context(_CONTEXT_STATEMENT, network + bytes([STATEMENT_VERSION, kind]) + packed)


def profile_fields(profile: Profile) -> list[Any]:
    """A profile as five elements of an array; `read_profile` is the way back."""
    return [profile.name, profile.role, profile.site, profile.steadiness, profile.capacity_bytes]


def _envelope_fields(envelopes: Iterable[Envelope]) -> list[list[Any]]:
    return [[each.generation, each.recipient.public, each.recipient.whole, each.sealed] for each in envelopes]


# --- reading ------------------------------------------------------------------------------------------------------


def read_statement(data: Buffer, network: NetworkId) -> Statement:
    """A statement, its form and its signature checked, of the household `network`.

    Raises:
        Malformed: it does not parse, or is not the one encoding of what it says.
        Forged: its signature does not verify, or it is of another household.
    """
    data = bytes(data)
    fields = Fields(unpack(data, bytes_max=ROSTER_STATEMENT_BYTES_MAX), "statement", version=STATEMENT_VERSION)
    kind = Kind(fields.integer(min(Kind), max(Kind)))
    signer = fields.raw(KEY_BYTES)
    packed = fields.raw(most=ROSTER_STATEMENT_BYTES_MAX)
    signature = fields.raw(SIGNATURE_BYTES)
    fields.end()
    if pack([STATEMENT_VERSION, int(kind), signer, packed, signature]) != data:
        raise Malformed("statement: not its canonical encoding")
    verify(signer, signature, _signed_message(_NO_NETWORK if kind is Kind.GENESIS else network, kind, packed))
    decoded = unpack(packed, bytes_max=ROSTER_STATEMENT_BYTES_MAX)
    if pack(decoded) != packed:
        raise Malformed("statement: not its canonical encoding")
    body = _READERS[kind](Fields(decoded, kind.name.lower()), network)
    if isinstance(body, Genesis) and body.root_public != signer:
        raise Malformed("genesis: not signed by its own root")
    return Statement(statement_id_of(data), signer, body, data)


def is_genesis(data: bytes) -> bool:
    """Whether these bytes are a well-formed genesis statement (of whatever household)."""
    try:
        return isinstance(read_statement(data, _NO_NETWORK).body, Genesis)
    except PeerFault:
        return False


def read_card(data: Buffer, network: NetworkId) -> Card:
    """A card, its signature checked. Raises Malformed, Forged."""
    fields = Fields(unpack(data, bytes_max=CARD_BYTES_MAX), "card", version=CARD_VERSION)
    card = Card(fields.raw(KEY_BYTES), fields.raw(KEY_BYTES), fields.raw(SIGNATURE_BYTES))
    fields.end()
    verify(card.public, card.signature, in_context(_CONTEXT_CARD, network + card.public + card.curve_public))
    return card


def checked_name(name: str) -> str:
    """`name`, if it can name a machine, a site or a household: 1 to 63 printable characters, no space at either end.

    Raises:
        Malformed: it cannot.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX or not name.isprintable() or name != name.strip():
        raise Malformed(f"not a name: {name[:NAME_CHARACTERS_MAX]!r}")
    return name


def checked_profile(profile: Profile) -> Profile:
    """`profile`, if every field of it is in range. Raises Malformed."""
    return read_profile(Fields(profile_fields(profile), "profile"))


def read_profile(fields: Fields) -> Profile:
    """The five fields of a profile, from an array that may go on after them. Raises Malformed."""
    return Profile(
        checked_name(fields.text(most=NAME_CHARACTERS_MAX)),
        _one_of(ROLES, fields.text(most=16)),
        checked_name(fields.text(most=NAME_CHARACTERS_MAX)),
        _one_of(STEADINESSES, fields.text(most=16)),
        fields.integer(0, CAPACITY_BYTES_MAX),
    )


def _one_of(allowed: Sequence[str], value: Any) -> str:
    if value not in allowed:
        raise Malformed(f"wanted one of {', '.join(allowed)}")
    return str(value)


def _read_genesis(fields: Fields, _network: NetworkId) -> Genesis:
    genesis = Genesis(
        fields.raw(KEY_BYTES),
        fields.raw(KEY_BYTES),
        fields.raw(KEY_BYTES),
        checked_name(fields.text(most=NAME_CHARACTERS_MAX)),
        fields.number(0.0, TIME_S_MAX),
    )
    fields.end()
    return genesis


def _read_enrolment(fields: Fields, network: NetworkId) -> Enrolment:
    card = read_card(fields.raw(most=CARD_BYTES_MAX), network)
    profile = read_profile(fields)
    enrolment = Enrolment(card, profile, fields.number(0.0, TIME_S_MAX), _read_envelopes(fields))
    fields.end()
    return enrolment


def _read_certificate(fields: Fields, _network: NetworkId) -> Certificate:
    certificate = Certificate(peer_id(fields.raw(32)))
    fields.end()
    return certificate


def _read_update(fields: Fields, _network: NetworkId) -> Update:
    subject = peer_id(fields.raw(32))
    about = Fact(fields.integer(min(Fact), max(Fact)))
    sequence = fields.integer(0, SEQUENCE_MAX)
    update = Update(subject, about, sequence, _read_value(about, fields.anything()))
    fields.end()
    return update


def _read_value(about: Fact, value: Any) -> str | int | bytes | Endpoints:
    single = Fields([value], about.name.lower())
    match about:
        case Fact.NAME | Fact.SITE:
            return checked_name(single.text(most=NAME_CHARACTERS_MAX))
        case Fact.ROLE:
            return _one_of(("member", "storage"), value)
        case Fact.STEADINESS:
            return _one_of(STEADINESSES, value)
        case Fact.CAPACITY:
            return single.integer(0, CAPACITY_BYTES_MAX)
        case Fact.ENDPOINTS:
            planes = Fields(value, "endpoints")
            endpoints = Endpoints(_read_addresses(planes), _read_addresses(planes), _read_addresses(planes))
            planes.end()
            return endpoints
        case Fact.DUTY:
            return _one_of(tuple(Duty), value)
        case Fact.SUCCESSOR:
            return b"" if value == b"" else peer_id(single.raw(32))


def _read_addresses(fields: Fields) -> tuple[str, ...]:
    return tuple(checked_address(each) for each in fields.array(most=ADDRESSES_MAX))


def checked_address(address: Any) -> str:
    """`address`, if it is HOST:PORT with a port from 1 to 65535 and no spaces. Raises Malformed."""
    if type(address) is not str or len(address) > ADDRESS_CHARACTERS_MAX or not address.isascii():
        raise Malformed("not an address")
    host, _, port = address.rpartition(":")
    if not host or not host.isprintable() or " " in host or not port.isdecimal() or not 1 <= int(port[:6]) <= 65535:
        raise Malformed("not an address")
    return address


def _read_removal(fields: Fields, _network: NetworkId) -> Removal:
    subject, sequence = peer_id(fields.raw(32)), fields.integer(0, SEQUENCE_MAX)
    stated_s = fields.number(0.0, TIME_S_MAX)
    kept = fields.array(most=KEPT_MAX)
    if any(type(each) is not bytes or len(each) != STATEMENT_ID_BYTES for each in kept) or kept != sorted(set(kept)):
        raise Malformed("removal: kept ids are not sorted ids")
    removal = Removal(subject, sequence, stated_s, tuple(kept), fields.raw(most=CUT_BYTES_MAX))
    fields.end()
    return removal


def _read_generation(fields: Fields, _network: NetworkId) -> GenerationStatement:
    generation, number = generation_id(fields.raw(16)), fields.integer(1, SEQUENCE_MAX)
    stated_s, envelopes = fields.number(0.0, TIME_S_MAX), _read_envelopes(fields)
    fields.end()
    if any(each.generation != generation for each in envelopes):
        raise Malformed("generation: an envelope of another")
    return GenerationStatement(generation, number, stated_s, envelopes)


def _read_reinstatement(fields: Fields, _network: NetworkId) -> Reinstatement:
    reinstatement = Reinstatement(peer_id(fields.raw(32)), fields.integer(0, SEQUENCE_MAX))
    fields.end()
    return reinstatement


def _read_renewal(fields: Fields, network: NetworkId) -> Renewal:
    keys = Fields(fields.array(most=5), "new root")
    replaced, root, recovery, curve = (keys.raw(KEY_BYTES) for _ in range(4))
    new = NewRoot(replaced, root, recovery, curve, keys.raw(SIGNATURE_BYTES))
    keys.end()
    verify(new.root_public, new.signature, _new_root_message(network, new))
    stated_s, kept = fields.number(0.0, TIME_S_MAX), fields.array(most=KEPT_MAX)
    if any(type(each) is not bytes or len(each) != STATEMENT_ID_BYTES for each in kept) or kept != sorted(set(kept)):
        raise Malformed("renewal: kept ids are not sorted ids")
    fields.end()
    return Renewal(new, stated_s, tuple(kept))


def _read_envelopes(fields: Fields) -> tuple[Envelope, ...]:
    return tuple(_read_envelope(Fields(each, "envelope")) for each in fields.array(most=ENVELOPES_MAX))


def _read_envelope(fields: Fields) -> Envelope:
    generation = generation_id(fields.raw(16))
    recipient = Recipient(fields.raw(KEY_BYTES), fields.truth())
    envelope = Envelope(generation, recipient, fields.raw(most=SEALED_GENERATION_BYTES_MAX))
    fields.end()
    return envelope


_READERS: Final[dict[Kind, Callable[[Fields, NetworkId], Body]]] = {
    Kind.GENESIS: _read_genesis,
    Kind.ENROLMENT: _read_enrolment,
    Kind.CERTIFICATE: _read_certificate,
    Kind.UPDATE: _read_update,
    Kind.REMOVAL: _read_removal,
    Kind.GENERATION: _read_generation,
    Kind.REINSTATEMENT: _read_reinstatement,
    Kind.RENEWAL: _read_renewal,
}
