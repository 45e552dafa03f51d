"""safe, repair, scrub, test-restore, peers can-leave: is it safe, what is done about it, and is that true."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.cli.verbs.overview import verdict_line
from p2pstore.control import exits

WORDS: Final = {
    "answers": "answers",
    "asleep": "silent, within its grace: counted",
    "overdue": "not heard for longer than this machine can judge: not counted, nothing is rebuilt",
    "patience": "silent beyond its grace, but so are others: it may be our own link; waited for",
    "gone": "silent beyond its grace: rebuilt elsewhere",
    "removed": "removed: rebuilt elsewhere",
}
"""What the standings of machines mean."""

CAUSES: Final = {"removed": "a machine was removed", "silent": "a machine is gone", "lost": "a shard is missing"}


# --- safe -----------------------------------------------------------------------------------------------------------


@click.command(cls=Verb)
@click.option("--what-if", "what_if", metavar="NAME[,NAME]", help="If these were lost now: machines, or site:SITE.")
@click.option("--worst", type=click.IntRange(0, 1000), default=0, metavar="N", help="The pieces that bear least.")
@click.pass_obj
def safe(session: Session, *, what_if: str | None, worst: int) -> int:
    """Is my data safe right now?

    Exit code 0 safe, 20 thin, 21 risk, 22 lost, 23 unknown; with --what-if that of what would be left.
    """
    names = [name for name in (what_if or "").split(",") if name]
    result = session.ask("safe", {"what_if": names, "worst": worst}, unbounded=bool(worst or names))
    decisive = result["what_if"] or result
    code = exits.VERDICTS.get(decisive["state"], exits.UNKNOWN)
    session.show({**result, "exit": code}, _safe_lines(session, result))
    return code


def _safe_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    counts, drill, what_if = result["counts"], result["test_restore"], result["what_if"]
    if session.plain:
        lines = [f"verdict: {result['state']}", f"sentence: {result['sentence']}"]
        lines += [f"files_{key}: {value}" for key, value in counts.items()]
        lines += [f"folder: {_folder(one)}" for one in result["folders"]]
        if what_if:
            lines += [f"what_if: {what_if['state']}", f"what_if_sentence: {what_if['sentence']}"]
        lines += [f"worst: {_worst(one)}" for one in result["worst"]]
        if drill:
            lines.append(f"test_restore: {drill['files']} files, {drill['failed_count']} failed, at {drill['at']:.0f}")
        lines.append(f"scrubbed: {result['scrubbed'] or 'never'}")
        audits = result["audits"]
        return [*lines, f"audits: {audits['proven']} proven, last {audits['at'] or 'never'}, failed {audits['failed']}"]
    lines = [verdict_line(session, result)]
    if counts:
        lines.append("  " + ", ".join(f"{value:,} {key}" for key, value in counts.items()))
    lines += [f"  {_folder(one)}" for one in result["folders"]]
    if what_if:
        lines.append(verdict_line(session, what_if))
    lines += [f"  {_worst(one)}" for one in result["worst"]]
    if drill is None:
        lines.append("  never test-restored: p2pstore test-restore")
    elif drill["failed_count"]:
        lines.append(f"  the last test restore ({_date(drill['at'])}) failed for {drill['failed_count']:,}")
    else:
        lines.append(f"  test-restored {_date(drill['at'])}: {text.count(drill['files'], 'file')}")
    lines.append(f"  this machine's shards were last all read {_date(result['scrubbed'])}")
    lines.append(f"  other machines last proved a shard to this one {_date(result['audits']['at'])}")
    failed = result["audits"]["failed"]
    lines += [f"  {name} could not prove a shard it says it has: look at its disk" for name in failed]
    return lines


def _folder(folder: Mapping[str, Any]) -> str:
    path = folder.get("path", b"")
    name = text.shown(path) if isinstance(path, bytes) else str(path)
    return f"{name} {folder.get('state', '')} {folder.get('sentence', '')}".rstrip()


def _worst(one: Mapping[str, Any]) -> str:
    path = text.shown(one["path"]) if one["path"] is not None else f"piece {one['encoding'][:16]}"
    bears = "cannot be read" if one["survives"] < 0 else f"bears {text.count(one['survives'], 'failure')}"
    return f"{one['state']} {path}: {bears}, {one['shards']} shards of which {one['needed']} are needed"


def _date(wall_s: float | None) -> str:
    return "never" if not wall_s else text.moment(int(wall_s * 1e9))


# --- repair ---------------------------------------------------------------------------------------------------------


@click.command(cls=Verb)
@click.option("--now", is_flag=True, help="Repair all that is due now; machines silent beyond their grace are gone.")
@click.option("--dry-run", is_flag=True, help="Only say what is due (so does no option at all).")
@click.option("--max-rate", metavar="SIZE", help="Bytes a second that repairs may place, such as 4M; kept.")
@click.pass_obj
def repair(session: Session, *, now: bool, dry_run: bool, max_rate: str | None) -> int:
    """What is due for repair, why, and how much that is.

    Repairs begin by themselves. Exit code 0 when nothing is due, 20 when something is, 6 when machines are missing
    that could take what is due.
    """
    if now and dry_run:
        raise click.UsageError("--now and --dry-run contradict each other")
    result = session.ask("repair", {"now": now, "max_rate": _rate(max_rate)}, unbounded=True)
    code = exits.DONE if not result["due"] else exits.TOO_FEW_MACHINES if result["stuck"] else exits.THIN
    session.show({**result, "exit": code}, _repair_lines(session, result))
    return code


def _rate(given: str | None) -> int:
    if given is None:
        return 0
    try:
        return max(1, text.parse_size(given))
    except ValueError as error:
        raise click.UsageError(f"--max-rate: {error}") from None


def _repair_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    done = result["repaired"]
    if session.plain:
        keys = ("looked_at", "due", "stuck", "shards", "bytes", "minutes", "rate")
        lines = [f"{key}: {result[key]}" for key in keys]
        lines += [f"survives_{one['survives']}: {one['stripes']}" for one in result["margins"]]
        lines += [f"cause_{cause}: {count}" for cause, count in result["causes"].items()]
        lines += [f"machine: {one['name']} {one['standing']} {one['stripes']}" for one in result["machines"]]
        return lines + [f"repaired_{key}: {value}" for key, value in done.items()]
    if result["due"]:
        cost = f"{text.count(result['shards'], 'shard')}, {text.size(result['bytes'])}"
        pace = f"about {text.age(60 * result['minutes'])} at {text.size(result['rate'])}/s"
        lines = [f"{result['due']:,} of {text.count(result['looked_at'], 'piece')} are due: {cost}, {pace}"]
        lines += [f"  {_bears(one['survives'])}: {one['stripes']:,}" for one in result["margins"]]
        lines += [f"  because {CAUSES.get(cause, cause)}: {count:,}" for cause, count in result["causes"].items()]
        if result["stuck"]:
            lines.append(f"  waiting for a machine that can take them: {result['stuck']:,}")
    else:
        lines = [f"nothing is due; {text.count(result['looked_at'], 'piece')} looked at"]
    for one in result["machines"]:
        missed = f"; {text.count(one['stripes'], 'piece')} lack it" if one["stripes"] else ""
        lines.append(f"  {one['name']}: {WORDS.get(one['standing'], one['standing'])}{missed}")
    if done["shards"]:
        lines.append(
            f"repaired here since the daemon started: {text.count(done['shards'], 'shard')}, {text.size(done['bytes'])}"
        )
    if done["last_failure"]:
        lines.append(f"last difficulty: {done['last_failure']}")
    return lines


def _bears(survives: int) -> str:
    return "unreadable now" if survives < 0 else f"bear {text.count(survives, 'further failure')}"


# --- checks ---------------------------------------------------------------------------------------------------------


@click.command(cls=Verb)
@click.argument("action", required=False, type=click.Choice(["status"]))
@click.option("--now", is_flag=True, help="Read and check every shard on this machine now.")
@click.option("--pause", is_flag=True, help="Stop until --resume or --now.")
@click.option("--resume", is_flag=True, help="Go on.")
@click.pass_obj
def scrub(session: Session, *, action: str | None, now: bool, pause: bool, resume: bool) -> int:
    """Read this machine's shards and check them.

    It goes on by itself and reads everything once a month; what is damaged is rebuilt at once. Exit code 8 when --now
    found damage.
    """
    chosen = [name for name, flag in (("now", now), ("pause", pause), ("resume", resume)) if flag]
    if len(chosen) > 1 or (chosen and action):
        raise click.UsageError("choose one of status, --now, --pause and --resume")
    result = session.ask("scrub", {"action": chosen[0] if chosen else "status"}, unbounded=True)
    code = exits.DAMAGE if result["ran"] and result["damaged"] else exits.DONE
    session.show({**result, "exit": code}, _scrub_lines(session, result))
    return code


def _scrub_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    if session.plain:
        return [f"{key}: {value}" for key, value in result.items()]
    checked = f"{text.count(result['checked'], 'shard')}, {text.size(result['bytes'])}"
    match result["state"]:
        case "running":
            lines = [f"reading since {_date(result['began'])}: {checked} of {result['shards']:,} shards"]
        case "paused":
            lines = ["paused: p2pstore scrub --resume"]
        case _:
            lines = [f"all read {_date(result['ended'])}: {checked}; again {_date(result['next'])}"]
    if result["damaged"]:
        lines.append(f"damaged: {text.count(result['damaged'], 'shard')}")
    if result["quarantined"]:
        lines.append(f"not rebuilt yet: {text.count(result['quarantined'], 'shard')}")
    if result["problem"]:
        lines.append(f"does not get on: {result['problem']}")
    return lines


@click.command(cls=Verb, name="test-restore")
@click.option("--files", type=click.IntRange(1, 10_000), default=20, show_default=True, metavar="N")
@click.pass_obj
def test_restore(session: Session, *, files: int) -> int:
    """Read random files back whole, and compare them.

    They are read from other machines wherever those suffice, and compared with their manifests; nothing is written.
    Exit code 7 when one could not be read back.
    """
    result = session.ask("test-restore", {"files": files}, unbounded=True)
    code = exits.UNREADABLE if result["failed_count"] else exits.DONE
    session.show({**result, "exit": code}, _test_restore_lines(session, result))
    return code


def _test_restore_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    failed = [f"{text.shown(one['path'])}: {one['why']}" for one in result["failed"]]
    if session.plain:
        lines = [f"{key}: {result[key]}" for key in ("at", "files", "bytes", "failed_count")]
        return lines + [f"failed: {line}" for line in failed]
    if not (result["files"] or result["failed_count"]):
        return ["nothing is stored in shards yet"]
    lines = [f"{text.count(result['files'], 'file')}, {text.size(result['bytes'])}: read back, every byte as it was"]
    if failed:
        lines.append(f"not read back: {text.count(result['failed_count'], 'file')}")
    return lines + [f"  {line}" for line in failed]


# --- machines -------------------------------------------------------------------------------------------------------


@click.command(cls=Verb, name="can-leave")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.pass_obj
def can_leave(session: Session, *, names: tuple[str, ...]) -> int:
    """Can these machines leave for good?

    Exit code 0 for yes, 5 for no, with the reasons. site:SITE means all machines of a site.
    """
    result = session.ask("peers.can-leave", {"names": list(names)}, unbounded=True)
    code = exits.DONE if result["possible"] else exits.REFUSED
    session.show({**result, "exit": code}, _can_leave_lines(session, result))
    return code


def _can_leave_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    if session.plain:
        answer = "yes" if result["possible"] else "no"
        return [f"possible: {answer}", *(f"reason: {reason}" for reason in result["reasons"])]
    lines = [f"{'yes' if result['possible'] else 'no'}: {', '.join(result['names'])}"]
    return lines + [f"  {reason}" for reason in result["reasons"]]
