"""Beacon datagrams: members' sealed presence, and a newcomer's question who invited it.

A presence has one length and looks random to everybody without the household's datagram key. Format:
docs/formats/beacon.md.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import PeerId, peer_id
from p2pstore.metadata.roster_codec import checked_address
from p2pstore.packing import Buffer, Fields, pack, unpack

BEACON_VERSION: Final = 1
BEACON_BYTES_MAX: Final = 512

KIND_PRESENCE: Final = 1
KIND_QUESTION: Final = 2
KIND_ANSWER: Final = 3

PLAIN_BYTES: Final = 256
"""What is sealed in a presence, padded to this: the number and length of addresses do not show."""

PRESENCE_ADDRESSES_MAX: Final = 4

SALT_BYTES: Final = 16
TAG_BYTES: Final = 16
NONCE_BYTES: Final = 8
INSTANCE_BYTES: Final = 8

QUESTION_PADDING_BYTES: Final = 16
"""A question is longer than its answer, so that nobody uses us to multiply traffic."""

_PRESENCE_CONTEXT: Final = "p2pstore 2026 beacon presence v1"
_PRESENCE_BOUND: Final = b"p2pstore beacon v1"
_TAG_SALT: Final = b"p2pstore nameplate v1"
_TAG_COST: Final = 2**12
"""About 10 ms: a nameplate is no secret, but a listener should not read it off without any work."""

_ZERO_NONCE: Final = bytes(12)
"""Every presence has a fresh salt and with it a key of its own."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A member says that it is here.

    Attributes:
        peer_id: who.
        port: P of its control plane, to be dialled at the host that the datagram came from.
        addresses: where else it can be dialled, HOST:PORT.
    """

    peer_id: PeerId
    port: int
    addresses: tuple[str, ...] = ()

    def seal(self, datagram_key: bytes, rng: random.Random) -> bytes:
        """A datagram that holders of the key can open. Addresses that do not fit are left out."""
        addresses = list(self.addresses[:PRESENCE_ADDRESSES_MAX])
        while len(plain := pack([BEACON_VERSION, self.peer_id, self.port, addresses])) > PLAIN_BYTES - 2:
            addresses.pop()
        padded = (len(plain).to_bytes(2, "big") + plain).ljust(PLAIN_BYTES, b"\0")
        salt = rng.randbytes(SALT_BYTES)
        sealed = _seal_of(datagram_key, salt).encrypt(_ZERO_NONCE, padded, _PRESENCE_BOUND)
        return pack([BEACON_VERSION, KIND_PRESENCE, salt, sealed])


@dataclass(frozen=True, slots=True)
class SealedPresence:
    """A presence of some household, perhaps ours."""

    salt: bytes
    sealed: bytes

    def open(self, datagram_keys: Sequence[bytes]) -> Presence:
        """What it says, if one of the keys opens it.

        Raises:
            Forged: none does: another household's, or damaged.
            Malformed: it opens, and does not parse.
        """
        for key in datagram_keys:
            try:
                padded = _seal_of(key, self.salt).decrypt(_ZERO_NONCE, self.sealed, _PRESENCE_BOUND)
            except InvalidTag:
                continue
            return _read_presence(padded)
        raise Forged("beacon: of another household")


@dataclass(frozen=True, slots=True)
class Question:
    """A newcomer asks who holds the invitation of this tag."""

    tag: bytes
    nonce: bytes

    def encode(self) -> bytes:
        """Its bytes."""
        return pack([BEACON_VERSION, KIND_QUESTION, self.tag, self.nonce, bytes(QUESTION_PADDING_BYTES)])


@dataclass(frozen=True, slots=True)
class Answer:
    """Whoever invited says where its enrolment listener is.

    Attributes:
        tag, nonce: the question's.
        instance: random name of the invitation, equal however many ways the answer takes.
        port: of the enrolment listener, at the host that the datagram came from.
    """

    tag: bytes
    nonce: bytes
    instance: bytes
    port: int

    def encode(self) -> bytes:
        """Its bytes."""
        return pack([BEACON_VERSION, KIND_ANSWER, self.tag, self.nonce, self.instance, self.port])


def read_beacon(data: Buffer) -> SealedPresence | Question | Answer:
    """A datagram. Raises Malformed."""
    fields = Fields(unpack(data, bytes_max=BEACON_BYTES_MAX), "beacon", version=BEACON_VERSION)
    kind = fields.integer(KIND_PRESENCE, KIND_ANSWER)
    beacon: SealedPresence | Question | Answer
    if kind == KIND_PRESENCE:
        beacon = SealedPresence(fields.raw(SALT_BYTES), fields.raw(PLAIN_BYTES + 16))
    elif kind == KIND_QUESTION:
        beacon = Question(fields.raw(TAG_BYTES), fields.raw(NONCE_BYTES))
        fields.raw(QUESTION_PADDING_BYTES)
    else:
        tag, nonce, instance = fields.raw(TAG_BYTES), fields.raw(NONCE_BYTES), fields.raw(INSTANCE_BYTES)
        beacon = Answer(tag, nonce, instance, fields.integer(1, 65535))
    fields.end()
    return beacon


@functools.lru_cache(maxsize=128)
def nameplate_tag(nameplate: int) -> bytes:
    """What stands for a nameplate in a question. Blocks for about 10 ms, once."""
    return Scrypt(salt=_TAG_SALT, length=TAG_BYTES, n=_TAG_COST, r=8, p=1).derive(str(nameplate).encode("ascii"))


def _seal_of(datagram_key: bytes, salt: bytes) -> ChaCha20Poly1305:
    base = blake3(datagram_key, derive_key_context=_PRESENCE_CONTEXT).digest()
    return ChaCha20Poly1305(blake3(salt, key=base).digest())


def _read_presence(padded: bytes) -> Presence:
    length = int.from_bytes(padded[:2], "big")
    if length > PLAIN_BYTES - 2:
        raise Malformed("beacon: presence of a wrong length")
    fields = Fields(unpack(padded[2 : 2 + length], bytes_max=PLAIN_BYTES), "presence", version=BEACON_VERSION)
    peer, port = peer_id(fields.raw(32)), fields.integer(1, 65535)
    addresses = tuple(checked_address(each) for each in fields.array(most=PRESENCE_ADDRESSES_MAX))
    fields.end()
    return Presence(peer, port, addresses)
