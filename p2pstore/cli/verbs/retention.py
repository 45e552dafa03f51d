"""retention: how long history and trash are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted, StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits
from p2pstore.limits import HISTORY_DAYS_MAX


def days_of(word: str) -> int:
    """Whole days in "90d", "12w", "2y" or "90"; 0 for "forever". Raises ValueError."""
    if word.strip().casefold() == "forever":
        return 0
    number, unit = (word.strip()[:-1], word.strip()[-1:].casefold()) if not word.strip().isdecimal() else (word, "d")
    factor = {"d": 1, "w": 7, "m": 30, "y": 365}.get(unit)
    if factor is None or not number.strip().isdecimal() or not 0 < int(number) * factor <= HISTORY_DAYS_MAX:
        raise ValueError(f"{word!r} is not a time such as 90d, 12w, 2y or forever")
    return int(number) * factor


def quota_of(word: str) -> int | None:
    """Bytes; None for "none". Raises ValueError."""
    return None if word.strip().casefold() == "none" else text.parse_size(word)


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def retention(ctx: click.Context) -> int:
    """How long history and trash are kept.

    30 days where nothing else is said. A rule holds for a folder and everything below it that has no rule of its own.
    Snapshots keep what they show, however old. Without a command, lists the rules.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _retention(session, {"action": "ls"})


@retention.command("ls", cls=Verb)
@click.pass_obj
def retention_ls(session: Session) -> int:
    """List the rules, and how much history there is."""
    return _retention(session, {"action": "ls"})


@retention.command("set", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.argument("time", metavar="TIME", type=Converted("time", days_of))
@click.pass_obj
def retention_set(session: Session, path: bytes, time: int) -> int:
    """Keep old versions of PATH, and of what is below it, for TIME.

    TIME is 90d, 12w, 6m, 2y or forever. All machines know it. What is older goes within a day, for good.
    """
    return _retention(session, {"action": "set", "path": path.rstrip(b"/") or b"/", "days": time})


@retention.command("rm", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.pass_obj
def retention_rm(session: Session, path: bytes) -> int:
    """Take the rule of PATH away: that of the folder above it counts again."""
    return _retention(session, {"action": "rm", "path": path.rstrip(b"/") or b"/"})


@retention.command("quota", cls=Verb)
@click.argument("size", metavar="SIZE|none", type=Converted("size", quota_of))
@click.pass_obj
def retention_quota(session: Session, size: int | None) -> int:
    """Let history take at most SIZE.

    Beyond it, what was superseded first goes first, before its time is over. Nothing younger than 14 days ever goes.
    """
    return _retention(session, {"action": "quota", "bytes": size})


def _retention(session: Session, args: Mapping[str, Any]) -> int:
    result = session.ask("retention", args)
    if args["action"] != "ls" and session.quiet:
        lines: list[str] = []
    elif session.plain:
        lines = [f"{one['days'] or 'forever'} {text.shown(one['path'])}" for one in result["rules"]]
    else:
        rules = result["rules"]
        if not any(one["path"] == b"/" for one in rules):
            rules = [{"path": b"/", "days": result["default_days"]}, *rules]
        lines = text.table([[text.shown(one["path"]), _time(one["days"])] for one in rules])
        size = result["history"]
        kept = [text.count(size["versions"], "old version"), text.count(size["removed"], "removed thing")]
        lines.append(f"kept now: {', '.join(kept)}, {text.size(size['bytes'])}")
        if (quota := result["quota_bytes"]) is not None:
            lines.append(f"at most {text.size(quota)}, but nothing younger than {result['floor_days']} days goes")
    session.show(result, lines)
    return exits.DONE


def _time(days: int) -> str:
    return "for ever" if days == 0 else text.count(days, "day")
