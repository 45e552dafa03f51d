"""The household secret: 32 bytes that exist on paper only, and the few keys that come from it.

`init` makes the secret, shows it once as 24 words, signs with the root key and forgets everything here.
"""

from __future__ import annotations

import html
import io
import random
import re
from collections.abc import Sequence
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
"""Six lines of four: short enough to compare a line at a glance. Each line has a checksum on the paper, so that a slip
is found in its line."""

LINE_CHECK_DIGITS: Final = 4
"""A wrong line passes once in ten thousand, and then the checksum over all words finds it. Digits, because words are
told from all else by being letters; four, because the numbers of the words have at most two."""

MACHINES_PRINTED_MAX: Final = 8
"""One reachable machine is enough, and the kit is one page."""

WORDS_TYPED_CHARACTERS_MAX: Final = 2000
"""More than this was not typed from a recovery kit (24 words of at most 8 letters, with numbers and spaces)."""

_PAGE_TITLE: Final = "P2PSTORE RECOVERY KIT"
_ROOT_CONTEXT: Final = "p2pstore 2026 household root signing key v1"
_RECOVERY_CONTEXT: Final = "p2pstore 2026 household recovery envelope key v1"
_RECOVERY_CURVE_CONTEXT: Final = "p2pstore 2026 household recovery CURVE key v1"
_LINE_CHECK_CONTEXT: Final = "p2pstore 2026 recovery kit line check v1"


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


class WrongLine(Misuse):
    """A line of the paper whose words do not fit the number at its end.

    Attributes:
        line: which, from 1.
        found: how many words it has.
    """

    def __init__(self, line: int, found: int) -> None:
        first = (line - 1) * WORDS_PER_LINE + 1
        words = f"words {first} to {first + WORDS_PER_LINE - 1}"
        why = "do not fit the number at its end" if found == WORDS_PER_LINE else f"are {found} words"
        super().__init__(f"line {line} ({words}): they {why}")
        self.line = line
        self.found = found


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

    The numbers at the ends of the paper's lines may be typed too: then a slip is found in its line.

    Raises:
        WrongLine: a line does not fit the number that was typed at its end.
        WrongWordCount: not 24 words.
        WrongWord: one of them is not on the list; carries its position and the nearest word.
        WordsDoNotMatch: the checksum is wrong.
    """
    from mnemonic import Mnemonic

    typed_words, checks = read_paper(typed[:WORDS_TYPED_CHARACTERS_MAX])
    _check_counts(checks)
    if len(typed_words) != SECRET_WORDS:
        raise WrongWordCount(len(typed_words))
    words = [canonical_word(word, position) for position, word in enumerate(typed_words, 1)]
    for line, (upto, check) in enumerate(checks, 1):  # each has its four words: looked at before
        if line_check(line, words[upto - WORDS_PER_LINE : upto]) != check:
            raise WrongLine(line, WORDS_PER_LINE)
    try:
        return bytes(Mnemonic("english").to_entropy(words))
    except ValueError:
        raise WordsDoNotMatch("the words do not belong together") from None


def lines_of_page(text: str) -> str:
    """The lines of words, if `text` is a kit's page; else `text`. So the file that `init` wrote can be given whole."""
    lines = re.findall(r"^ *\d+\. +\w+.*$", text, re.MULTILINE)
    return "\n".join(lines[: SECRET_WORDS // WORDS_PER_LINE]) if _PAGE_TITLE in text else text


def checked_line(line: int, typed: str) -> str:
    """One line of the paper as its words, with the number at its end if it was typed.

    Raises:
        WrongLine: not four words, or they do not fit the number.
        WrongWord: one is not on the list.
    """
    typed_words, checks = read_paper(typed[:WORDS_TYPED_CHARACTERS_MAX])
    if len(typed_words) != WORDS_PER_LINE:
        raise WrongLine(line, len(typed_words))
    first = (line - 1) * WORDS_PER_LINE + 1
    words = [canonical_word(word, position) for position, word in enumerate(typed_words, first)]
    if any(check != line_check(line, words) for _, check in checks):
        raise WrongLine(line, WORDS_PER_LINE)
    return " ".join(words + [check for _, check in checks[:1]])


def line_check(line: int, words: Sequence[str]) -> str:
    """The number at the end of a line of the paper.

    Args:
        line: which, from 1: two lines that changed places are found.
        words: its words, as on the list.
    """
    said = f"{line} {' '.join(words)}".encode("ascii")
    digest = blake3(said, derive_key_context=_LINE_CHECK_CONTEXT).digest(8)
    return f"{int.from_bytes(digest, 'big') % 10**LINE_CHECK_DIGITS:0{LINE_CHECK_DIGITS}}"


def read_paper(typed: str) -> tuple[list[str], list[tuple[int, str]]]:
    """The words, and each line's number with how many words stand before it."""
    words: list[str] = []
    checks: list[tuple[int, str]] = []
    for token in re.findall(r"[^\W\d_]+|[0-9]+", typed):
        if not token.isdecimal():
            words.append(token)
        elif len(token) == LINE_CHECK_DIGITS:
            checks.append((len(words), token))
    return words, checks


def _check_counts(checks: Sequence[tuple[int, str]]) -> None:
    """Raises WrongLine for the first line, of those with a number, that does not have four words."""
    before = 0
    for line, (upto, _) in enumerate(checks, 1):
        if upto - before != WORDS_PER_LINE:
            raise WrongLine(line, upto - before)
        before = upto


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
        created_s: wall time of `init`, seconds since 1970; None where it is not known.
        network_id: hash of the genesis statement; its first digits are printed, to tell two papers apart. None where
            it is not known: the words alone do not tell it.
        words: the 24 words.
        machines: name and address of each machine when the page was printed, for finding one of them.
    """

    household: str
    created_s: float | None
    network_id: NetworkId | None
    words: tuple[str, ...] = field(repr=False)
    machines: tuple[tuple[str, str], ...] = ()

    def page(self) -> str:
        """The kit as plain text for one printed page, 72 columns."""
        day = "-" if self.created_s is None else datetime.fromtimestamp(self.created_s, UTC).date().isoformat()
        network = "-" if self.network_id is None else short(self.network_id)
        lines = [
            _PAGE_TITLE,
            "",
            f"  Household   {self.household}",
            f"  Made on     {day}",
            f"  Network id  {network}",
            "",
            "These 24 words open everything this household ever stored, on a new",
            "machine, even if every password and every machine but a sufficient few",
            "is gone. Who has them can read everything, and can remove any machine.",
            "No machine keeps a copy. Print this page, keep it where you keep your",
            "passports, and a second one in another house.",
            "",
            *_numbered(self.words),
            "",
            "The number at the end of a line shows whether that line is right.",
            "",
            "To restore: install p2pstore on a fresh machine, run",
            "",
            "    p2pstore recovery-kit use --at HOST:PORT --to FOLDER",
            "",
            "with the address of any surviving machine, and type the words (the first",
            "four letters of each are enough). To see that this page is right:",
            "",
            "    p2pstore recovery-kit check",
        ]
        if self.machines:
            shown = self.machines[:MACHINES_PRINTED_MAX]
            lines += ["", "Machines on the day this was printed:", ""]
            lines += [f"    {name[:30]:30}  {address[:36]}".rstrip() for name, address in shown]
        return "\n".join(lines) + "\n"

    def page_html(self) -> str:
        """The page with its QR code as a picture, for a browser to print; stands alone."""
        picture = self.qr_svg()
        picture = picture[picture.index("<svg") :]
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>p2pstore recovery kit</title>\n'
            "<style>@page{margin:2cm}pre{font:11pt monospace}</style></head>\n"
            f"<body><pre>{html.escape(self.page())}</pre>\n{picture}</body></html>\n"
        )

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
        check = line_check(start // WORDS_PER_LINE + 1, words[start : start + WORDS_PER_LINE])
        lines.append(f"  {'  '.join(cells)}  {check}")
    return lines
