"""A first-time walk with the screens open all the time: no household, one machine, three machines, files that are safe.

Everything is real: the screens start `p2pstore init` and `up` as a person's terminal would, the other machines join
with the code that is read off the screen.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui.screens import text_of
from tui.app import P2pApp
from tui.dialogs.first_run import run_command

PATIENCE_S = 60.0


def p2pstore(home: Path, *arguments: str) -> None:
    """What a person types on that machine."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "p2pstore.cli", "--home", str(home), "--yes", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (arguments, done.stdout, done.stderr)


@pytest.fixture
def homes() -> Iterator[list[Path]]:
    """Three machines that never saw p2pstore."""
    folder = Path(tempfile.mkdtemp(prefix="p2p-walk-"))
    found = [folder / name for name in ("nas", "desktop", "laptop")]
    yield found
    for home in found:
        if home.exists():
            p2pstore(home, "down")
    shutil.rmtree(folder, ignore_errors=True)


async def until(pilot: Pilot[None], condition: Callable[[str], object]) -> str:
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
def test_from_nothing_to_three_machines_and_safe_files_without_leaving_the_screens(
    homes: list[Path], tmp_path: Path
) -> None:
    nas, *others = homes
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        (photos / f"{number}.jpg").write_bytes(os.urandom(300_000))

    async def join(app: P2pApp, pilot: Pilot[None], home: Path) -> None:
        await pilot.press("a")
        text = await until(pilot, lambda text: re.search(r"--at \S+:\d+", text))
        code = re.search(r"\d+-[a-z]+-[a-z]+", text)
        address = app.model.overview["address"]
        assert code is not None
        await asyncio.to_thread(p2pstore, home, "join", code[0], "--at", address, "--name", home.name, "--size", "1G")
        await asyncio.to_thread(p2pstore, home, "up", "--listen", "127.0.0.1")

    async def on_loopback(arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
        return await run_command(nas, [*arguments, "--listen", "127.0.0.1"] if arguments == ["up"] else arguments)

    async def go() -> None:
        app = P2pApp(nas, run=on_loopback)
        async with app.run_test(size=(120, 36), notifications=True) as pilot:
            await until(pilot, lambda text: "No household on this machine yet" in text)
            await pilot.press("n")
            await pilot.pause()
            for key, value in (("household", "Meyer"), ("name", "nas"), ("size", "1G"), ("kit", str(tmp_path / "kit"))):
                app.screen.query_one(f"#field-{key}", Input).value = value
            await pilot.press(*["enter"] * 5)
            await until(pilot, lambda text: "Nothing here yet" in text and "1/1" in text)
            assert len((tmp_path / "kit").read_text("utf-8").split()) >= 24

            await pilot.press("2")
            for number, home in enumerate(others, 2):
                await join(app, pilot, home)
                await until(pilot, lambda text, number=number: f"{number}/{number} machines" in text)

            await pilot.press("1", "p")
            await pilot.pause()
            app.screen.query_one(Input).value = str(photos)
            await pilot.press("enter")
            await until(pilot, lambda text: "photos" in text and "stored 4 files" in text)
            await pilot.press("4")
            await until(pilot, lambda text: "SAFE" in text and "survive what was promised" in text)

    asyncio.run(go())
