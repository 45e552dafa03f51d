"""The default colours can be told apart with every kind of colour blindness, in grey, and against the background."""

from __future__ import annotations

import itertools
import math

import pytest
from textual.color import Color

from tui.themes import SAFE_DARK, SAFE_LIGHT, for_terminal, wants_ascii

# Viénot, Brettel, Mollon 1999 (protan, deutan) and Brettel 1997 reduced to one plane (tritan), in linear RGB.
BLINDNESS = {
    "normal": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "protan": ((0.11238, 0.88762, 0.0), (0.11238, 0.88762, 0.0), (0.00401, -0.00401, 1.0)),
    "deutan": ((0.29275, 0.70725, 0.0), (0.29275, 0.70725, 0.0), (-0.02234, 0.02234, 1.0)),
    "tritan": ((1.0, 0.14461, -0.14461), (0.0, 0.85924, 0.14076), (0.0, 0.85924, 0.14076)),
}


def linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def seen(color: Color, kind: str) -> tuple[float, float, float]:
    rgb = [linear(value / 255) for value in color.rgb]
    red, green, blue = (sum(weight * value for weight, value in zip(row, rgb, strict=True)) for row in BLINDNESS[kind])
    return max(0.0, red), max(0.0, green), max(0.0, blue)


def lab(rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = rgb
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.95047
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.08883
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def luminance(text: str) -> float:
    red, green, blue = seen(Color.parse(text), "normal")
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("kind", sorted(BLINDNESS))
def test_safe_thin_and_bad_differ_to_every_eye(kind: str) -> None:
    for theme in (SAFE_DARK, SAFE_LIGHT):
        colours = [Color.parse(str(each)) for each in (theme.success, theme.warning, theme.error)]
        for one, other in itertools.combinations(colours, 2):
            assert math.dist(lab(seen(one, kind)), lab(seen(other, kind))) >= 24


def test_the_dark_colours_keep_apart_in_grey() -> None:
    greys = sorted(luminance(str(each)) for each in (SAFE_DARK.success, SAFE_DARK.warning, SAFE_DARK.error))
    assert all(after / before >= 1.15 for before, after in itertools.pairwise(greys))


def test_words_can_be_read_on_their_background() -> None:
    for theme in (SAFE_DARK, SAFE_LIGHT):
        for colour in (theme.success, theme.warning, theme.error, theme.foreground):
            for ground in (theme.background, theme.surface, theme.panel):
                assert contrast(str(colour), str(ground)) >= 4.5


def test_terminals_with_few_colours_or_shapes_get_few() -> None:
    assert for_terminal({"TERM": "linux"}) == "p2p-16"
    assert for_terminal({"TERM": "xterm-256color"}) == "p2p-safe"
    assert for_terminal({"TERM": "screen", "COLORTERM": "truecolor"}) == "p2p-safe"
    assert wants_ascii({"TERM": "linux"})
    assert wants_ascii({"TERM": "xterm", "LANG": "C"})
    assert not wants_ascii({"TERM": "xterm", "LANG": "C.UTF-8"})
