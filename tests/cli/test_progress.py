"""Progress is honest about what is safe, and sparing with the terminal."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.cli.progress import BAR_CELLS, Progress, bar, progress_line
from p2pstore.cli.session import Session

REPORT = {
    "type": "progress", "phase": "sending", "files_total": 4, "bytes_total": 1000, "files_done": 1, "bytes_sent": 740,
    "bytes_safe": 610, "total_known": True, "current": b"a\nb",
}


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_bar_is_full_only_when_all_is_safe(done: float, sent: float) -> None:
    drawn = bar(done, sent)
    assert len(drawn) == BAR_CELLS
    assert (drawn == "█" * BAR_CELLS) == (done == 1)
    assert drawn.rstrip("─").rstrip("▒").rstrip("█") == ""


def line(**changes: Any) -> str:
    return progress_line({**REPORT, **changes}, verb="put", elapsed_s=10.0, ascii_only=True, bars=True)


def test_the_line_tells_sent_from_safe() -> None:
    assert line() == "put  ############==------  61% safe, 74% sent  1 of 4 files  61 B/s  6 s left"


def test_until_the_total_is_known_it_counts() -> None:
    assert line(total_known=False, files_total=12_411) == "put counting... 12,411 files, 1.0 KB"


def test_an_empty_transfer_does_not_divide_by_nothing() -> None:
    assert "100% safe" in line(bytes_total=0, bytes_sent=0, bytes_safe=0)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("how", "paints"), [("auto", 8), ("bar", 8), ("plain", 0), ("none", 0), ("json", 200)])
def test_a_terminal_is_painted_at_most_four_times_a_second(
    how: str, paints: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    session, clock = Session(), iter(range(10**6))
    session.progress = how
    with Progress(session, "put", now=lambda: next(clock) / 100) as progress:
        for _ in range(200):  # two seconds
            progress.take(REPORT)
            progress.take({"type": "other"})
    written = terminal.getvalue()
    assert written.count("files_total" if how == "json" else "% safe") == paints
    assert written.endswith("\r\x1b[K") == (paints == 8)
    assert "a\nb" not in written


def test_a_log_gets_a_line_in_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    clock = iter(range(10**6))
    with Progress(Session(), "get", now=lambda: float(next(clock))) as progress:
        for _ in range(65):
            progress.take(REPORT)
    assert len(log.getvalue().splitlines()) == 6
    assert "\x1b" not in log.getvalue()
