"""The command palette: everything that has a key here, the panes, the themes, and the files at hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from rich.markup import escape
from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui import words

FILES_MAX: Final = 2000
"""Names that are searched: those at hand, which are some pages."""


class Commands(Provider):
    """What the palette offers."""

    async def discover(self) -> Hits:
        """Everything but files."""
        for name, description, run in self._actions():
            yield DiscoveryHit(name, run, help=description)

    async def search(self, query: str) -> Hits:
        """What fits `query`, files too."""
        from tui.app import P2pApp

        matcher = self.matcher(query)
        for name, description, run in self._actions():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), run, help=description)
        app = self.app
        assert isinstance(app, P2pApp)
        for path in app.files.listing.at_hand()[:FILES_MAX]:
            name = words.shown(path)
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(escape(name)), partial(app.show_file, path), help="go there")

    def _actions(self) -> list[tuple[str, str, Callable[[], Any]]]:
        from tui.app import P2pApp

        app = self.app
        assert isinstance(app, P2pApp)
        found: list[tuple[str, str, Callable[[], Any]]] = []
        seen: set[str] = set()
        for active in self.screen.active_bindings.values():
            binding = active.binding
            if type(active.node).__module__.startswith("textual") or not binding.description or not active.enabled:
                continue
            if binding.action in seen or binding.action.startswith(("move", "turn", "go(", "app.command_palette")):
                continue
            seen.add(binding.action)
            run = partial(app.run_action, binding.action, active.node)
            found.append((binding.description, f"key {binding.key}", run))
        return found + [
            (f"theme {theme}", "colours", partial(setattr, app, "theme", theme))
            for theme in sorted(app.available_themes)
        ]
