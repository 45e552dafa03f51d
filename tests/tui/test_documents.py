"""What docs/tui.md says of keys is what there is; the program is imported only when it is wanted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from textual.binding import Binding
from textual.dom import DOMNode

from p2pstore.cli.main import main
from tui.app import PANES, P2pApp
from tui.keys import read_keymap
from tui.widgets.listing import Listing
from tui.widgets.rows import Rows

ROOT = Path(__file__).resolve().parents[2]


def bindings() -> list[Binding]:
    kinds: tuple[type[DOMNode], ...] = (P2pApp, Listing, *PANES.values())
    return [binding for kind in kinds for binding in kind.BINDINGS if isinstance(binding, Binding)]


def test_every_binding_can_be_renamed_and_is_documented() -> None:
    text = (ROOT / "docs" / "tui.md").read_text("utf-8")
    [listed] = re.findall(r"^Names: `([^`]+)`", text, re.MULTILINE)
    ids = {binding.id for binding in bindings()}
    assert None not in ids
    assert ids - {"quit_now", "other_list", "history_other"} == set(listed.split())


def test_no_two_things_on_one_screen_have_the_same_key() -> None:
    for pane in PANES.values():
        for focused in (Listing, Rows):
            keys: list[str] = []
            for kind in (P2pApp, focused, pane):
                for binding in kind.BINDINGS:
                    assert isinstance(binding, Binding)
                    keys += binding.key.split(",")
            assert len(keys) == len(set(keys)), f"{pane.__name__}: {sorted(key for key in keys if keys.count(key) > 1)}"


def test_a_broken_keys_file_is_complained_about_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text("trash = ctrl+t")
    keymap, complaints = read_keymap(tmp_path, frozenset({"trash"}))
    assert not keymap
    assert len(complaints) == 1
    (tmp_path / "keys.toml").write_text("trash = 5")
    assert read_keymap(tmp_path, frozenset({"trash"})) == ({}, ["keys.toml: trash wants a key or a list of keys"])
    assert read_keymap(tmp_path / "none", frozenset()) == ({}, [])


def test_without_a_terminal_the_screens_say_what_to_type_instead(capsys: object) -> None:
    assert main(["tui", "--json"]) == 2


def test_the_command_line_does_not_import_the_screens() -> None:
    program = "import sys; from p2pstore.cli.main import main; main(['version']); print('textual' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_screens_import_no_trio_and_no_zmq() -> None:
    program = "import sys, tui.app, p2pstore.control.aio; print([m for m in ('trio', 'zmq') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
