"""The BIP-39 English word list, and what a person meant who typed nearly one of its words."""

from __future__ import annotations

import difflib
import functools
from typing import Final

from p2pstore.errors import Misuse

PREFIX_LETTERS: Final = 4
"""BIP-39 promises that the first four letters tell any two of its words apart."""


class WrongWord(Misuse):
    """A word that is not on the list.

    Attributes:
        word: what was typed.
        position: where it stood, from 1.
        suggestion: the nearest word of the list, or "" if none is near.
    """

    def __init__(self, word: str, position: int, suggestion: str) -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(f"word {position}, {word!r}, is not on the list{hint}")
        self.word = word
        self.position = position
        self.suggestion = suggestion


@functools.cache
def word_list() -> tuple[str, ...]:
    """The 2,048 words, sorted."""
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


@functools.cache
def _by_prefix() -> dict[str, str]:
    return {word[:PREFIX_LETTERS]: word for word in word_list()}


@functools.cache
def _all_words() -> frozenset[str]:
    return frozenset(word_list())


def canonical_word(typed: str, position: int) -> str:
    """The word of the list that `typed` is, in any case; its first four letters are enough.

    Raises:
        WrongWord: it is none; carries the nearest.
    """
    word = typed.lower()
    if word in _all_words():
        return word
    if len(word) >= PREFIX_LETTERS:
        whole = _by_prefix().get(word[:PREFIX_LETTERS], "")
        if whole.startswith(word):
            return whole
    near = difflib.get_close_matches(word[:16], word_list(), n=1, cutoff=0.6)
    raise WrongWord(typed[:32], position, near[0] if near else "")
