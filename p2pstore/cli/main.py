"""The entry point: which verbs there are, the flags that all of them take, and what an error looks like."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import click

from p2pstore.cli.session import Session
from p2pstore.cli.verb import global_options


class VerbEntry(NamedTuple):
    """A verb that is not imported yet."""

    module: str
    summary: str
    section: str
    function: str = ""


VERBS: Final = {
    "init": VerbEntry("start", "Start a household on this machine", "Start"),
    "invite": VerbEntry("start", "Make a code with which another machine joins", "Start"),
    "join": VerbEntry("start", "Join a household with a code", "Start"),
    "up": VerbEntry("running", "Start the daemon", "Start"),
    "down": VerbEntry("running", "Stop the daemon", "Start"),
    "status": VerbEntry("overview", "This machine, its household and the verdict", "Start"),
    "put": VerbEntry("transfer", "Store files and folders", "Files"),
    "get": VerbEntry("transfer", "Fetch files and folders", "Files"),
    "cat": VerbEntry("transfer", "Write a file to standard output", "Files"),
    "ls": VerbEntry("tree", "List a folder", "Files"),
    "tree": VerbEntry("tree", "List a folder and all below it", "Files"),
    "mkdir": VerbEntry("tree", "Make a folder", "Files"),
    "mv": VerbEntry("tree", "Move or rename", "Files"),
    "rm": VerbEntry("tree", "Remove", "Files"),
    "watch": VerbEntry("watch", "Local folders whose changes are stored as they come", "Files"),
    "history": VerbEntry("history", "List the versions of a file or folder", "History"),
    "restore": VerbEntry("history", "Make an old version the newest", "History"),
    "diff": VerbEntry("history", "Show what differs between two states", "History"),
    "trash": VerbEntry("history", "What was removed, and how to put it back", "History"),
    "snapshot": VerbEntry("history", "Names for moments: PATH@NAME is how it was", "History"),
    "retention": VerbEntry("retention", "How long history and trash are kept", "History"),
    "search": VerbEntry("search", "Find files and folders by name, tag, size or time", "History"),
    "tag": VerbEntry("search", "Words on files and folders", "History"),
    "conflicts": VerbEntry("search", "List files that were changed in two places at once", "History"),
    "resolve": VerbEntry("search", "End a conflict", "History"),
    "log": VerbEntry("search", "Show who did what, when, on which machine", "History"),
    "where": VerbEntry("tree", "Show which machine holds what of a file", "Safety"),
    "promise": VerbEntry("promise", "What folders promise to survive, and what that costs", "Safety"),
    "safe": VerbEntry("safety", "Is my data safe right now?", "Safety"),
    "repair": VerbEntry("safety", "What is due for repair, why, and how much that is", "Safety"),
    "du": VerbEntry("space", "What files really cost: all shards on all machines, parity included", "Safety"),
    "brake": VerbEntry("brake", "Mass changes that stop everything from being let go, until you have looked", "Safety"),
    "gc": VerbEntry("collection", "Space that nothing needs any more: what goes, and what waits for whom", "Safety"),
    "scrub": VerbEntry("safety", "Read this machine's shards and check them", "Safety"),
    "test-restore": VerbEntry("safety", "Read random files back whole, and compare them", "Safety", "test_restore"),
    "doctor": VerbEntry("overview", "Look for problems, and name what helps", "Safety"),
    "peers": VerbEntry("members", "The household's machines: list, rename, revoke", "Safety"),
    "recovery-kit": VerbEntry("recovery", "The paper key: check, print, restore everything with it", "Safety", "kit"),
    "tui": VerbEntry("tui", "Browse and watch the household in the terminal", "More"),
    "demo": VerbEntry("more", "Watch it survive: six machines, two killed, every byte compared", "More"),
    "sim": VerbEntry("sim", "Try a household's bad days in virtual time", "More"),
    "completion": VerbEntry("more", "Print the completion script of a shell", "More"),
    "help": VerbEntry("more", "Explain a verb or a topic", "More", "help_"),
    "version": VerbEntry("more", "Show the versions of this program and of the daemon", "More"),
}
"""Every verb; a test holds the summaries equal to the verbs' own."""


COMPLETE_VARIABLE: Final = "_P2PSTORE_COMPLETE"
"""Set by the completion scripts; click reads it."""


class LazyGroup(click.Group):
    """Imports a verb only when it is used; help for all of them comes from the table."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All verbs."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import a verb."""
        entry = VERBS.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"p2pstore.cli.verbs.{entry.module}")
        command = getattr(module, entry.function or cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The verbs in sections."""
        for section in dict.fromkeys(entry.section for entry in VERBS.values()):
            with formatter.section(section):
                formatter.write_dl([(name, entry.summary) for name, entry in VERBS.items() if entry.section == section])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        """Verbs, without importing them; and the global options."""
        from click.shell_completion import CompletionItem

        verbs = [
            CompletionItem(name, help=entry.summary) for name, entry in VERBS.items() if name.startswith(incomplete)
        ]
        return verbs + click.Command.shell_complete(self, ctx, incomplete)


cli = LazyGroup(
    name="p2pstore",
    help="A household's machines become one private, durable store.",
    epilog="Paths in the store begin with / or p2p:/. Exit codes: p2pstore help exit-codes",
    params=global_options(hidden=False),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; the process's own by default.

    Returns:
        The exit code (`p2pstore help exit-codes`).
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    session = Session()
    if COMPLETE_VARIABLE in os.environ:
        from p2pstore.cli.completing import register

        register()
    try:
        return int(cli.main(arguments, prog_name="p2pstore", standalone_mode=False, obj=session) or 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        # The error may have come before the flag was read.
        session.json = session.json or "--json" in arguments[: (*arguments, "--").index("--")]
        return _complain_usage(session, error)
    except (click.Abort, KeyboardInterrupt):
        from p2pstore.control.faults import CANCELLED

        session.complain(CANCELLED)
        return CANCELLED.exit
    except SystemExit as error:  # click's answer to a reader that went away
        return int(error.code or 0) if isinstance(error.code, int | None) else 1
    except Exception as error:
        from p2pstore.control.faults import fault_of
        from p2pstore.errors import P2PStoreError

        if not isinstance(error, P2PStoreError | OSError):
            raise
        fault = fault_of(error)
        session.complain(fault)
        return fault.exit


def _complain_usage(session: Session, error: click.ClickException) -> int:
    from p2pstore.control import exits
    from p2pstore.control.faults import Fault

    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "p2pstore"
    fault = Fault("usage", error.format_message().rstrip(". "), "", (f"{path} --help",), exits.USAGE)
    session.complain(fault)
    return fault.exit


if __name__ == "__main__":
    sys.exit(main())
