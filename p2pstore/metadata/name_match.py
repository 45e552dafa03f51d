"""What a person types to find names: words that a name contains, and globs that it matches. Case does not matter."""

from __future__ import annotations

import fnmatch
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

TRIGRAMS_MAX: Final = 12
"""Trigrams asked of the index for one query: more make it slower, not better."""

_WILD: Final = re.compile(r"[*?]|\[[^\]]*\]")


def folded(text: str) -> str:
    """`text` as it is compared: composed, case apart."""
    return unicodedata.normalize("NFC", text).casefold()


def readable(name: bytes) -> str:
    """A name as text; bytes that are none become U+FFFD."""
    return name.decode("utf-8", "replace")


def indexed(name: bytes) -> str:
    """What the index of names holds of a name: composed, as the trigrams of a pattern are."""
    return unicodedata.normalize("NFC", readable(name))


@dataclass(frozen=True, slots=True)
class NamePattern:
    """What is looked for.

    Attributes:
        terms: as typed; those with `*`, `?` or `[` match the whole name, the others a part of it. All must.
    """

    terms: tuple[str, ...]

    def trigrams(self) -> tuple[str, ...]:
        """Some sequences of three characters that every match contains; none if the terms have no such."""
        found: dict[str, None] = {}
        for term in self.terms:
            for literal in _WILD.split(unicodedata.normalize("NFC", term)):
                # every third first: they say most; the ones between only if there is room
                for offset in (0, 1, 2):
                    for start in range(offset, len(literal) - 2, 3):
                        found.setdefault(literal[start : start + 3])
        return tuple(found)[:TRIGRAMS_MAX]

    def matcher(self) -> Callable[[bytes], bool]:
        """Whether a name matches."""
        globs = [re.compile(fnmatch.translate(folded(term))).match for term in self.terms if _WILD.search(term)]
        words = [folded(term) for term in self.terms if not _WILD.search(term)]

        def matches(name: bytes) -> bool:
            text = folded(readable(name))
            return all(word in text for word in words) and all(glob(text) for glob in globs)

        return matches
