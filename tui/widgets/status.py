"""The lines at the top of every screen: the verdict, the tabs, and a banner when something is wrong with the daemon."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.message import Message

from tui import words
from tui.model import Model
from tui.widgets.said import Said, assemble
from tui.words import Glyphs

NARROW: int = 100
"""Below this many columns there is one pane at a time, and fewer words."""


def headline(model: Model, now_s: float, width: int, glyphs: Glyphs) -> Content:
    """Verdict, machines, rates, transfers: what does not fit is left out from the right, the verdict never."""
    verdict = model.verdict(now_s)
    mark = f" {glyphs.of(verdict.state)} {verdict.state.upper()} "
    style = words.VARIABLES.get(verdict.state, "$foreground")
    reverse = f"bold {style} reverse" if verdict.age_s == 0.0 else f"{style}"
    machines, running = model.machines, model.running
    here = sum(machine.is_here for machine in machines)
    aged = f" ({words.age(verdict.age_s)} ago)" if verdict.age_s > words.STALE_AFTER_S else ""
    count = f"{here}/{len(machines)}" + (" machines" if width >= NARROW else "") + aged if machines else ""
    rates = f"{glyphs.up}{words.size(model.up)} {glyphs.down}{words.size(model.down)}" if running else ""
    spark = words.sparkline(list(model.rates)[-8:], glyphs) if running and width >= NARROW else ""
    moving = f"{glyphs.both}{len(running)}" if running else ""
    tail = [part for part in (count, rates, spark, moving) if part]
    room = width - cell_len(mark) - 1  # the blank behind the mark
    sentence = verdict.sentence
    while tail:
        right = f" {glyphs.bar} ".join(tail)
        if room - cell_len(right) - 3 >= min(cell_len(sentence), 24):
            break
        tail.pop(1 if len(tail) > 1 else 0)
    right = f" {glyphs.bar} ".join(tail)
    left = words.clip(sentence, room - (cell_len(right) + 3 if right else 0), glyphs)
    gap = " " * max(0, room - cell_len(left) - cell_len(right))
    tone = "bold" if verdict.age_s == 0.0 else "$foreground-muted"
    return assemble((mark, reverse), " ", (left, tone), gap, (right, ""))


def banner(model: Model, now_s: float, glyphs: Glyphs) -> Content | None:
    """What is wrong with the connection, and what to press; None when all is well."""
    standing = model.standing
    if standing.kind == "connecting":
        waited_s = now_s - standing.since_s
        text = f" connecting to the daemon{glyphs.ellipsis}"
        return assemble((text, "$foreground-muted")) if waited_s > 0.3 else None
    if standing.kind == "gone":
        at = words.moment(standing.since_s, now_s)
        if not model.overview:
            text = " the daemon is not running on this machine.  u start it   or type: p2pstore up"
        else:
            text = f" the daemon stopped at {at}; this is what was true then.  u start it"
        return assemble((text, "bold $warning"))
    if standing.kind == "mismatch":
        what = standing.fault.what if standing.fault else "the daemon speaks another version"
        text = f" {what}.  type: p2pstore down && p2pstore up, then start this again"
        return assemble((text, "bold $error"))
    return None


class Tabs(Said):
    """The names of the panes; a click chooses one."""

    DEFAULT_CSS = "Tabs { height: 1; background: $background; }"

    class Chosen(Message):
        """A tab was clicked."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

    def __init__(self, names: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._names = names
        self._ends: list[int] = []

    def show(self, active: str) -> None:
        """Paint with `active` chosen."""
        parts: list[str | tuple[str, str]] = []
        self._ends = []
        column = 0
        for number, name in enumerate(self._names, 1):
            text = f" {number} {name} "
            parts.append((text, "bold reverse" if name == active else "$foreground-muted"))
            column += len(text)
            self._ends.append(column)
        self.say(assemble(*parts))

    def on_click(self, event: events.Click) -> None:
        """Which one was it?"""
        for name, end in zip(self._names, self._ends, strict=False):
            if event.x < end:
                self.post_message(self.Chosen(name))
                return
