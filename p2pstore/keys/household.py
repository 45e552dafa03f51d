"""The household secret: 32 bytes that exist on paper only, and the few keys that come from it.

`init` makes the secret, shows it once as 24 words, signs with the root key and forgets everything here.
"""

from __future__ import annotations

import io
import random
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from p2pstore.errors import Misuse
from p2pstore.ids import NetworkId, short
from p2pstore.keys.identity import KEY_BYTES, curve_public_of
from p2pstore.keys.words import canonical_word

SECRET_BYTES: Final = 32
"""256 bits: with the 8-bit checksum of BIP-39 exactly 24 words."""

SECRET_WORDS: Final = 24
"""Eleven bits each."""

WORDS_PER_LINE: Final = 4
"""Six lines of four: short enough to compare a line at a glance, and a line is what a checksum can cover later."""

WORDS_TYPED_CHARACTERS_MAX: Final = 2000
"""More than this was not typed from a recovery kit (24 words of at most 8 letters, with numbers and spaces)."""

_ROOT_CONTEXT: Final = "p2pstore 2026 household root signing key v1"
_RECOVERY_CONTEXT: Final = "p2pstore 2026 household recovery envelope key v1"
_RECOVERY_CURVE_CONTEXT: Final = "p2pstore 2026 household recovery CURVE key v1"


class WrongWordCount(Misuse):
    """Not 24 words.

    Attributes:
        found: how many there were.
    """

    def __init__(self, found: int) -> None:
        super().__init__(f"{found} words, wanted {SECRET_WORDS}")
        self.found = found


class WordsDoNotMatch(Misuse):
    """24 words of the list whose checksum is wrong: one is mistaken for another, or two have changed places."""


def new_secret(rng: random.Random) -> bytes:
    """A new household secret. `rng` is `random.SystemRandom()` wherever it matters."""
    return rng.randbytes(SECRET_BYTES)


def words_of(secret: bytes) -> tuple[str, ...]:
    """The secret as 24 words (BIP-39, English)."""
    from mnemonic import Mnemonic

    assert len(secret) == SECRET_BYTES
    return tuple(Mnemonic("english").to_mnemonic(secret).split(" "))


def secret_of(typed: str) -> bytes:
    """The secret that the typed words stand for; case, numbering ("1. apple"), commas and line ends do not matter.

    Raises:
        WrongWordCount: not 24 words.
        WrongWord: one of them is not on the list; carries its position and the nearest word.
        WordsDoNotMatch: the checksum is wrong.
    """
    from mnemonic import Mnemonic

    typed_words = re.findall(r"[^\W\d_]+", typed[:WORDS_TYPED_CHARACTERS_MAX])
    if len(typed_words) != SECRET_WORDS:
        raise WrongWordCount(len(typed_words))
    words = [canonical_word(word, position) for position, word in enumerate(typed_words, 1)]
    try:
        return bytes(Mnemonic("english").to_entropy(words))
    except ValueError:
        raise WordsDoNotMatch("the words do not belong together") from None


def positions_to_ask(rng: random.Random, count: int = 3) -> tuple[int, ...]:
    """Which words (from 1, rising) a person is asked back to show that the paper was written."""
    return tuple(sorted(rng.sample(range(1, SECRET_WORDS + 1), count)))


@dataclass(frozen=True, slots=True)
class HouseholdKeys:
    """All that is ever derived from a household secret. Lives in memory, for as long as it is needed.

    Attributes:
        public: the root's Ed25519 public key.
        recovery_secret: X25519 secret that opens the recovery envelope of every generation.
        recovery_public: its public half.
        recovery_curve_secret: CURVE secret of a machine that restores from the paper key.
        recovery_curve_public: its public half.
    """

    root_secret: bytes = field(repr=False)
    recovery_secret: bytes = field(repr=False)
    recovery_curve_secret: bytes = field(repr=False)
    public: bytes = field(init=False)
    recovery_public: bytes = field(init=False)
    recovery_curve_public: bytes = field(init=False)

    def __post_init__(self) -> None:
        root = Ed25519PrivateKey.from_private_bytes(self.root_secret)
        object.__setattr__(self, "public", root.public_key().public_bytes_raw())
        object.__setattr__(self, "recovery_public", curve_public_of(self.recovery_secret))
        object.__setattr__(self, "recovery_curve_public", curve_public_of(self.recovery_curve_secret))

    @classmethod
    def derive(cls, secret: bytes) -> HouseholdKeys:
        """The keys of a household secret: BLAKE3 in key derivation mode, one context each."""
        assert len(secret) == SECRET_BYTES
        root, recovery, curve = (
            blake3(secret, derive_key_context=context).digest(KEY_BYTES)
            for context in (_ROOT_CONTEXT, _RECOVERY_CONTEXT, _RECOVERY_CURVE_CONTEXT)
        )
        return cls(root, recovery, curve)

    def sign(self, message: bytes) -> bytes:
        """A 64-byte signature with the root key. Callers sign `in_context(...)`."""
        return Ed25519PrivateKey.from_private_bytes(self.root_secret).sign(message)


@dataclass(frozen=True, slots=True)
class RecoveryKit:
    """What goes on the paper.

    Attributes:
        household: the household's name.
        created_s: wall time of `init`, seconds since 1970.
        network_id: hash of the genesis statement; its first digits are printed, to tell two papers apart.
        words: the 24 words.
    """

    household: str
    created_s: float
    network_id: NetworkId
    words: tuple[str, ...] = field(repr=False)

    def page(self) -> str:
        """The kit as plain text for one printed page, 72 columns."""
        day = datetime.fromtimestamp(self.created_s, UTC).date().isoformat()
        lines = [
            "P2PSTORE RECOVERY KIT",
            "",
            f"  Household   {self.household}",
            f"  Made on     {day}",
            f"  Network id  {short(self.network_id)}",
            "",
            "These 24 words open everything this household ever stored, on a new",
            "machine, even if every password and every machine but a sufficient few",
            "is gone. Who has them can read everything, and can remove any machine.",
            "No machine keeps a copy. Print this page, keep it where you keep your",
            "passports, and a second one in another house.",
            "",
            *_numbered(self.words),
            "",
            "To restore: install p2pstore on a fresh machine in the same network as",
            "any surviving one, run",
            "",
            "    p2pstore recovery-kit use",
            "",
            "and type the words (the first four letters of each are enough), or scan",
            "the code. To see that this page is right, without changing anything:",
            "",
            "    p2pstore recovery-kit check",
        ]
        return "\n".join(lines) + "\n"

    def qr_terminal(self) -> str:
        """The words as a QR code in half-block characters, for a terminal."""
        out = io.StringIO()
        self._qr().terminal(out, compact=True, border=2)
        return out.getvalue()

    def qr_svg(self) -> str:
        """The words as a QR code, a stand-alone SVG picture."""
        out = io.BytesIO()
        self._qr().save(out, kind="svg", scale=4, border=4)
        return out.getvalue().decode("utf-8")

    def _qr(self) -> Any:
        import segno

        # Capitals and spaces fit the code's alphanumeric mode: a third fewer modules, easier to scan from paper.
        return segno.make_qr(" ".join(self.words).upper(), error="m")


def _numbered(words: tuple[str, ...]) -> list[str]:
    lines = []
    for start in range(0, len(words), WORDS_PER_LINE):
        cells = [f"{start + i + 1:2}. {word:<10}" for i, word in enumerate(words[start : start + WORDS_PER_LINE])]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
