"""A report as one page that needs nothing else: the text, and plots over time as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from simulations.history import History
from simulations.report import report
from simulations.run import Result

WIDTH: Final = 720
HEIGHT: Final = 120

PLOTS: Final = (
    ("states", "Convergence: how many different states the running machines have seen (1: all are equal)"),
    ("margin", "Durability: how many more losses the worst stripe survives"),
    ("repaired_bytes", "Repair: bytes rebuilt since the beginning"),
    ("running", "Machines that run"),
)

STYLE: Final = "body{font:15px sans-serif;max-width:60em;margin:2em auto}pre{background:#f4f4f4;padding:1em}"


def page(result: Result, *, replay: str) -> str:
    """HTML; `replay` is the command that runs the same again."""
    title = escape(f"{result.plan.name}, seed {result.plan.seed}")
    plots = "\n".join(f"<h2>{escape(about)}</h2>\n{_plot(result.history, name)}" for name, about in PLOTS)
    text = escape(report(result, replay=replay))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body><pre>{text}</pre>\n{plots}\n</body></html>\n'


def _plot(history: History, name: str) -> str:
    values: Sequence[float] = getattr(history, name)
    if len(values) < 2:
        return "<p>Too short for a plot.</p>"
    low, high = min(0, *values), max(1, *values)
    begin_s, end_s = history.at_s[0], history.at_s[-1]
    points = []
    for at_s, value in zip(history.at_s, values, strict=True):
        x = WIDTH * (at_s - begin_s) / max(1e-9, end_s - begin_s)
        y = HEIGHT * (1 - (value - low) / (high - low))
        points.append(f"{x:.1f},{y:.1f}")
    line = f'<polyline fill="none" stroke="#0a5" stroke-width="1.5" points="{" ".join(points)}"/>'
    labels = f'<text x="4" y="12">{high:,}</text><text x="4" y="{HEIGHT - 4}">{low:,}</text>'
    size = f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}"'
    frame = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#ccc"/>'
    hours = f"<p>{begin_s / 3600:.1f} to {end_s / 3600:.1f} hours</p>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-size="11">{frame}{line}{labels}</svg>{hours}'
