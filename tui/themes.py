"""Colours: the default can be told apart with every kind of colour blindness (a test measures it)."""

from __future__ import annotations

from typing import Final

from textual.theme import Theme

_BLUE: Final = "#56B4E9"
_YELLOW: Final = "#F0E442"
_ORANGE: Final = "#FF7043"

SAFE_DARK: Final = Theme(
    name="p2p-safe",
    primary=_BLUE,
    secondary="#8FA3B0",
    accent=_BLUE,
    success=_BLUE,
    warning=_YELLOW,
    error=_ORANGE,
    foreground="#E6E6E6",
    background="#0F1316",
    surface="#151A1F",
    panel="#1E262C",
    dark=True,
    variables={"block-cursor-background": "#3A4650", "block-cursor-foreground": "#FFFFFF"},
)
"""Blue, yellow, orange: CIE76 distance at least 28 in each simulated blindness, contrast at least 6.7 on the
background, grey levels apart (facts: cli-tui, 2)."""

SAFE_LIGHT: Final = Theme(
    name="p2p-safe-light",
    primary="#005A9C",
    secondary="#56636D",
    accent="#005A9C",
    success="#005A9C",
    warning="#7A5C00",
    error="#6A0F0F",
    foreground="#15191C",
    background="#FAFAF7",
    surface="#F1F1EC",
    panel="#E2E4E0",
    dark=False,
    variables={"block-cursor-background": "#C9D6DF", "block-cursor-foreground": "#000000"},
)
"""For bright rooms: distances at least 25 here too, text contrast at least 4.5."""

SIXTEEN: Final = Theme(
    name="p2p-16",
    primary="ansi_cyan",
    secondary="ansi_white",
    accent="ansi_cyan",
    success="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    dark=True,
    luminosity_spread=0.15,
    text_alpha=0.95,
    variables={
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "border-blurred": "ansi_bright_black",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_white",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-cursor-text-style": "none",
        "input-selection-background": "ansi_bright_blue",
        "input-selection-foreground": "ansi_black",
        "screen-selection-background": "ansi_bright_blue",
        "screen-selection-foreground": "ansi_black",
    },
    ansi=True,
)
"""The terminal's own sixteen colours, for consoles that have no more."""

THEMES: Final = (SAFE_DARK, SAFE_LIGHT, SIXTEEN)
DEFAULT: Final = SAFE_DARK.name


def for_terminal(environ: dict[str, str]) -> str:
    """The theme to begin with: sixteen colours where the terminal says that it has no more."""
    term, colours = environ.get("TERM", ""), environ.get("COLORTERM", "")
    if colours in ("truecolor", "24bit") or "256color" in term or "direct" in term or environ.get("NO_COLOR"):
        return DEFAULT
    return SIXTEEN.name if term in ("linux", "vt100", "vt220", "ansi", "xterm-color", "screen") else DEFAULT


def wants_ascii(environ: dict[str, str]) -> bool:
    """Whether the terminal lacks the shapes: the Linux console's font, or a locale that is not UTF-8."""
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return environ.get("TERM") == "linux" or (bool(locale) and locale.upper() in ("C", "POSIX"))
