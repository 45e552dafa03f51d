"""What every verb is given: the global flags, a connection to the daemon, and one way to show results."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

    from p2pstore.control.blocking import Client
    from p2pstore.control.faults import Fault

REPLY_TIMEOUT_S: Final = 30.0
"""For requests that do no bulk work; a busy daemon answers within a second."""

_COLOURS: Final = {"safe": "36", "thin": "33", "risk": "31", "lost": "31;1", "unknown": "35", "error": "31;1"}


class Session:
    """One run of the command line.

    Attributes:
        json: one JSON object on standard output instead of text.
        plain: one fact on each line, no colour, no drawing.
        yes: do not ask.
        quiet: results and errors only.
        verbose: more detail.
        no_color: no colour, whatever the terminal can.
        timeout_s: for the request, or None for each verb's own.
        progress: "auto", "bar", "plain", "json" or "none".
    """

    def __init__(self) -> None:
        self.home_given: str | None = os.environ.get("P2PSTORE_HOME") or None
        self.json = False
        self.plain = False
        self.yes = False
        self.quiet = False
        self.verbose = False
        self.no_color = False
        self.timeout_s: float | None = None
        self.progress = "auto"

    @property
    def home(self) -> Path:
        """The household's folder on this machine."""
        from pathlib import Path

        if self.home_given is not None:
            return Path(self.home_given).absolute()
        from p2pstore.control.paths import default_home

        return default_home()

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked."""
        return not (self.json or self.yes) and sys.stdin.isatty() and sys.stderr.isatty()

    def connect(self, *, timeout_s: float | None = None) -> Client:
        """A connection to the daemon. Raises Failure, which says what to type."""
        from p2pstore.control.blocking import CONNECT_TIMEOUT_S, Client

        limits = [limit for limit in (timeout_s, self.timeout_s, CONNECT_TIMEOUT_S) if limit is not None]
        return Client.connect(self.home, timeout_s=min(limits))

    def ask(
        self,
        op: str,
        args: Mapping[str, Any] | None = None,
        *,
        on_item: Callable[[Any], object] | None = None,
        upload: int | None = None,
        unbounded: bool = False,
    ) -> Any:
        """Ask the daemon and return its result; with `unbounded`, only --timeout limits it."""
        limit = self.timeout_s if unbounded or self.timeout_s is not None else REPLY_TIMEOUT_S
        with self.connect() as client:
            return client.call(op, args, on_item=on_item, upload=upload, timeout_s=limit)

    def show(self, result: Mapping[str, Any], lines: Iterable[str]) -> None:
        """The verb's result: `result` with --json, else `lines` as text."""
        if self.json:
            self.write_json({"type": "result", **result})
        else:
            self.write("".join(f"{line}\n" for line in lines))

    def write_json(self, value: Mapping[str, Any]) -> None:
        """One object on one line of standard output."""
        import json

        from p2pstore.cli.text import json_ready

        self.write(json.dumps(json_ready(dict(value)), separators=(",", ":")) + "\n")

    def write(self, text: str) -> None:
        """To standard output."""
        sys.stdout.write(text)
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """A line for people beside the result, on standard error; not with --quiet or --json."""
        if not (self.quiet or self.json):
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    def complain(self, fault: Fault) -> None:
        """What, why, and what to type: one object on standard output with --json, else text on standard error."""
        if self.json:
            self.write_json({"type": "error", **fault.to_wire()})
            return
        if self.plain:
            lines = [f"error: {fault.what}"]
            lines += [f"why: {fault.why}"] if fault.why else []
            lines += [f"fix: {command}" for command in fault.fix]
        else:
            lines = [f"{self.paint('p2pstore:', 'error', stream=sys.stderr)} {fault.what}."]
            lines += [f"  why:  {fault.why}"] if fault.why else []
            lines += [f"  {'type: ' if i == 0 else '      '}{command}" for i, command in enumerate(fault.fix)]
        sys.stderr.write("\n".join(lines).encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stderr.flush()

    def paint(self, text: str, colour: str, *, stream: Any = None) -> str:
        """`text` in a colour, where the terminal and the person want one."""
        stream = stream or sys.stdout
        wanted = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        if os.environ.get("FORCE_COLOR"):
            wanted = True
        if self.no_color or self.plain or self.json or not wanted:
            return text
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"
