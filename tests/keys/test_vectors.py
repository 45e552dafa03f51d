"""Frozen vectors of the key formats: never edited, only added to."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from p2pstore.ids import GenerationId, NetworkId
from p2pstore.keys.generation import Envelope, Generation, Keyring, Recipient, open_envelope, seal_generation
from p2pstore.keys.household import HouseholdKeys, words_of
from p2pstore.keys.identity import Identity, in_context
from p2pstore.keys.keyfile import KeyFile

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "keys.json").read_text("utf-8")
)


def raw(vector: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(vector[name])


@pytest.mark.parametrize("vector", VECTORS["identity"])
def test_identity(vector: dict[str, Any]) -> None:
    identity = Identity(raw(vector, "signing_secret"), raw(vector, "curve_secret"))
    assert identity.encode() == raw(vector, "encoded")
    assert Identity.decode(raw(vector, "encoded")) == identity
    assert identity.public == raw(vector, "public")
    assert identity.curve_public == raw(vector, "curve_public")
    assert identity.peer_id == raw(vector, "peer_id")
    assert identity.sign(in_context(vector["context"], raw(vector, "message"))) == raw(vector, "signature")


@pytest.mark.parametrize("vector", VECTORS["household"])
def test_household(vector: dict[str, Any]) -> None:
    secret = raw(vector, "secret")
    keys = HouseholdKeys.derive(secret)
    assert " ".join(words_of(secret)) == vector["words"]
    assert keys.public == raw(vector, "root_public")
    assert keys.recovery_public == raw(vector, "recovery_public")
    assert keys.recovery_curve_public == raw(vector, "recovery_curve_public")


@pytest.mark.parametrize("vector", VECTORS["generation"])
def test_generation_and_envelope(vector: dict[str, Any]) -> None:
    generation = Generation.decode(raw(vector, "encoded"))
    assert generation.encode() == raw(vector, "encoded")
    assert generation.id == raw(vector, "id")
    network = NetworkId(raw(vector, "network"))
    recipient = Recipient(raw(vector, "recipient_public"), vector["whole"])
    envelope = Envelope(GenerationId(raw(vector, "id")), recipient, raw(vector, "sealed"))
    opened = open_envelope(envelope, raw(vector, "recipient_secret"), network=network)
    assert opened == (generation if vector["whole"] else generation.blind())
    (again,) = seal_generation(generation, [recipient], network=network, rng=_Fixed(raw(vector, "ephemeral_secret")))
    assert again == envelope


@pytest.mark.parametrize("vector", VECTORS["key_file"])
def test_key_file(vector: dict[str, Any]) -> None:
    found = KeyFile.decode(raw(vector, "encoded"), passphrase=vector["passphrase"])
    assert found.identity.encode() == raw(vector, "identity")
    assert found.keyring == Keyring(tuple(Generation.decode(bytes.fromhex(each)) for each in vector["generations"]))


class _Fixed(random.Random):
    """Dice that give one throw."""

    def __init__(self, throw: bytes) -> None:
        super().__init__(0)
        self._throw = throw

    def randbytes(self, n: int) -> bytes:
        assert n == len(self._throw)
        return self._throw
