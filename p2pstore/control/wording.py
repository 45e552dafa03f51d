"""Words that the command line and the screens share: names that are safe on a terminal, ages, counts. Pure.

What a hostile name may do to a terminal is decided here and nowhere else.
"""

from __future__ import annotations

from typing import Final

_KEPT: Final = frozenset("\u200d")
"""The joiner inside emoji: not printable by itself, and harmless."""

NOW_BELOW_S: Final = 3.0
"""Younger than this is "now"."""


def shown(name: bytes) -> str:
    """A name that is safe on a terminal and on one line: control, format and foreign characters as escapes; a
    backslash doubled, so that no two names look the same."""
    text = name.decode("utf-8", "surrogateescape").replace("\\", "\\\\")
    if text.isprintable():
        return text
    return "".join(_escape(character) for character in text)


def printable(line: str) -> str:
    """A line of text that is safe on a terminal: all but tabs escaped that is not printable."""
    return "".join(character if character == "\t" else _escape(character) for character in line)


def _escape(character: str) -> str:
    if character.isprintable() or character in _KEPT:
        return character
    if "\udc80" <= character <= "\udcff":  # a byte that was not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")


def count(number: int, noun: str) -> str:
    """"1 file", "1,204 files"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def age(seconds: float | None, *, now_below_s: float = NOW_BELOW_S) -> str:
    """"now", "40 s", "20 min", "3 h", "5 days"; "never" for None."""
    if seconds is None:
        return "never"
    if seconds < now_below_s:
        return "now"
    for limit, divisor, unit in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} days"
