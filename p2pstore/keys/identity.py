"""A machine's identity: an Ed25519 pair that signs and an X25519 pair for CURVE links and envelopes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final, Protocol

from blake3 import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import PeerId
from p2pstore.packing import Buffer, Fields, pack, unpack

KEY_BYTES: Final = 32
"""Every key here, secret or public half: Ed25519 (RFC 8032) and X25519 (RFC 7748) in their raw forms."""

SIGNATURE_BYTES: Final = 64
"""An Ed25519 signature."""

IDENTITY_VERSION: Final = 1
IDENTITY_BYTES_MAX: Final = 256


class Signer(Protocol):
    """Whoever can sign: an `Identity`, or the root key of a household."""

    @property
    def public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        ...

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature of `message`."""
        ...


def in_context(context: str, message: Buffer) -> bytes:
    """What is signed in place of `message`, so that a signature made for one purpose never serves another.

    Args:
        context: names the purpose, e.g. "roster statement"; ASCII, at most 255 characters, never reused.
        message: the bytes to be signed.
    """
    name = context.encode("ascii")
    return b"p2pstore" + bytes([len(name)]) + name + bytes(message)


def peer_id_of(public: bytes) -> PeerId:
    """The PeerId of an Ed25519 public key: its BLAKE3."""
    return PeerId(blake3(public).digest())


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Check an Ed25519 signature. Raises Forged, also for a public key or signature that is none."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise Forged("signature does not verify") from None


def curve_public_of(curve_secret: bytes) -> bytes:
    """The public half of a raw X25519 (= CURVE) secret."""
    return X25519PrivateKey.from_private_bytes(curve_secret).public_key().public_bytes_raw()


def agree(curve_secret: bytes, curve_public: bytes) -> bytes:
    """The 32 bytes that X25519 gives both sides. Raises Malformed for a public key of small order."""
    try:
        other = X25519PublicKey.from_public_bytes(curve_public)
        return X25519PrivateKey.from_private_bytes(curve_secret).exchange(other)
    except ValueError:
        raise Malformed("curve public key is none") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """The keys of one installation. Two installations never share one.

    Attributes:
        signing_secret: Ed25519 seed, 32 bytes.
        curve_secret: X25519 secret, 32 bytes.
        public: Ed25519 public key, 32 bytes.
        curve_public: X25519 public key, 32 bytes; the CURVE key of the machine's links.
        peer_id: BLAKE3 of `public`.
    """

    signing_secret: bytes = field(repr=False)
    curve_secret: bytes = field(repr=False)
    public: bytes = field(init=False)
    curve_public: bytes = field(init=False)
    peer_id: PeerId = field(init=False)
    _signer: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        assert len(self.signing_secret) == len(self.curve_secret) == KEY_BYTES
        signer = Ed25519PrivateKey.from_private_bytes(self.signing_secret)
        public = signer.public_key().public_bytes_raw()
        object.__setattr__(self, "_signer", signer)
        object.__setattr__(self, "public", public)
        object.__setattr__(self, "curve_public", curve_public_of(self.curve_secret))
        object.__setattr__(self, "peer_id", peer_id_of(public))

    @classmethod
    def generate(cls, rng: random.Random) -> Identity:
        """A new identity; `rng` is `random.SystemRandom()` wherever it matters."""
        return cls(rng.randbytes(KEY_BYTES), rng.randbytes(KEY_BYTES))

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature. Callers sign `in_context(...)`, never bare bytes."""
        return self._signer.sign(message)

    def encode(self) -> bytes:
        """Both secrets, in clear: for the key file only."""
        return pack([IDENTITY_VERSION, self.signing_secret, self.curve_secret])

    @classmethod
    def decode(cls, data: Buffer) -> Identity:
        """The way back. Raises Malformed."""
        fields = Fields(unpack(data, bytes_max=IDENTITY_BYTES_MAX), "identity", version=IDENTITY_VERSION)
        identity = cls(fields.raw(KEY_BYTES), fields.raw(KEY_BYTES))
        fields.end()
        return identity
