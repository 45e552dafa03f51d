"""Asks for a line of text: a name, or a path on this machine with completion."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input

from tui import words
from tui.dialogs.box import Box
from tui.widgets.said import Said, assemble

MATCHES_SHOWN: Final = 8
ENTRIES_LOOKED_AT: Final = 5000
"""Completion must not read a folder of a million names at each key."""

Complete = Callable[[str], Sequence[str]]


def local_matches(typed: str) -> list[str]:
    """What a path on this machine could go on with; folders end with a slash."""
    folder, _, stem = os.path.expanduser(typed).rpartition("/")
    try:
        with os.scandir(folder + "/" if folder or typed.startswith(("/", "~")) else ".") as found:
            names = []
            for seen, entry in enumerate(found):
                if seen >= ENTRIES_LOOKED_AT:
                    break
                if not _can_be_typed(entry.name):
                    continue
                if entry.name.startswith(stem) and (stem.startswith(".") or not entry.name.startswith(".")):
                    names.append(entry.name + ("/" if entry.is_dir() else ""))
    except OSError:
        return []
    kept = typed[: len(typed) - len(typed.rpartition("/")[2])]
    return [kept + name for name in sorted(names)]


def _can_be_typed(name: str) -> bool:
    """Whether a name is text: one that is not cannot stand in a line that is edited."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return name.isprintable()


class Ask(Box[str]):
    """A line of text.

    Args:
        title: what is asked.
        hint: one line about it.
        initial: what stands there already.
        complete: what could be meant; Tab takes it.
        check: a complaint about what was typed, or "".
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "complete", priority=True, id="complete"),
    ]

    def __init__(
        self,
        title: str,
        hint: str = "",
        initial: str = "",
        *,
        complete: Complete | None = None,
        check: Callable[[str], str] | None = None,
    ) -> None:
        super().__init__()
        self._question = title
        self._hint = hint
        self._initial = initial
        self._complete = complete
        self._check = check

    def compose(self) -> ComposeResult:
        """Hint, line, matches."""
        with Vertical(classes="box") as box:
            box.border_title = Text(self._question)
            yield Said(id="hint")
            field = Input(self._initial, id="line")
            field.cursor_blink = False
            yield field
            yield Said(id="matches")

    def on_mount(self) -> None:
        """Begin at the end of the line."""
        super().on_mount()
        self.query_one("#hint", Said).say(assemble((self._hint, "$foreground-muted")))
        line = self.query_one(Input)
        line.select_on_focus = False
        line.focus()
        line.cursor_position = len(self._initial)
        self._paint()

    def on_input_changed(self, _message: Input.Changed) -> None:
        """Other matches."""
        self._paint()

    def _matches(self) -> Sequence[str]:
        return self._complete(self.query_one(Input).value) if self._complete is not None else ()

    def _paint(self, complaint: str = "") -> None:
        enter = words.ASCII.enter if self.app.has_class("ascii") else words.UNICODE.enter
        keys: list[str | tuple[str, str]] = [(enter, "bold $accent"), " take it   "]
        keys += [("tab", "bold $accent"), " complete   "] if self._complete is not None else []
        keys += [("esc", "bold $accent"), " leave"]
        matches = self._matches()
        shown = [words.shown(os.fsencode(match)) for match in matches[:MATCHES_SHOWN]]
        more = [f"and {len(matches) - len(shown):,} more"] if len(matches) > len(shown) else []
        parts: list[str | tuple[str, str]] = [("\n".join([*shown, *more]) + "\n" if shown else "", "$foreground-muted")]
        parts.append((complaint + "\n" if complaint else "\n", "bold $error"))
        self.query_one("#matches", Said).say(assemble(*parts, *keys))

    def action_complete(self) -> None:
        """Take what all matches have in common."""
        matches = self._matches()
        line = self.query_one(Input)
        if matches:
            common = os.path.commonprefix(list(matches))  # noqa: RUF071  characters are what is typed
            typed = line.value
            if common and (len(common) >= len(typed) or len(matches) == 1):
                line.value = common
                line.cursor_position = len(common)

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """Take it, if it will do."""
        value = message.value.strip()
        complaint = self._check(value) if self._check is not None and value else ""
        if complaint:
            self._paint(complaint)
        elif value:
            self.dismiss(value)
