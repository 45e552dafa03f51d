"""Running the app without a terminal, and reading what it shows: as text, and as a map of the status colours."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from tests.tui.fake_backend import NOW, FakeHousehold
from tui import themes, words
from tui.app import P2pApp
from tui.widgets.listing import Listing

GOLDENS = Path(__file__).parent / "goldens"
SIZES = ((60, 20), (80, 24), (120, 36), (160, 50))
REWRITE = os.environ.get("GOLDENS") == "rewrite"

Flow = Callable[["Pilot[None]"], Awaitable[Any]]


def text_of(app: P2pApp) -> str:
    """The screen as lines of text. The one place that knows Textual's compositor."""
    strips = app.screen._compositor.render_strips()
    lines = ["".join(segment.text for segment in strip).rstrip() for strip in strips]
    return "\n".join(lines).rstrip() + "\n"


def colours_of(app: P2pApp) -> str:
    """For each line, which of the three status colours it has in which column: S safe, T thin, B bad; ends are cut."""
    variables = app.theme_variables
    letters = {variables[name].lower(): letter for name, letter in
               (("success", "S"), ("warning", "T"), ("error", "B"))}  # fmt: skip
    lines = []
    for strip in app.screen._compositor.render_strips():
        line = ""
        for segment in strip:
            colour = segment.style.color if segment.style is not None else None
            back = segment.style.bgcolor if segment.style is not None else None
            names = [each.triplet.hex.lower() for each in (colour, back) if each is not None and each.triplet]
            letter = next((letters[name] for name in names if name in letters), ".")
            line += "".join(letter if not character.isspace() else "." for character in segment.text)
        lines.append(line.rstrip("."))
    return "\n".join(lines).rstrip() + "\n"


@asynccontextmanager
async def running(
    household: FakeHousehold, size: tuple[int, int] = (120, 36), **options: Any
) -> AsyncIterator[Pilot[None]]:
    """The app on a fake household, with a frozen clock and nothing that moves by itself."""
    os.environ["TEXTUAL_ANIMATIONS"] = "none"
    with tempfile.TemporaryDirectory() as folder:
        options.setdefault("home", Path(folder))
        options.setdefault("now", lambda: NOW)
        app = P2pApp(connect=household.connect, **options)
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            await settle(pilot)
            yield pilot


async def settle(pilot: Pilot[None], *, tries: int = 500, more_follows: bool = False) -> None:
    """Wait until nothing is under way any more: no worker but those that never end, no timer, and the same picture
    after a short calm (or after as long as a paint takes, while transfers have it painted again and again). To look is
    the dearest part: it is done only where it is calm. Between keys (`more_follows`) nobody waits for paints."""
    app = pilot.app
    assert isinstance(app, P2pApp)
    last, calm = "", 0
    for _ in range(tries):
        await pilot.pause(0.02)
        busy = any(worker.is_running and worker.group not in ("link", "default") for worker in app.workers)
        busy = busy or any(listing.is_waiting for listing in app.main.query(Listing))
        busy = busy or (app.will_paint and not app.model.running)
        calm = 0 if busy else calm + 1
        if calm < (15 if app.model.running and not more_follows else 3):
            continue
        now = text_of(app)
        if now == last:
            return
        last, calm = now, 0
    raise AssertionError("the screen does not come to rest")


def compare(app: P2pApp, name: str, *, colours: bool = False) -> None:
    """The screen equals its golden; GOLDENS=rewrite makes them anew, for a person to look at the difference."""
    for kind, content in (("txt", text_of(app)), *((("colours", colours_of(app)),) if colours else ())):
        path = GOLDENS / f"{name}.{kind}"
        if REWRITE:
            path.write_text(content, "utf-8")
        assert path.exists(), f"no golden {path.name}; GOLDENS=rewrite makes it"
        assert content == path.read_text("utf-8"), f"{path.name} differs; GOLDENS=rewrite, then look at git diff"


def show(household: FakeHousehold, flow: Flow, size: tuple[int, int] = (120, 36), **options: Any) -> None:
    """Run the app and do `flow` in it."""

    async def go() -> None:
        async with running(household, size, **options) as pilot:
            await flow(pilot)

    asyncio.run(go())


__all__ = ["SIZES", "compare", "running", "settle", "show", "text_of", "themes", "words"]
