"""gc: what nothing refers to any more, and who must still agree that it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits


@click.command(cls=Verb)
@click.option("--dry-run", is_flag=True, help="Only say what would go, and what waits for whom.")
@click.pass_obj
def gc(session: Session, *, dry_run: bool) -> int:
    """Space that nothing needs any more: what goes, and what waits for whom.

    It is given back by itself: every machine that can read the files looks at its own, signs what nothing refers to,
    and each holder waits seven more days. This looks and signs now. Exit code 0.
    """
    result = session.ask("gc", {"dry_run": dry_run}, unbounded=True)
    session.show({**result, "exit": exits.DONE}, _lines(session, result))
    return exits.DONE


def _lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    if session.plain:
        lines = [f"{key}: {result[key]}" for key in ("stripes", "bytes", "why_not", "purged", "last_failure")]
        for one in result["lists"]:
            days = "" if one["days_left"] is None else f"{one['days_left']:.1f}"
            waits = ",".join(one["waits_for"])
            lines.append(f"list: {one['machine']} {one['stripes']} {one['bytes']} {waits or '-'} {days or '-'}")
        return lines + [f"upload: {one['machine']}" for one in result["uploads"]]
    found = f"{text.count(result['stripes'], 'piece')}, {text.size(result['bytes'])} with parity"
    lines = [f"without a reference, as far as this machine knows: {found}"]
    if result["why_not"]:
        lines.append(f"nothing is signed here now: {result['why_not']}")
    for one in result["lists"]:
        what = f"{text.count(one['stripes'], 'piece')}, {text.size(one['bytes'])}, proposed by {one['machine']}"
        if one["waits_for"]:
            lines.append(f"  {what}: waits for {', '.join(one['waits_for'])}")
        elif one["days_left"] is None:
            lines.append(f"  {what}: all have signed; this machine has yet to meet one of them")
        else:
            lines.append(f"  {what}: all have signed; goes from here in {one['days_left']:.1f} days of running")
    lines += [f"  {one['machine']} is storing files: what it may be about to use stays" for one in result["uploads"]]
    if result["purged"]:
        lines.append(f"gone from here since the daemon started: {text.count(result['purged'], 'piece')}")
    if result["last_failure"]:
        lines.append(f"last difficulty: {result['last_failure']}")
    return lines
