"""What the screens say: sizes, ages, names and verdicts as short text. Pure, and free of Textual."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.control import wording

count, shown = wording.count, wording.shown

STALE_AFTER_S: Final = 30.0
"""Any figure older than this carries its age."""

UNKNOWN_AFTER_S: Final = 900.0
"""A verdict older than this is no verdict (DESIGN 12)."""

NOW_BELOW_S: Final = 10.0
"""Younger than this is "now"."""


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks of one character set. Shape and word carry the meaning; colour only repeats it."""

    safe: str
    thin: str
    risk: str
    lost: str
    unknown: str
    new: str
    closed: str
    opened: str
    full: str
    half: str
    empty: str
    up: str
    down: str
    both: str
    here: str
    away: str
    shard: str
    no_shard: str
    ellipsis: str
    dot: str
    bar: str
    enter: str
    spark: str
    blocks: bool

    def of(self, state: str | None) -> str:
        """The mark of a verdict's state."""
        return {"safe": self.safe, "thin": self.thin, "risk": self.risk, "lost": self.lost}.get(
            state or "", self.unknown if state else " "
        )


UNICODE: Final = Glyphs(
    safe="●", thin="◐", risk="▲", lost="✗", unknown="?", new="◌", closed="▸", opened="▾", full="█", half="▒",
    empty="─", up="↑", down="↓", both="⇅", here="●", away="○", shard="■", no_shard="□", ellipsis="…", dot="·",
    bar="│", enter="⏎", spark="▁▂▃▄▅▆▇█", blocks=True,
)  # fmt: skip
ASCII: Final = Glyphs(
    safe="*", thin="~", risk="!", lost="X", unknown="?", new="o", closed=">", opened="v", full="#", half="=",
    empty="-", up="^", down="v", both="x", here="*", away="o", shard="#", no_shard=".", ellipsis="~", dot="-",
    bar="|", enter="ret", spark="_.-=^", blocks=False,
)  # fmt: skip
"""For terminals and fonts without the shapes above."""

WORDS: Final = {"safe": "safe", "thin": "thin", "risk": "RISK", "lost": "LOST", "unknown": "unkn"}
"""Four letters each: what needs a person is in capitals."""

VARIABLES: Final = {"safe": "$success", "thin": "$warning", "risk": "$error", "lost": "$error"}
"""The theme's colour of each state; what is unknown has none."""


def size(count: float | None) -> str:
    """At most five characters: "812", "1.5K", "12M", "330G"; powers of 1000. "" for None."""
    if count is None:
        return ""
    if count < 1000:
        return f"{count:.0f}"
    for unit in "KMGTP":
        count /= 1000
        if count < 999.5 or unit == "P":
            return f"{count:.1f}{unit}" if count < 9.95 else f"{count:.0f}{unit}"
    raise AssertionError


def age(seconds: float | None) -> str:
    """"now", "40 s", "20 min", "3 h", "5 days"; "never" for None. "now" lasts longer than on the command line: what is
    painted again and again must not count the seconds."""
    return wording.age(seconds, now_below_s=NOW_BELOW_S)


def duration(seconds: float) -> str:
    """How long something will take, roughly: "4 s", "2 min"."""
    return age(max(10.0, seconds)) if seconds >= 10 else f"{max(1, round(seconds))} s"


def moment(at_s: float, now_s: float) -> str:
    """A local time: with its date when it is not today."""
    then, today = time.localtime(at_s), time.localtime(now_s)
    same_day = then[:3] == today[:3]
    return time.strftime("%H:%M" if same_day else "%Y-%m-%d %H:%M", then)


def clock(at_s: float) -> str:
    """"21:03:11"."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def bar(width: int, safe: float, sent: float, glyphs: Glyphs) -> str:
    """A progress bar with two fills: what is safe, and what is sent but not yet safe. Full only when all is safe."""
    done = int(width * min(1.0, safe))
    ahead = max(0, int(width * min(1.0, sent)) - done)
    return glyphs.full * done + glyphs.half * ahead + glyphs.empty * (width - done - ahead)


def gauge(width: int, share: float, glyphs: Glyphs) -> str:
    """How full something is."""
    filled = round(width * max(0.0, min(1.0, share)))
    return glyphs.full * filled + ("░" if glyphs.blocks else ".") * (width - filled)


def sparkline(values: list[float], glyphs: Glyphs) -> str:
    """A line of small bars, the largest value as the full height."""
    most = max(values, default=0.0)
    steps = glyphs.spark
    return "".join(steps[round((len(steps) - 1) * value / most) if most > 0 else 0] for value in values)


def clip(text: str, width: int, glyphs: Glyphs) -> str:
    """`text` in at most `width` cells, with a mark where something was left out."""
    from rich.cells import cell_len, set_cell_size

    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)) + glyphs.ellipsis if width > 0 else ""


def parent_of(path: bytes) -> bytes:
    """The folder that a path lies in."""
    return path.rstrip(b"/").rpartition(b"/")[0] or b"/"


def name_of(path: bytes) -> bytes:
    """The last part of a path."""
    return path.rstrip(b"/").rpartition(b"/")[2]


def join(folder: bytes, name: bytes) -> bytes:
    """A name in a folder."""
    return folder.rstrip(b"/") + b"/" + name


def leaving(progress: Mapping[str, Any]) -> str:
    """How far a machine is that leaves, in a few words."""
    if progress.get("done"):
        return "leaving, done"
    left = progress.get("left")
    return "leaving" if left is None else f"leaving, {left:,} left"


def leaving_sentence(progress: Mapping[str, Any]) -> str:
    """The same for the details."""
    if progress.get("done"):
        return "It leaves: all it held is elsewhere. It goes when an admin's machine has removed it."
    if progress.get("left") is None:
        return "It leaves. It has not said yet how far it is."
    pieces, left, waits = progress.get("pieces"), progress.get("left"), progress.get("waits")
    amount = f"It leaves: {left:,} of {pieces:,} pieces are not yet proven elsewhere."
    return f"{amount} Now: {waits}." if waits else amount
