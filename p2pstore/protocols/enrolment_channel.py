"""From a short code to an authenticated channel: SPAKE2, key confirmation, and sealed frames.

The two sides have fixed parts: the newcomer dials, the inviter answers. Format: docs/formats/enrolment.md.
"""

from __future__ import annotations

import hmac
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from spake2 import SPAKE2_A, SPAKE2_B, SPAKEError
from spake2.ed25519_basic import NotOnCurve

from p2pstore.errors import Forged, Malformed
from p2pstore.keys.identity import KEY_BYTES, Identity, agree, in_context, verify
from p2pstore.packing import pack
from p2pstore.protocols.invite_code import InviteCode

PAKE_BYTES: Final = 33
"""A side byte and a point of Ed25519."""

MAC_BYTES: Final = 32

_NEWCOMER_NAME: Final = b"p2pstore enrolment newcomer v1"
_INVITER_NAME: Final = b"p2pstore enrolment inviter v1"
_KEYS_INFO: Final = b"p2pstore enrolment keys v1"
_TRANSCRIPT_CONTEXT: Final = "p2pstore 2026 enrolment transcript v1"
_POSSESSION_CONTEXT: Final = "p2pstore 2026 enrolment possession v1"


class Side(IntEnum):
    """Who speaks."""

    NEWCOMER = 0
    INVITER = 1

    @property
    def other(self) -> Side:
        """Who listens."""
        return Side(1 - self)


class Pake:
    """One side's run of SPAKE2 over the code. Good for one run: the library refuses a second `finish`."""

    def __init__(self, side: Side, code: InviteCode, rng: random.Random) -> None:
        self._side = side
        self._nameplate = code.nameplate
        spake: Callable[..., SPAKE2_A | SPAKE2_B] = SPAKE2_A if side is Side.NEWCOMER else SPAKE2_B
        self._spake = spake(code.password, idA=_NEWCOMER_NAME, idB=_INVITER_NAME, entropy_f=rng.randbytes)
        self.message: bytes = self._spake.start()

    def finish(self, message: bytes) -> Channel:
        """The channel that both sides have if both know the code; whether they do, confirmation tells.

        Raises:
            Malformed: what the other side sent is no point of the group, or our own message come back.
        """
        if len(message) != PAKE_BYTES:
            raise Malformed("enrolment: PAKE message of a wrong length")
        try:
            shared: bytes = self._spake.finish(message)
        except (SPAKEError, NotOnCurve, ValueError):
            raise Malformed("enrolment: PAKE message is no group element") from None
        by_side = [self.message, message] if self._side is Side.NEWCOMER else [message, self.message]
        transcript = blake3(pack([self._nameplate, *by_side]), derive_key_context=_TRANSCRIPT_CONTEXT).digest()
        kdf = HKDF(algorithm=SHA256(), length=4 * KEY_BYTES, salt=transcript, info=_KEYS_INFO)
        keys = kdf.derive(shared)
        parts = [keys[start : start + KEY_BYTES] for start in range(0, len(keys), KEY_BYTES)]
        return Channel(
            self._side, transcript, (parts[0], parts[1]), (ChaCha20Poly1305(parts[2]), ChaCha20Poly1305(parts[3]))
        )


@dataclass(slots=True)
class Channel:
    """The keys of one run, and the counters of its sealed frames.

    Attributes:
        side: ours.
        transcript: 32 bytes that name this run; both sides sign it.
    """

    side: Side
    transcript: bytes
    _confirm_keys: tuple[bytes, bytes] = field(repr=False)
    _seals: tuple[ChaCha20Poly1305, ChaCha20Poly1305] = field(repr=False)
    _sent: int = 0
    _received: int = 0

    def confirmation(self) -> bytes:
        """What shows the other side that we know the code."""
        return self._confirmation_of(self.side)

    def check_confirmation(self, mac: bytes) -> None:
        """Raises Forged unless the other side knows the code."""
        if not hmac.compare_digest(mac, self._confirmation_of(self.side.other)):
            raise Forged("the other side does not know the code")

    def _confirmation_of(self, side: Side) -> bytes:
        return blake3(self.transcript, key=self._confirm_keys[side]).digest()

    def seal(self, plain: bytes) -> bytes:
        """The next frame to the other side."""
        nonce = self._sent.to_bytes(12, "big")
        self._sent += 1
        return self._seals[self.side].encrypt(nonce, plain, self.transcript)

    def open(self, sealed: bytes) -> bytes:
        """The next frame of the other side. Raises Forged: changed, repeated, left out or in another order."""
        nonce = self._received.to_bytes(12, "big")
        try:
            plain = self._seals[self.side.other].decrypt(nonce, sealed, self.transcript)
        except InvalidTag:
            raise Forged("enrolment: sealed frame does not open") from None
        self._received += 1
        return plain

    def sign(self, identity: Identity) -> bytes:
        """Binds our two public keys to this run."""
        return identity.sign(self._binding(self.side, identity.public, identity.curve_public))

    def check_signature(self, public: bytes, curve_public: bytes, signature: bytes) -> None:
        """Raises Forged unless the other side's Ed25519 key signed both its keys for this run."""
        verify(public, signature, self._binding(self.side.other, public, curve_public))

    def _binding(self, side: Side, public: bytes, curve_public: bytes) -> bytes:
        return in_context(f"enrolment {side.name.lower()}", self.transcript + public + curve_public)

    def possession(self, identity: Identity, curve_public: bytes) -> bytes:
        """Shows the other side that we have the secret of our curve key. Raises Malformed for a key that is none."""
        return self._possession_of(self.side, agree(identity.curve_secret, curve_public))

    def check_possession(self, identity: Identity, curve_public: bytes, mac: bytes) -> None:
        """Raises Forged unless the other side has the secret of `curve_public`."""
        expected = self._possession_of(self.side.other, agree(identity.curve_secret, curve_public))
        if not hmac.compare_digest(mac, expected):
            raise Forged("enrolment: curve key is not theirs")

    def _possession_of(self, side: Side, shared: bytes) -> bytes:
        key = blake3(shared, derive_key_context=_POSSESSION_CONTEXT).digest()
        return blake3(self.transcript + bytes([side]), key=key).digest()
