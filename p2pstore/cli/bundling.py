"""`doctor --bundle`: what helps others to help, without names, paths, addresses, ids or keys.

Nothing is blotted out of a text: only numbers, words of fixed lists and places in this program's code are taken at all.
"""

from __future__ import annotations

import os
import platform
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault

LOG_BYTES: Final = 1 << 20
"""The end of the log that is looked at: days of a quiet daemon, minutes of a troubled one."""

FRAMES_MAX: Final = 200
"""The last lines of tracebacks that are kept."""

NUMBERS_OF_PEER: Final = ("last_heard_s", "rtt_ms", "capacity", "used")
WORDS_OF_PEER: Final = {
    "role": {"admin", "member", "storage"},
    "steadiness": {"always-on", "desktop", "laptop"},
    "state": {"self", "linked", "away"},
}
STATES: Final = {"ok", "warn", "bad", "safe", "thin", "risk", "lost", "unknown"}

_FRAME: Final = re.compile(r'File "[^"]*?((?:p2pstore|dht)/[\w/]+\.py)", line (\d+), in (\w+)')
_ERROR: Final = re.compile(r"^[\s|+-]*((?:[a-z_][\w.]*\.)?[A-Z]\w*(?:Error|Group|Exception|Fault|Failure|Cancelled))\b")
_LEVEL: Final = re.compile(r"\b(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b")


def check_versions(daemon: str) -> dict[str, Any]:
    """Whether the daemon is the program that is installed now."""
    from importlib.metadata import version

    own = version("p2pstore")
    if daemon == own:
        return {"name": "versions", "state": "ok", "what": f"program and daemon are {own}", "fix": []}
    what = f"the daemon is {daemon}, the program {own}: it was upgraded while the daemon ran"
    return {"name": "versions", "state": "warn", "what": what, "fix": ["p2pstore down; p2pstore up"]}


def content(status: Mapping[str, Any], checks: Sequence[Mapping[str, Any]], log: Path) -> dict[str, Any]:
    """The bundle of one machine.

    Args:
        status: the daemon's answer to `status`.
        checks: what `doctor` found.
        log: the daemon's log.
    """
    from importlib.metadata import version

    return {
        "format": 1,
        "program": version("p2pstore"),
        "python": platform.python_version(),
        "system": platform.system(),
        "kernel_release": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "uptime_s": _number(status.get("uptime_s")),
        "owed": _number(status.get("owed")),
        "store": {key: _number(value) for key, value in status.get("store", {}).items() if key != "state"},
        "verdict": _word(status.get("verdict", {}).get("state"), STATES),
        "peers": [_peer(peer) for peer in status.get("peers", ())],
        "checks": [{"name": str(one["name"]), "state": _word(one["state"], STATES)} for one in checks],
        "log": _from_log(log),
    }


def _peer(peer: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {key: _number(peer.get(key)) for key in NUMBERS_OF_PEER}
    return {**numbers, **{key: _word(peer.get(key), allowed) for key, allowed in WORDS_OF_PEER.items()}}


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) else None


def _word(value: Any, allowed: Iterable[str]) -> str | None:
    return value if value in allowed else None


def _from_log(log: Path) -> dict[str, Any]:
    """How often each level was logged, and where in this program tracebacks went through."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return {"levels": {}, "frames": []}
    levels: Counter[str] = Counter()
    frames: list[str] = []
    for line in text.splitlines():
        if found := _LEVEL.search(line):
            levels[found[1]] += 1
        if found := _FRAME.search(line):
            frames.append(f"{found[1]}:{found[2]} {found[3]}")
        elif found := _ERROR.match(line):
            frames.append(found[1])
    return {"levels": dict(sorted(levels.items())), "frames": frames[-FRAMES_MAX:]}


def write(path: str, bundle: Mapping[str, Any]) -> None:
    """Write it for this user alone. Raises Failure for a file that is there already."""
    import json

    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        what = f"{path} is there already"
        raise Failure(Fault("exists", what, "nothing is overwritten unasked", (), exits.REFUSED)) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(bundle, file, indent=2)
        file.write("\n")
