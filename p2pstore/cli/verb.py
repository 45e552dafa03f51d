"""What all verbs have in common: the global options, accepted before and after the verb, and an exit code as result."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from p2pstore.cli.session import Session


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Callback of the global options: the last one given counts, before or after the verb."""
    if value is not None and param.name is not None:
        setattr(ctx.find_object(Session) or Session(), param.name, value)


def _seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        from p2pstore.cli.text import parse_duration

        try:
            _remember(ctx, param, parse_duration(value))
        except ValueError as error:
            raise click.BadParameter(str(error), ctx, param) from None


def global_options(*, hidden: bool) -> list[click.Parameter]:
    """The options that every verb takes and that may also stand before it."""

    def flag(*names: str, help_text: str) -> click.Option:
        return click.Option(
            list(names), is_flag=True, default=None, expose_value=False, is_eager=True, callback=_remember,
            hidden=hidden, help=help_text,
        )

    def value(*names: str, metavar: str, help_text: str, callback: Any = _remember, kind: Any = None) -> click.Option:
        return click.Option(
            list(names), metavar=metavar, type=kind, expose_value=False, is_eager=True, callback=callback,
            hidden=hidden, help=help_text,
        )

    return [
        value("--home", "home_given", metavar="DIR", help_text="The household's folder here [P2PSTORE_HOME]."),
        flag("--json", help_text="One JSON object on standard output."),
        flag("--plain", help_text="One fact on each line; no colour, no drawing."),
        flag("--yes", help_text="Do not ask."),
        value("--timeout", "timeout_s", metavar="TIME", help_text="Give up after so long: 30, 10m.", callback=_seconds),
        value(
            "--progress",
            metavar="HOW",
            help_text="auto, bar, plain, json or none; on standard error.",
            kind=click.Choice(["auto", "bar", "plain", "json", "none"]),
        ),
        flag("-q", "--quiet", "quiet", help_text="Results and errors only."),
        flag("-v", "--verbose", "verbose", help_text="More detail."),
        flag("--no-color", "no_color", help_text="No colour [NO_COLOR]."),
    ]


class _TakesGlobals(click.Command):
    """A command that takes the global options as well."""

    _shared: list[click.Parameter] | None = None

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Its own parameters and the global options; those are made for the one verb that runs."""
        if self._shared is None:
            self._shared = global_options(hidden=True)
        own = super().get_params(ctx)
        return [*own[:-1], *self._shared, own[-1]]  # --help stays last

    def invoke(self, ctx: click.Context) -> int:
        """Run the verb; a reader of standard output that went away is no error worth a traceback."""
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            from p2pstore.control import exits

            # What is still buffered must not fail again when the interpreter flushes at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return exits.BROKEN_PIPE
        return int(code or 0)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Where to read about the options that all verbs share."""
        super().format_epilog(ctx, formatter)
        formatter.write("\nGlobal options (--home --json --plain --yes --timeout ...): p2pstore --help\n")


class Verb(_TakesGlobals):
    """A verb: takes the global options as well, and returns its exit code."""


class VerbGroup(_TakesGlobals, click.Group):
    """A verb of several parts, such as `peers rename`; each part is a `Verb`. With `invoke_without_command=True` it is
    a verb by itself, too."""
