"""A preview of text or an image, in one widget that lives as long as the screen.

It is never mounted anew for a selection: Textual caches lines of removed widgets (its issue 6665), which would grow to
a gigabyte. An image is half blocks: two pixels in each cell, everywhere, without asking the terminal anything.
"""

from __future__ import annotations

import io
from typing import Final

from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from tui import words
from tui.words import Glyphs

TEXT_BYTES: Final = 32 * 1024
"""The beginning of a text: more lines than a screen has."""

IMAGE_BYTES_MAX: Final = 24_000_000
"""Larger images are not fetched for a look in passing."""

PIXELS_MAX: Final = 120_000_000
"""Decoding more could take gigabytes; no camera makes them."""

IMAGE_ENDINGS: Final = (b".jpg", b".jpeg", b".png", b".gif", b".webp", b".bmp", b".tif", b".tiff")
SOURCE_PIXELS: Final = (480, 480)
"""What a decoded image is kept at: as fine as half blocks on the largest terminal show it."""

Pixels = tuple[int, int, bytes]
"""(width, height, RGB bytes)."""


def is_image(name: bytes) -> bool:
    """Whether a name looks like an image's."""
    return name.lower().endswith(IMAGE_ENDINGS)


def decode_image(data: bytes) -> Pixels:
    """A small version of an image. Takes up to some hundred milliseconds: for a thread.

    Raises:
        ValueError: no image, or one that is too large to be looked at.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > PIXELS_MAX:
                raise ValueError("too many pixels for a preview")
            image.draft("RGB", SOURCE_PIXELS)  # JPEG: decode at a fraction of the size, ten times as fast
            upright = ImageOps.exif_transpose(image)
            small = upright.convert("RGB")
            small.thumbnail(SOURCE_PIXELS)
            return small.width, small.height, small.tobytes()
    except (OSError, SyntaxError, Image.DecompressionBombError, MemoryError) as error:
        raise ValueError(f"not an image that can be shown: {error}") from None


def half_blocks(pixels: Pixels, width: int, height: int) -> list[Strip]:
    """An image as lines of half blocks, as large as fits into `width` cells and `height` lines."""
    from PIL import Image

    source_width, source_height, data = pixels
    scale = min(width / source_width, 2 * height / source_height)
    columns = max(1, int(source_width * scale))
    rows = max(2, int(source_height * scale) // 2 * 2)
    image = Image.frombytes("RGB", (source_width, source_height), data).resize((columns, rows))
    raw = image.tobytes()
    styles: dict[bytes, Style] = {}
    lines = []
    for top in range(0, rows, 2):
        segments: list[Segment] = []
        last, run = b"", 0
        for column in range(columns):
            upper = (top * columns + column) * 3
            lower = upper + columns * 3
            # Five bits a colour: neighbours that look alike become one run, and a frame a fourth of the bytes.
            pair = bytes(value & 0xF8 for value in raw[upper : upper + 3] + raw[lower : lower + 3])
            if pair != last and run:
                segments.append(Segment("▀" * run, _style(last, styles)))
                run = 0
            last = pair
            run += 1
        segments.append(Segment("▀" * run, _style(last, styles)))
        lines.append(Strip(segments, columns))
    return lines


def _style(pair: bytes, styles: dict[bytes, Style]) -> Style:
    if pair not in styles:
        upper, lower = Color.from_rgb(*pair[:3]), Color.from_rgb(*pair[3:])
        styles[pair] = Style(color=upper, bgcolor=lower)
    return styles[pair]


def text_lines(data: bytes) -> list[str] | None:
    """The beginning of a text as lines; None for what is no text."""
    if b"\0" in data[:4096]:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(data) - 4:
            return None
        text = data[: error.start].decode("utf-8")  # cut in the middle of a character
    lines = text.expandtabs(4).splitlines()
    return ["".join(c if c.isprintable() else "·" for c in line) for line in lines[:400]]


class Preview(Widget, can_focus=True):
    """Shows what it was last given."""

    DEFAULT_CSS = "Preview { height: 1fr; min-height: 3; }"

    def __init__(self, glyphs: Glyphs, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._glyphs = glyphs
        self._text: list[str] = []
        self._pixels: Pixels | None = None
        self._lines: list[Strip] = []
        self._made_for = Size(0, 0)

    def show_text(self, lines: list[str]) -> None:
        """Lines of text, or a word about why there is nothing to see."""
        self._text, self._pixels, self._lines = lines, None, []
        self.refresh()

    def show_image(self, pixels: Pixels) -> None:
        """An image."""
        if not self._glyphs.blocks:
            self.show_text([f"image, {pixels[0]} x {pixels[1]} or larger: this terminal cannot show it"])
            return
        self._text, self._pixels, self._lines = [], pixels, []
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """One line."""
        width, height = self.size
        if self._pixels is not None:
            if not self._lines or self._made_for != self.size:
                self._lines, self._made_for = half_blocks(self._pixels, max(2, width), max(1, height)), self.size
            if y < len(self._lines):
                return self._lines[y].adjust_cell_length(width, self.rich_style)
        elif y < len(self._text):
            line = words.clip(self._text[y], width, self._glyphs)
            return Strip([Segment(line, self.rich_style)]).adjust_cell_length(width, self.rich_style)
        return Strip.blank(width, self.rich_style)
