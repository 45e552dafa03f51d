"""The first run: there is no household on this machine yet. Begin one, or join one with a code.

The work is done by `p2pstore init`, `join` and `up` in processes of their own, as a person would type them.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import Screen
from textual.suggester import Suggester
from textual.widgets import Input

from tui import words
from tui.widgets.said import Said, assemble
from tui.words import Glyphs

COMMAND_TIMEOUT_S: Final = 120.0
DEFAULT_SIZE: Final = "20G"

NEW: Final = (
    ("household", "The household's name", "home"),
    ("name", "This machine's name", ""),
    ("site", "Where it stands", "home"),
    ("size", "Disk to give", DEFAULT_SIZE),
    ("kit", "File for the recovery kit", ""),
)
JOIN: Final = (
    ("code", "The code", ""),
    ("at", "Where the other one is (may be empty)", ""),
    ("name", "This machine's name", ""),
    ("site", "Where it stands", "home"),
    ("size", "Disk to give", DEFAULT_SIZE),
)

Run = Callable[[Sequence[str]], Awaitable[tuple[int, dict[str, Any]]]]


async def run_command(home: Path, arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run `p2pstore ARGUMENTS --json`: (exit code, the object it said last)."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "p2pstore.cli", "--home", os.fspath(home), "--json", "--yes", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), COMMAND_TIMEOUT_S)
    except (TimeoutError, asyncio.CancelledError):
        process.kill()
        await process.wait()
        raise
    lines = out.decode("utf-8", "replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else {}
    except ValueError:
        answer = {}
    if not isinstance(answer, dict) or not answer:
        answer = {"what": err.decode("utf-8", "replace").strip()[-400:] or "it said nothing", "why": "", "fix": []}
    return process.returncode or 0, answer


@functools.cache
def word_list() -> tuple[str, ...]:
    """The words that codes are made of."""
    from mnemonic import Mnemonic

    return tuple(Mnemonic("english").wordlist)


def code_matches(typed: str) -> list[str]:
    """What a code whose last word is unfinished could go on with: `7-guit` with `7-guitar`."""
    found = re.fullmatch(r"(\d{1,2}-(?:[a-z]+-)?)([a-z]+)", typed.lower())
    if found is None:
        return []
    return [found[1] + word for word in word_list() if word.startswith(found[2])]


class CodeSuggester(Suggester):
    """Shows the rest of a word as soon as only one is left."""

    def __init__(self) -> None:
        super().__init__(use_cache=False, case_sensitive=True)

    async def get_suggestion(self, value: str) -> str | None:
        """The whole, or None."""
        matches = code_matches(value)
        return matches[0] if len(matches) == 1 else None


class FirstRun(Screen[bool]):
    """Begin or join. Leaves with True once a daemon should be there."""

    DEFAULT_CSS = """
    FirstRun {
        & Said { height: auto; padding: 0 2; }
        & Vertical { height: auto; padding: 0 2; }
        & Input { border: none; height: 1; width: 50; padding: 0 1; background: $panel; }
        & Input:focus { border: none; background: $panel; background-tint: $foreground 8%; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "begin", "new household", id="first_new"),
        Binding("j", "join", "join one", id="first_join"),
        Binding("escape", "back", "back", show=False, id="first_back"),
        Binding("q", "app.quit", "quit", id="first_quit"),
        Binding("down", "app.focus_next", "next", show=False),
        Binding("up", "app.focus_previous", "previous", show=False),
        Binding("tab", "complete", "complete", show=False, priority=True, id="first_complete"),
    ]

    def __init__(self, home: Path, glyphs: Glyphs, run: Run | None = None) -> None:
        super().__init__()
        self._home = home
        self._glyphs = glyphs
        self._run = run or (lambda arguments: run_command(home, arguments))
        self._mode = ""
        self._busy = False

    def compose(self) -> ComposeResult:
        """What it is about, the form, and what came of it."""
        with VerticalScroll():
            yield Said(id="first-title")
            yield Vertical(id="form")
            yield Said(id="first-result")

    async def on_mount(self) -> None:
        """The choice."""
        await self._show("")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's
        """The choice is offered once."""
        return self._mode == "" if action in ("begin", "join") else True

    async def _show(self, mode: str) -> None:
        self._mode = mode
        form = self.query_one("#form", Vertical)
        await form.remove_children()
        title = self.query_one("#first-title", Said)
        self.query_one("#first-result", Said).say(assemble(""))
        self.refresh_bindings()
        if not mode:
            title.say(
                assemble(
                    ("\nNo household on this machine yet.\n\n", "bold"),
                    "A household is the set of machines that share one store. Its members\n"
                    "can read everything in it; nobody else can read anything.\n\n",
                    ("  n", "bold $accent"), "  start a new household         or type: p2pstore init\n",
                    ("  j", "bold $accent"), "  join one with a code          or type: p2pstore join CODE\n",
                    ("  q", "bold $accent"), "  leave\n\n",
                    (f"It will live in {self._home}\n", "$foreground-muted"),
                )
            )  # fmt: skip
            self.set_focus(None)
            return
        fields = NEW if mode == "new" else JOIN
        title.say(
            assemble(
                ("\nStart a new household\n" if mode == "new" else "\nJoin a household\n", "bold"),
                "The recovery kit is 24 words that restore everything; keep the file on paper\n"
                "or a stick, never only on this machine.\n"
                if mode == "new"
                else "On a machine that is in it, type: p2pstore invite   and copy the code from there.\n"
                "Tab completes its words.\n",
                (f"{self._glyphs.enter} next, and at the end go   esc back\n", "$foreground-muted"),
            )
        )
        defaults = {"name": socket.gethostname().partition(".")[0] or "machine"}
        defaults["kit"] = os.fspath(Path.home() / "p2pstore-recovery-kit.txt")
        for key, label, initial in fields:
            await form.mount(Said(id=f"label-{key}"))
            form.query_one(f"#label-{key}", Said).say(assemble((label, "$foreground-muted")))
            suggester = CodeSuggester() if key == "code" else None
            field = Input(initial or defaults.get(key, ""), id=f"field-{key}", suggester=suggester)
            field.cursor_blink = False
            await form.mount(field)
        form.query(Input).first().focus()

    async def action_begin(self) -> None:
        """The form of a new household."""
        await self._show("new")

    async def action_join(self) -> None:
        """The form of joining."""
        await self._show("join")

    async def action_back(self) -> None:
        """To the choice."""
        if not self._busy:
            await self._show("")

    def action_complete(self) -> None:
        """The word that is being typed; in other fields, the next field."""
        field = self.focused
        matches = code_matches(field.value) if isinstance(field, Input) and field.id == "field-code" else []
        if isinstance(field, Input) and matches:
            whole = len(matches) == 1 and matches[0].count("-") == 1
            field.value = os.path.commonprefix(matches) + ("-" if whole else "")  # noqa: RUF071  of characters
            field.cursor_position = len(field.value)
        else:
            self.focus_next()

    def on_input_submitted(self, message: Input.Submitted) -> None:
        """The next field; at the last one, go."""
        fields = list(self.query(Input))
        at = fields.index(message.input)
        if at + 1 < len(fields):
            fields[at + 1].focus()
        elif not self._busy:
            self._busy = True
            self.run_worker(self._go())

    def _value(self, key: str) -> str:
        return self.query_one(f"#field-{key}", Input).value.strip()

    def _arguments(self) -> list[str]:
        shared = ["--name", self._value("name"), "--site", self._value("site"), "--size", self._value("size")]
        if self._mode == "new":
            kit = os.path.expanduser(self._value("kit"))
            return ["init", *shared, "--household", self._value("household"), "--kit-file", kit]
        at = ["--at", self._value("at")] if self._value("at") else []
        return ["join", *shared, *at, "--", self._value("code")]

    async def _go(self) -> None:
        result = self.query_one("#first-result", Said)
        wait = "beginning" if self._mode == "new" else "looking for the machine that invited"
        result.say(assemble(("\n" + wait + self._glyphs.ellipsis, "bold")))
        try:
            code, answer = await self._run(self._arguments())
            if code == 0:
                result.say(assemble(("\nstarting the daemon" + self._glyphs.ellipsis, "bold")))
                code, answer = await self._run(["up"])
        except TimeoutError:
            code, answer = 1, {"what": f"no answer within {words.age(COMMAND_TIMEOUT_S)}"}
        finally:
            self._busy = False
        if code == 0:
            self.dismiss(True)
            return
        fixes = "".join(f"\n   {line}" for line in answer.get("fix") or ())
        result.say(
            assemble(
                ("\n" + str(answer.get("what", "it failed")), "bold $error"),
                f"\n{answer.get('why', '')}", (fixes, "$accent"), "\n",
            )
        )  # fmt: skip
