"""The question by which a machine that has nothing but the paper key learns whom it talks to. Pure.

CURVE wants to know the other side's key before the first byte, and the paper tells no machine's key. So one question is
asked in the open: who is there? Only who knows the household's recovery CURVE key (its public half, in the genesis) can
ask it or answer it, and only who has the secret half can read the answer. Format: docs/protocols/recovery.md.
"""

from __future__ import annotations

import hmac
import random
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2pstore.errors import Forged
from p2pstore.ids import PeerId, peer_id
from p2pstore.keys.identity import KEY_BYTES, agree, curve_public_of
from p2pstore.packing import Buffer, Fields, pack, unpack

DOOR_VERSION: Final = 1
DOOR_FRAME_BYTES_MAX: Final = 256
"""A question is 71 bytes, an answer 125."""

_QUESTION: Final = 1
_ANSWER: Final = 2
_MAC_BYTES: Final = 32
_SEALED_BYTES_MAX: Final = 128
_MAC_CONTEXT: Final = "p2pstore 2026 recovery door question v1"
_INFO: Final = b"p2pstore recovery door answer v1"
_ZERO_NONCE: Final = bytes(12)
"""Each answer has its own key (a fresh ephemeral pair on both sides), used for this one message."""


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Who answered at an address.

    Attributes:
        peer: what the machine says its id is; the roster will tell.
        curve_public: its CURVE key: the link to it proves this one.
    """

    peer: PeerId
    curve_public: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """A question that was asked.

    Attributes:
        frame: its bytes.
    """

    frame: bytes
    ephemeral_secret: bytes = field(repr=False)


def ask(recovery_curve_public: bytes, rng: random.Random) -> Question:
    """A question to be sent. `rng` is `random.SystemRandom()` wherever it matters."""
    secret = rng.randbytes(KEY_BYTES)
    public = curve_public_of(secret)
    return Question(pack([DOOR_VERSION, _QUESTION, public, _mac(recovery_curve_public, public)]), secret)


def answer(frame: Buffer, recovery_curve_public: bytes, keeper: Doorkeeper, rng: random.Random) -> bytes:
    """The answer to a question.

    Raises:
        Malformed: it is none.
        Forged: whoever asked does not know this household's recovery key.
    """
    asker = _read_question(frame, recovery_curve_public)
    secret = rng.randbytes(KEY_BYTES)
    public = curve_public_of(secret)
    key = _key(agree(secret, asker), agree(secret, recovery_curve_public), asker + public)
    plain = pack([DOOR_VERSION, keeper.peer, keeper.curve_public])
    return pack([DOOR_VERSION, _ANSWER, public, ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, plain, _INFO)])


def read_answer(question: Question, frame: Buffer, recovery_curve_secret: bytes) -> Doorkeeper:
    """Who is there.

    Raises:
        Malformed: it is no answer.
        Forged: not to this question, or not by somebody who knows the household.
    """
    fields = Fields(unpack(frame, bytes_max=DOOR_FRAME_BYTES_MAX), "door answer", version=DOOR_VERSION)
    fields.integer(_ANSWER, _ANSWER)
    public, sealed = fields.raw(KEY_BYTES), fields.raw(most=_SEALED_BYTES_MAX)
    fields.end()
    asker = curve_public_of(question.ephemeral_secret)
    key = _key(agree(question.ephemeral_secret, public), agree(recovery_curve_secret, public), asker + public)
    try:
        plain = ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, _INFO)
    except InvalidTag:
        raise Forged("door: the answer does not open") from None
    said = Fields(unpack(plain, bytes_max=DOOR_FRAME_BYTES_MAX), "door answer", version=DOOR_VERSION)
    keeper = Doorkeeper(peer_id(said.raw(32)), said.raw(KEY_BYTES))
    said.end()
    return keeper


def _read_question(frame: Buffer, recovery_curve_public: bytes) -> bytes:
    fields = Fields(unpack(frame, bytes_max=DOOR_FRAME_BYTES_MAX), "door question", version=DOOR_VERSION)
    fields.integer(_QUESTION, _QUESTION)
    asker, mac = fields.raw(KEY_BYTES), fields.raw(_MAC_BYTES)
    fields.end()
    if not hmac.compare_digest(mac, _mac(recovery_curve_public, asker)):
        raise Forged("door: asked about another household")
    return asker


def _mac(recovery_curve_public: bytes, asker: bytes) -> bytes:
    key = blake3(recovery_curve_public, derive_key_context=_MAC_CONTEXT).digest()
    return blake3(asker, key=key).digest()


def _key(fresh: bytes, recovery: bytes, publics: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=publics, info=_INFO).derive(fresh + recovery)
