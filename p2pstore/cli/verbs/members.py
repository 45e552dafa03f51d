"""peers, and peers rename, role, site, limit, revoke, forget: the household's machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.session import Session
from p2pstore.cli.verb import VerbGroup
from p2pstore.cli.verbs.safety import can_leave
from p2pstore.control import exits


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def peers(ctx: click.Context) -> int:
    """The household's machines: list, rename, revoke.

    Without a command, lists them.
    """
    if ctx.invoked_subcommand is not None:
        return exits.DONE
    session = ctx.find_object(Session)
    assert session is not None
    result = session.ask("peers")
    session.show(result, peer_lines(session, result["peers"]))
    return exits.DONE


peers.add_command(can_leave)


def peer_lines(session: Session, found: list[Mapping[str, Any]]) -> list[str]:
    """One machine a line."""
    if session.plain:
        return [
            f"{one['name']} {one['state']} {one['role']} {one['site']} {one['steadiness']}"
            f" {one['address'] or '-'} used {one['used']} of {one['capacity']}"
            for one in found
        ]
    header = ["machine", "where", "state", "heard", "rtt", "used", "given", "role", "address"]
    rows = [
        [
            one["name"],
            one["site"],
            "this one" if one["state"] == "self" else one["state"],
            "" if one["state"] == "self" else text.age(one["last_heard_s"]),
            f"{one['rtt_ms']:.1f} ms" if one["rtt_ms"] is not None else "",
            text.size(one["used"]) if one["used"] is not None else "",
            text.size(one["capacity"]) if one["capacity"] is not None else "",
            one["role"],
            one["address"] or "",
        ]
        for one in found
    ]
    return text.table([header, *rows])
