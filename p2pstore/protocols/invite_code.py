"""Invite codes such as `7-guitar-sunset`: a nameplate that finds the invitation and two words that prove it."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Misuse
from p2pstore.keys.words import canonical_word, word_list

NAMEPLATE_MAX: Final = 99
"""Two digits: a house has one open invitation at a time, neighbours on one network a few."""

CODE_WORDS: Final = 2
"""22 bits. One guess per invitation is all that anybody gets, so a guess succeeds once in four million."""

CODE_CHARACTERS_MAX: Final = 64
"""Longer is no code."""


class WrongCodeShape(Misuse):
    """Not a number and two words, like 7-guitar-sunset. (A word that is not on the list raises WrongWord.)"""


@dataclass(frozen=True, slots=True)
class InviteCode:
    """A parsed code.

    Attributes:
        nameplate: which invitation; not secret.
        words: the secret.
    """

    nameplate: int
    words: tuple[str, str]

    @classmethod
    def generate(cls, rng: random.Random, *, taken: frozenset[int] = frozenset()) -> InviteCode:
        """A new code whose nameplate is not among `taken`."""
        free = [number for number in range(1, NAMEPLATE_MAX + 1) if number not in taken]
        return cls(rng.choice(free), (rng.choice(word_list()), rng.choice(word_list())))

    @classmethod
    def parse(cls, typed: str) -> InviteCode:
        """The code that was typed: any case, any separators, four letters of a word are enough.

        Raises:
            WrongCodeShape: not a number and two words.
            WrongWord: a word that is not on the list; carries the nearest.
        """
        parts = re.findall(r"\d+|[^\W\d_]+", typed) if len(typed) <= CODE_CHARACTERS_MAX else []
        if len(parts) != 1 + CODE_WORDS or not (parts[0].isascii() and parts[0].isdecimal()):
            raise WrongCodeShape("wanted a number and two words")
        if not 1 <= int(parts[0][:4]) <= NAMEPLATE_MAX or any(each.isdecimal() for each in parts[1:]):
            raise WrongCodeShape("wanted a number from 1 to 99 and two words")
        first, second = (canonical_word(word, position) for position, word in enumerate(parts[1:], 1))
        return cls(int(parts[0]), (first, second))

    def __str__(self) -> str:
        """As it is shown and typed."""
        return "-".join([str(self.nameplate), *self.words])

    @property
    def password(self) -> bytes:
        """What the PAKE runs over."""
        return str(self).encode("ascii")
