"""Progress on standard error: how much was sent, and how much is safe. Full only when all of it is safe.

At most four paints a second on a terminal, one line in ten seconds elsewhere, one JSON object for each report with
--progress=json.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

from p2pstore.cli import text
from p2pstore.cli.session import Session

PAINT_EVERY_S: Final = 0.25
"""People read no faster, and a slow terminal is not flooded."""

LINE_EVERY_S: Final = 10.0
"""For logs."""

BAR_CELLS: Final = 20


def bar(done: float, sent: float, *, cells: int = BAR_CELLS, ascii_only: bool = False) -> str:
    """`cells` characters: full for what is safe, grey for what is sent only, a line for the rest; both parts of 1."""
    full, grey, rest = "#=-" if ascii_only else "█▒─"
    done_cells = min(cells, int(done * cells))
    sent_cells = max(done_cells, min(cells, int(sent * cells)))
    return full * done_cells + grey * (sent_cells - done_cells) + rest * (cells - sent_cells)


def progress_line(report: Mapping[str, Any], *, verb: str, elapsed_s: float, ascii_only: bool, bars: bool) -> str:
    """One report as one line.

    Args:
        report: {files_total, bytes_total, files_done, bytes_sent, bytes_safe, total_known, current}.
        verb: "put" or "get"; what was fetched is "sent" and safe at once.
        elapsed_s: since the start, for rate and time left.
        ascii_only: the terminal has no block characters.
        bars: draw one.
    """
    total, sent = report.get("bytes_total", 0), report.get("bytes_sent", 0)
    if not report.get("total_known", False):
        return f"{verb} counting... {text.count(report.get('files_total', 0), 'file')}, {text.size(total)}"
    safe = report.get("bytes_safe", 0) if verb == "put" else sent
    parts_sent, parts_safe = (sent / total, safe / total) if total else (1.0, 1.0)
    pieces = [verb]
    if bars:
        pieces.append(bar(parts_safe, parts_sent, ascii_only=ascii_only))
    if verb == "put":
        pieces.append(f"{parts_safe:.0%} safe, {parts_sent:.0%} sent")
    else:
        pieces.append(f"{parts_sent:.0%}")
    pieces.append(f"{report.get('files_done', 0):,} of {text.count(report.get('files_total', 0), 'file')}")
    if elapsed_s > 1 and safe:
        rate = safe / elapsed_s
        pieces.append(f"{text.size(int(rate))}/s")
        if total > safe:
            pieces.append(f"{text.age(max(3.0, (total - safe) / rate))} left")
    return "  ".join(pieces)


class Progress:
    """Receives a request's reports and paints some of them. Use it in a `with` block, which clears the line."""

    def __init__(self, session: Session, verb: str, *, now: Callable[[], float] = time.monotonic) -> None:
        self._session = session
        self._verb = verb
        self._now = now
        self._started = self._painted = now()
        self._line_shown = False
        self._how = session.progress
        if self._how == "auto":
            on_terminal = sys.stderr.isatty() and not session.plain
            self._how = "none" if session.quiet or session.json else "bar" if on_terminal else "plain"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._line_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def take(self, report: Any) -> None:
        """One element of the request's stream; others than progress are passed over."""
        if not isinstance(report, Mapping) or report.get("type") != "progress" or self._how == "none":
            return
        if self._how == "json":
            import json

            sys.stderr.write(json.dumps(text.json_ready(dict(report)), separators=(",", ":")) + "\n")
            sys.stderr.flush()
            return
        now = self._now()
        if now - self._painted < (PAINT_EVERY_S if self._how == "bar" else LINE_EVERY_S):
            return
        self._painted = now
        encoding = (sys.stderr.encoding or "ascii").lower().replace("-", "")
        line = progress_line(
            report,
            verb=self._verb,
            elapsed_s=now - self._started,
            ascii_only=encoding != "utf8",
            bars=self._how == "bar",
        )
        if self._how == "plain":
            sys.stderr.write(line + "\n")
        else:
            width = shutil.get_terminal_size().columns
            room = width - len(line) - 3
            current = text.shown(report.get("current") or b"")
            if current and room > 8:
                line += "  " + (current if len(current) <= room else "..." + current[3 - room :])
            sys.stderr.write("\r" + line[: width - 1] + "\x1b[K")
            self._line_shown = True
        sys.stderr.flush()
