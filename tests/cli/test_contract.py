"""Every verb and every part of one, with --json: the last line of standard output is one object that its published
schema describes."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from p2pstore.cli.main import VERBS
from p2pstore.cli.main import cli as cli_group
from simulations.schedule import Plan, Work
from simulations.swarm import household
from tests.cli.running_cli import Cli
from tests.cli.schema import FOLDER, load, problems
from tests.control.fake_daemon import FakeDaemon, Node, failing, serving

ODD_NAME = b"/caf\xe9 \n.txt"

CALLS: dict[str, list[str | bytes]] = {
    "status": ["status"],
    "peers": ["peers"],
    "up": ["up"],
    "down": ["down"],
    "init": ["init", "--name", "nas", "--site", "home", "--size", "20G", "--kit-file", "KIT"],
    "join": ["join", "7-guitar-sunset", "--at", "127.0.0.1:7702", "--name", "attic"],
    "invite": ["invite"],
    "put": ["put", "FILE", "/x"],
    "get": ["get", ODD_NAME, "FOLDER"],
    "cat": ["cat", ODD_NAME],
    "ls": ["ls", "/"],
    "tree": ["tree"],
    "mkdir": ["mkdir", b"/n\xe9"],
    "mv": ["mv", ODD_NAME, "/plain"],
    "rm": ["rm", ODD_NAME],
    "where": ["where", ODD_NAME],
    "watch": ["watch"],
    "watch add": ["watch", "add", "FOLDER", ODD_NAME, "--ignore", "*.tmp"],
    "watch ls": ["watch", "ls"],
    "watch rm": ["watch", "rm", "FOLDER"],
    "watch allow": ["watch", "allow", b"/home/caf\xe9"],
    "watch keep": ["watch", "keep", b"/home/caf\xe9"],
    "history": ["history", ODD_NAME],
    "restore": ["restore", ODD_NAME + b"@1"],
    "diff": ["diff", ODD_NAME + b"@1"],
    "trash": ["trash"],
    "trash ls": ["trash", "ls", "--all", "-n", "5"],
    "trash put-back": ["trash", "put-back", ODD_NAME],
    "snapshot": ["snapshot"],
    "snapshot create": ["snapshot", "create", "spring"],
    "snapshot ls": ["snapshot", "ls"],
    "snapshot rm": ["snapshot", "rm", "spring"],
    "retention": ["retention"],
    "retention ls": ["retention", "ls"],
    "retention set": ["retention", "set", ODD_NAME, "90d"],
    "retention rm": ["retention", "rm", ODD_NAME],
    "retention quota": ["retention", "quota", "20G"],
    "promise": ["promise"],
    "promise ls": ["promise", "ls"],
    "promise set": ["promise", "set", ODD_NAME, "any-2+house"],
    "promise rm": ["promise", "rm", ODD_NAME],
    "promise plan": ["promise", "plan", ODD_NAME, "--dry-run"],
    "search": ["search", "caf*", "--larger", "1K", "--tag", "tax", "--since", "2026-10-01"],
    "tag": ["tag"],
    "tag add": ["tag", "add", ODD_NAME, "tax"],
    "tag ls": ["tag", "ls", ODD_NAME],
    "tag rm": ["tag", "rm", ODD_NAME, "tax"],
    "conflicts": ["conflicts"],
    "resolve": ["resolve", ODD_NAME, "--keep", "this"],
    "log": ["log"],
    "safe": ["safe"],
    "repair": ["repair"],
    "du": ["du"],
    "brake": ["brake"],
    "brake status": ["brake", "status"],
    "brake allow": ["brake", "allow"],
    "gc": ["gc", "--dry-run"],
    "scrub": ["scrub"],
    "test-restore": ["test-restore", "--files", "3"],
    "peers can-leave": ["peers", "can-leave", "attic"],
    "doctor": ["doctor"],
    "peers rename": ["peers", "rename", "nas", "attic"],
    "peers site": ["peers", "site", "nas", "cabin"],
    "peers role": ["peers", "role", "nas", "storage"],
    "peers limit": ["peers", "limit", "30G"],
    "peers revoke": ["peers", "revoke", "nas", "--yes"],
    "peers frozen": ["peers", "frozen"],
    "peers adopt": ["peers", "adopt", "nas", "--yes"],
    "peers forget": ["peers", "forget", "nas", "--yes"],
    "peers retire": ["peers", "retire", "attic", "--yes"],
    "peers replace": ["peers", "replace", "nas", "attic", "--yes"],
    "recovery-kit print": ["recovery-kit", "print", "--words-file", "WORDS"],
    "recovery-kit shares": ["recovery-kit", "shares", "--words-file", "WORDS"],
    "recovery-kit rotate": ["recovery-kit", "rotate", "--lost", "--out", "KIT"],
    "recovery-kit agree": ["recovery-kit", "agree", "ab"],
    "sim run": ["sim", "run", "new-disk", "--peers", "2", "--days", "0.002"],
    "sim replay": ["sim", "replay", "PLAN"],
    "sim swarm": ["sim", "swarm", "--seeds", "1", "--peers", "2", "--minutes", "2"],
    "sim shrink": ["sim", "shrink", "PLAN"],
    "sim dht": ["sim", "dht", "--nodes", "20", "--lookups", "2"],
    "sim what-if": ["sim", "what-if", "HOUSEHOLD"],
    "completion": ["completion", "bash"],
    "help": ["help", "exit-codes"],
    "version": ["version"],
}
"""One call for each verb and each part of one."""

ELSEWHERE = {"demo", "tui", "recovery-kit check", "recovery-kit use"}
"""`tui` is a screen and has no result. The others have no daemon to fake: they start real ones or need a real
household, and `tests/daemons` holds their results to their schemas."""

DAEMONLESS = {"init", "join", "completion", "help", "recovery-kit print", "recovery-kit shares"} | {
    call for call in CALLS if call.startswith("sim ")
}


def schema_of(call: str) -> str:
    """The schema of a part of a verb: its own, or the one that all parts of the verb share."""
    own = call.replace(" ", "-")
    return own if (FOLDER / f"{own}.json").exists() else own.partition("-")[0]


def parts(command: click.Command, above: click.Context, name: str) -> Iterator[str]:
    """A command, or what is below it; a group that does something by itself too."""
    context = click.Context(command, info_name=name, parent=above)
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield context.command_path.removeprefix("p2pstore ")
    if isinstance(command, click.Group):
        for part in command.list_commands(context):
            below = command.get_command(context, part)
            assert below is not None
            yield from parts(below, context, part)


class FakeSetup(types.ModuleType):
    """`p2pstore.daemon.setup`, without keys and without a network."""

    def __init__(self) -> None:
        super().__init__("p2pstore.daemon.setup")
        self.asked: list[dict[str, Any]] = []
        self.words = [f"word{i}" for i in range(24)]

    def create_household(self, home: Path, **what: Any) -> Any:
        self.asked.append({"home": home, **what})
        return types.SimpleNamespace(
            words=self.words, kit_text=" ".join(self.words), network_id=bytes(32), peer_id=bytes(32), qr_text="[QR]"
        )

    def join_household(self, home: Path, **what: Any) -> Any:
        self.asked.append({"home": home, **what})
        return types.SimpleNamespace(household="Meyer", peer_id=bytes(32), name=what["name"], network_id=bytes(32))


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch) -> FakeSetup:
    module = FakeSetup()
    monkeypatch.setitem(sys.modules, "p2pstore.daemon.setup", module)
    return module


@pytest.fixture
def files(home: Path) -> dict[str, str]:
    """Words in CALLS that stand for files of this test."""
    file, folder = home.parent / "f.txt", home.parent / "out"
    file.write_bytes(b"content")
    folder.mkdir()
    words = home.parent / "words"
    words.write_text("abandon " * 23 + "art")
    plan = home.parent / "plan.json"
    plan.write_text(Plan("calm", 1, household(2), Work(), 60.0, 300.0).encode())
    machines = home.parent / "household.toml"
    machines.write_text("".join(f'[machines.m{number}]\nsite = "home"\nsize = "1T"\n' for number in range(3)))
    return {
        "FILE": str(file), "FOLDER": str(folder), "KIT": str(home.parent / "kit"), "WORDS": str(words),
        "PLAN": str(plan), "HOUSEHOLD": str(machines),
    }  # fmt: skip


def test_every_verb_and_every_part_of_one_is_called_here() -> None:
    assert set(parts(cli_group, click.Context(click.Command("")), "p2pstore")) == set(CALLS) | ELSEWHERE


def test_every_verb_has_a_published_schema_and_every_schema_a_verb() -> None:
    schemas = {schema_of(call) for call in {*CALLS, *ELSEWHERE} - {"tui"}} | {"error", "progress"}
    assert {path.stem for path in FOLDER.glob("*.json")} == schemas


@pytest.mark.parametrize("verb", sorted(set(CALLS)))
def test_the_last_line_is_a_result_that_the_schema_describes(
    verb: str, home: Path, cli: Cli, setup: FakeSetup, files: dict[str, str]
) -> None:
    arguments = [files.get(argument, argument) if isinstance(argument, str) else argument for argument in CALLS[verb]]
    if verb in DAEMONLESS:
        ran = cli("--home", str(home), *arguments, "--json")
    elif verb == "down":
        home.mkdir()
        (home / "settings.json").touch()
        ran = cli("--home", str(home), *arguments, "--json")
    else:
        daemon = FakeDaemon()
        daemon.tree |= {ODD_NAME: Node("file", b"12345" * 500), b"/d": Node("folder"), b"/l": Node("link", target=b"t")}
        with serving(daemon.handlers(), home):
            ran = cli("--home", str(home), *arguments, "--json")
    assert ran.code == 0, ran
    assert problems(ran.last, load(schema_of(verb))) == []
    assert [line["type"] for line in ran.lines].count("result") == 1


@pytest.mark.parametrize("verb", sorted(set(CALLS) - DAEMONLESS - {"up", "down", "version"}))
def test_the_last_line_is_an_error_when_the_daemon_refuses(
    verb: str, home: Path, cli: Cli, files: dict[str, str]
) -> None:
    arguments = [files.get(argument, argument) if isinstance(argument, str) else argument for argument in CALLS[verb]]
    refused = {op: failing("busy", 11) for op in (verb.replace(" ", "."), verb.partition(" ")[0])}
    with serving(refused, home):
        ran = cli("--json", "--home", str(home), *arguments)
    assert ran.code == 11
    assert problems(ran.last, load("error")) == []
    assert (ran.last["code"], ran.last["exit"]) == ("busy", 11)
    assert len(ran.lines) == 1


@pytest.mark.parametrize("verb", sorted(set(CALLS) - DAEMONLESS - {"version"}))
def test_without_a_household_every_verb_says_so(verb: str, home: Path, cli: Cli, files: dict[str, str]) -> None:
    arguments = [files.get(argument, argument) if isinstance(argument, str) else argument for argument in CALLS[verb]]
    ran = cli(*arguments, "--home", str(home), "--json")
    assert (ran.code, ran.last["code"]) == (10, "no-household")
    assert "p2pstore init" in ran.last["fix"]


@pytest.mark.parametrize("verb", sorted(set(CALLS) - DAEMONLESS - {"version", "up", "down"}))
def test_without_a_daemon_every_verb_says_so(verb: str, home: Path, cli: Cli, files: dict[str, str]) -> None:
    home.mkdir()
    (home / "settings.json").touch()
    arguments = [files.get(argument, argument) if isinstance(argument, str) else argument for argument in CALLS[verb]]
    ran = cli(*arguments, "--home", str(home), "--json")
    assert (ran.code, ran.last["fix"]) == (69, ["p2pstore up"])


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_usage_errors_are_objects_too(verb: str, home: Path, cli: Cli) -> None:
    ran = cli("--home", str(home), verb, "--no-such-flag", "--json")
    assert ran.code == 2
    assert problems(ran.last, load("error")) == []


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself_and_the_table_of_verbs_agrees(verb: str, cli: Cli) -> None:
    ran = cli(verb, "--help")
    assert ran.code == 0
    assert VERBS[verb].summary in " ".join(ran.text.split())


@pytest.mark.parametrize("verb", sorted(set(CALLS) - DAEMONLESS - {"down"}))
def test_plain_output_has_no_colour_and_no_drawing(
    verb: str, home: Path, cli: Cli, files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    arguments = [files.get(argument, argument) if isinstance(argument, str) else argument for argument in CALLS[verb]]
    daemon = FakeDaemon()
    daemon.tree |= {ODD_NAME: Node("file", b"12345")}
    with serving(daemon.handlers(), home):
        ran = cli("--home", str(home), "--plain", *arguments)
    assert ran.code == 0
    assert ran.out.isascii()
    assert b"\x1b" not in ran.out
    assert ran.err == "" or verb in ("up", "invite")
