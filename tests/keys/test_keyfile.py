"""The key file."""

from __future__ import annotations

import random

import pytest

from p2pstore.errors import Malformed
from p2pstore.keys.generation import Generation, Keyring
from p2pstore.keys.identity import Identity
from p2pstore.keys.keyfile import KeyFile, PassphraseNeeded, WrongPassphrase
from p2pstore.packing import pack

RNG = random.Random(11)
KEYS = KeyFile(Identity.generate(RNG), Keyring((Generation.generate(RNG), Generation.generate(RNG).blind())))


def test_it_survives_its_encoding() -> None:
    assert KeyFile.decode(KEYS.encode(rng=RNG)) == KEYS


def test_a_passphrase_hides_everything_and_opens_it_again() -> None:
    data = KEYS.encode(passphrase="correct horse", rng=RNG, cost_log2=4)
    assert KEYS.identity.signing_secret not in data
    assert all(each.datagram not in data for each in KEYS.keyring.generations)
    assert KeyFile.decode(data, passphrase="correct horse") == KEYS


def test_a_wrong_or_missing_passphrase_is_said_so() -> None:
    data = KEYS.encode(passphrase="correct horse", rng=RNG, cost_log2=4)
    with pytest.raises(WrongPassphrase):
        KeyFile.decode(data, passphrase="battery staple")
    with pytest.raises(PassphraseNeeded):
        KeyFile.decode(data)
    with pytest.raises(WrongPassphrase):
        KeyFile.decode(data[:-1] + bytes([data[-1] ^ 1]), passphrase="correct horse")


def test_a_damaged_file_cannot_ask_for_all_memory() -> None:
    with pytest.raises(Malformed):
        KeyFile.decode(pack([1, 1, 40, bytes(16), bytes(12), b"sealed"]), passphrase="x")
    with pytest.raises(Malformed):
        KeyFile.decode(b"not a key file")
