"""What every pane is: part of the main screen that paints itself from the model when it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical

if TYPE_CHECKING:
    from tui.app import P2pApp


class Pane(Vertical):
    """One tab's content."""

    DEFAULT_CSS = "Pane { height: 1fr; }"

    @property
    def home(self) -> P2pApp:
        """The app, by its own type."""
        from tui.app import P2pApp

        app = self.app
        assert isinstance(app, P2pApp)
        return app

    def paint(self) -> None:
        """Show what the model knows now. Called at most four times a second, and only while in sight."""

    def take_focus(self) -> None:
        """Give the focus to what is used most here."""
