"""Makes the pictures of the screens: `python docs/screenshots/make.py`, from the repository's root.

SVG from Textual itself, on a household that exists in memory; the same as the goldens in tests/tui show as text.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ["TZ"] = "UTC"
time.tzset()

from tests.tui.fake_backend import TRANSFERS, FakeHousehold  # noqa: E402
from tests.tui.screens import running, settle  # noqa: E402

FOLDER = Path(__file__).parent

SHOTS: dict[str, tuple[tuple[int, int], list[str], dict[str, str]]] = {
    "files": ((120, 34), ["down", "enter", "down", "down", "down"], {}),
    "machines": ((120, 20), ["2", "down", "down"], {}),
    "activity": ((120, 20), ["3"], {}),
    "safety": ((120, 28), ["4"], {}),
    "confirm": ((100, 28), ["down", "down", "x"], {}),
    "invite": ((100, 24), ["2", "a"], {}),
    "help": ((100, 30), ["question_mark"], {}),
    "narrow": ((80, 24), ["down", "enter", "down"], {}),
    "light": ((120, 34), ["down", "enter", "down", "down", "down"], {"theme": "p2p-safe-light"}),
}


async def main() -> None:
    """All of them, or those named on the command line."""
    for name, (size, keys, options) in SHOTS.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        household = FakeHousehold(state="thin")
        household.transfers = list(TRANSFERS)
        async with running(household, size, **options) as pilot:
            for key in keys:
                await pilot.press(key)
                await settle(pilot)
            (FOLDER / f"{name}.svg").write_text(pilot.app.export_screenshot(title="p2pstore"), "utf-8")
        print(name)


asyncio.run(main())
