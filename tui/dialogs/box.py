"""The frame of every dialog: a box in the middle, over the panes."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

T = TypeVar("T")


class Box(ModalScreen[T]):
    """A dialog. Escape leaves it and changes nothing."""

    DEFAULT_CSS = """
    Box {
        align: center middle; background: $background 60%;
        & > .box {
            width: 76; max-width: 100%; height: auto; max-height: 100%; border: round $primary; background: $surface;
            padding: 0 1; border-title-color: $foreground; border-title-style: bold;
        }
        &.ascii > .box { border: ascii $primary; }
        & Input { border: none; height: 1; padding: 0 1; background: $panel; }
        & Input:focus { border: none; background: $panel; }
        & Said { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave", id="leave")]

    def on_mount(self) -> None:
        """The frame in the character set of the app."""
        self.set_class(self.app.has_class("ascii"), "ascii")

    def action_leave(self) -> None:
        """Close without a result."""
        self.dismiss(None)
