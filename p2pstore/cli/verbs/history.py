"""history, restore, diff, trash, snapshot: what was, and how it comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted, StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits

MS_NS = 1_000_000


@click.command(cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@click.pass_obj
def history(session: Session, path: bytes, *, limit: int | None) -> int:
    """List the versions of a file or folder.

    The newest comes first. Numbers count from the oldest that is known, @1, so a number keeps its meaning when newer
    versions come. PATH@N works in get, cat, ls, diff and restore.
    """
    versions: list[dict[str, Any]] = []
    result = session.ask(
        "history",
        {"path": path, "limit": limit},
        on_item=lambda page: versions.extend(page["versions"]),
        unbounded=True,
    )
    session.show({"path": path, "total": result["total"], "versions": versions}, _history_lines(session, versions))
    return exits.DONE


def _history_lines(session: Session, versions: list[dict[str, Any]]) -> list[str]:
    if session.plain:
        return [
            f"@{one['number']} {one['when_ms']} {one['machine']} {one['change']} {one['kind']} {one['size']}"
            f" {text.shown(one['name'])} {_restorable(one)}{' current' if one['current'] else ''}"
            for one in versions
        ]
    rows = [
        [
            f"@{one['number']}",
            text.moment(one["when_ms"] * MS_NS),
            one["machine"],
            text.size(one["size"]) if one["kind"] == "file" else one["kind"],
            one["change"],
            text.shown(one["name"]),
            "current" if one["current"] else "" if one["restorable"] else _restorable(one),
        ]
        for one in versions
    ]
    return text.table(rows)


def _restorable(version: Mapping[str, Any]) -> str:
    return {True: "restorable", False: "cannot be read now", None: "not looked at"}[version["restorable"]]


@click.command(cls=Verb)
@click.argument("path", metavar="PATH[@VERSION]", type=StorePath())
@click.option("--to", metavar="PATH", type=StorePath(), help="Not where it was: into this folder, or under this name.")
@click.pass_obj
def restore(session: Session, path: bytes, *, to: bytes | None) -> int:
    """Make an old version the newest.

    VERSION is a number of `history`, a date (2026-10-01: as it was at the end of that day) or a snapshot. Without one,
    what was removed is put back. Nothing is lost: what is there now stays in the history.
    """
    result = session.ask("restore", {"path": _without_slash(path), "to": to and _without_slash(to)}, unbounded=True)
    return _show_restored(session, result, "restored")


def _show_restored(session: Session, result: Mapping[str, Any], done: str) -> int:
    code = exits.PARTLY if result["failed"] else exits.DONE
    line = f"{done} {text.shown(result['path'])}: {text.count(result['entries'], 'thing')}"
    if result["same"]:
        line += f", {result['same']:,} were as wanted"
    session.show({**result, "exit": code}, [] if session.quiet else [line])
    for one in result["failed"]:
        session.note(f"  not restored: {text.shown(one['path'])}: {one['what']}")
    return code


@click.command(cls=Verb)
@click.argument("a", metavar="PATH[@VERSION]", type=StorePath())
@click.argument("b", metavar="[PATH[@VERSION]]", type=StorePath(), required=False)
@click.pass_obj
def diff(session: Session, a: bytes, b: bytes | None) -> int:
    """Show what differs between two states.

    With one argument, PATH@VERSION is compared with what is there now. Texts up to 1 MiB are shown line by line; of
    folders what was added (+), removed (-) and changed (~) below them.
    """
    contents = {"a": bytearray(), "b": bytearray()}
    entries: list[dict[str, Any]] = []

    def take(item: Mapping[str, Any]) -> None:
        if "entries" in item:
            entries.extend(item["entries"])
        else:
            contents[item["side"]].extend(item["data"])

    result = session.ask(
        "diff",
        {"a": _without_slash(a), "b": b and _without_slash(b)},
        on_item=take,
        unbounded=True,
    )
    lines = None
    if result["text"]:
        names = [text.shown(result[side]["path"]) + f" ({text.moment(result[side]['mtime_ns'])})" for side in "ab"]
        lines = _unified(bytes(contents["a"]), bytes(contents["b"]), names)
    marks = {"added": "+", "removed": "-", "changed": "~"}
    below = [f"{marks[one['change']]} {text.shown(one['path'])}{'/' * (one['kind'] == 'folder')}" for one in entries]
    shown = {**result, "entries": entries, "lines": lines}
    session.show(shown, [*_metadata_lines(result), *below, *(lines or ())])
    return exits.DONE


def _metadata_lines(result: Mapping[str, Any]) -> list[str]:
    if not result["differs"]:
        return ["no difference"]
    one, other = result["a"], result["b"]
    shows: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "path": lambda side: text.shown(side["path"]),
        "kind": lambda side: side["kind"],
        "size": lambda side: text.size(side["size"]),
        "mtime_ns": lambda side: text.moment(side["mtime_ns"]),
        "mode": lambda side: text.mode(side["kind"], side["mode"]),
    }
    labels = {"mtime_ns": "time"}
    lines = [
        f"{labels.get(name, name)}: {shows[name](one)} -> {shows[name](other)}"
        for name in result["differs"]
        if name in shows
    ]
    if "content" in result["differs"] and not result["text"] and one["kind"] != "folder":
        lines.append("content: differs")
    return lines


def _unified(a: bytes, b: bytes, names: list[str]) -> list[str]:
    """A unified diff, safe on a terminal."""
    import difflib

    lines = [content.decode("utf-8").splitlines() for content in (a, b)]
    found = difflib.unified_diff(lines[0], lines[1], names[0], names[1], lineterm="")
    return [text.printable(line) for line in found]


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def trash(ctx: click.Context) -> int:
    """What was removed, and how to put it back.

    Without a command, lists it.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _list_trash(session, everything=False, limit=None)


@trash.command("ls", cls=Verb)
@click.option("-a", "--all", "everything", is_flag=True, help="What went with its folder as well, line by line.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="The latest N only.")
@click.pass_obj
def trash_ls(session: Session, *, everything: bool, limit: int | None) -> int:
    """List what was removed, the latest first."""
    return _list_trash(session, everything=everything, limit=limit)


def _list_trash(session: Session, *, everything: bool, limit: int | None) -> int:
    entries: list[dict[str, Any]] = []
    result = session.ask(
        "trash",
        {"action": "ls", "all": everything, "limit": limit},
        on_item=lambda page: entries.extend(page["entries"]),
        unbounded=True,
    )
    if session.plain:
        lines = [
            f"{one['when_ms']} {one['machine']} {one['kind']} {one['size']} {text.shown(one['path'])}"
            for one in entries
        ]
    else:
        lines = text.table([_trash_row(one) for one in entries])
        if result["more"]:
            lines.append("...")
    session.show({"entries": entries, "more": result["more"]}, lines)
    return exits.DONE


def _trash_row(one: Mapping[str, Any]) -> list[str]:
    slash = "/" if one["kind"] == "folder" else ""
    size = text.size(one["size"]) if one["kind"] == "file" else one["kind"]
    contents = "  (and what was in it)" if one["with_contents"] else ""
    return [text.moment(one["when_ms"] * MS_NS), one["machine"], size, text.shown(one["path"]) + slash + contents]


@trash.command("put-back", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option("--to", metavar="PATH", type=StorePath(), help="Into this folder, or under this name.")
@click.pass_obj
def trash_put_back(session: Session, path: bytes, *, to: bytes | None) -> int:
    """Put back what was removed last from PATH.

    A folder comes back with what was removed with it.
    """
    args = {"action": "put-back", "path": _without_slash(path), "to": to and _without_slash(to)}
    return _show_restored(session, session.ask("trash", args, unbounded=True), "put back")


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def snapshot(ctx: click.Context) -> int:
    """Names for moments: PATH@NAME is how it was.

    Without a command, lists them.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _snapshots(session, {"action": "ls"}, None)


@snapshot.command("ls", cls=Verb)
@click.pass_obj
def snapshot_ls(session: Session) -> int:
    """List the snapshots, the latest first."""
    return _snapshots(session, {"action": "ls"}, None)


@snapshot.command("create", cls=Verb)
@click.argument("name", type=Converted("name", text.words))
@click.pass_obj
def snapshot_create(session: Session, name: str) -> int:
    """Give this moment a name.

    All machines know it. It costs no space: it is what this machine has seen so far.
    """
    return _snapshots(session, {"action": "create", "name": name}, f"PATH@{name} is how PATH is now")


@snapshot.command("rm", cls=Verb)
@click.argument("name", type=Converted("name", text.words))
@click.pass_obj
def snapshot_rm(session: Session, name: str) -> int:
    """Take a name away again; nothing else changes."""
    return _snapshots(session, {"action": "rm", "name": name}, f"{name} is no snapshot any more")


def _snapshots(session: Session, args: Mapping[str, Any], done: str | None) -> int:
    result = session.ask("snapshot", args)
    if done is not None:
        lines = [] if session.quiet else [text.printable(done)]
    elif session.plain:
        lines = [f"{one['when_ms']} {one['machine']} {text.printable(one['name'])}" for one in result["snapshots"]]
    else:
        lines = text.table(
            [
                [text.moment(one["when_ms"] * MS_NS), one["machine"], text.printable(one["name"])]
                for one in result["snapshots"]
            ]
        )
    session.show(result, lines)
    return exits.DONE


def _without_slash(path: bytes) -> bytes:
    return path.rstrip(b"/") or b"/"
