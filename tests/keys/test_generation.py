"""Key generations, envelopes and the keyring."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import GenerationId, NetworkId
from p2pstore.keys.generation import (
    Generation,
    Keyring,
    NoKeyToWrite,
    NoSuchGeneration,
    Recipient,
    open_envelope,
    seal_generation,
)
from p2pstore.keys.household import HouseholdKeys
from p2pstore.keys.identity import Identity
from p2pstore.packing import pack
from tests.keys.household import Household

NETWORK = NetworkId(bytes(32))
RNG = random.Random(7)
GENERATION = Generation.generate(RNG)
ANNA, BERT = Identity.generate(RNG), Identity.generate(RNG)


def test_a_generation_is_named_by_its_keys() -> None:
    assert Generation.decode(GENERATION.encode()) == GENERATION
    other = replace(GENERATION, content=bytes(32))
    with pytest.raises(Forged):
        Generation.decode(other.encode())
    assert repr(GENERATION.content) not in repr(GENERATION)


def test_a_storage_peer_gets_the_datagram_key_only() -> None:
    (envelope,) = seal_generation(GENERATION, [Recipient(ANNA.curve_public, False)], network=NETWORK, rng=RNG)
    opened = open_envelope(envelope, ANNA.curve_secret, network=NETWORK)
    assert opened == GENERATION.blind()
    assert (opened.content, opened.metadata, opened.dedupe) == (None, None, None)
    assert opened.datagram == GENERATION.datagram
    assert not opened.whole


def test_a_generation_that_is_neither_whole_nor_blind_is_malformed() -> None:
    with pytest.raises(Malformed):
        Generation.decode(pack([1, GENERATION.id, bytes(32), None, None, bytes(32)]))


def test_an_envelope_opens_for_its_recipient_and_nobody_else() -> None:
    (envelope,) = seal_generation(GENERATION, [Recipient(ANNA.curve_public, True)], network=NETWORK, rng=RNG)
    assert open_envelope(envelope, ANNA.curve_secret, network=NETWORK) == GENERATION
    spoilt = envelope.sealed[:-1] + bytes([envelope.sealed[-1] ^ 1])
    for wrong, secret, network in [
        (envelope, BERT.curve_secret, NETWORK),
        (envelope, ANNA.curve_secret, NetworkId(b"\x01" * 32)),
        (replace(envelope, generation=GenerationId(bytes(16))), ANNA.curve_secret, NETWORK),
        (replace(envelope, recipient=Recipient(ANNA.curve_public, False)), ANNA.curve_secret, NETWORK),
        (replace(envelope, sealed=spoilt), ANNA.curve_secret, NETWORK),
    ]:
        with pytest.raises(Forged):
            open_envelope(wrong, secret, network=network)
    with pytest.raises(Malformed):
        open_envelope(replace(envelope, sealed=b""), ANNA.curve_secret, network=NETWORK)


def test_two_envelopes_of_one_generation_share_nothing() -> None:
    recipients = [Recipient(ANNA.curve_public, True)] * 2
    one, other = seal_generation(GENERATION, recipients, network=NETWORK, rng=RNG)
    assert one.sealed[:32] != other.sealed[:32]


def test_a_keyring_opens_by_id_and_prefers_the_whole() -> None:
    ring = Keyring((GENERATION.blind(),)).adding([GENERATION])
    assert ring.find(GENERATION.id).whole
    assert Keyring((GENERATION, GENERATION.blind())) == ring
    with pytest.raises(NoSuchGeneration):
        ring.find(GenerationId(bytes(16)))


def test_one_may_write_only_while_the_recipients_are_the_members() -> None:
    home = Household()
    assert home.keyring.may_write_with(home.roster)
    home.enrolled("second", "third")
    assert home.keyring.may_write_with(home.roster), "a newcomer's enrolment brings its envelope"
    home.learn(home.removal("second", by="first"))
    assert not home.keyring.may_write_with(home.roster), "the removed one still has the key"
    with pytest.raises(NoKeyToWrite):
        home.keyring.current(home.roster)
    before = home.keyring
    home.mend()
    assert home.keyring.may_write_with(home.roster)
    assert not before.may_write_with(home.roster), "whoever lacks the new key cannot write with the old one"
    assert len(home.keyring.generations) == 2


def test_a_storage_peer_may_not_write() -> None:
    home = Household()
    home.enrolled("nas", role="storage")
    blind = Keyring(tuple(each.blind() for each in home.keyring.generations))
    assert home.keyring.may_write_with(home.roster)
    assert not blind.may_write_with(home.roster)


def test_the_recovery_key_counts_as_a_recipient() -> None:
    home = Household()
    keys = HouseholdKeys.derive(home.secret)
    (current,) = home.keyring.generations
    assert Recipient(keys.recovery_public, True) in home.roster.recipients_of(current.id)
