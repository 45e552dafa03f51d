"""A household that is there to be tried out: machines that can be killed and brought back from the screens.

`p2pstore demo --tui` gives one; a real household has none, and its screens have no bar and no such keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from rich.cells import cell_len
from textual.content import Content

from tui import words
from tui.widgets.said import assemble
from tui.words import Glyphs


class Actor(NamedTuple):
    """A machine on the stage.

    Attributes:
        name: what it is called.
        runs: whether its daemon lives.
        wiped: whether its disk was taken away.
    """

    name: str
    runs: bool
    wiped: bool


class Stage(Protocol):
    """What can be done to the machines; everything here may block."""

    title: str
    event: str

    def actors(self) -> Sequence[Actor]:
        """Every machine, in the order in which it joined."""
        ...

    def kill(self, name: str) -> None:
        """SIGKILL: no cleanup code runs."""
        ...

    def wipe(self, name: str) -> None:
        """Kill it and take its disk away, for good."""
        ...

    def bring_back(self, name: str) -> None:
        """Start what was killed. Raises Failure."""
        ...


def stage_line(stage: Stage, width: int, glyphs: Glyphs) -> Content:
    """The machines with what became of them, and what happened last: shape, then colour."""
    parts: list[str | tuple[str, str]] = [(f" {stage.title} ", "bold $error reverse"), " "]
    used = len(stage.title) + 3
    actors = stage.actors()
    for actor in actors:
        mark, tone = (glyphs.lost, "$error") if actor.wiped else (glyphs.no_shard, "$warning")
        mark, tone = (glyphs.shard, "$success") if actor.runs else (mark, tone)
        parts += [f" {actor.name}", (mark, f"bold {tone}")]
        used += cell_len(actor.name) + 2
    alive = sum(actor.runs for actor in actors)
    tail = f"   {alive} of {len(actors)} run" + (f"   {stage.event}" if stage.event else "")
    parts.append((words.clip(tail, max(0, width - used), glyphs), "$foreground-muted"))
    return assemble(*parts)
