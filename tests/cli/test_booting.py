"""Starting with the session: what is written, for whom, and that it goes again."""

from __future__ import annotations

import plistlib
import shlex
import sys
from pathlib import Path

import pytest

from p2pstore.cli import booting


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A systemctl that notes what it is asked."""
    noted = tmp_path / "asked"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {shlex.quote(str(noted))}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "platform", "linux")
    return noted


def test_a_unit_is_written_enabled_and_taken_away(systemctl: Path, tmp_path: Path) -> None:
    home = tmp_path / 'a "home" of 100 % $USER'
    lines = booting.install(home, ["--metrics", "9100"])
    unit = booting.file_of(home)
    assert lines[0] == f"written: {unit}"
    text = unit.read_text()
    command = next(line for line in text.splitlines() if line.startswith("ExecStart=")).removeprefix("ExecStart=")
    words = [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]
    assert words[1:] == ["-P", "-m", "p2pstore.daemon", "--home", str(home), "--metrics", "9100"]
    assert systemctl.read_text().splitlines() == ["--user daemon-reload", f"--user enable {unit.name}"]
    assert booting.remove(home)[-1] == f"removed: {unit}"
    assert not unit.exists()
    assert f"--user disable {unit.name}" in systemctl.read_text()
    assert booting.remove(home) == ["it does not start with the session"]


def test_two_homes_are_two_services(tmp_path: Path) -> None:
    assert booting.label(tmp_path / "a") != booting.label(tmp_path / "b")


def test_where_there_is_no_systemctl_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert any("there is no systemctl here" in line for line in booting.install(tmp_path / "h", []))


def test_an_agent_of_launchd_runs_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    booting.install(tmp_path / "h", ["--log-json"])
    agent = plistlib.loads(booting.file_of(tmp_path / "h").read_bytes())
    assert agent["ProgramArguments"][1:] == ["-P", "-m", "p2pstore.daemon", "--home", str(tmp_path / "h"), "--log-json"]
    assert agent["RunAtLoad"] is True
