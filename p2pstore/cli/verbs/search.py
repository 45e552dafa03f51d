"""search, tag, conflicts, resolve, log: finding things, and who did what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted, StorePath
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits

MS_NS = 1_000_000
WORDS = Converted("text", text.words)


@click.command(cls=Verb)
@click.argument("words", nargs=-1, metavar="[WORD...]", type=WORDS)
@click.option("--tag", "tags", multiple=True, metavar="TAG", type=WORDS, help="With this tag; several: with all.")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", type=WORDS,
    help="file, folder, link; or image, video, audio, document, archive. Several: any of them.",
)  # fmt: skip
@click.option("--larger", metavar="SIZE", type=Converted("size", text.parse_size), help="At least so large: 20M.")
@click.option("--smaller", metavar="SIZE", type=Converted("size", text.parse_size), help="At most so large.")
@click.option("--since", metavar="DATE", type=WORDS, help="Last modified on this day or later: 2026-10-01.")
@click.option("--until", metavar="DATE", type=WORDS, help="Last modified on this day or before.")
@click.option("--conflict", is_flag=True, help="Only what is in a conflict.")
@click.option("--deleted", is_flag=True, help="In the trash.")
@click.option("--on-machine", metavar="NAME", type=WORDS, help="Of which this machine holds something.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=100, show_default=True, metavar="N", help="So many.")
@click.pass_obj
def search(session: Session, /, words: tuple[str, ...], *, limit: int, **filters: Any) -> int:
    """Find files and folders by name, tag, size or time.

    A WORD is found anywhere in a name; with *, ? or [] it must match the whole name. Case does not matter. All words
    and options must hold. The latest changed come first.
    """
    if not words and not any(filters.values()):
        raise click.UsageError("nothing to look for: give a word or an option")
    entries: list[dict[str, Any]] = []
    args = {
        "words": list(words),
        "limit": limit,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in filters.items()},
    }
    result = session.ask("search", args, on_item=lambda page: entries.extend(page["entries"]), unbounded=True)
    if session.plain:
        lines = [f"{one['kind']} {one['size']} {one['mtime_ns']} {text.shown(one['path'])}" for one in entries]
    else:
        lines = text.table(
            [
                [
                    text.size(one["size"]) if one["kind"] == "file" else one["kind"],
                    text.moment(one["mtime_ns"]),
                    text.shown(one["path"]) + ("/" if one["kind"] == "folder" else ""),
                ]
                for one in entries
            ]
        )
    session.show({"entries": entries, "more": result["more"]}, lines)
    if result["more"] and not session.plain:
        session.note(f"there is more: --limit {10 * limit}")
    return exits.DONE


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def tag(ctx: click.Context) -> int:
    """Words on files and folders.

    They stay through renames and edits; all machines see them. Without a command, lists all tags.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _tags(session, {"action": "ls", "path": None})


@tag.command("ls", cls=Verb)
@click.argument("path", metavar="[PATH]", type=StorePath(), required=False)
@click.pass_obj
def tag_ls(session: Session, path: bytes | None) -> int:
    """List the tags of PATH, or all tags and how often they are used."""
    return _tags(session, {"action": "ls", "path": path})


@tag.command("add", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.argument("word", metavar="TAG", type=WORDS)
@click.pass_obj
def tag_add(session: Session, path: bytes, word: str) -> int:
    """Put a tag on PATH."""
    return _tags(session, {"action": "add", "path": path, "word": word})


@tag.command("rm", cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.argument("word", metavar="TAG", type=WORDS)
@click.pass_obj
def tag_rm(session: Session, path: bytes, word: str) -> int:
    """Take a tag off PATH."""
    return _tags(session, {"action": "rm", "path": path, "word": word})


def _tags(session: Session, args: Mapping[str, Any]) -> int:
    result = session.ask("tag", args)
    if args["path"] is not None:
        lines = [text.printable(one["word"]) for one in result["tags"]]
    elif session.plain:
        lines = [f"{one['count']} {text.printable(one['word'])}" for one in result["tags"]]
    else:
        lines = text.table([[f"{one['count']:,}", text.printable(one["word"])] for one in result["tags"]])
    session.show(result, lines)
    return exits.DONE


@click.command(cls=Verb)
@click.pass_obj
def conflicts(session: Session) -> int:
    """List files that were changed in two places at once.

    The version named first keeps the name; the others lie beside it. Nothing is lost either way.
    """
    found: list[dict[str, Any]] = []
    session.ask("conflicts", {}, on_item=lambda page: found.extend(page["conflicts"]), unbounded=True)
    lines: list[str] = []
    for one in found:
        lines.append(text.shown(one["path"]))
        rows = [
            [
                "  " + text.shown(version["name"]),
                version["machine"],
                text.moment(version["when_ms"] * MS_NS),
                text.size(version["size"]) if version["kind"] == "file" else version["kind"],
            ]
            for version in one["versions"]
        ]
        lines += text.table(rows) if not session.plain else [" ".join(row) for row in rows]
    session.show({"conflicts": found}, lines)
    if found and not session.plain:
        session.note("decide with: p2pstore resolve PATH --keep this|other|both")
    return exits.DONE


@click.command(cls=Verb)
@click.argument("path", metavar="PATH", type=StorePath())
@click.option(
    "--keep",
    type=click.Choice(["this", "other", "both"], case_sensitive=False),
    required=True,
    help="this: what PATH shows. other: the other of two. both: as files of their own.",
)
@click.pass_obj
def resolve(session: Session, path: bytes, *, keep: str) -> int:
    """End a conflict.

    What is not kept stays in the history of PATH.
    """
    result = session.ask("resolve", {"path": path, "keep": keep.lower()})
    line = f"resolved {text.shown(result['path'])}: kept {result['kept']} of {result['versions']}"
    session.show(result, [] if session.quiet else [line])
    return exits.DONE


@click.command(cls=Verb)
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--since", metavar="DATE", type=WORDS, help="From this day on: 2026-10-01.")
@click.option("--machine", metavar="NAME", type=WORDS, help="Of this machine only.")
@click.option("-n", "--limit", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="So many.")
@click.option("--verify", is_flag=True, help="Check all signatures and chains; exit 8 if anything is wrong.")
@click.pass_obj
def log(session: Session, /, *, follow: bool, verify: bool, **filters: Any) -> int:
    """Show who did what, when, on which machine.

    Each line is a signed commit that names its author's one before: nobody can change what was without all seeing it.
    """
    if verify:
        return _verify_log(session)
    commits: list[dict[str, Any]] = []

    def take(page: Mapping[str, Any]) -> None:
        if not follow:
            commits.extend(page["commits"])
            return
        for commit in page["commits"]:
            if session.json:
                session.write_json({"type": "commit", **commit})
            else:
                session.write(f"{_log_line(session, commit)}\n")

    result = session.ask("log", {"follow": follow, **filters}, on_item=take, unbounded=True)
    session.show({"commits": commits, "more": result["more"]}, [_log_line(session, commit) for commit in commits])
    return exits.DONE


def _log_line(session: Session, commit: Mapping[str, Any]) -> str:
    deeds = "; ".join(_deed(deed) for deed in commit["deeds"]) or text.count(commit["operations"], "operation")
    if session.plain:
        return f"{commit['when_ms']} {commit['machine']} {commit['hash']} {deeds}"
    return f"{text.moment(commit['when_ms'] * MS_NS)}  {commit['machine']}  {deeds}  ({commit['hash'][:8]})"


def _deed(deed: Mapping[str, Any]) -> str:
    paths = ", ".join(text.shown(one["path"]) for one in deed["paths"])
    more = deed["count"] - len(deed["paths"])
    return f"{deed['change']} {paths}" + (f" and {more:,} more" if more else "")


def _verify_log(session: Session) -> int:
    result = session.ask("log", {"verify": True}, unbounded=True)
    rows = [
        [
            one["machine"],
            f"life {one['life'][:8]}",
            text.count(one["commits"], "commit"),
            f"ends {one['end'][:16]}",
            one["problem"] or "sound",
        ]
        for one in result["writers"]
    ]
    lines = [" ".join(row) for row in rows] if session.plain else text.table(rows)
    session.show(result, lines)
    return exits.DONE if result["sound"] else exits.DAMAGE
