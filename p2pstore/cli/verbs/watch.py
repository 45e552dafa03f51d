"""watch, and watch add, ls, rm, allow, keep: local folders whose changes are stored as they come."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.paths import LocalFolder, StorePath, WatchedPath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits

_DOUBTS: Final = {
    "device-changed": "another disk is there than before; a disk that is not mounted looks like that",
    "emptied": "another, empty folder is there than before; a disk that is not mounted looks like that",
    "unreadable": "it cannot be read",
    "too-many": "more than 50, and more than a fifth of all",
}


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def watch(ctx: click.Context) -> int:
    """Local folders whose changes are stored as they come.

    Without a command, lists them.
    """
    if ctx.invoked_subcommand is not None:
        return exits.DONE
    session = ctx.find_object(Session)
    assert session is not None
    return _list(session)


@watch.command(cls=Verb)
@click.argument("local", type=LocalFolder())
@click.argument("store", type=StorePath())
@click.option("--ignore", "ignored", metavar="PATTERN", multiple=True, help="Names to pass over: '*.tmp', 'cache'.")
@click.pass_obj
def add(session: Session, *, local: bytes, store: bytes, ignored: tuple[str, ...]) -> int:
    """Store what is in a local folder, and what changes in it from now on.

    What is deleted there goes to the trash of the store, and nothing comes back from the store. It goes on after a
    restart. A PATTERN with a slash is a path below the folder; what systems and editors leave about (.DS_Store,
    Thumbs.db, *.swp) is passed over anyway.
    """
    result = session.ask(
        "watch.add", {"local": local, "target": store, "ignored": list(ignored)}
    )
    lines = [f"{text.shown(result['local'])} is stored in {text.shown(result['target'])} from now on"]
    session.show(result, lines if session.plain else [*lines, "how it stands: p2pstore watch ls"])
    return exits.DONE


@watch.command(cls=Verb)
@click.pass_obj
def ls(session: Session) -> int:
    """List the watched folders, and the deletions that wait for an answer."""
    return _list(session)


def _list(session: Session) -> int:
    result = session.ask("watch")
    session.show(result, watch_lines(session, result["watches"]))
    return exits.DONE


def watch_lines(session: Session, watches: list[Mapping[str, Any]]) -> list[str]:
    """One folder a line, and what is to be said of it below."""
    if session.plain:
        return [
            f"{text.shown(one['local'])} {text.shown(one['target'])} {one['state']} entries {one['entries']}"
            f" waiting {one['waiting']} failed {one['failed_count']}"
            f" missing {one['hold']['missing'] if one['hold'] else 0}"
            for one in watches
        ]
    if not watches:
        return ["no folder is watched; p2pstore watch add FOLDER /STORE"]
    header = ["folder", "store", "state", "entries", "waiting"]
    rows = [
        [*(text.shown(one[key]) for key in ("local", "target")), one["state"], *(f"{one[key]:,}" for key in header[3:])]
        for one in watches
    ]
    lines = text.table([header, *rows])
    for one in watches:
        lines += _remarks(one)
    return lines


def _remarks(one: Mapping[str, Any]) -> list[str]:
    local = text.shown(one["local"])
    lines = []
    if (hold := one["hold"]) is not None:
        where = os.path.join(one["local"], hold["where"]).rstrip(b"/")
        count, verb = text.count(hold["missing"], "path"), "is" if hold["missing"] == 1 else "are"
        typed = shlex.quote(os.fsdecode(one["local"])).encode("utf-8", "backslashreplace").decode("utf-8")
        lines += [
            "",
            f"{local}: {count} {verb} missing of {hold['known']:,}, and still in the store",
            f"  {text.shown(where)}: {_DOUBTS[hold['trouble']]}",
            f"  they were deleted:    p2pstore watch allow {typed}",
            f"  the store keeps them: p2pstore watch keep {typed}",
        ]
    if one["state"] == "absent":
        lines += ["", f"{local} is not there; it is looked for every minute"]
    if one["problem"] is not None:
        lines += ["", f"{local}: {one['problem']}"]
    if one["failed_count"]:
        lines += ["", f"{local}: {text.count(one['failed_count'], 'path')} could not be stored:"]
        lines += [f"  {text.shown(failed['path']) or '.'}: {failed['why']}" for failed in one["failed"]]
    return lines


@watch.command(cls=Verb)
@click.argument("local", type=WatchedPath())
@click.pass_obj
def rm(session: Session, local: bytes) -> int:
    """Watch a folder no more.

    What is stored stays, and so does what lies there.
    """
    result = session.ask("watch.rm", {"local": local})
    where, target = text.shown(result["local"]), text.shown(result["target"])
    session.show(result, [f"{where} is watched no more; what is stored stays in {target}"])
    return exits.DONE


@watch.command(cls=Verb)
@click.argument("local", type=WatchedPath())
@click.pass_obj
def allow(session: Session, local: bytes) -> int:
    """Say that what is missing in a folder was deleted: it goes to the trash."""
    return _answer(session, local, "allow", "to the trash")


@watch.command(cls=Verb)
@click.argument("local", type=WatchedPath())
@click.pass_obj
def keep(session: Session, local: bytes) -> int:
    """Say that what is missing in a folder stays in the store."""
    return _answer(session, local, "keep", "in the store for good")


def _answer(session: Session, local: bytes, answer: str, becomes: str) -> int:
    result = session.ask(f"watch.{answer}", {"local": local})
    count = result["entries"]
    verb = {"allow": "goes" if count == 1 else "go", "keep": "stays" if count == 1 else "stay"}[answer]
    lines = [f"{text.count(count, 'path')} {verb} {becomes}" if count else "nothing waits there"]
    session.show(result, lines)
    return exits.DONE
