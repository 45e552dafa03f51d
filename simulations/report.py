"""What came of a run, on one screen, with the line that plays it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from simulations.run import Result

FAULTS_SHOWN: Final = 14
VIOLATIONS_SHOWN: Final = 6
SPARKS: Final = 40
BARS: Final = "▁▂▃▄▅▆▇█"


def report(result: Result, *, replay: str) -> str:
    """The report as text; `replay` is the command that runs the same again."""
    plan, figures = result.plan, result.figures
    hours = figures.get("virtual_s", 0.0) / 3600
    lines = [
        f"{plan.name}, seed {plan.seed}: {'every invariant held' if result.held else 'VIOLATED'}",
        "",
        f"  {len(plan.machines)} machines, {hours:.1f} h of virtual time in {figures.get('cpu_s', 0.0):.1f} s of CPU"
        + (f"; liveness run, core {', '.join(map(str, plan.core))}" if plan.core else ""),
        f"  people    {_counts(result.done)}",
        f"  refused   {_counts(result.failed)}",
        f"  faults    {_counts(result.happened)}",
    ]
    sent = f"{figures.get('messages', 0):,.0f} messages, {figures.get('bytes', 0) / 1e6:.1f} MB"
    lines.append(f"  network   {sent}, {figures.get('datagrams', 0):,.0f} datagrams")
    if "equal_after_s" in figures:
        lines.append(f"  healed    equal everywhere {figures['equal_after_s']:.0f} s after the last fault ended")
    if "files_read" in figures:
        lines.append(f"  read      {figures['files_read']:,.0f} files, on all machines, byte by byte")
    if "idle_bytes_per_minute_per_peer" in figures:
        idle_kb = figures["idle_bytes_per_minute_per_peer"] / 1000
        lines.append(f"  idle      {idle_kb:.1f} kB a minute sent by each machine")
    history = result.history
    if len(history.at_s) > 1:
        most = max(history.states)
        lines.append(f"  states    {sparkline(history.states)}  different ones at most {most}")
        lines.append(
            f"  margin    {sparkline(history.margin)}  losses that the worst stripe survives, least"
            f" {min(history.margin)}"
        )
        lines.append(
            f"  repair    {sparkline(history.repaired_bytes)}  {history.repaired_bytes[-1] / 1e6:.1f} MB rebuilt"
        )
    lines.append(f"  digest    {result.digest}")
    if not result.held:
        lines.append("")
        shown, bugs = result.violations[:VIOLATIONS_SHOWN], result.bugs[:VIOLATIONS_SHOWN]
        lines += [f"  {each.at_s:9.1f} s  {each.invariant}: {each.what}" for each in shown]
        lines += [f"  {each.at_s:9.1f} s  machine {each.machine}: {each.what}" for each in bugs]
        lines.append("")
        lines += [f"  {fault}" for fault in plan.faults[:FAULTS_SHOWN]]
        if len(plan.faults) > FAULTS_SHOWN:
            lines.append(f"  and {len(plan.faults) - FAULTS_SHOWN} more faults")
    lines += ["", f"  again: {replay}"]
    return "\n".join(lines)


def sparkline(values: Sequence[float], *, width: int = SPARKS) -> str:
    """A line of bars; where several values share a bar, the highest is shown."""
    if not values:
        return ""
    width = min(width, len(values))
    bars = [max(values[len(values) * at // width : len(values) * (at + 1) // width]) for at in range(width)]
    low, high = min(values), max(values)
    return "".join(BARS[round((len(BARS) - 1) * (bar - low) / (high - low or 1))] for bar in bars)


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "-"
