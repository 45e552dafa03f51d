"""Tab, as a person presses it: a real bash on a pseudo-terminal, the script that is printed, a daemon that answers."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running_cli import Cli
from tests.control.fake_daemon import FakeDaemon, Node

WAIT_S = 20.0


class Terminal:
    """A bash without a person's settings, with the completion script loaded."""

    def __init__(self, folder: Path, home: Path) -> None:
        leader, follower = pty.openpty()
        tools = folder / "bin"
        tools.mkdir()
        (tools / "p2pstore").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -P -m p2pstore.cli "$@"\n')
        (tools / "p2pstore").chmod(0o755)
        self._leader = leader
        self._process = subprocess.Popen(
            ["bash", "--norc", "--noprofile", "-i"],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            cwd=folder,
            start_new_session=True,
            env={
                **os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "P2PSTORE_HOME": str(home), "PS1": "$ ",
                "TERM": "dumb", "INPUTRC": "/dev/null", "HISTFILE": "",
            },
        )
        os.close(follower)
        self._type("bind 'set enable-bracketed-paste off'; bind 'set bell-style none'\n")
        self._type('eval "$(p2pstore completion bash)"; echo re""ady\n')
        self._wait_for("ready")

    def _type(self, text: str) -> None:
        os.write(self._leader, text.encode())

    def _wait_for(self, text: str) -> str:
        heard = b""
        deadline = time.monotonic() + WAIT_S
        while text.encode() not in heard:
            ready, _, _ = select.select([self._leader], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"waited for {text!r}, heard {heard!r}"
            heard += os.read(self._leader, 65536)
        return heard.decode("utf-8", "replace")

    def words_after_tab(self, line: str) -> list[str]:
        """The words that a command typed as `line` and Tab is given."""
        self._type(f"{line}\t")
        # What Tab made of the line is seen by running it: everything before it becomes an argument of printf.
        self._type("\x01printf '<%s>' \x05; echo do''ne\n")
        heard = self._wait_for("done")
        shown = heard[heard.rindex("\n<") :] if "\n<" in heard else heard
        return shown[shown.index("<") + 1 : shown.rindex(">")].split("><")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._leader)


@pytest.fixture
def daemon(fake: FakeDaemon) -> FakeDaemon:
    fake.tree |= {
        b"/Photos": Node("folder"),
        b"/My Photos": Node("folder"),
        b"/My Photos/it's * 1.jpg": Node("file"),
        b"/notes.txt": Node("file"),
    }
    return fake


@pytest.fixture
def terminal(daemon: FakeDaemon, home: Path) -> Iterator[Terminal]:
    (home.parent / "local.txt").touch()
    terminal = Terminal(home.parent, home)
    yield terminal
    terminal.close()


def test_tab_in_bash_completes_verbs_paths_machines_and_files(terminal: Terminal) -> None:
    assert terminal.words_after_tab("p2pstore vers") == ["p2pstore", "version"]
    assert terminal.words_after_tab("p2pstore ls --lo") == ["p2pstore", "ls", "--long"]
    assert terminal.words_after_tab("p2pstore ls /Ph") == ["p2pstore", "ls", "/Photos/"]
    assert terminal.words_after_tab("p2pstore ls p2p:/no") == ["p2pstore", "ls", "p2p:/notes.txt"]
    assert terminal.words_after_tab("p2pstore cat /My") == ["p2pstore", "cat", "/My Photos/"]
    assert terminal.words_after_tab("p2pstore cat /My\\ Photos/i") == ["p2pstore", "cat", "/My Photos/it's * 1.jpg"]
    assert terminal.words_after_tab("p2pstore get /no") == ["p2pstore", "get", "/notes.txt"]
    assert terminal.words_after_tab("p2pstore put loc") == ["p2pstore", "put", "local.txt"]
    assert terminal.words_after_tab("p2pstore put local.txt /Ph") == ["p2pstore", "put", "local.txt", "/Photos/"]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ls", "/"], ["/My Photos/", "/Photos/", "/notes.txt"]),
        (["ls", "p2p:/P"], ["p2p:/Photos/"]),
        (["peers", "rename", "n"], ["nas"]),
        (["put", "x", "p2p:/n"], ["p2p:/notes.txt"]),
        (["completion", "z"], ["zsh"]),
        (["join", "7-guit"], ["7-guitar"]),
        (["join", "7-guitar-suns"], ["7-guitar-sunset"]),
        (["ls", "/nothing/"], []),
    ],
)
def test_fish_is_offered_the_same(
    words: list[str], offered: list[str], daemon: FakeDaemon, home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PSTORE_HOME", str(home))
    monkeypatch.setenv("COMP_WORDS", shlex.join(["p2pstore", *words]))
    monkeypatch.setenv("COMP_CWORD", words[-1])
    monkeypatch.setenv("_P2PSTORE_COMPLETE", "fish_complete")
    monkeypatch.setattr("p2pstore.cli.paths.COMPLETION_LIMIT_S", 5.0)
    monkeypatch.setattr("p2pstore.cli.completing.COMPLETION_LIMIT_S", 5.0)
    heard = cli()
    found = [line.partition(",")[2].partition("\t")[0] for line in heard.text.splitlines() if line]
    assert found == offered


def test_without_a_daemon_nothing_is_offered_and_nothing_is_said(
    home: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("P2PSTORE_HOME", str(home))
    monkeypatch.setenv("COMP_WORDS", "p2pstore\nls\n/")
    monkeypatch.setenv("COMP_CWORD", "2")
    monkeypatch.setenv("_P2PSTORE_COMPLETE", "bash_complete")
    ran = cli()
    assert (ran.out.strip(), ran.err) == (b"", "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(shell: str, cli: Cli) -> None:
    ran = cli("completion", shell)
    assert ran.code == 0
    assert f"_P2PSTORE_COMPLETE={shell}_complete" in ran.text
