"""Every screen and every important state, as text, at four sizes: a difference is read in review like any text."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from p2pstore.control import exits
from p2pstore.control.faults import Fault
from tests.tui.fake_backend import NO_HOUSEHOLD, NOT_RUNNING, NOW, OTHER_VERSION, TRANSFERS, FakeHousehold
from tests.tui.screens import SIZES, compare, running, settle
from tests.tui.test_flows import FakeStage
from tui import words

ROOT = [b"/"]


def golden(
    name: str,
    household: FakeHousehold,
    *keys: str,
    sizes: tuple[tuple[int, int], ...] = SIZES,
    colours: bool = False,
    **options: Any,
) -> None:
    async def go() -> None:
        for width, height in sizes:
            async with running(household, (width, height), **options) as pilot:
                for number, key in enumerate(keys, 1):
                    await pilot.press(key)
                    await settle(pilot, more_follows=number < len(keys))
                app: Any = pilot.app
                compare(app, f"{width}x{height}-{name}", colours=colours and (width, height) == sizes[-1])

    asyncio.run(go())


def busy_household() -> FakeHousehold:
    household = FakeHousehold(state="thin")
    household.transfers = list(TRANSFERS)
    return household


def test_files_show_a_folder_of_100_000_with_a_verdict_for_each_row() -> None:
    golden("files", busy_household(), "down", "enter", "down", "down", colours=True)


def test_the_detail_of_a_file_fits_a_narrow_screen_by_itself() -> None:
    golden("detail", FakeHousehold(), "down", "enter", "down", "i", sizes=((60, 20), (80, 24)))


def test_a_small_text_is_previewed_and_said_to_travel_with_its_name() -> None:
    golden("text", FakeHousehold(), "end", sizes=((120, 36),))


def test_machines() -> None:
    golden("machines", FakeHousehold(), "2", "down", "down", colours=True)


def test_removing_a_machine_says_first_what_would_be_left() -> None:
    golden("remove", FakeHousehold(), "2", "down", "down", "R", sizes=((80, 24),))


def test_activity() -> None:
    golden("activity", busy_household(), "3", colours=True)


@pytest.mark.parametrize("state", ["safe", "thin", "risk", "lost", "unknown"])
def test_safety_says_each_verdict_in_shape_word_and_colour(state: str) -> None:
    sizes = SIZES if state == "thin" else ((80, 24),)
    golden(f"safety-{state}", FakeHousehold(state=state), "4", sizes=sizes, colours=True)


def test_history_shows_versions_and_the_trash() -> None:
    golden("history", FakeHousehold(), "end", "5", colours=True)


def test_find_shows_what_fits_the_words() -> None:
    golden("find", FakeHousehold(), "slash", "a", sizes=((60, 20), (80, 24)))


def test_what_would_be_left_is_asked_machine_by_machine_and_place_by_place() -> None:
    golden("what-if", FakeHousehold(), "4", "w", sizes=((80, 24),))


def test_a_daemon_that_can_do_less_is_offered_less() -> None:
    household = FakeHousehold()
    household.overview["operations"] = ()
    golden("less", household, "4", sizes=((80, 24),))


def test_a_single_machine_is_told_to_invite_another() -> None:
    household = FakeHousehold(state="risk")
    household.overview["peers"] = household.overview["peers"][:1]
    golden("safety-alone", household, "4", sizes=((80, 24),))


def test_help_lists_what_the_focused_widget_can_do() -> None:
    golden("help", FakeHousehold(), "question_mark", sizes=((80, 24), (120, 36)))


def test_the_trash_is_confirmed_with_another_key() -> None:
    golden("trash", FakeHousehold(), "end", "x", sizes=((60, 20), (80, 24)))


def test_an_invitation_shows_the_code_and_what_to_type() -> None:
    golden("invite", FakeHousehold(), "2", "a", sizes=((60, 20), (80, 24)))


def test_a_new_folder_is_asked_for_its_name() -> None:
    golden("mkdir", FakeHousehold(), "n", sizes=((80, 24),))


def test_an_empty_store_says_how_to_fill_it() -> None:
    household = FakeHousehold(state="safe")
    household.folders = {b"/": []}
    golden("empty", household, sizes=((80, 24), (120, 36)))


def test_a_page_that_cannot_be_loaded_says_so_in_its_place() -> None:
    household = FakeHousehold()
    household.failing["page"] = Fault("timed-out", "the daemon did not answer in 30 s", "", (), exits.TIMED_OUT)
    golden("page-error", household, sizes=((80, 24),))


def test_rows_that_are_on_their_way_are_marked_in_their_place() -> None:
    household = FakeHousehold()

    async def go() -> None:
        async with running(household, (80, 24)) as pilot:
            await pilot.press("down", "enter")
            await settle(pilot)
            household.holding["page"] = asyncio.Event()
            await pilot.press("end", "up", "up")
            await pilot.pause(0.4)
            app: Any = pilot.app
            compare(app, "80x24-loading")
            household.holding.pop("page").set()
            await settle(pilot)

    asyncio.run(go())


def test_no_daemon_says_what_to_press() -> None:
    household = FakeHousehold()
    household.refusal = NOT_RUNNING
    golden("not-running", household, sizes=((80, 24), (120, 36)))


def test_a_daemon_that_goes_leaves_what_was_true_then_with_its_age() -> None:
    household = FakeHousehold(state="safe")
    now = [NOW]

    async def go() -> None:
        async with running(household, (80, 24), now=lambda: now[0]) as pilot:
            household.kill()
            await settle(pilot)
            now[0] = NOW + 125.0
            app: Any = pilot.app
            app.touch()
            await settle(pilot)
            compare(app, "80x24-gone", colours=True)
            now[0] = NOW + 3600.0
            app.touch()
            await settle(pilot)
            compare(app, "80x24-gone-long", colours=True)

    asyncio.run(go())


def test_another_version_of_the_daemon_is_said_and_what_to_type() -> None:
    household = FakeHousehold()
    household.refusal = OTHER_VERSION
    golden("mismatch", household, sizes=((80, 24),))


def test_the_first_run_offers_to_begin_and_to_join() -> None:
    household = FakeHousehold()
    household.refusal = NO_HOUSEHOLD
    golden("first-run", household, sizes=((60, 20), (80, 24)), home=Path("/home/mum/.local/share/p2pstore"))


def test_a_code_is_completed_word_by_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "mum-laptop")
    household = FakeHousehold()
    household.refusal = NO_HOUSEHOLD
    golden("join", household, "j", *"7-guit", "tab", *"sunn", sizes=((60, 20), (80, 24)))


def test_a_demo_is_never_mistaken_for_the_real_household() -> None:
    golden("demo", FakeHousehold(state="risk"), "2", sizes=((60, 20), (80, 24)), colours=True, stage=FakeStage())


def test_plain_characters_only_where_the_font_has_no_shapes() -> None:
    household = busy_household()
    golden("ascii", household, "down", "enter", "down", sizes=((80, 24),), glyphs=words.ASCII)
    text = (Path(__file__).parent / "goldens" / "80x24-ascii.txt").read_text("utf-8")
    assert text.isascii(), sorted({character for character in text if not character.isascii()})


def test_sixteen_colours_show_the_same_words() -> None:
    golden("sixteen", busy_household(), "down", "enter", sizes=((80, 24),), theme="p2p-16")
