"""The key file: identity and key generations of one installation, in clear or under a passphrase.

The caller writes it, mode 0600 (`Home.write_private`).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from p2pstore.errors import Malformed, Misuse
from p2pstore.keys.generation import GENERATION_BYTES_MAX, Generation, Keyring
from p2pstore.keys.identity import IDENTITY_BYTES_MAX, KEY_BYTES, Identity
from p2pstore.packing import Buffer, Fields, pack, unpack

KEYFILE_VERSION: Final = 1
KEYFILE_BYTES_MAX: Final = 2**20
KEYFILE_GENERATIONS_MAX: Final = 1000
"""One more with every removal: a household that has removed a machine a week for twenty years."""

SCRYPT_COST_LOG2: Final = 16
"""64 MiB and about 0.2 s on a desktop, a second on a Pi, once per start; a guess costs a thief the same."""

SCRYPT_COST_LOG2_MAX: Final = 18
"""A damaged key file must not ask for more than 256 MiB."""

_IN_CLEAR: Final = 0
_UNDER_PASSPHRASE: Final = 1
_SCRYPT_R: Final = 8
_SCRYPT_P: Final = 1
_SALT_BYTES: Final = 16
_NONCE_BYTES: Final = 12


class WrongPassphrase(Misuse):
    """The key file is under a passphrase, and this is not it (or the file is damaged)."""


class PassphraseNeeded(Misuse):
    """The key file is under a passphrase, and none was given."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What the key file holds."""

    identity: Identity
    keyring: Keyring

    def encode(self, *, passphrase: str = "", rng: random.Random, cost_log2: int = SCRYPT_COST_LOG2) -> bytes:
        """The file's bytes; sealed if there is a passphrase (scrypt, then ChaCha20-Poly1305).

        Args:
            passphrase: "" leaves the keys in clear, protected by the file's mode only.
            rng: for salt and nonce.
            cost_log2: scrypt's N as a power of two; blocks for about 0.2 s at the default.
        """
        inside = pack([self.identity.encode(), [each.encode() for each in self.keyring.generations]])
        if not passphrase:
            return pack([KEYFILE_VERSION, _IN_CLEAR, inside])
        salt, nonce = rng.randbytes(_SALT_BYTES), rng.randbytes(_NONCE_BYTES)
        head = [KEYFILE_VERSION, _UNDER_PASSPHRASE, cost_log2, salt, nonce]
        sealed = ChaCha20Poly1305(_stretched(passphrase, salt, cost_log2)).encrypt(nonce, inside, pack(head))
        return pack([*head, sealed])

    @classmethod
    def decode(cls, data: Buffer, *, passphrase: str = "") -> KeyFile:
        """The way back.

        Raises:
            PassphraseNeeded: it is sealed, and `passphrase` is empty.
            WrongPassphrase: it does not open.
            Malformed: it is no key file, or of another version.
        """
        fields = Fields(unpack(data, bytes_max=KEYFILE_BYTES_MAX), "key file", version=KEYFILE_VERSION)
        if fields.integer(_IN_CLEAR, _UNDER_PASSPHRASE) == _IN_CLEAR:
            inside = fields.raw(most=KEYFILE_BYTES_MAX)
            fields.end()
        else:
            inside = _opened(fields, passphrase)
        return cls._decode_inside(inside)

    @classmethod
    def _decode_inside(cls, inside: bytes) -> KeyFile:
        fields = Fields(unpack(inside, bytes_max=KEYFILE_BYTES_MAX), "key file")
        identity = Identity.decode(fields.raw(most=IDENTITY_BYTES_MAX))
        generations = []
        for encoded in fields.array(most=KEYFILE_GENERATIONS_MAX):
            if type(encoded) is not bytes or len(encoded) > GENERATION_BYTES_MAX:
                raise Malformed("key file: a generation is no bytes")
            generations.append(Generation.decode(encoded))
        fields.end()
        return cls(identity, Keyring(tuple(generations)))


def _opened(fields: Fields, passphrase: str) -> bytes:
    cost_log2 = fields.integer(1, SCRYPT_COST_LOG2_MAX)
    salt, nonce = fields.raw(_SALT_BYTES), fields.raw(_NONCE_BYTES)
    sealed = fields.raw(most=KEYFILE_BYTES_MAX)
    fields.end()
    if not passphrase:
        raise PassphraseNeeded("the key file is under a passphrase")
    head = pack([KEYFILE_VERSION, _UNDER_PASSPHRASE, cost_log2, salt, nonce])
    try:
        return ChaCha20Poly1305(_stretched(passphrase, salt, cost_log2)).decrypt(nonce, sealed, head)
    except InvalidTag:
        raise WrongPassphrase("the key file does not open") from None


def _stretched(passphrase: str, salt: bytes, cost_log2: int) -> bytes:
    scrypt = Scrypt(salt=salt, length=KEY_BYTES, n=2**cost_log2, r=_SCRYPT_R, p=_SCRYPT_P)
    return scrypt.derive(passphrase.encode("utf-8"))
