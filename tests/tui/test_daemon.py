"""The app against real daemons: what is stored is seen, and a daemon that is killed and started again is survived."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from p2pstore.cli.demo import Machine, household
from tests.tui.screens import text_of
from tui.app import P2pApp

PATIENCE_S = 30.0


@pytest.fixture
def two() -> Iterator[list[Machine]]:
    folder = Path(tempfile.mkdtemp(prefix="p2p-tui-"))
    try:
        with household(folder, "AB") as machines:
            yield machines
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def until(pilot: Pilot[None], condition: Callable[[str], bool]) -> str:
    """The screen once `condition` holds of it."""
    assert isinstance(pilot.app, P2pApp)
    ends = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends:
        await pilot.pause(0.05)
        text = text_of(pilot.app)
        if condition(text):
            return text
    raise AssertionError(text_of(pilot.app))


@pytest.mark.daemons
def test_what_is_stored_from_inside_is_listed_proven_and_read_back(two: list[Machine], tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear household,\n" + "the roof is mended.\n" * 500)
    back = tmp_path / "back"
    back.mkdir()

    async def go() -> None:
        app = P2pApp(two[0].home)
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda text: "2/2 machines" in text and "Nothing here yet" in text)
            await pilot.press("p")
            await pilot.pause()
            app.screen.query_one(Input).value = str(letter)
            await pilot.press("enter")
            text = await until(pilot, lambda text: "letter.txt" in text and "safe ●" in text and "SHARDS" in text)
            text = await until(pilot, lambda text: "Dear household," in text)
            assert "rebuild it" in text
            await pilot.press("g")
            await pilot.pause()
            app.screen.query_one(Input).value = str(back)
            await pilot.press("enter")
            await until(pilot, lambda _: (back / "letter.txt").exists())
            await pilot.press("3")
            text = await until(pilot, lambda text: "1 file" in text)
            await pilot.press("4")
            await until(pilot, lambda text: "SAFE" in text and "survive what was promised" in text)
            await pilot.press("1", "x", "Y")
            await until(pilot, lambda text: "Nothing here yet" in text)

    asyncio.run(go())
    assert (back / "letter.txt").read_bytes() == letter.read_bytes()


@pytest.mark.daemons
def test_a_daemon_killed_with_the_screen_open_is_said_to_be_gone_and_is_heard_again_when_it_returns(
    two: list[Machine], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("milk")
    source = {"path": os.fsencode(tmp_path / "notes.txt"), "name": b"notes.txt"}
    two[0].ask("put", {"destination": b"/", "sources": [source], "recursive": False, "ack": "safe", "into": True})

    async def go() -> None:
        app = P2pApp(two[0].home)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await until(pilot, lambda text: "notes.txt" in text and "2/2" in text)
            await asyncio.to_thread(two[0].kill)
            text = await until(pilot, lambda text: "the daemon stopped at" in text)
            assert "notes.txt" in text
            await pilot.press("x", "Y")
            await until(pilot, lambda text: "p2pstore up" in text)
            await asyncio.to_thread(two[0].start)
            await asyncio.to_thread(two[0].wait_ready)
            text = await until(pilot, lambda text: "the daemon stopped at" not in text and "2/2" in text)
            assert "notes.txt" in text

    asyncio.run(go())
