"""up and down: a real process is started, found running, and stopped."""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path

import pytest

from p2pstore.control import exits
from tests.cli.running_cli import Cli

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.daemons


@pytest.fixture
def household(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and an interpreter that runs the fake process whatever module it is told to run."""
    home.mkdir()
    (home / "settings.json").touch()
    interpreter = home.parent / "python"
    interpreter.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m tests.cli.fake_process "$@"\n')
    interpreter.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setenv("P2PSTORE_HOME", str(home))
    return home


def ended(pid: int) -> bool:
    """Whether our child has ended; collects it."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], 5)[0])
    finally:
        os.close(descriptor)
        os.waitpid(pid, os.WNOHANG)


def test_up_returns_when_the_daemon_answers_and_down_when_it_has_ended(household: Path, cli: Cli) -> None:
    first = cli("up", "--json", "--port", "7700", "--listen", "127.0.0.1")
    assert (first.code, first.last["already_running"]) == (0, False)
    pid = first.last["pid"]
    arguments = (household / "arguments").read_text().splitlines()
    assert arguments == [
        "-P", "-m", "p2pstore.daemon", "--home", str(household), "--port", "7700", "--listen", "127.0.0.1",
    ]
    assert os.getsid(pid) == pid
    second = cli("up", "--json")
    assert (second.code, second.last["already_running"], second.last["pid"]) == (0, True, pid)
    assert f"running already (pid {pid})" in cli("up").err
    down = cli("down", "--json")
    assert (down.code, down.last) == (0, {"type": "result", "stopped": True, "pid": pid, "clean": True})
    assert ended(pid)
    assert cli("status").code == exits.NOT_RUNNING
    again = cli("down")
    assert (again.code, again.text) == (0, "the daemon is not running\n")


def test_a_daemon_that_dies_at_its_start_is_shown_with_the_end_of_its_log(
    household: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DAEMON", "dies")
    ran = cli("up", "--json")
    assert (ran.code, ran.last["code"]) == (exits.FAILED, "start-failed")
    assert "ended with code 3" in ran.last["why"]
    assert "no: the port is taken" in ran.last["why"]
    assert "p2pstore up --foreground" in ran.last["fix"]


def test_a_daemon_that_does_not_answer_is_not_waited_for_for_ever(
    household: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DAEMON", "stuck")
    ran = cli("up", "--json", "--timeout", "1")
    assert (ran.code, ran.last["code"]) == (exits.FAILED, "start-failed")
    pid = int(ran.last["why"].split("pid ")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    assert ended(pid)


def test_a_daemon_that_ignores_shutdown_gets_sigterm(
    household: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_DAEMON", "deaf")
    pid = cli("up", "--json").last["pid"]
    ran = cli("down", "--json", "--timeout", "0.3")
    assert (ran.code, ran.last["clean"]) == (0, False)
    assert ended(pid)
    monkeypatch.delenv("FAKE_DAEMON")
    next_pid = cli("up", "--json").last["pid"]
    assert cli("down", "--json").last["pid"] == next_pid
    assert ended(next_pid)
