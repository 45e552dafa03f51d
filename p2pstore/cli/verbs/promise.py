"""promise: what folders promise to survive, and what that costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.paths import StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits

MEANS: Final = {
    "any-1": "any one machine may fail",
    "any-2": "any two machines may fail",
    "house": "any one machine or any one house may fail",
    "any-2+house": "any two machines or any one house may fail",
}


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def promise(ctx: click.Context) -> int:
    """What folders promise to survive, and what that costs.

    any-1: any one machine. any-2: any two. house: all machines of any one site, and so any one machine. Joined by +:
    both. A promise holds for a folder and everything below it that has none of its own. Without a command, lists them.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _promises(session, {"action": "ls"})


@promise.command("ls", cls=Verb)
@click.pass_obj
def promise_ls(session: Session) -> int:
    """List what folders promise, and how far older files are brought to it."""
    return _promises(session, {"action": "ls"})


@promise.command("set", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.argument("word", metavar="any-1|any-2|house|any-1+house")
@click.pass_obj
def promise_set(session: Session, path: bytes, word: str) -> int:
    """Promise for everything in the folder PATH.

    All machines know it. What is there already is brought to it by adding parity. A lower promise holds for what comes;
    it drops nothing. Exit code 6 when it cannot be kept on the machines at hand: then everything is stored as safely as
    they allow.
    """
    return _promises(session, {"action": "set", "path": path.rstrip(b"/") or b"/", "promise": word})


@promise.command("rm", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.pass_obj
def promise_rm(session: Session, path: bytes) -> int:
    """Take the promise of PATH away: that of the folder above it holds again, for what comes."""
    return _promises(session, {"action": "rm", "path": path.rstrip(b"/") or b"/"})


def _promises(session: Session, args: Mapping[str, Any]) -> int:
    result = session.ask("promise", args)
    promises = result["promises"]
    if session.plain:
        lines = [f"{one['promise']} {text.shown(one['path'])}" for one in promises]
    elif args["action"] != "ls" and session.quiet:
        lines = []
    else:
        shown = promises
        if not any(one["path"] == b"/" for one in promises):
            root = {"path": b"/", "promise": result["default"], "possible": True, "behind": 0, "unknown": 0}
            shown = [root, *promises]
        lines = text.table([[text.shown(one["path"]), one["promise"], _state(one)] for one in shown])
    mine = [one for one in promises if one["path"] == args.get("path")]
    code = exits.TOO_FEW_MACHINES if any(not one["possible"] for one in mine) else exits.DONE
    session.show({**result, "exit": code}, lines)
    return code


def _state(one: Mapping[str, Any]) -> str:
    means = MEANS.get(one["promise"], "")
    if not one["possible"]:
        return f"{means}; not possible on the machines at hand: p2pstore promise plan {text.shown(one['path'])}"
    if one["behind"] is None:
        return f"{means}; older files are being looked at"
    if one["behind"] or one["unknown"]:
        return f"{means}; {text.count(one['behind'] + one['unknown'], 'piece')} still to be brought to it"
    return means


@promise.command("plan", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option("--promise", "word", metavar="PROMISE", help="As if PATH promised this.")
@click.option("--dry-run", is_flag=True, help="Changes nothing; neither does it without.")
@click.pass_obj
def promise_plan(session: Session, path: bytes, word: str | None, *, dry_run: bool) -> int:
    """How what is put into PATH now is stored: who holds what, what it costs, how much fits.

    Also what one more disk or one more site would add. Exit code 6 when the promise cannot be kept.
    """
    del dry_run  # a plan never changes anything; the option says so to whoever looks for it
    args = {"path": path.rstrip(b"/") or b"/", "promise": word}
    result = session.ask("promise.plan", args, unbounded=True)
    code = exits.DONE if result["kept"] else exits.TOO_FEW_MACHINES
    session.show({**result, "exit": code}, _plan_lines(session, result))
    return code


def _plan_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    if session.plain:
        keys = ("promise", "kept", "needed", "total", "bytes_per_byte", "reads", "usable_bytes", "free_bytes")
        lines = [f"{key}: {result[key]}" for key in keys]
        lines += [f"holder: {one['shards']} {one['site']} {one['name']}" for one in result["holders"]]
        lines += [f"missing: {one['part']}: {one['wanted']}" for one in result["missing"]]
        return lines + [f"more: {one['what']} {one['bytes']} {one['usable_bytes']}" for one in result["more"]]
    lines = [f"{text.shown(result['path'])} promises {result['promise']}: survives the loss of {result['failures']}"]
    for one in result["missing"]:
        lines.append(f"  not possible now: {one['part']}, because {one['because']}; it takes {one['wanted']}")
    if not result["holders"]:
        return lines
    lines.append(
        f"  any {result['needed']} of {result['total']} shards rebuild a piece; {result['bytes_per_byte']:.2f} bytes"
        f" stored for each; readable {100 * result['reads']:.1f} % of the time"
    )
    rows = [[f"  {one['name']}", one["site"], text.count(one["shards"], "shard")] for one in result["holders"]]
    lines += text.table(rows)
    lines.append(f"  room for {text.size(result['usable_bytes'])} of files in {text.size(result['free_bytes'])}")
    for one in result["more"]:
        what = f"a disk of {text.size(one['bytes'])} in {one['where']}"
        if one["what"] == "site":
            what = f"a machine of {text.size(one['bytes'])}, always on, at {one['where']}"
        lines.append(f"  with {what}: {text.size(one['usable_bytes'])}")
    return lines
