"""put, get, cat: bytes into the store and out of it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted, StorePath, local_path, local_source
from p2pstore.cli.progress import Progress
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.store_paths import store_path

CAT_JSON_BYTES_MAX: Final = 64 * 1024 * 1024
"""`cat --json` holds the bytes in memory, in base64; larger files are for `get`."""

FAILED_SHOWN_MAX: Final = 20
"""Failed files that are listed on a terminal; --json and -v list all."""


def _put_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from p2pstore.cli import completing

    return list(completing.put_words(ctx, param, incomplete))


def _get_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
    from p2pstore.cli import completing

    return list(completing.get_words(ctx, param, incomplete))


@click.command(cls=Verb)
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", shell_complete=_put_words)
@click.argument("destination", metavar="DST", type=StorePath())
@click.option("-r", "--recursive", is_flag=True, help="Store folders with all below them.")
@click.option(
    "--ack",
    type=click.Choice(["here", "placed", "safe"]),
    default="safe",
    show_default=True,
    help="Return when all is durable here, readable without this machine, or as safe as promised.",
)
@click.option("--wait", is_flag=True, help="Wait for that level for ever, not only while there is progress.")
@click.pass_obj
def put(
    session: Session, sources: tuple[str, ...], destination: bytes, *, recursive: bool, ack: str, wait: bool
) -> int:
    """Store files and folders.

    Where things land follows cp: into DST if it is a folder, under the name DST otherwise. "-" is standard input.
    """
    args: dict[str, Any] = {
        "destination": destination.rstrip(b"/") or b"/",
        "recursive": recursive,
        "ack": ack,
        "wait": wait,
        "into": len(sources) > 1 or destination.endswith(b"/"),
    }
    upload = None
    if sources == ("-",):
        if args["into"]:
            raise click.UsageError("standard input has no name: DST must be a file's path, without '/' at its end")
        args["stdin"] = True
        upload = sys.stdin.fileno()
    elif "-" in sources:
        raise click.UsageError("standard input ('-') is stored by itself; ./- is a file of that name")
    else:
        args["sources"] = [local_source(source) for source in sources]
    with Progress(session, "put") as progress:
        result = session.ask("put", args, on_item=progress.take, upload=upload, unbounded=True)
    code = put_exit(result)
    session.show({**result, "exit": code}, put_lines(session, result))
    _list_failed(session, result)
    return code


def put_exit(result: Mapping[str, Any]) -> int:
    """3 if something was not stored, else 6 if something is stored below the level asked for, else 0."""
    failed = result["failed"]
    if failed:
        return exits.PARTLY if result["files"] else _shared_exit(failed)
    return exits.TOO_FEW_MACHINES if result["below_level"] else exits.DONE


def put_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    """What was stored, and how safely."""
    if session.plain:
        keys = ("files", "bytes", "level", "state", "sentence", "seconds", "below_level")
        return [f"{key}: {result[key]}" for key in keys] + [f"failed: {len(result['failed'])}"]
    rate = f", {text.size(int(result['bytes'] / result['seconds']))}/s" if result["seconds"] > 0 else ""
    first = (
        f"stored {text.count(result['files'], 'file')}, {text.size(result['bytes'])}"
        f" in {result['seconds']:.1f} s{rate}: {session.paint(result['state'], _colour(result['state']))}"
    )
    lines = [first]
    if result["sentence"]:
        lines.append(result["sentence"])
    if result["below_level"]:
        below = text.count(result["below_level"], "file")
        lines.append(f"{below} below the level asked for; reached: {result['level']}")
        lines.append("  the daemon goes on placing; watch: p2pstore safe")
    return lines


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, required=True, metavar="SRC... [DST]", shell_complete=_get_words)
@click.option("-r", "--recursive", is_flag=True, help="Fetch folders with all below them.")
@click.option("--verify", is_flag=True, help="Read back and compare what was written to this disk.")
@click.pass_obj
def get(session: Session, paths: tuple[str, ...], *, recursive: bool, verify: bool) -> int:
    """Fetch files and folders.

    Where things land follows cp: into DST if it is a folder, under the name DST otherwise; without DST, here. "-" is
    standard output. A file appears under its name only when it is whole.
    """
    sources, destination = (paths[:-1], paths[-1]) if len(paths) > 1 else (paths, ".")
    try:
        store_sources = [store_path(source) for source in sources]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if destination == "-":
        if len(sources) > 1:
            raise click.UsageError("only one file can be written to standard output")
        return _write_out(session, store_sources[0], 0, None)
    args = {
        "sources": store_sources,
        "destination": local_path(destination),
        "recursive": recursive,
        "verify": verify,
        "into": len(sources) > 1 or destination.endswith("/") or destination == ".",
    }
    with Progress(session, "get") as progress:
        result = session.ask("get", args, on_item=progress.take, unbounded=True)
    code = get_exit(result)
    session.show({**result, "exit": code}, get_lines(session, result))
    _list_failed(session, result)
    return code


def get_exit(result: Mapping[str, Any]) -> int:
    """7 if any data cannot be read, else 3 if something else was not fetched (4 if all of it is not there), else 0."""
    failed = result["failed"]
    if any(one["code"] == "unreadable" for one in failed):
        return exits.UNREADABLE
    if failed:
        return exits.PARTLY if result["files"] else _shared_exit(failed)
    return exits.DONE


def get_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    """What was fetched."""
    if session.plain:
        return [f"{key}: {result[key]}" for key in ("files", "bytes", "seconds")] + [f"failed: {len(result['failed'])}"]
    rate = f", {text.size(int(result['bytes'] / result['seconds']))}/s" if result["seconds"] > 0 else ""
    files = text.count(result["files"], "file")
    return [f"fetched {files}, {text.size(result['bytes'])} in {result['seconds']:.1f} s{rate}"]


@click.command(cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option(
    "--range",
    "part",
    metavar="RANGE",
    type=Converted("range", text.parse_range),
    help="START-END (both included), START- or OFFSET+LENGTH, in bytes.",
)
@click.pass_obj
def cat(session: Session, path: bytes, *, part: tuple[int, int | None] | None) -> int:
    """Write a file to standard output."""
    offset, length = part or (0, None)
    return _write_out(session, path, offset, length)


def _write_out(session: Session, path: bytes, offset: int, length: int | None) -> int:
    args = {"path": path, "offset": offset, "length": length}
    if session.json:
        return _show_content(session, args)
    session.ask("cat", args, on_item=lambda item: sys.stdout.buffer.write(item["data"]), unbounded=True)
    return exits.DONE


def _show_content(session: Session, args: Mapping[str, Any]) -> int:
    import base64

    content = bytearray()

    def take(item: Mapping[str, Any]) -> None:
        content.extend(item["data"])
        if len(content) > CAT_JSON_BYTES_MAX:
            why = f"--json holds it in memory, at most {text.size(CAT_JSON_BYTES_MAX)}"
            raise Failure(Fault("too-large", "this file is too large for --json", why, ("p2pstore get SRC DST",), 2))

    session.ask("cat", args, on_item=take, unbounded=True)
    encoded = base64.b64encode(content).decode("ascii")
    result = {"path": args["path"], "offset": args["offset"], "bytes": len(content), "base64": encoded}
    session.show(result, ())
    return exits.DONE


def _shared_exit(failed: list[Mapping[str, Any]]) -> int:
    """The exit code of a request of which nothing succeeded."""
    by_code = {
        "not-found": exits.NOT_FOUND,
        "unreadable": exits.UNREADABLE,
        "full": exits.FULL,
        "not-allowed": exits.NOT_ALLOWED,
        "exists": exits.REFUSED,
    }
    codes = {by_code.get(one["code"], exits.PARTLY) for one in failed}
    return codes.pop() if len(codes) == 1 else exits.PARTLY


def _list_failed(session: Session, result: Mapping[str, Any]) -> None:
    failed = result["failed"]
    if session.json or not failed:
        return
    shown = failed if session.verbose or session.plain else failed[:FAILED_SHOWN_MAX]
    lines = [f"{text.count(len(failed), 'file')} failed:"] if not session.plain else []
    for one in shown:
        why = f" ({one['why']})" if one.get("why") else ""
        mark = "failed: " if session.plain else "  "
        lines.append(f"{mark}{text.shown(one['path'])}: {one['what']}{why}")
    if len(failed) > len(shown):
        lines.append(f"  and {len(failed) - len(shown):,} more; -v lists all")
    sys.stderr.write("\n".join(lines) + "\n")


def _colour(state: str) -> str:
    return state if state in exits.VERDICTS else "unknown"
