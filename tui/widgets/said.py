"""A piece of text that is painted only when it says something else than before."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widgets import Static


class Said(Static):
    """Text that costs nothing while it stays the same: an idle screen writes no byte."""

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__("", id=id, classes=classes, markup=False)
        self._said: Content | None = None

    def say(self, content: Content) -> None:
        """Show `content`."""
        if self._said is None or not _same(self._said, content):
            before, self._said = self._said, content
            self.update(content, layout=self._needs_layout(before, content))

    def _needs_layout(self, before: Content | None, after: Content) -> bool:
        """Whether the new text may need another height: laying out the whole screen costs as much as painting it."""
        height = self.styles.height
        if height is not None and not height.is_auto:
            return False
        if before is None or not self.size.width:
            return True
        one, other = before.plain.split("\n"), after.plain.split("\n")
        return len(one) != len(other) or any(cell_len(line) > self.size.width for line in (*one, *other))

    @property
    def text(self) -> str:
        """What it says, without colours."""
        return "" if self._said is None else self._said.plain


def _same(one: Content, other: Content) -> bool:
    return one.plain == other.plain and one.spans == other.spans


def assemble(*parts: str | tuple[str, str]) -> Content:
    """Content from text and (text, style) pairs; nothing in the text is taken for markup."""
    return Content.assemble(*parts)
