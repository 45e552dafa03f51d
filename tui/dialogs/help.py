"""Help: the keys of what has the focus, as they are bound right now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final, NamedTuple

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen

from tui import words
from tui.dialogs.box import Box
from tui.widgets.keyline import key_name
from tui.widgets.said import Said, assemble
from tui.words import Glyphs

NAMES: Final = {
    "Listing": "The list", "Rows": "The list", "FilesPane": "Files", "MachinesPane": "Machines",
    "ActivityPane": "Activity", "SafetyPane": "Safety", "P2pApp": "Everywhere", "HistoryPane": "History",
}  # fmt: skip
"""Only our own widgets are explained; Textual's scrolling keys explain themselves."""


class Group(NamedTuple):
    """The keys of one part of the screen."""

    name: str
    keys: tuple[tuple[str, str], ...]


def groups_of(screen: Screen[object], glyphs: Glyphs) -> list[Group]:
    """What can be pressed on `screen` now, the innermost part first. Several keys for one thing stand together."""
    found: dict[str, dict[str, list[str]]] = {}
    for active in screen.active_bindings.values():
        name = NAMES.get(type(active.node).__name__)
        description = active.binding.description
        # What Textual binds by itself has no id, and explains itself.
        if name is None or not description or not active.enabled or active.binding.id is None:
            continue
        found.setdefault(name, {}).setdefault(description, []).append(key_name(active.binding.key, glyphs))
    order = list(dict.fromkeys(NAMES.values()))
    return [
        Group(name, tuple((" ".join(keys), description) for description, keys in found[name].items()))
        for name in sorted(found, key=order.index)
    ]


class Help(Box[None]):
    """The keys, in two columns."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter", "leave", "leave", show=False, id="leave_help"),
    ]

    def __init__(self, groups: Sequence[Group], title: str) -> None:
        super().__init__()
        self._groups = groups
        self._heading = title

    def compose(self) -> ComposeResult:
        """One text."""
        with VerticalScroll(classes="box") as box:
            box.border_title = Text(self._heading)
            yield Said(id="keys")

    def on_mount(self) -> None:
        """Write it."""
        super().on_mount()
        parts: list[str | tuple[str, str]] = []
        for group in self._groups:
            parts.append((f"{group.name}\n", "bold"))
            half = (len(group.keys) + 1) // 2
            for left, right in zip(group.keys[:half], [*group.keys[half:], ("", "")], strict=False):
                for keys, description in (left, right):
                    parts += [(f" {keys:>12} ", "bold $accent"), f"{description:<22}"]
                parts.append("\n")
        parts.append(
            (
                "Marks: "
                + "  ".join(f"{self._glyph(state)} {word}" for state, word in words.WORDS.items())
                + "\nKeys can be changed in keys.toml. For a screen reader, every screen has a twin:\n"
                "p2pstore ls|peers|safe|status --plain.   esc leaves this.",
                "$foreground-muted",
            )
        )
        self.query_one("#keys", Said).say(assemble(*parts))
        self.query_one(VerticalScroll).focus()

    def _glyph(self, state: str) -> str:
        return (words.ASCII if self.app.has_class("ascii") else words.UNICODE).of(state)
