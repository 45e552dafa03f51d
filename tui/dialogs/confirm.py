"""Asks before something is taken away. The key that confirms is never the key that asked, and never Enter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical

from tui.dialogs.box import Box
from tui.widgets.said import Said, assemble

CONFIRM_KEY: Final = "Y"
"""Shifted, so that neither a held key nor a stray reply of the terminal confirms."""


class Confirm(Box[bool]):
    """A question with a yes that takes a decision.

    Args:
        title: the question.
        lines: what will happen, and how it is undone.
        verb: what yes does.
    """

    def __init__(self, title: str, lines: Sequence[str], verb: str) -> None:
        super().__init__()
        self._question = title
        self._lines = lines
        self._verb = verb

    def compose(self) -> ComposeResult:
        """The question, what it means, and the two ways on."""
        with Vertical(classes="box") as box:
            box.border_title = Text(self._question)
            yield Said(id="what")
            yield Said(id="keys")

    def on_mount(self) -> None:
        """Say it."""
        super().on_mount()
        self.query_one("#what", Said).say(assemble("\n".join(["", *self._lines, ""])))
        self.query_one("#keys", Said).say(
            assemble(("esc", "bold $accent"), " leave everything as it is      press ", (CONFIRM_KEY, "bold $error"),
                     f" to {self._verb}")
        )  # fmt: skip

    def on_key(self, event: events.Key) -> None:
        """Only the capital letter confirms."""
        if event.character == CONFIRM_KEY:
            event.stop()
            self.dismiss(True)

    def action_leave(self) -> None:
        """Nothing happens."""
        self.dismiss(False)
