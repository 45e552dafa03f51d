"""brake: what stops everything from being let go after a mass change."""

from __future__ import annotations

import click

from p2pstore.cli import text
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits


@click.group(cls=VerbGroup, invoke_without_command=True)
@click.pass_context
def brake(ctx: click.Context) -> int:
    """Mass changes that stop everything from being let go, until you have looked.

    It goes on when one machine removes or rewrites at least 50 entries and more than 20 % of a folder in an hour, 30 %
    in a day or 50 % in a week. While it is on, no history and no trash is dropped, and nothing is collected.
    """
    session = ctx.find_object(Session)
    if ctx.invoked_subcommand is not None or session is None:
        return exits.DONE
    return _brake(session, "status")


@brake.command("status", cls=Verb)
@click.pass_obj
def brake_status(session: Session) -> int:
    """What was changed, by which machine. Exit code 0, on or off."""
    return _brake(session, "status")


@brake.command("allow", cls=Verb)
@click.pass_obj
def brake_allow(session: Session) -> int:
    """Say that all these changes are meant: this machine lets go of things again when their time is over.

    Each machine that can read the files asks for itself: nothing is collected until you have said it on each.
    """
    return _brake(session, "allow")


def _brake(session: Session, action: str) -> int:
    result = session.ask("brake", {"action": action}, unbounded=True)
    lines = [f"on: {result['on']}"] if session.plain else []
    for one in result["changes"]:
        where = "a folder that is gone" if one["path"] is None else text.shown(one["path"])
        if session.plain:
            lines.append(f"change: {one['machine']} {one['changed']} {one['entries']} {one['left']} {where}")
        else:
            lines.append(
                f"{one['machine']} removed or rewrote {one['changed']:,} of {one['entries']:,} entries of {where};"
                f" {one['left']:,} are still so"
            )
    if not session.plain:
        if result["allowed"]:
            lines.append(f"allowed on this machine: {text.count(result['allowed'], 'mass change')}")
        if result["on"]:
            lines.append("nothing is let go meanwhile. Bring it back: p2pstore trash, p2pstore restore")
            lines.append("if it was meant: p2pstore brake allow; if the machine was stolen: p2pstore peers revoke NAME")
        else:
            lines.append("the brake is off")
    session.show({**result, "exit": exits.DONE}, lines)
    return exits.DONE
