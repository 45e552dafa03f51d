"""The line at the bottom: what can be pressed here. At most eight keys, and help is never the one that is cut off."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len
from textual import events
from textual.screen import Screen

from tui.widgets.said import Said, assemble
from tui.words import Glyphs

KEYS_MAX: Final = 8

NAMES: Final = {
    "question_mark": "?", "slash": "/", "colon": ":", "ctrl+p": "^p", "escape": "esc", "left_square_bracket": "[",
    "exclamation_mark": "!", "full_stop": ".", "comma": ",", "right_square_bracket": "]",
}  # fmt: skip


def key_name(key: str, glyphs: Glyphs) -> str:
    """A key as people write it."""
    if key == "enter":
        return glyphs.enter
    return NAMES.get(key, key.replace("ctrl+", "^"))


class KeyLine(Said):
    """Shows the keys of what has the focus."""

    DEFAULT_CSS = "KeyLine { height: 1; dock: bottom; background: $panel; }"

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._places: list[tuple[int, str]] = []

    def show(self, screen: Screen[object]) -> None:
        """Paint the keys that work on `screen` now: the focused widget's first, help last."""
        width = self.app.size.width
        seen: set[str] = set()
        wanted: list[tuple[str, str, str]] = []
        last: tuple[str, str, str] | None = None
        for active in screen.active_bindings.values():
            binding = active.binding
            if not binding.show or not active.enabled or binding.action in seen:
                continue
            seen.add(binding.action)
            one = (key_name(binding.key, self._glyphs), binding.description, binding.key)
            if binding.action.endswith("help"):
                last = one
            else:
                wanted.append(one)
        kept = wanted[: KEYS_MAX - (last is not None)]
        while kept and self._width([*kept, *([last] if last else [])]) > width:
            kept.pop()
        parts: list[str | tuple[str, str]] = []
        column = 0
        self._places = []
        for name, words, key in [*kept, *([last] if last else [])]:
            parts += [" ", (name, "bold $accent"), f" {words} "]
            column += cell_len(name) + cell_len(words) + 3
            self._places.append((column, key))
        self.say(assemble(*parts))

    @staticmethod
    def _width(keys: list[tuple[str, str, str]]) -> int:
        return sum(cell_len(name) + cell_len(words) + 3 for name, words, _ in keys)

    async def on_click(self, event: events.Click) -> None:
        """A click is the key."""
        for end, key in self._places:
            if event.x < end:
                self.app.simulate_key(key)
                return
