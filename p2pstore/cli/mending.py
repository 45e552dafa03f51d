"""`doctor --fix`: carries out what the doctor named, where that can take nothing away.

Three things only: permissions of the home, a restart of the daemon, its start. Clocks, firewalls, routers and disks are
named for a person to see to: they are not ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

COMMAND_TIMEOUT_S: Final = 180.0
"""A clean end and a start; minutes only after a crash of a huge store."""

RESTART: Final = "p2pstore down; p2pstore up"


def mend(home: Path, checks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Do what helps and can do no harm. Returns the commands that were carried out, in order."""
    wanted = [fix for check in checks if check["state"] != "ok" for fix in check["fix"] or ()]
    private = {f"chmod 700 {home}": (home, 0o700), f"chmod 600 {home / 'keys'}": (home / "keys", 0o600)}
    done = []
    for fix in dict.fromkeys(wanted):
        if fix in private:
            path, mode = private[fix]
            os.chmod(path, mode, follow_symlinks=True)
            done.append(fix)
    if RESTART in wanted and run(home, "down") and run(home, "up"):
        done.append(RESTART)
    return done


def run(home: Path, verb: str) -> bool:
    """Run a verb of this program; whether it did what it should."""
    arguments = [sys.executable, "-P", "-m", "p2pstore.cli", "--home", os.fspath(home), "--quiet", "--json", verb]
    ran = subprocess.run(  # noqa: S603  the same interpreter, a fixed module
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT_S, check=False
    )
    return ran.returncode == 0
