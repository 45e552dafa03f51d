"""What a person does, key by key, against a household in memory."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from textual.pilot import Pilot
from textual.widgets import Input

from p2pstore.control.faults import Failure, Fault
from p2pstore.keys.words import word_list as keys_word_list
from tests.tui.fake_backend import NO_HOUSEHOLD, NOT_RUNNING, TRANSFERS, FakeHousehold
from tests.tui.screens import running, settle, show, text_of
from tui.app import P2pApp
from tui.dialogs.confirm import Confirm
from tui.dialogs.first_run import FirstRun, word_list
from tui.stage import Actor


def app_of(pilot: Pilot[None]) -> P2pApp:
    assert isinstance(pilot.app, P2pApp)
    return pilot.app


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot)


def notices(pilot: Pilot[None]) -> str:
    return " ".join(f"{notice.title} {notice.message}" for notice in pilot.app._notifications)


def asked(household: FakeHousehold, op: str) -> list[dict[str, Any]]:
    return [dict(args) for name, args in household.asked if name == op]


def test_trash_is_never_reached_by_one_key_nor_by_the_same_key_twice() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end", "x", "x", "x", "enter", "y")
        assert not asked(household, "rm")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "escape")
        assert not asked(household, "rm")
        await press(pilot, "x", "Y")
        assert asked(household, "rm") == [{"paths": [b"/notes.txt"], "recursive": True}]
        assert "trash" in notices(pilot)

    show(household, flow)


def test_no_plain_key_and_no_doubled_key_asks_the_daemon_to_change_anything() -> None:
    household = FakeHousehold()
    household.transfers = list(TRANSFERS)
    changing = {"rm", "mv", "put", "get", "mkdir", "transfer.stop"}

    async def flow(pilot: Pilot[None]) -> None:
        for pane in "1234":
            await pilot.press(pane)
            for key in "abcdefghijklmnoprstuvwxyz":
                await pilot.press(key, key)
                while len(pilot.app.screen_stack) > 1:
                    await pilot.press("escape")
        assert not changing & {op for op, _ in household.asked}

    show(household, flow)


def test_marked_things_are_fetched_together_into_the_folder_that_is_typed(tmp_path: Path) -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "space", "end", "space", "g")
        pilot.app.screen.query_one(Input).value = str(tmp_path)
        await press(pilot, "enter")
        [args] = asked(household, "get")
        assert args["sources"] == [b"/Documents", b"/notes.txt"]
        assert args["destination"] == os.fsencode(tmp_path)
        assert args["into"] is True
        assert "fetched 3 files" in notices(pilot)

    show(household, flow)


def test_a_local_file_is_replaced_only_when_confirmed(tmp_path: Path) -> None:
    household = FakeHousehold()
    (tmp_path / "notes.txt").write_text("mine")

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end", "g")
        pilot.app.screen.query_one(Input).value = str(tmp_path)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "escape")
        assert not asked(household, "get")
        await press(pilot, "g")
        pilot.app.screen.query_one(Input).value = str(tmp_path)
        await press(pilot, "enter", "Y")
        assert len(asked(household, "get")) == 1

    show(household, flow)


def test_what_is_stored_goes_into_the_open_folder_and_its_path_completes(tmp_path: Path) -> None:
    household = FakeHousehold()
    (tmp_path / "holiday").mkdir()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "enter", "p")
        pilot.app.screen.query_one(Input).value = f"{tmp_path}/hol"
        await press(pilot, "tab")
        assert pilot.app.screen.query_one(Input).value == f"{tmp_path}/holiday/"
        await press(pilot, "enter")
        [args] = asked(household, "put")
        assert args["destination"] == b"/Documents"
        assert args["sources"] == [{"path": os.fsencode(tmp_path / "holiday"), "name": b"holiday"}]
        assert "any 2 machines" in notices(pilot)

    show(household, flow)


def test_what_is_not_there_cannot_be_stored() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "p")
        pilot.app.screen.query_one(Input).value = "/no/such/thing"
        await press(pilot, "enter")
        assert "nothing of that name" in text_of(app_of(pilot))
        assert not asked(household, "put")

    show(household, flow)


def test_a_move_replaces_nothing() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end", "m")
        pilot.app.screen.query_one(Input).value = "/Documents/will.odt"
        await press(pilot, "enter")
        assert "exists already" in notices(pilot)
        assert not asked(household, "mv")
        await press(pilot, "m")
        pilot.app.screen.query_one(Input).value = "/Documents/shopping.txt"
        await press(pilot, "enter")
        wanted = {"sources": [b"/notes.txt"], "destination": b"/Documents/shopping.txt", "into": False}
        assert asked(household, "mv") == [wanted]

    show(household, flow)


def test_a_new_folder_is_made_where_the_cursor_is() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "enter", "n")
        pilot.app.screen.query_one(Input).value = "2026"
        await press(pilot, "enter")
        assert asked(household, "mkdir") == [{"path": b"/Documents/2026", "parents": True}]

    show(household, flow)


def test_a_folder_of_a_million_is_read_only_where_it_is_looked_at() -> None:
    household = FakeHousehold(photos=1_000_000)

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "down", "enter", "end")
        listing = app_of(pilot).files.listing
        assert listing.root.total == 1_000_003
        await press(pilot, "up")
        assert listing.here == b"/Photos/IMG_999999.png"
        assert household.count("page") <= 6
        assert sum(len(folder.pages) for folder in listing._folders()) <= 6

    show(household, flow)


def test_the_cursor_stays_on_its_file_when_others_come_before_it() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end")
        listing = app_of(pilot).files.listing
        assert listing.here == b"/notes.txt"
        household.folders[b"/"].append({**household.folders[b"/"][2], "name": b"aardvark.txt"})
        household.publish("overview", {"revision": 2})
        await settle(pilot)
        assert listing.root.total == 4
        assert listing.here == b"/notes.txt"

    show(household, flow)


def test_a_folder_that_is_gone_is_shut() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        listing = app_of(pilot).files.listing
        assert listing.root.total == 7
        del household.folders[b"/"][0]
        del household.folders[b"/Documents"]
        household.publish("overview", {"revision": 2})
        await settle(pilot)
        assert listing.root.total == 2
        assert "Documents" not in text_of(app_of(pilot))

    show(household, flow)


def test_conflict_copies_are_rows_of_their_own_and_none_is_lost() -> None:
    household = FakeHousehold(photos=0)
    names = [f"n{number:04}" for number in range(450)]
    rows = [{**household.folders[b"/"][2], "name": name.encode()} for name in names]

    async def answer(op: str, args: Any) -> Any:
        if op != "page":
            return await FakeHousehold.answer(household, op, args)
        window = rows[args["offset"] : args["offset"] + args["limit"]]
        entries = []
        for row in window:
            entries.append(row)
            if row["name"] in (b"n0010", b"n0300"):
                entries.append({**row, "name": row["name"] + b" (B)", "conflict": True})
        return {"count": len(rows), "revision": 1, "entries": entries}

    household.answer = answer  # type: ignore[method-assign]

    async def flow(pilot: Pilot[None]) -> None:
        listing = app_of(pilot).files.listing
        seen = []
        for _ in range(40):
            await settle(pilot)
            seen += [path for path, _ in listing._in_sight()]
            if listing.cursor == listing.root.total - 1:
                break
            await pilot.press("pagedown")
        await settle(pilot)
        assert listing.root.total == 452
        for row in range(listing.root.total):
            listing.spot(row)
        await settle(pilot)
        found = [listing.spot(row).path for row in range(listing.root.total)]
        wanted = sorted({b"/" + name.encode() for name in names} | {b"/n0010 (B)", b"/n0300 (B)"})
        assert found == wanted

    show(household, flow, size=(120, 50))


def test_a_burst_of_news_is_painted_at_most_four_times_a_second() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        paints = 0
        paint = app._paint

        def counting() -> None:
            nonlocal paints
            paints += 1
            paint()

        app._paint = counting  # type: ignore[method-assign]
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while loop.time() - begun < 1.0:
            household.publish("transfers", {"transfers": TRANSFERS})
            await asyncio.sleep(0.005)
        assert 1 <= paints <= 4 * (loop.time() - begun) + 2

    show(household, flow)


def test_a_daemon_that_returns_is_listened_to_again_by_itself() -> None:
    household = FakeHousehold(state="safe")

    async def flow(pilot: Pilot[None]) -> None:
        app = app_of(pilot)
        household.kill()
        await settle(pilot)
        assert "the daemon stopped" in text_of(app)
        assert "notes.txt" in text_of(app)
        household.refusal = None
        household.folders[b"/"].append({**household.folders[b"/"][2], "name": b"later.txt"})
        for _ in range(100):
            await pilot.pause(0.05)
            if app.model.standing.kind == "live":
                break
        await settle(pilot)
        assert "the daemon stopped" not in text_of(app)
        assert "later.txt" in text_of(app)

    show(household, flow)


def test_u_starts_the_daemon_as_a_person_would() -> None:
    household = FakeHousehold()
    household.refusal = NOT_RUNNING
    commands = []

    async def run(arguments: Any) -> tuple[int, dict[str, Any]]:
        commands.append(list(arguments))
        household.refusal = None
        return 0, {}

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "u")
        for _ in range(100):
            await pilot.pause(0.05)
            if app_of(pilot).model.standing.kind == "live":
                break
        await settle(pilot)
        assert commands == [["up"]]
        assert "notes.txt" in text_of(app_of(pilot))

    show(household, flow, run=run)


def test_the_first_run_makes_a_household_and_goes_on_into_it(tmp_path: Path) -> None:
    household = FakeHousehold()
    household.refusal = NO_HOUSEHOLD
    commands: list[list[str]] = []

    async def run(arguments: Any) -> tuple[int, dict[str, Any]]:
        commands.append(list(arguments))
        if arguments == ["up"]:
            household.refusal = None
        return 0, {}

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        screen = pilot.app.screen
        assert isinstance(screen, FirstRun)
        for key, value in (("household", "Meyer"), ("name", "nas"), ("site", "attic"), ("size", "5G"),
                           ("kit", str(tmp_path / "kit"))):  # fmt: skip
            screen.query_one(f"#field-{key}", Input).value = value
        await pilot.press(*["enter"] * 5)
        for _ in range(100):
            await pilot.pause(0.05)
            if not isinstance(pilot.app.screen, FirstRun) and app_of(pilot).model.standing.kind == "live":
                break
        await settle(pilot)
        kit = str(tmp_path / "kit")
        wanted = ["init", "--name", "nas", "--site", "attic", "--size", "5G", "--household", "Meyer", "--kit-file", kit]
        assert commands == [wanted, ["up"]]
        assert "notes.txt" in text_of(app_of(pilot))

    show(household, flow, run=run)


def test_a_join_that_fails_says_why_and_what_to_type() -> None:
    household = FakeHousehold()
    household.refusal = NO_HOUSEHOLD

    async def run(arguments: Any) -> tuple[int, dict[str, Any]]:
        assert arguments[-2:] == ["--", "7-guitar-sunset"]
        return 12, {"what": "that is not the code", "why": "one wrong guess burns it", "fix": ["p2pstore invite"]}

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "j")
        pilot.app.screen.query_one("#field-code", Input).value = "7-guitar-sunset"
        await pilot.press(*["enter"] * 5)
        await settle(pilot)
        text = text_of(app_of(pilot))
        assert "that is not the code" in text
        assert "p2pstore invite" in text

    show(household, flow, run=run)


def test_tab_completes_the_words_of_a_code_and_goes_on_elsewhere() -> None:
    household = FakeHousehold()
    household.refusal = NO_HOUSEHOLD

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "j")
        code = pilot.app.screen.query_one("#field-code", Input)
        await pilot.press(*"7-guit", "tab")
        assert code.value == "7-guitar-"
        await pilot.press(*"su", "tab")
        assert code.value == "7-guitar-su", "many words begin like that"
        await pilot.press(*"nse", "tab")
        assert code.value == "7-guitar-sunset"
        code.value = ""
        await pilot.press("tab")
        assert pilot.app.focused is pilot.app.screen.query_one("#field-at", Input)

    show(household, flow)


def test_codes_are_made_of_the_words_that_are_completed() -> None:
    assert word_list() == keys_word_list()


class FakeStage:
    """Three machines of which one burned."""

    title = "DEMO"
    event = "04:40:01 C burned with its disk"

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.runs = {"A": True, "B": True, "C": False}

    def actors(self) -> list[Actor]:
        return [Actor(name, runs, name == "C") for name, runs in self.runs.items()]

    def kill(self, name: str) -> None:
        self.done.append(("kill", name))
        self.runs[name] = False

    def wipe(self, name: str) -> None:
        self.done.append(("wipe", name))

    def bring_back(self, name: str) -> None:
        self.done.append(("bring_back", name))
        raise Failure(Fault("gone", f"{name} did not start", "", (), 1))


def test_machines_of_a_demo_are_killed_by_name_and_a_failure_is_said() -> None:
    household, stage = FakeHousehold(), FakeStage()

    async def flow(pilot: Pilot[None]) -> None:
        assert "DEMO   A■ B■ C✗   2 of 3 run" in text_of(app_of(pilot))
        await press(pilot, "K")
        await press(pilot, *"C", "enter")
        assert stage.done == [], "it burned already"
        await press(pilot, "backspace", *"B", "enter")
        assert stage.done == [("kill", "B")]
        assert "B□" in text_of(app_of(pilot))
        await press(pilot, "B")
        await press(pilot, *"B", "enter")
        assert "B did not start" in notices(pilot)

    show(household, flow, stage=stage)


def test_a_real_household_has_no_keys_that_kill_machines() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        for key in "KBW":
            await pilot.press(key)
            assert len(pilot.app.screen_stack) == 1
        assert "DEMO" not in text_of(app_of(pilot))

    show(household, flow)


def test_what_was_put_into_the_trash_comes_back_with_one_key() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end", "x", "Y")
        assert "z puts it back" in notices(pilot)
        await press(pilot, "z")
        assert asked(household, "trash")[-1] == {"action": "put-back", "path": b"/notes.txt"}

    show(household, flow)


def test_an_older_version_becomes_the_newest_when_confirmed() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "end", "5", "down", "r")
        assert not asked(household, "restore")
        await press(pilot, "Y")
        assert asked(household, "restore") == [{"path": b"/notes.txt@2"}]
        await press(pilot, "tab", "r")
        assert asked(household, "trash")[-1] == {"action": "put-back", "path": b"/Scans/old.pdf"}

    show(household, flow)


def test_find_goes_to_a_file_deep_in_a_folder_of_100_000() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "slash", "5", "4", "3")
        await press(pilot, "enter")
        assert app_of(pilot).files.listing.here == b"/Photos/IMG_054321.png"
        assert household.count("page") <= 4

    show(household, flow)


def test_a_machine_is_renamed_moved_and_removed_only_when_confirmed() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "2", "down", "e")
        pilot.app.screen.query_one(Input).value = "den"
        await press(pilot, "enter")
        assert asked(household, "peers.rename") == [{"name": "dad-desktop", "new": "den"}]
        await press(pilot, "R")
        assert not asked(household, "peers.forget")
        assert "38,805" in text_of(app_of(pilot))
        await press(pilot, "Y")
        assert asked(household, "peers.forget") == [{"name": "dad-desktop"}]

    show(household, flow)


def test_a_machine_leaves_in_good_order_only_when_confirmed_and_where_the_daemon_can() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "2", "down", "L")
        assert len(pilot.app.screen_stack) == 1, "this daemon does not know how"
        household.publish("overview", {"operations": [*household.overview["operations"], "peers.retire"]})
        await settle(pilot)
        await press(pilot, "L")
        assert "Nothing is less safe meanwhile" in text_of(app_of(pilot))
        assert not asked(household, "peers.retire")
        await press(pilot, "Y")
        assert asked(household, "peers.retire") == [{"name": "dad-desktop", "anyway": False, "stays": False}]
        assert "lena-macbook will be fuller" in notices(pilot)

    show(household, flow)


def test_repair_says_what_is_due_before_it_begins() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "4", "F")
        assert "461" in text_of(app_of(pilot))
        assert [args["now"] for args in asked(household, "repair")] == [False]
        await press(pilot, "Y")
        assert [args["now"] for args in asked(household, "repair")] == [False, True]

    show(household, flow)


def test_c_copies_the_command_that_does_the_same(monkeypatch: Any) -> None:
    household = FakeHousehold()
    household.transfers = list(TRANSFERS)
    copied: list[str] = []

    async def flow(pilot: Pilot[None]) -> None:
        monkeypatch.setattr(pilot.app, "copy_to_clipboard", copied.append)
        await press(pilot, "3", "c")
        await press(pilot, "1", "end", "c")
        await press(pilot, "4", "c")
        wanted = ["p2pstore get /Documents/tax.pdf /home/mum/", "p2pstore get -r /notes.txt .", "p2pstore peers"]
        assert copied == wanted

    show(household, flow)


def test_a_transfer_is_stopped_when_confirmed() -> None:
    household = FakeHousehold()
    household.transfers = list(TRANSFERS)

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "3", "down", "x")
        assert not asked(household, "transfer.stop")
        await press(pilot, "Y")
        assert asked(household, "transfer.stop") == [{"number": 2}]

    show(household, flow)


def test_a_download_under_way_makes_leaving_a_question(tmp_path: Path) -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        household.holding["get"] = asyncio.Event()
        await press(pilot, "end", "g")
        pilot.app.screen.query_one(Input).value = str(tmp_path)
        await pilot.press("enter")
        await pilot.pause(0.1)
        await pilot.press("q")
        await pilot.pause(0.1)
        assert isinstance(pilot.app.screen, Confirm)
        assert pilot.app.is_running
        await pilot.press("escape")
        household.holding.pop("get").set()
        await settle(pilot)

    show(household, flow)


def test_keys_toml_rebinds_by_name_and_complains_about_what_it_does_not_know(tmp_path: Path) -> None:
    household = FakeHousehold()
    (tmp_path / "keys.toml").write_text('trash = "ctrl+t"\nfrobnicate = "f"\n')

    async def flow(pilot: Pilot[None]) -> None:
        assert "frobnicate" in notices(pilot)
        await press(pilot, "end", "x")
        assert len(pilot.app.screen_stack) == 1
        await press(pilot, "ctrl+t")
        assert isinstance(pilot.app.screen, Confirm)
        await press(pilot, "escape", "question_mark")
        assert "^t trash" in text_of(app_of(pilot))

    show(household, flow, home=tmp_path)


def test_a_failure_is_said_with_what_and_what_to_type() -> None:
    household = FakeHousehold()
    household.failing["mkdir"] = Fault("full", "another machine is full", "", ("p2pstore peers",), 9)

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "n")
        pilot.app.screen.query_one(Input).value = "x"
        await press(pilot, "enter")
        assert "another machine is full" in notices(pilot)
        assert "p2pstore peers" in notices(pilot)

    show(household, flow)


def test_the_palette_goes_to_files_and_runs_actions() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "enter")
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press(*"tax")
        await pilot.pause(0.5)
        await pilot.press("enter")
        for _ in range(40):
            await pilot.pause(0.05)
            if app_of(pilot).files.listing.here == b"/Documents/tax.pdf":
                break
        assert app_of(pilot).files.listing.here == b"/Documents/tax.pdf"

    show(household, flow)


def test_no_color_keeps_the_word_that_matters_readable_under_the_cursor(monkeypatch: Any) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    household = FakeHousehold()

    async def go() -> None:
        async with running(household) as pilot:
            await press(pilot, "down", "enter", "down", "down", "down", "down")
            listing = app_of(pilot).files.listing
            strip = listing.render_line(listing.cursor - listing.scroll_offset.y)
            [risk] = [segment for segment in strip if "RISK" in segment.text]
            assert risk.style is not None
            assert risk.style.color is not None
            assert risk.style.bgcolor is not None
            assert (risk.style.color.name, risk.style.bgcolor.name) == ("black", "white")

    asyncio.run(go())


def test_one_preview_widget_serves_every_selection() -> None:
    household = FakeHousehold()

    async def flow(pilot: Pilot[None]) -> None:
        await press(pilot, "down", "enter")
        widgets = set(map(id, pilot.app.query("*")))
        for _ in range(5):
            await press(pilot, "down")
        assert set(map(id, pilot.app.query("*"))) == widgets
        assert household.count("cat") >= 5

    show(household, flow)


def test_names_that_are_no_text_or_look_like_markup_harm_nothing() -> None:
    household = FakeHousehold(photos=2)
    names = [b"[bold]x[/nope]", b"caf\xe9.txt", b"a\x1b[31mb", "zero\u200bwidth".encode(), b"[@click=app.quit]"]
    for name in names:
        household.folders[b"/"].append({**household.folders[b"/"][2], "name": name})
        household.folders[b"/"].append({**household.folders[b"/"][0], "name": b"d" + name})
        household.folders[b"/d" + name] = [{**household.folders[b"/"][2], "name": name}]
        household.contents[b"/" + name] = b"\x1b[31mred?\x1b[0m [bold]"

    async def flow(pilot: Pilot[None]) -> None:
        listing = app_of(pilot).files.listing
        for row in reversed(range(listing.root.total)):
            listing.cursor = row
            await pilot.press("right", "x", "escape", "m", "escape", "n", "escape", "c")
        await pilot.press("ctrl+p")
        await pilot.pause(0.2)
        await pilot.press("o")
        await pilot.pause(0.5)
        while len(pilot.app.screen_stack) > 1:
            await pilot.press("escape")
        await press(pilot, "home")
        text = text_of(app_of(pilot))
        assert all(line.isprintable() for line in text.splitlines())
        assert "caf\\xe9.txt" in text
        assert "[bold]x[/nope]" in text

    show(household, flow, size=(120, 50))
