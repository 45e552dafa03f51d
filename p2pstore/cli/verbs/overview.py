"""status, peers, safe, doctor: how things stand."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits

MARKS: Final = {"safe": "●", "thin": "◐", "risk": "▲", "lost": "✗", "unknown": "?"}
"""Shape and word together: no verdict is told by its colour alone."""

DOCTOR_TIMEOUT_S: Final = 600.0
"""Rebuilding an index reads every pack."""


@click.command(cls=Verb)
@click.pass_obj
def status(session: Session) -> int:
    """This machine, its household and the verdict."""
    result = session.ask("status")
    session.show(result, status_lines(session, result))
    return exits.DONE


def status_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    """The verdict first, then machines, disk and transfers."""
    verdict, store, peers = result["verdict"], result["store"], result["peers"]
    linked = sum(peer["state"] in ("self", "linked") for peer in peers)
    if session.plain:
        lines = [f"verdict: {verdict['state']}", f"sentence: {verdict['sentence']}"]
        keys = (
            "household", "name", "role", "site", "address", "pid", "uptime_s", "version", "peer_id", "kernel",
            "restoring",
        )
        lines += [f"{key}: {result[key]}" for key in keys]
        lines += [f"machines: {len(peers)}", f"machines_linked: {linked}"]
        lines += [f"store_{key}: {store[key]}" for key in ("given", "used", "free", "shards", "state")]
        lines += [f"ledger_{key}: {count}" for key, count in result["ledger"].items()]
        lines += [f"copies: {text.printable(name)}" for name in result.get("copies", ())]
        return [*lines, f"transfers: {len(result['transfers'])}"]
    lines = [
        verdict_line(session, verdict),
        f"{result['household']}: {linked} of {text.count(len(peers), 'machine')} linked",
        (
            f"this is {result['name']} ({result['role']}, {result['site']}), at {result['address']},"
            f" pid {result['pid']}, up {text.age(result['uptime_s'])}"
        ),
        (
            f"disk: {text.size(store['used'])} used of {text.size(store['given'])} given,"
            f" {text.count(store['shards'], 'shard')}, {store['state']}"
        ),
    ]
    if missing := result["ledger"]["missing"]:
        lines.append(f"ledger: {text.count(missing, 'operation')} lost on this disk; other machines are asked for them")
    elif mended := result["ledger"]["restored"] + result["ledger"]["rows"]:
        lines.append(f"ledger: damage by this disk was mended {text.count(mended, 'time')}; see p2pstore doctor")
    for name in result.get("copies", ()):
        lines.append(f"two copies of {name} have written; both edits were kept. What to do: p2pstore doctor")
    if result["restoring"]:
        lines.append("a machine restores with the paper key: it reads everything, and changes nothing")
    if result["transfers"]:
        lines.append(f"{text.count(len(result['transfers']), 'transfer')} under way")
    if session.verbose:
        lines += [f"peer id {result['peer_id']}", f"version {result['version']}, erasure code: {result['kernel']}"]
    return lines


def verdict_line(session: Session, verdict: Mapping[str, Any]) -> str:
    """"● SAFE  every file survives any one machine"."""
    state = verdict["state"]
    mark = MARKS.get(state, MARKS["unknown"]) + " " if _is_unicode() else ""
    word = session.paint(mark + state.upper(), state if state in MARKS else "unknown")
    return f"{word}  {verdict['sentence']}"


@click.command(cls=Verb)
@click.option("--rebuild-index", is_flag=True, help="Make the index of shards anew from the packs.")
@click.option("--bundle", metavar="FILE", help="Also write what helps others to help: no names, no paths, no keys.")
@click.option("--fix", is_flag=True, help="Do what helps where that is harmless: permissions, restart, start.")
@click.pass_obj
def doctor(session: Session, *, rebuild_index: bool, bundle: str | None, fix: bool) -> int:
    """Look for problems, and name what helps.

    Permissions, disk, ports, firewall, router, clock, versions, keys, the store, other machines. Exit code 0 when
    nothing was found, 20 for warnings, 21 for problems.
    """
    from p2pstore.cli import bundling

    if session.timeout_s is None:
        session.timeout_s = DOCTOR_TIMEOUT_S
    fixed = _start_for_doctor(session) if fix else []
    result, status = _examine(session, rebuild_index=rebuild_index)
    if fix:
        from p2pstore.cli.mending import mend

        if done := mend(session.home, result["checks"]):
            fixed += done
            result, status = _examine(session, rebuild_index=False)
        for line in fixed:
            session.note(f"did: {line}")
    result["fixed"] = fixed
    if bundle is not None:
        bundling.write(bundle, bundling.content(status, result["checks"], session.home / "log" / "daemon.log"))
        session.note(f"wrote {bundle}: read it before you pass it on")
    states = {check["state"] for check in result["checks"]}
    code = exits.RISK if "bad" in states else exits.THIN if "warn" in states else exits.DONE
    session.show({**result, "exit": code}, _doctor_lines(session, result))
    return code


def _examine(session: Session, *, rebuild_index: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the daemon found and what it is, with a comparison of versions."""
    from p2pstore.cli import bundling

    result: dict[str, Any] = session.ask("doctor", {"rebuild_index": rebuild_index})
    status: dict[str, Any] = session.ask("status")
    result["checks"].append(bundling.check_versions(status["version"]))
    return result, status


def _start_for_doctor(session: Session) -> list[str]:
    """Start the daemon if none runs: a doctor needs a patient."""
    from p2pstore.cli.mending import run
    from p2pstore.control.faults import Failure

    try:
        session.connect().close()
    except Failure as failure:
        if failure.fault.exit != exits.NOT_RUNNING or not run(session.home, "up"):
            raise
        return ["p2pstore up"]
    return []


def _doctor_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    colours = {"ok": "safe", "warn": "thin", "bad": "risk"}
    lines = []
    for check in result["checks"]:
        state = session.paint(f"{check['state']:4}", colours.get(check["state"], "unknown"))
        lines.append(f"{state} {check['name']}: {check['what']}")
        fixes = [check["fix"]] if isinstance(check["fix"], str) else check["fix"] or []
        lines += [f"     type: {fix}" for fix in fixes if fix]
    return [*lines, f"erasure code: {result['kernel']}"]


def _is_unicode() -> bool:
    return (sys.stdout.encoding or "ascii").lower().replace("-", "") == "utf8"
