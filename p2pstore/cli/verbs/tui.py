"""tui: the terminal face, a program of its own that is imported only when it is wanted."""

from __future__ import annotations

import sys

import click

from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault


@click.command(cls=Verb)
@click.option(
    "--screen",
    type=click.Choice(["files", "machines", "activity", "safety", "history"]),
    default="files",
    show_default=True,
    help="Where to begin.",
)
@click.option("--ascii", "ascii_only", is_flag=True, help="Plain characters, for fonts without shapes.")
@click.option("--theme", metavar="NAME", help="Colours, e.g. p2p-safe, p2p-safe-light, p2p-16, nord.")
@click.pass_obj
def tui(session: Session, *, screen: str, ascii_only: bool, theme: str | None) -> int:
    """Browse and watch the household in the terminal.

    Keys are shown at the bottom; ? lists all of them. For screen readers, ls, peers and safe with --plain say the same.
    """
    demand_terminal(session)
    from tui.app import run

    return run(session.home, ascii_only=ascii_only, theme=theme, pane=screen.capitalize())


def demand_terminal(session: Session) -> None:
    """Raises Failure where nobody could see the screens."""
    if session.json or session.plain or not (sys.stdin.isatty() and sys.stderr.isatty()):
        why = "it draws on a terminal (on standard error), for a person"
        fix = ("p2pstore status --json", "p2pstore safe --plain")
        raise Failure(Fault("no-terminal", "the screens need a terminal", why, fix, exits.USAGE))
