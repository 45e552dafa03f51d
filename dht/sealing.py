"""Sealed datagrams: what an outsider sees is a random salt, a counter and noise.

`salt (8) | counter (6, big-endian) | ciphertext | tag (16)`. The key is BLAKE3(salt) keyed with the network's datagram
key, so a key belongs to one boot of one sender; the nonce is the counter, which never repeats in a boot. AEAD is
ChaCha20-Poly1305: as fast as AES where there is AES hardware (at 1,200 bytes), and much faster on a Pi without.
Keys of others are derived anew for each datagram: that costs 2 µs, a cached AEAD object 2.3 KB (`benchmarks/dht.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dht.errors import Misuse
from dht.limits import DATAGRAM_BYTES_MAX, DATAGRAM_KEYS_MAX, REPLAY_SENDERS_MAX, REPLAY_WINDOW

SALT_BYTES: Final = 8
COUNTER_BYTES: Final = 6
HEADER_BYTES: Final = SALT_BYTES + COUNTER_BYTES
OVERHEAD_BYTES: Final = HEADER_BYTES + 16
BODY_BYTES_MAX: Final = DATAGRAM_BYTES_MAX - OVERHEAD_BYTES

_CONTEXT: Final = b"dht datagram 1"
_NONCE_ZEROS: Final = bytes(12 - COUNTER_BYTES)
_WINDOW_MASK: Final = (1 << REPLAY_WINDOW) - 1


class Opened(NamedTuple):
    """A datagram of somebody who knows the key.

    Attributes:
        body: the plain bytes.
        salt: which boot of which sender.
        counter: the how-manieth datagram of that boot.
        key: which of our keys opened it; a reply is sealed with the same, for the other side may know no other.
    """

    body: bytes
    salt: bytes
    counter: int
    key: bytes


def boot_key(key: bytes, salt: bytes) -> bytes:
    """The AEAD key of one boot: BLAKE3 keyed with the network's datagram key over context and salt."""
    return blake3(_CONTEXT + salt, key=key).digest()


class Seals:
    """Seals with the newest key or the one asked for; opens with any."""

    def __init__(self, keys: Sequence[bytes], salt: bytes) -> None:
        assert len(salt) == SALT_BYTES
        self._salt = salt
        self._counter = 0
        self.replace_keys(keys)

    def replace_keys(self, keys: Sequence[bytes]) -> None:
        """From now on these keys, newest first. The counter goes on, so no nonce comes twice.

        Raises:
            Misuse: no key, more than 4, or one that is not 32 bytes.
        """
        if not 1 <= len(keys) <= DATAGRAM_KEYS_MAX or any(len(key) != 32 for key in keys):
            raise Misuse(f"1 to {DATAGRAM_KEYS_MAX} datagram keys of 32 bytes")
        self._keys = tuple(keys)
        self._newest = ChaCha20Poly1305(boot_key(self._keys[0], self._salt))

    def seal(self, body: bytes, key: bytes | None = None) -> bytes:
        """The datagram that carries `body` (at most BODY_BYTES_MAX)."""
        assert len(body) <= BODY_BYTES_MAX
        self._counter += 1
        counter = self._counter.to_bytes(COUNTER_BYTES)
        if key is None or key == self._keys[0]:
            aead = self._newest
        else:
            aead = ChaCha20Poly1305(boot_key(key, self._salt))
        return self._salt + counter + aead.encrypt(_NONCE_ZEROS + counter, body, None)

    def open(self, datagram: bytes) -> Opened | None:
        """What is inside, or None if it was not sealed with one of our keys, or is our own coming back."""
        if not OVERHEAD_BYTES <= len(datagram) <= DATAGRAM_BYTES_MAX:
            return None
        salt = datagram[:SALT_BYTES]
        if salt == self._salt:
            return None
        nonce = _NONCE_ZEROS + datagram[SALT_BYTES:HEADER_BYTES]
        sealed = datagram[HEADER_BYTES:]
        for key in self._keys:
            try:
                body = ChaCha20Poly1305(boot_key(key, salt)).decrypt(nonce, sealed, None)
            except InvalidTag:
                continue
            return Opened(body, salt, int.from_bytes(nonce), key)
        return None


class ReplayWindow:
    """Which requests came before: per boot of a sender the highest counter and a bitmap of those just below it."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}  # salt -> highest counter << REPLAY_WINDOW | bitmap; one int is small

    def is_new(self, salt: bytes, counter: int) -> bool:
        """Whether this is the first time; remembers it. Too old to tell counts as seen."""
        state = self._seen.pop(salt, 0)
        highest, bitmap = state >> REPLAY_WINDOW, state & _WINDOW_MASK
        if counter > highest:
            bitmap = (bitmap << min(counter - highest, REPLAY_WINDOW) | 1) & _WINDOW_MASK
            highest, fresh = counter, True
        else:
            bit = 1 << (highest - counter) if highest - counter < REPLAY_WINDOW else 0
            fresh = bool(bit) and not bitmap & bit
            bitmap |= bit
        self._seen[salt] = highest << REPLAY_WINDOW | bitmap
        if len(self._seen) > REPLAY_SENDERS_MAX:
            del self._seen[next(iter(self._seen))]
        return fresh
