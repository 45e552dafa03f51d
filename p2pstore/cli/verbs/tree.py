"""ls, tree, mkdir, mv, rm, where: names in the store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits


@click.command(cls=Verb)
@click.argument("path", metavar="[PATH]", type=StorePath(), default="/")
@click.option("-l", "--long", "detailed", is_flag=True, help="Mode, size and time as well.")
@click.option("-a", "--all", "everything", is_flag=True, help="Names that begin with a dot as well.")
@click.pass_obj
def ls(session: Session, path: bytes, *, detailed: bool, everything: bool) -> int:
    """List a folder."""
    entries = _entries(session, "ls", {"path": path, "all": everything, "long": detailed})
    if detailed and not session.plain:
        rows = [
            [text.mode(one["kind"], one["mode"]), text.size(one["size"]), text.moment(one["mtime_ns"]), _label(one)]
            for one in entries
        ]
        lines = text.table(rows)
    elif detailed:
        lines = [
            f"{one['kind']} {text.mode(one['kind'], one['mode'])} {one['size']} {one['mtime_ns']} {_label(one)}"
            for one in entries
        ]
    else:
        lines = [_label(one, target=False) for one in entries]
    session.show({"path": path, "entries": entries}, lines)
    return exits.DONE


@click.command(cls=Verb)
@click.argument("path", metavar="[PATH]", type=StorePath(), default="/")
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="No deeper than so many folders.")
@click.pass_obj
def tree(session: Session, path: bytes, *, depth: int | None) -> int:
    """List a folder and all below it."""
    entries = _entries(session, "tree", {"path": path, "depth": depth})
    base = path.rstrip(b"/").count(b"/")
    lines = [] if session.plain else [text.shown(path)]
    for one in entries:
        if session.plain:
            lines.append(text.shown(one["path"]) + ("/" if one["kind"] == "folder" else ""))
        else:
            level = one["path"].rstrip(b"/").count(b"/") - base
            lines.append("  " * level + _label({**one, "name": one["path"].rpartition(b"/")[2]}))
    if not session.plain:
        folders = sum(one["kind"] == "folder" for one in entries)
        files = len(entries) - folders
        total = sum(one["size"] for one in entries if one["kind"] == "file")
        lines.append(f"{text.count(folders, 'folder')}, {text.count(files, 'file')}, {text.size(total)}")
    session.show({"path": path, "entries": entries}, lines)
    return exits.DONE


@click.command(cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option("-p", "--parents", is_flag=True, help="Make missing parents too; fine if it exists.")
@click.pass_obj
def mkdir(session: Session, path: bytes, *, parents: bool) -> int:
    """Make a folder."""
    path = path.rstrip(b"/") or b"/"
    session.ask("mkdir", {"path": path, "parents": parents})
    session.show({"path": path}, [f"made {text.shown(path)}"] if not session.quiet else [])
    return exits.DONE


@click.command(cls=Verb)
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=StorePath())
@click.argument("destination", metavar="DST", type=StorePath())
@click.pass_obj
def mv(session: Session, sources: tuple[bytes, ...], destination: bytes) -> int:
    """Move or rename.

    Into DST if it is a folder, under the name DST otherwise. No bytes move.
    """
    target = destination.rstrip(b"/") or b"/"
    args = {
        "sources": [source.rstrip(b"/") or b"/" for source in sources],
        "destination": target,
        "into": len(sources) > 1 or destination.endswith(b"/"),
    }
    result = session.ask("mv", args) or {}
    moved = result.get("entries", len(sources))
    line = f"moved {text.count(moved, 'thing')} to {text.shown(target)}"
    session.show({"entries": moved, "destination": target}, [line] if not session.quiet else [])
    return exits.DONE


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=StorePath())
@click.option("-r", "--recursive", is_flag=True, help="Folders with all below them.")
@click.pass_obj
def rm(session: Session, paths: tuple[bytes, ...], *, recursive: bool) -> int:
    """Remove.

    Removed files go to the trash: their bytes are not given up at once.
    """
    result = session.ask("rm", {"paths": [path.rstrip(b"/") or b"/" for path in paths], "recursive": recursive})
    line = f"removed {text.count(result['entries'], 'thing')}"
    session.show(result, [line] if not session.quiet else [])
    return exits.DONE


@click.command(cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.pass_obj
def where(session: Session, path: bytes) -> int:
    """Show which machine holds what of a file."""
    result = session.ask("where", {"path": path})
    session.show({"path": path, **result}, _where_lines(session, result))
    return exits.DONE


def _where_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    names = ", ".join(result["commit_on"]) or "no other machine"
    lines = [f"name and contents' list: on {names}"]
    if result["inline"]:
        lines.append("the bytes are stored beside the name (a small file)")
    for chunk in result["chunks"]:
        if session.plain:
            lines += [
                f"chunk {chunk['index']} shard {one['index']} {one['peer']} {one['state']} {_checked(one)}"
                for one in chunk["shards"]
            ]
            continue
        shards = len(chunk["shards"])
        lines.append(
            f"chunk {chunk['index']}, {text.size(chunk['length'])} from byte {chunk['offset']:,}:"
            f" any {chunk['needed']} of {shards} rebuild it ({chunk['encoding'][:8]})"
        )
        rows = [[f"  {one['index']}", one["peer"], one["state"], _checked(one)] for one in chunk["shards"]]
        lines += text.table(rows)
    return lines


def _checked(shard: Mapping[str, Any]) -> str:
    verified_at = shard.get("verified_at")
    return "never checked" if not verified_at else "checked " + text.moment(int(verified_at * 1e9))


def _entries(session: Session, op: str, args: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    session.ask(op, args, on_item=lambda page: entries.extend(page["entries"]), unbounded=True)
    return entries


def _label(entry: Mapping[str, Any], *, target: bool = True) -> str:
    label = text.shown(entry["name"])
    if entry["kind"] == "folder":
        label += "/"
    elif entry["kind"] == "link" and target and entry.get("target") is not None:
        label += " -> " + text.shown(entry["target"])
    return label + ("  (conflict)" if entry.get("conflict") else "")
