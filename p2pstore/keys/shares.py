"""Family shares: the household secret in parts, of which any so many open it and fewer tell nothing.

SLIP-39: 33 words each, of a list of 1,024, with a checksum that finds every slip of up to three words. Other programs
that know SLIP-39 join them as well.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from blake3 import blake3

from p2pstore.errors import Misuse
from p2pstore.ids import NetworkId, short
from p2pstore.keys.household import LINE_CHECK_DIGITS, SECRET_BYTES, read_paper
from p2pstore.keys.words import PREFIX_LETTERS, WrongWord

SHARE_WORDS: Final = 33
"""Of a secret of 32 bytes: four words that name the set and the share, 26 of content, three of checksum."""

SHARE_WORDS_PER_LINE: Final = 3
"""Eleven lines."""

SHARES_MAX: Final = 16
"""What SLIP-39 can number."""

SHARES_TYPED_CHARACTERS_MAX: Final = 16 * 2000
"""More than this was not typed from sixteen pages."""

_PAGE_TITLE: Final = "P2PSTORE FAMILY SHARE"
_LINE_CHECK_CONTEXT: Final = "p2pstore 2026 family share line check v1"


class WrongShare(Misuse):
    """Words that are no share: one is mistaken for another, some are missing, or it is a share of something else."""


class TooFewShares(Misuse):
    """Shares that are right and do not suffice.

    Attributes:
        found: how many different ones there are.
        needed: how many it takes.
    """

    def __init__(self, found: int, needed: int) -> None:
        super().__init__(f"{found} of the {needed} shares that it takes")
        self.found = found
        self.needed = needed


@dataclass(frozen=True, slots=True)
class Share:
    """One share.

    Attributes:
        words: its 33 words.
        number: which of its set, from 1.
        needed: how many of its set it takes.
        set_number: names the set; shares of different sets do not fit together.
    """

    words: tuple[str, ...] = field(repr=False)
    number: int
    needed: int
    set_number: int


def make_shares(secret: bytes, *, total: int, needed: int) -> tuple[Share, ...]:
    """A new set of shares of the household secret.

    Args:
        secret: the household secret.
        total: how many, 2 to 16.
        needed: how many it takes, 2 to `total`.

    Raises:
        Misuse: numbers that make no sense.
    """
    from shamir_mnemonic import generate_mnemonics

    assert len(secret) == SECRET_BYTES
    if not 2 <= needed <= total <= SHARES_MAX:
        raise Misuse(f"{needed} of {total} shares: it takes 2 to {SHARES_MAX}, and no more than there are")
    [made] = generate_mnemonics(1, [(needed, total)], secret)
    return tuple(_share_of(each.split(" ")) for each in made)


def secret_of_shares(shares: Iterable[Share]) -> bytes:
    """The household secret that the shares stand for; more of them than it takes are fine.

    Raises:
        TooFewShares: there are not enough different ones.
        WrongShare: they do not belong together, or are shares of something else.
    """
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    different = {each.number: each for each in shares}
    chosen = [different[number] for number in sorted(different)]
    if len({(each.set_number, each.needed) for each in chosen}) > 1:
        raise WrongShare("these shares are of different sets")
    needed = chosen[0].needed if chosen else 2
    if len(chosen) < needed:
        raise TooFewShares(len(chosen), needed)
    try:
        secret = bytes(combine_mnemonics(" ".join(each.words) for each in chosen[:needed]))
    except MnemonicError as error:
        raise WrongShare(str(error)) from None
    if len(secret) != SECRET_BYTES:
        raise WrongShare("these are shares of something else")
    return secret


def looks_like_shares(typed: str) -> bool:
    """Whether somebody typed shares, or gave their pages, rather than the 24 words."""
    words, _ = read_paper(lines_of_share_pages(typed)[:SHARES_TYPED_CHARACTERS_MAX])
    return _PAGE_TITLE in typed or (len(words) >= SHARE_WORDS and len(words) % SHARE_WORDS == 0)


def read_shares(typed: str) -> tuple[Share, ...]:
    """The shares in a text: one or several, with or without the numbers on the paper, or whole pages.

    Raises:
        WrongShare: one of them is not right.
        WrongWord: a word is not on the list; carries its position in its share and the nearest word.
    """
    text = lines_of_share_pages(typed)[:SHARES_TYPED_CHARACTERS_MAX]
    words, checks = read_paper(text)
    if not words or len(words) % SHARE_WORDS:
        raise WrongShare(f"{len(words)} words; a share has {SHARE_WORDS}")
    canonical = [_canonical(word, at % SHARE_WORDS + 1) for at, word in enumerate(words)]
    for upto, check in checks:
        line = canonical[max(0, upto - SHARE_WORDS_PER_LINE) : upto]
        number = (upto - 1) % SHARE_WORDS // SHARE_WORDS_PER_LINE + 1
        if upto % SHARE_WORDS_PER_LINE or share_line_check(number, line) != check:
            which = f"line {number} of share {(upto - 1) // SHARE_WORDS + 1}"
            raise WrongShare(f"{which} does not fit the number at its end")
    return tuple(
        _share_of(canonical[start : start + SHARE_WORDS]) for start in range(0, len(canonical), SHARE_WORDS)
    )


def lines_of_share_pages(text: str) -> str:
    """The lines of words, if `text` is pages of shares; else `text`."""
    if _PAGE_TITLE not in text:
        return text
    return "\n".join(re.findall(r"^ *\d+\. +[a-z]+ .*$", text, re.MULTILINE))


def share_line_check(line: int, words: Sequence[str]) -> str:
    """The number at the end of a line of a share's page.

    Args:
        line: which, from 1.
        words: its words, as on the list.
    """
    digest = blake3(f"{line} {' '.join(words)}".encode("ascii"), derive_key_context=_LINE_CHECK_CONTEXT).digest(8)
    return f"{int.from_bytes(digest, 'big') % 10**LINE_CHECK_DIGITS:0{LINE_CHECK_DIGITS}}"


def _share_of(words: Sequence[str]) -> Share:
    from shamir_mnemonic import MnemonicError
    from shamir_mnemonic import Share as Slip39Share

    try:
        share = Slip39Share.from_mnemonic(" ".join(words))
    except MnemonicError:
        why = "the words do not belong together: one is mistaken for another, or two changed places"
        raise WrongShare(why) from None
    if share.group_count != 1 or share.member_threshold < 2:
        raise WrongShare("this is a share of something else")
    return Share(tuple(words), share.index + 1, share.member_threshold, share.identifier)


@functools.cache
def _by_prefix() -> dict[str, str]:
    from shamir_mnemonic.wordlist import WORDLIST

    return {word[:PREFIX_LETTERS]: word for word in WORDLIST}


def _canonical(typed: str, position: int) -> str:
    """The word of the list; its first four letters are enough."""
    import difflib

    word = typed.lower()
    whole = _by_prefix().get(word[:PREFIX_LETTERS], "")
    if whole == word or (len(word) >= PREFIX_LETTERS and whole.startswith(word)):
        return whole
    near = difflib.get_close_matches(word, list(_by_prefix().values()), n=1)
    raise WrongWord(typed, position, near[0] if near else whole)


@dataclass(frozen=True, slots=True)
class SharePage:
    """What goes on one paper.

    Attributes:
        household: the household's name.
        founded_s: wall time of `init`; None where it is not known.
        network_id: its first digits are printed; None where it is not known.
        share: what is on it.
        total: how many shares there are.
        machines: name and address of each machine when the page was printed.
    """

    household: str
    founded_s: float | None
    network_id: NetworkId | None
    share: Share
    total: int
    machines: tuple[tuple[str, str], ...] = ()

    def page(self) -> str:
        """Plain text for one printed page, 72 columns."""
        founded = "-" if self.founded_s is None else datetime.fromtimestamp(self.founded_s, UTC).date().isoformat()
        network = "-" if self.network_id is None else short(self.network_id)
        needed = self.share.needed
        lines = [
            f"{_PAGE_TITLE} {self.share.number} OF {self.total}",
            "",
            f"  Household   {self.household}",
            f"  Founded on  {founded}",
            f"  Network id  {network}",
            f"  Share set   {self.share.set_number}",
            "",
            f"Any {needed} of the {self.total} shares of this set open everything this household ever",
            "stored, on a new machine, even if every password and every machine but",
            "a sufficient few is gone. Fewer tell nothing at all. Give each share to",
            "somebody else, or keep it in another house; no machine keeps a copy.",
            "",
            *_numbered(self.share.words),
            "",
            "The number at the end of a line shows whether that line is right.",
            "",
            f"To restore: bring {needed} shares together, install p2pstore on a fresh",
            "machine, and run",
            "",
            "    p2pstore recovery-kit use --shares --at HOST:PORT --to FOLDER",
            "",
            "with the address of any surviving machine, and type the words (the first",
            "four letters of each are enough). To see that this page is right:",
            "",
            "    p2pstore recovery-kit check --shares",
        ]
        if self.machines:
            lines += ["", "Machines on the day this was printed:", ""]
            lines += [f"    {name[:30]:30}  {address[:36]}".rstrip() for name, address in self.machines[:8]]
        return "\n".join(lines) + "\n"


def _numbered(words: Sequence[str]) -> list[str]:
    lines = []
    for start in range(0, len(words), SHARE_WORDS_PER_LINE):
        line = words[start : start + SHARE_WORDS_PER_LINE]
        cells = [f"{start + at:2}. {word:<10}" for at, word in enumerate(line, 1)]
        lines.append(f"  {'  '.join(cells)}  {share_line_check(start // SHARE_WORDS_PER_LINE + 1, line)}")
    return lines
