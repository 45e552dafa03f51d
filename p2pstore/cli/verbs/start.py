"""init, invite, join: how a machine comes to be in a household."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.errors import Forged, Malformed, TimedOut, Unreachable

T = TypeVar("T")

WORDS_ASKED: Final = 3
"""Words that are asked back: guessing three of 2,048 each is not an accident."""

ASK_AGAIN_MAX: Final = 5
"""Then the household stands with an unconfirmed kit, which `status` goes on showing."""

JOIN_TIMEOUT_S: Final = 60.0
"""Ten seconds of handshake, and time for the other machine to be found."""

DEFAULT_SIZE: Final = "20G"
DEFAULT_SITE: Final = "home"
DEFAULT_HOUSEHOLD: Final = "household"

_SIZE = Converted("size", text.parse_size)
_DURATION = Converted("duration", text.parse_duration)
_STEADINESS = click.Choice(["always-on", "desktop", "laptop"])


@click.command(cls=Verb)
@click.option("--name", metavar="NAME", help="This machine's name.")
@click.option("--household", metavar="NAME", help="The household's name  [default: household]")
@click.option("--site", metavar="SITE", help="Where this machine stands, e.g. home.")
@click.option("--size", "size_bytes", metavar="SIZE", type=_SIZE, help="Disk to give, e.g. 20G.")
@click.option("--steadiness", type=_STEADINESS, default="desktop", show_default=True, help="When this machine is on.")
@click.option("--kit-file", metavar="FILE", help="Write the recovery kit (24 words) there, for you alone (mode 0600).")
@click.pass_obj
def init(
    session: Session,
    *,
    name: str | None,
    household: str | None,
    site: str | None,
    size_bytes: int | None,
    steadiness: str,
    kit_file: str | None,
) -> int:
    """Start a household on this machine.

    Asks what is missing on a terminal. All members of a household can read everything in it.
    """
    _refuse_second_home(session.home)
    name = _answer(session, "--name", name, "This machine's name", _host_name(), str)
    site = _answer(session, "--site", site, "Where it stands", DEFAULT_SITE, str)
    size_bytes = _answer(session, "--size", size_bytes, "Disk to give", DEFAULT_SIZE, text.parse_size)
    if session.interactive:
        household = _answer(session, "--household", household, "The household's name", DEFAULT_HOUSEHOLD, str)
    household = DEFAULT_HOUSEHOLD if household is None else household
    if kit_file is None and not session.interactive:
        raise _missing("--kit-file")
    kit = _KitFile(Path(kit_file), session.home) if kit_file is not None else None

    from p2pstore.daemon.setup import create_household

    try:
        created = create_household(
            session.home, household=household, name=name, site=site, size_bytes=size_bytes, steadiness=steadiness
        )
    except BaseException:
        if kit is not None:
            kit.abandon()
        raise
    if kit is not None:
        kit.write(created.kit_text)
    else:
        show_kit(session, created.words, created.qr_text)
    result = {
        "household": household,
        "name": name,
        "site": site,
        "size": size_bytes,
        "steadiness": steadiness,
        "home": str(session.home),
        "network_id": bytes(created.network_id).hex(),
        "peer_id": bytes(created.peer_id).hex(),
        "kit_file": None if kit is None else str(kit.path),
    }
    lines = [f"{household} begins on {name}, with {text.size(size_bytes)} in {session.home}"]
    if kit is not None:
        lines.append(f"the recovery kit is in {kit.path}: keep it away from this machine, it is the only copy")
    lines.append("next: p2pstore up, then p2pstore invite")
    session.show(result, lines)
    return exits.DONE


@click.command(cls=Verb)
@click.option("--role", type=click.Choice(["member", "admin", "storage"]), default="member", show_default=True)
@click.option("--ttl", metavar="TIME", type=_DURATION, default="10m", show_default=True, help="How long it is valid.")
@click.option("--no-wait", is_flag=True, help="Print the code and return; the daemon waits.")
@click.pass_obj
def invite(session: Session, *, role: str, ttl: float, no_wait: bool) -> int:
    """Make a code with which another machine joins.

    The code works once, and for ten minutes. One wrong guess burns it.
    """
    result: dict[str, Any] = session.ask("invite", {"role": role, "ttl_s": ttl})
    lines = [
        f"code: {result['code']}",
        f"on the other machine: p2pstore join {result['code']}",
        f"  if it is not found: p2pstore join {result['code']} --at {result['address']}",
        f"valid for {text.age(result['expires_s'])}",
    ]
    if no_wait:
        session.show(result, lines)
        return exits.DONE
    if session.json:
        session.write_json({"type": "invitation", **result})
    else:
        session.write("\n".join(lines) + "\n")
    session.note("waiting; Ctrl-C stops waiting and withdraws the code")
    joined = session.ask("invite.wait", {"code": result["code"]}, unbounded=True)
    session.show({**result, "joined": joined}, [f"{joined['name']} has joined"])
    return exits.DONE


class _Code(click.ParamType[str]):
    """A code; Tab completes its words."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """As it is: the daemon of the other machine knows whether it is right."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Words of the list after the number."""
        import re

        from click.shell_completion import CompletionItem

        from p2pstore.keys.words import word_list

        found = re.fullmatch(r"(\d{1,2}-(?:[a-z]+-)?)([a-z]*)", incomplete)
        if found is None:
            return []
        return [CompletionItem(found[1] + word) for word in word_list() if word.startswith(found[2])]


@click.command(cls=Verb)
@click.argument("code", required=False, type=_Code())
@click.option("--at", metavar="HOST:PORT", type=Converted("address", text.parse_address), help="Where the inviter is.")
@click.option("--name", metavar="NAME", help="This machine's name.")
@click.option("--site", metavar="SITE", help="Where it stands  [default: home]")
@click.option("--size", "size_bytes", metavar="SIZE", type=_SIZE, help="Disk to give  [default: 20G]")
@click.option("--steadiness", type=_STEADINESS, default="desktop", show_default=True, help="When this machine is on.")
@click.pass_obj
def join(
    session: Session,
    code: str | None,
    *,
    at: tuple[str, int] | None,
    name: str | None,
    site: str | None,
    size_bytes: int | None,
    steadiness: str,
) -> int:
    """Join a household with a code."""
    _refuse_second_home(session.home)
    code = _answer(session, "CODE", code, "Code", None, str)
    name = _answer(session, "--name", name, "This machine's name", _host_name(), str)
    if session.interactive:
        site = _answer(session, "--site", site, "Where it stands", DEFAULT_SITE, str)
        size_bytes = _answer(session, "--size", size_bytes, "Disk to give", DEFAULT_SIZE, text.parse_size)
    site = DEFAULT_SITE if site is None else site
    size_bytes = text.parse_size(DEFAULT_SIZE) if size_bytes is None else size_bytes

    from p2pstore.daemon.setup import join_household

    session.note("looking for the machine that invited..." if at is None else f"asking {at[0]}:{at[1]}...")
    try:
        joined = join_household(
            session.home,
            code=code,
            at=at,
            name=name,
            site=site,
            size_bytes=size_bytes,
            steadiness=steadiness,
            timeout_s=session.timeout_s or JOIN_TIMEOUT_S,
        )
    except (Unreachable, TimedOut) as error:
        what = "the machine that invited does not answer" + (f" at {at[0]}:{at[1]}" if at else "")
        why = str(error) or "its daemon is not running, or the code has run out"
        raise Failure(Fault("unreachable", what, why, ("p2pstore invite",), exits.TOO_FEW_MACHINES)) from error
    except (Forged, Malformed) as error:
        # Who does not know the code cannot prove that it made the invitation: a wrong code, or somebody in between.
        what, why = "that machine did not prove that it made this code", "mistyped, or another machine answered"
        raise Failure(Fault("wrong-code", what, why, ("p2pstore invite",), exits.NOT_ALLOWED)) from error
    result = {
        "household": joined.household,
        "name": joined.name,
        "site": site,
        "size": size_bytes,
        "steadiness": steadiness,
        "home": str(session.home),
        "network_id": bytes(joined.network_id).hex(),
        "peer_id": bytes(joined.peer_id).hex(),
    }
    lines = [f"{joined.name} is in {joined.household} now, with {text.size(size_bytes)}", "next: p2pstore up"]
    session.show(result, lines)
    return exits.DONE


def _refuse_second_home(home: Path) -> None:
    from p2pstore.control.paths import is_household

    if is_household(home):
        why = "a machine's identity and keys are never overwritten"
        fix = ("p2pstore status", "p2pstore --home OTHER ...")
        raise Failure(Fault("exists", f"{home} already belongs to a household", why, fix, exits.REFUSED))


def _answer(
    session: Session, flag: str, given: T | None, question: str, default: str | None, parse: Callable[[str], T]
) -> T:
    """What was given by flag, else what the person says; exit 2 where nobody can be asked."""
    if given is not None:
        return given
    if not session.interactive:
        raise _missing(flag)
    while True:
        reply: str = click.prompt(question, default=default, err=True)
        try:
            return parse(reply)
        except ValueError as error:
            click.echo(f"  {error}", err=True)


def _missing(flag: str) -> click.UsageError:
    return click.UsageError(f"missing {flag}, and there is nobody to ask")


def _host_name() -> str:
    import socket

    return socket.gethostname().partition(".")[0] or "machine"


def show_kit(session: Session, words: list[str], qr_text: str) -> None:
    """Show the words once, on the terminal and nowhere else, and ask some of them back."""
    from p2pstore.keys.household import positions_to_ask

    sys.stderr.write(
        "\nThe recovery kit. With these 24 words every file can be restored, even if all machines but one are lost.\n"
        "Without them nobody can help. Write them down on paper, now: they are not kept anywhere.\n\n"
    )
    rows = [[f"{row + 6 * column + 1:2}. {words[row + 6 * column]}" for column in range(4)] for row in range(6)]
    sys.stderr.write("\n".join(text.table(rows)) + "\n\n" + qr_text + "\n")
    rng = random.SystemRandom()
    for _ in range(ASK_AGAIN_MAX):
        positions = positions_to_ask(rng, WORDS_ASKED)
        replies = [click.prompt(f"Word {i}", err=True, hide_input=False).strip().lower() for i in positions]
        if replies == [words[i - 1] for i in positions]:
            sys.stderr.write("Right.\n")
            return
        sys.stderr.write("That does not match what is shown above; look again.\n")
    session.note("the kit is not confirmed: compare your paper with the words above before you close this window")


class _KitFile:
    """The file for the recovery kit: made before the household, so that the secret surely has a place to go."""

    def __init__(self, path: Path, home: Path) -> None:
        self.path = path.absolute()
        # A home must be empty when it is made, so a kit inside it waits beside it until then.
        self._inside = self.path.is_relative_to(home)
        self._part = home.parent / f".{home.name}.kit" if self._inside else self.path
        if self.path.exists() or self.path.is_symlink():
            raise self._refusal("is there already, and a recovery kit is never overwritten", exits.REFUSED)
        if self._inside:
            home.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._refusal(error.strerror or str(error), exits.REFUSED) from None

    def _refusal(self, why: str, code: int) -> Failure:
        return Failure(
            Fault("kit-file", f"the recovery kit cannot be written to {self.path}", why, ("--kit-file OTHER",), code)
        )

    def write(self, content: str) -> None:
        """Write the kit, durably."""
        with os.fdopen(self._descriptor, "w", encoding="utf-8") as file:
            file.write(content if content.endswith("\n") else content + "\n")
            file.flush()
            os.fsync(file.fileno())
        if self._inside:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._part.rename(self.path)

    def abandon(self) -> None:
        """There is no household after all."""
        os.close(self._descriptor)
        self._part.unlink(missing_ok=True)
