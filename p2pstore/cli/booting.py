"""Starting with the user's session: a systemd user unit, or a launchd agent; written, told of, and taken away again.

No root is needed. On Linux a user's services end with the last login unless `loginctl enable-linger` says otherwise,
and that is for the person to say.
"""

from __future__ import annotations

import hashlib
import os
import plistlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault

COMMAND_TIMEOUT_S: Final = 20.0


def label(home: Path) -> str:
    """What the service of a home is called: one for each home of a user."""
    return "p2pstore-" + hashlib.blake2b(os.fsencode(os.path.realpath(home)), digest_size=4).hexdigest()


def unit_text(home: Path, command: Sequence[str]) -> str:
    """The systemd unit."""
    return f"""[Unit]
Description=p2pstore ({_escaped(os.fspath(home))})
After=network-online.target

[Service]
ExecStart={" ".join(_quoted(word) for word in command)}
Restart=on-failure
RestartSec=10
RestartPreventExitStatus=11
UMask=0077

[Install]
WantedBy=default.target
"""


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", " ")


def _quoted(word: str) -> str:
    """A word of ExecStart: systemd.service(5), systemd.syntax(7)."""
    if "\n" in word:
        raise Failure(Fault("usage", "a home with a line break in its name cannot be a service", "", (), exits.USAGE))
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"'


def agent_bytes(home: Path, command: Sequence[str]) -> bytes:
    """The launchd agent."""
    log = os.fspath(home / "log" / "daemon.log")
    return plistlib.dumps(
        {
            "Label": label(home),
            "ProgramArguments": list(command),
            "RunAtLoad": True,
            "KeepAlive": {"SuccessfulExit": False},
            "StandardOutPath": log,
            "StandardErrorPath": log,
        }
    )


def file_of(home: Path) -> Path:
    """Where the service of a home is written."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "LaunchAgents" / f"{label(home)}.plist"
    config = os.environ.get("XDG_CONFIG_HOME")
    base = Path(config) if config and os.path.isabs(config) else Path.home() / ".config"
    return base / "systemd" / "user" / f"{label(home)}.service"


def install(home: Path, options: Sequence[str]) -> list[str]:
    """Write the service and have it start with the session; what to tell the person."""
    home = home.absolute()
    command = [sys.executable, "-P", "-m", "p2pstore.daemon", "--home", os.fspath(home), *options]
    path = file_of(home)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = agent_bytes(home, command) if sys.platform == "darwin" else unit_text(home, command).encode()
    part = path.with_suffix(path.suffix + ".part")
    part.write_bytes(data)
    part.replace(path)
    lines = [f"written: {path}"]
    if sys.platform == "darwin":
        return [*lines, "it starts with the next login"]
    lines += _run(["systemctl", "--user", "daemon-reload"])
    lines += _run(["systemctl", "--user", "enable", path.name])
    return [*lines, "to run it without a login: loginctl enable-linger"]


def remove(home: Path) -> list[str]:
    """Take the service away; what to tell the person."""
    path = file_of(home.absolute())
    if not path.exists():
        return ["it does not start with the session"]
    lines = []
    if sys.platform != "darwin":
        lines += _run(["systemctl", "--user", "disable", path.name])
    path.unlink()
    if sys.platform != "darwin":
        lines += _run(["systemctl", "--user", "daemon-reload"])
    return [*lines, f"removed: {path}"]


def _run(command: list[str]) -> list[str]:
    """Run it if there is such a program; what did not work is told, and no reason to stop."""
    program = shutil.which(command[0])
    if program is None:
        return [f"not done, there is no {command[0]} here: {' '.join(command)}"]
    try:
        ran = subprocess.run(  # noqa: S603  a fixed command
            [program, *command[1:]], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return [f"no answer: {' '.join(command)}"]
    if ran.returncode == 0:
        return []
    said = ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"]
    return [f"not done: {' '.join(command)}: {said[-1]}"]
