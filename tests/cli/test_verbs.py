"""What the verbs ask of the daemon, what they print, and which exit code they end with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from p2pstore.cli.main import cli as click_cli
from p2pstore.control import exits
from tests.cli.running_cli import Cli
from tests.control.fake_daemon import FakeDaemon, Node, failing, serving


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """P2PSTORE_HOME names the home, and the working folder is beside it."""
    monkeypatch.setenv("P2PSTORE_HOME", str(home))
    monkeypatch.chdir(home.parent)
    return home


# --- global flags -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["--home", "HOME", "--json", "status"],
        ["status", "--home", "HOME", "--json"],
        ["--json", "status", "--home", "HOME"],
        ["--home", "/nowhere", "status", "--home", "HOME", "--json"],
    ],
)
def test_global_flags_stand_before_or_after_the_verb_and_the_last_counts(
    arguments: list[str], home: Path, fake: FakeDaemon, cli: Cli
) -> None:
    ran = cli(*(str(home) if argument == "HOME" else argument for argument in arguments))
    assert ran.code == 0
    assert ran.last["address"] == "127.0.0.1:7700"
    assert ran.last["pid"] == os.getpid()


def test_the_home_comes_from_the_environment_unless_a_flag_names_one(
    at_home: Path, fake: FakeDaemon, cli: Cli
) -> None:
    assert cli("status").code == 0
    assert cli("status", "--home", "/nowhere").code == exits.NO_HOUSEHOLD


def test_timeout_limits_any_verb(home: Path, cli: Cli) -> None:
    async def sleepy(call: Any) -> Any:
        await call.receive()

    with serving({"status": sleepy}, home):
        ran = cli("status", "--home", str(home), "--timeout", "0.05", "--json")
    assert (ran.code, ran.last["code"]) == (exits.TIMED_OUT, "timed-out")


def test_a_mistyped_verb_is_a_usage_error(cli: Cli) -> None:
    ran = cli("--json", "stauts")
    assert (ran.code, ran.last["code"]) == (exits.USAGE, "usage")
    assert cli("stauts").err.startswith("p2pstore: No such command")


def test_no_verb_prints_help_on_standard_error(cli: Cli) -> None:
    ran = cli()
    assert ran.code == exits.USAGE
    assert "Usage: p2pstore" in ran.err


def test_an_error_says_what_why_and_what_to_type(home: Path, cli: Cli) -> None:
    with serving({"status": failing("busy", 11)}, home):
        text = cli("status", "--home", str(home)).err
        plain = cli("status", "--home", str(home), "--plain").err
    assert text == "p2pstore: it failed.\n  why:  because it was told to\n  type: p2pstore status\n"
    assert plain == "error: it failed\nwhy: because it was told to\nfix: p2pstore status\n"


# --- put ----------------------------------------------------------------------------------------------------------


def test_put_sends_absolute_sources_and_leaves_the_rest_to_the_daemon(
    at_home: Path, fake: FakeDaemon, cli: Cli
) -> None:
    root = os.fsencode(at_home.parent)
    os.makedirs(root + b"/a\xff dir")
    Path("f").write_bytes(b"one")
    assert cli("put", "f", "p2p:/x").code == 0
    args = fake.asked[-1][1]
    assert args["sources"] == [{"path": root + b"/f", "name": b"f"}]
    assert (args["destination"], args["into"], args["recursive"]) == (b"/x", False, False)
    assert (args["ack"], args["wait"]) == ("safe", False)
    assert fake.tree[b"/x"].data == b"one"


@pytest.mark.parametrize(
    ("source", "path", "name"),
    [
        ("f", "ROOT/f", b"f"),
        ("d/", "ROOT/d", b"d"),
        ("d", "ROOT/d", b"d"),
        (".", "ROOT/.", None),
        ("d/.", "ROOT/d/.", None),
        ("..", "ROOT/..", None),
        ("/", "/", None),
    ],
)
def test_a_source_is_named_as_cp_names_it(at_home: Path, source: str, path: str, name: bytes | None) -> None:
    from p2pstore.cli.paths import local_source

    assert local_source(source) == {"path": path.replace("ROOT", str(at_home.parent)).encode(), "name": name}


@pytest.mark.parametrize("arguments", [["f", "g", "/x"], ["f", "/x/"], ["f", "g", "/x/"]])
def test_several_sources_or_a_slash_need_a_folder(
    at_home: Path, fake: FakeDaemon, cli: Cli, arguments: list[str]
) -> None:
    for name in "fg":
        Path(name).touch()
    assert cli("put", *arguments, "--ack", "here", "--wait", "-r").code == 0
    args = fake.asked[-1][1]
    assert (args["destination"], args["into"], args["recursive"]) == (b"/x", True, True)
    assert (args["ack"], args["wait"]) == ("here", True)


def test_put_streams_standard_input(at_home: Path, fake: FakeDaemon, cli: Cli, tmp_path: Path) -> None:
    content = os.urandom(50_000)
    assert cli("put", "-", "/from-pipe", stdin=content).code == 0
    assert fake.tree[b"/from-pipe"].data == content
    assert cli("put", "-", "/folder/", stdin=b"").code == exits.USAGE
    assert cli("put", "-", "f", "/folder", stdin=b"").code == exits.USAGE


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({}, 0),
        ({"below_level": 1, "state": "thin"}, 6),
        ({"failed": [{"path": b"/f", "code": "changed", "what": "it changed while it was read"}]}, 3),
        ({"failed": [{"path": b"/f", "code": "changed", "what": "it changed"}], "below_level": 1}, 3),
        ({"failed": [{"path": b"/f", "code": "not-found", "what": "not found"}], "files": 0}, 4),
        ({"failed": [{"path": b"/f", "code": "full", "what": "no room"}], "files": 0}, 9),
        ({"failed": [{"path": b"/f", "code": "changed", "what": "it changed"}], "files": 0}, 3),
    ],
)
def test_the_exit_code_of_put(at_home: Path, fake: FakeDaemon, cli: Cli, answer: dict[str, Any], code: int) -> None:
    Path("f").touch()
    fake.put_answer = answer
    ran = cli("put", "f", "/f", "--json")
    assert (ran.code, ran.last["exit"], ran.last["type"]) == (code, code, "result")
    ran = cli("put", "f", "/f")
    assert ran.code == code
    assert ("failed" in ran.err) == bool(answer.get("failed"))


def test_progress_is_json_lines_on_standard_error_only_when_asked_for(
    at_home: Path, fake: FakeDaemon, cli: Cli
) -> None:
    from tests.cli.schema import load, problems

    Path("f").write_bytes(b"1234")
    assert cli("put", "f", "/f", "--json").err == ""
    ran = cli("put", "f", "/f", "--json", "--progress=json")
    reports = [json.loads(line) for line in ran.err.splitlines()]
    assert [report["phase"] for report in reports] == ["counting", "sending", "done"]
    assert [problems(report, load("progress")) for report in reports] == [[], [], []]


# --- get and cat --------------------------------------------------------------------------------------------------


def test_get_writes_where_it_is_told(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    fake.tree[b"/a/x"] = Node("file", b"bytes")
    assert cli("get", "/a/x", "y").code == 0
    assert {**fake.asked[-1][1]} | {"destination": b"", "sources": []} == {
        "sources": [], "destination": b"", "recursive": False, "verify": False, "into": False,
    }
    assert Path("y").read_bytes() == b"bytes"
    assert cli("get", "/a/x").code == 0
    assert fake.asked[-1][1]["into"] is True
    assert Path("x").read_bytes() == b"bytes"
    assert cli("get", "/a/x", "p2p:/a/x", "--verify", ".").code == 0
    assert fake.asked[-1][1]["sources"] == [b"/a/x", b"/a/x"]
    assert cli("get", "/a/x", "-").out == b"bytes"
    assert cli("get", "relative", ".").code == exits.USAGE


@pytest.mark.parametrize(
    ("failed", "code"),
    [
        ([], 0),
        ([{"path": b"/a", "code": "not-found", "what": "gone"}], 3),
        ([{"path": b"/a", "code": "unreadable", "what": "3 of 4 shards"}], 7),
        ([{"path": b"/a", "code": "x", "what": "-"}, {"path": b"/b", "code": "unreadable", "what": "-"}], 7),
    ],
)
def test_the_exit_code_of_get(
    at_home: Path, fake: FakeDaemon, cli: Cli, failed: list[dict[str, Any]], code: int
) -> None:
    fake.tree[b"/x"] = Node("file", b"bytes")
    fake.get_failed = failed
    assert cli("get", "/x").code == code


def test_get_names_what_cannot_be_read(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    fake.tree[b"/x"] = Node("file")
    failed = {"code": "unreadable", "what": "3 of 4 shards", "why": "nas is away"}
    fake.get_failed = [failed | {"path": f"/f{i}\n".encode()} for i in range(30)]
    ran = cli("get", "/x")
    assert "30 files failed:\n  /f0\\n: 3 of 4 shards (nas is away)\n" in ran.err
    assert "and 10 more; -v lists all" in ran.err
    assert cli("get", "/x", "-v").err.count("3 of 4") == 30


def test_what_is_not_there_is_exit_4_for_every_verb_that_names_it(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    for arguments in (["get", "/no"], ["cat", "/no"], ["ls", "/no"], ["mv", "/no", "/x"], ["rm", "/no"]):
        ran = cli(*arguments, "--json")
        assert (ran.code, ran.last["code"]) == (exits.NOT_FOUND, "not-found"), arguments
        assert ran.last["fix"] == ["p2pstore ls '/'"]


def test_cat_writes_the_bytes_as_they_are_or_a_part(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    content = bytes(range(256)) * 20
    fake.tree[b"/x"] = Node("file", content)
    assert cli("cat", "/x").out == content
    assert cli("cat", "/x", "--range", "10-19").out == content[10:20]
    assert cli("cat", "/x", "--range", "5000-").out == content[5000:]
    assert cli("cat", "/x", "--range", "4000+2").out == content[4000:4002]
    assert cli("cat", "/x", "--range", "9-8").code == exits.USAGE
    ran = cli("cat", "/x", "--range", "250+8", "--json")
    assert (ran.last["base64"], ran.last["bytes"]) == ("+vv8/f7/AAE=", 8)


def test_a_reader_that_goes_away_ends_cat_quietly(at_home: Path, fake: FakeDaemon) -> None:
    import subprocess
    import sys

    fake.tree[b"/x"] = Node("file", bytes(5_000_000))
    child = subprocess.Popen(
        [sys.executable, "-m", "p2pstore.cli", "cat", "/x"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    child.stderr.close()
    assert child.wait(10) == exits.BROKEN_PIPE


def test_ctrl_c_cancels_the_request_and_ends_with_130(at_home: Path, fake: FakeDaemon) -> None:
    import signal
    import subprocess
    import sys

    child = subprocess.Popen(
        [sys.executable, "-m", "p2pstore.cli", "--json", "put", "-", "/x"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(b"some bytes")
    child.stdin.flush()
    assert fake.piece_came.wait(10)
    child.send_signal(signal.SIGINT)
    assert json.loads(child.stdout.read().splitlines()[-1])["code"] == "cancelled"
    assert child.wait(10) == exits.INTERRUPTED
    child.stdin.close()
    child.stdout.close()
    assert fake.cancelled == ["put"]
    assert b"/x" not in fake.tree


# --- names --------------------------------------------------------------------------------------------------------


def test_names_of_any_bytes_are_shown_safely_and_come_exactly_with_json(
    at_home: Path, fake: FakeDaemon, cli: Cli
) -> None:
    for name in (b"plain", b"new\nline", b"caf\xe9", b"caf\xc3\xa9", b"back\\slash", b"\x1b[31mred", "👨‍👩‍👧".encode()):
        fake.tree[b"/" + name] = Node("file", b"123")
    fake.tree[b"/d"] = Node("folder")
    fake.tree[b"/l"] = Node("link", target=b"plain")
    ran = cli("ls")
    assert ran.text.splitlines() == [
        "\\x1b[31mred", "back\\\\slash", "café", "caf\\xe9", "d/", "l", "new\\nline", "plain", "👨‍👩‍👧",
    ]
    entries = {os.fsencode(entry["name"]): entry for entry in cli("ls", "--json").last["entries"]}
    assert entries[b"caf\xe9"]["name_hex"] == b"caf\xe9".hex()
    assert [name for name, entry in entries.items() if "name_hex" in entry] == [b"caf\xe9"]
    assert "l -> plain" in cli("ls", "-l").text
    assert cli("ls", b"/caf\xe9").text == "caf\\xe9\n"


def test_tree_indents_and_counts(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    fake.tree |= {b"/a": Node("folder"), b"/a/b": Node("folder"), b"/a/b/c": Node("file", bytes(2000))}
    assert cli("tree", "/a").text == "/a\n  b/\n    c\n1 folder, 1 file, 2.0 KB\n"
    assert cli("tree", "/a", "--plain").text == "/a/b/\n/a/b/c\n"
    cli("tree", "--depth", "2")
    assert fake.asked[-1] == ("tree", {"path": b"/", "depth": 2})


def test_mkdir_mv_and_rm_ask_for_what_was_named(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    assert cli("mkdir", "-p", "/a//b/").code == 0
    assert fake.asked[-1] == ("mkdir", {"path": b"/a/b", "parents": True})
    assert cli("mkdir", "/a/b").code == exits.REFUSED
    assert cli("mv", "/a/b", "p2p:/c/").code == 0
    assert fake.asked[-1] == ("mv", {"sources": [b"/a/b"], "destination": b"/c", "into": True})
    assert cli("rm", "-r", "/c").code == 0
    assert fake.asked[-1] == ("rm", {"paths": [b"/c"], "recursive": True})
    assert cli("mkdir", "a").code == exits.USAGE
    assert cli("mkdir", "/a/../b").code == exits.USAGE


# --- safety -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("state", "code"), [("safe", 0), ("thin", 20), ("risk", 21), ("lost", 22), ("unknown", 23)])
def test_the_verdict_is_the_exit_code_of_safe(
    at_home: Path, fake: FakeDaemon, cli: Cli, state: str, code: int
) -> None:
    fake.state = state
    ran = cli("safe")
    assert ran.code == code
    assert state.upper() in ran.text
    assert cli("safe", "--json").last["exit"] == code


@pytest.mark.parametrize(("states", "code"), [((), 0), (("warn",), 20), (("warn", "bad"), 21)])
def test_doctor_ends_with_what_it_found(
    at_home: Path, fake: FakeDaemon, cli: Cli, states: tuple[str, ...], code: int
) -> None:
    fake.checks = [{"name": "ports", "state": state, "what": "closed", "fix": "open them"} for state in states]
    ran = cli("doctor", "--rebuild-index")
    assert ran.code == code
    assert ran.text.count("type: open them") == len(states)
    assert ("doctor", {"rebuild_index": True}) in fake.asked


def test_invite_waits_unless_told_not_to(at_home: Path, fake: FakeDaemon, cli: Cli) -> None:
    ran = cli("invite", "--no-wait", "--json", "--ttl", "5m")
    assert len(ran.lines) == 1
    assert (ran.last["code"], ran.last["expires_s"]) == ("7-guitar-sunset", 300)
    ran = cli("invite", "--json", "--role", "storage")
    assert [line["type"] for line in ran.lines] == ["invitation", "result"]
    assert ran.last["joined"]["name"] == "attic"
    assert ("invite", {"role": "storage", "ttl_s": 600.0}) in fake.asked
    assert "attic has joined" in cli("invite").text


# --- the rest -----------------------------------------------------------------------------------------------------


def test_completion_knows_verbs_flags_and_paths_in_the_store(
    at_home: Path, fake: FakeDaemon, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.shell_completion import ShellComplete

    from p2pstore.cli.session import Session

    def complete(*words: str) -> list[str]:
        shell = ShellComplete(click_cli, {"obj": Session()}, "p2pstore", "_P2PSTORE_COMPLETE")
        return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]

    fake.tree |= {b"/Photos": Node("folder"), b"/Photos/a b": Node("file"), b"/Photos/\xff": Node("file")}
    assert complete("st") == ["status"]
    assert "--ack" in complete("put", "--a")
    assert complete("cat", "/Ph") == ["/Photos/"]
    assert complete("cat", "/Photos/a") == ["/Photos/a b"]
    monkeypatch.setenv("P2PSTORE_HOME", "/nowhere")
    assert complete("cat", "/Ph") == []
    for shell in ("bash", "zsh", "fish"):
        assert "_P2PSTORE_COMPLETE" in cli("completion", shell).text


def test_help_has_topics(cli: Cli) -> None:
    assert "130  interrupted with Ctrl-C" in cli("help", "exit-codes").text
    assert "p2p:/" in cli("help", "paths").text
    assert "Store files and folders" in cli("help", "put").text
    assert cli("help").text.startswith("Usage: p2pstore")
    assert cli("help", "nonsense").code == exits.USAGE


def test_the_documented_exit_codes_are_the_ones_in_use() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "exit-codes.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert {int(row[1]): row[2].strip() for row in rows} == exits.MEANINGS
