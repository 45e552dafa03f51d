"""recovery-kit check, print, shares, rotate, agree, use: the paper key. Words are written nowhere unasked."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from p2pstore.cli import text
from p2pstore.cli.paths import Converted
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault, fault_of
from p2pstore.ids import NetworkId

if TYPE_CHECKING:
    from p2pstore.daemon.recover import Restored
    from p2pstore.keys.shares import Share
    from p2pstore.metadata.roster import Roster

WORDS_FILE_BYTES_MAX: Final = 64 * 1024
"""A kit's page is 2 KB."""

LINES: Final = 6
WORDS_PER_LINE: Final = 4
FAILED_SHOWN_MAX: Final = 20

_WORDS_FILE = click.option(
    "--words-file",
    "words_files",
    metavar="FILE",
    multiple=True,
    help="Read the words (or the whole page) there; '-' is standard input. Once for each share.",
)
_SHARES = click.option("--shares", is_flag=True, help="Family shares are typed, not the 24 words.")


@click.group("recovery-kit", cls=VerbGroup)
def kit() -> None:
    """The paper key: check, print, restore everything with it.

    The 24 words open everything the household ever stored. No machine keeps them.
    """


@kit.command(cls=Verb)
@_WORDS_FILE
@_SHARES
@click.pass_obj
def check(session: Session, *, words_files: tuple[str, ...], shares: bool) -> int:
    """See that the words on the paper are right, and this household's.

    Of family shares, each is checked by itself; whose they are shows when there are enough of them. Nothing is kept and
    nothing is sent. A slip is named by its line when the numbers at the lines' ends are typed too.
    """
    roster = _roster_of(session)
    if roster is None:
        from p2pstore.control.faults import no_household

        raise no_household(str(session.home))
    typed = _typed_all(session, words_files, shares=shares)
    result = {"household": roster.name, "network_id": roster.network_id.hex(), "belongs": True, "shares": None}
    if isinstance(typed, list):
        result["shares"] = [{"number": one.number, "needed": one.needed, "set": one.set_number} for one in typed]
        lacking = typed[0].needed - len({one.number for one in typed})
        if lacking > 0:
            result["belongs"] = None
            lines = [f"share {one.number} of set {one.set_number} is right in itself" for one in typed]
            lines.append(f"with {lacking} more of its set it shows whether they open {roster.name}")
            session.show(result, lines)
            return exits.DONE
    _demand_same_household(roster, _secret_of(typed))
    what = "these words open" if result["shares"] is None else "these shares open"
    session.show(result, [f"right: {what} everything of {roster.name}"])
    return exits.DONE


@kit.command("print", cls=Verb)
@_WORDS_FILE
@_SHARES
@click.option("--out", metavar="FILE", help="Write it there, for you alone (mode 0600); FILE.html is for a browser.")
@click.pass_obj
def print_(session: Session, *, words_files: tuple[str, ...], shares: bool, out: str | None) -> int:
    """Print the page again, from the words.

    No machine keeps the words, so they are asked for. On a machine of the household the page names its machines, too.
    """
    from p2pstore.keys.household import RecoveryKit, words_of

    roster = _roster_of(session)
    secret = secret_typed(session, words_files, shares=shares)
    if roster is not None:
        _demand_same_household(roster, secret)
        page = RecoveryKit(roster.name, roster.created_s, roster.network_id, words_of(secret), _machines(session))
    else:
        page = RecoveryKit("(not known on this machine)", None, None, words_of(secret))
    household = None if roster is None else roster.name
    if out is not None:
        is_html = out.lower().endswith((".html", ".htm"))
        content = page.page_html() if is_html else page.page() + "\n" + page.qr_terminal()
        _write_private(Path(out), content)
        lines = [f"the recovery kit is in {out}: print it, and delete the file"]
        session.show({"household": household, "file": str(Path(out).absolute())}, lines)
        return exits.DONE
    result = {"household": household, "file": None, "page": page.page(), "qr": page.qr_terminal()}
    session.show(result, [page.page(), *([] if session.plain else [page.qr_terminal()])])
    return exits.DONE


@kit.command(cls=Verb)
@click.option("--of", "total", metavar="N", type=click.IntRange(2, 16), default=3, help="How many shares [3].")
@click.option("--need", "needed", metavar="N", type=click.IntRange(2, 16), default=2, help="How many open it [2].")
@click.option("--out", metavar="FOLDER", help="Write a page for each share there, for you alone (mode 0600).")
@_WORDS_FILE
@_SHARES
@click.pass_obj
def shares(
    session: Session, *, total: int, needed: int, out: str | None, words_files: tuple[str, ...], shares: bool
) -> int:
    """Split the paper key into family shares: any 2 of 3 open everything, one tells nothing.

    The 24 words are asked for, for no machine keeps them, and they stay as good as they were. Each call makes a new
    set; shares of different sets do not fit together.
    """
    from p2pstore.errors import Misuse
    from p2pstore.keys.shares import SharePage, make_shares

    if needed > total:
        raise click.UsageError(f"--need {needed} of --of {total} shares cannot be")
    roster = _roster_of(session)
    secret = secret_typed(session, words_files, shares=shares)
    if roster is not None:
        _demand_same_household(roster, secret)
    try:
        made = make_shares(secret, total=total, needed=needed)
    except Misuse as error:
        raise click.UsageError(str(error)) from None
    name = "(not known on this machine)" if roster is None else roster.name
    founded_s, network_id = (None, None) if roster is None else (roster.created_s, roster.network_id)
    machines = () if roster is None else _machines(session)
    pages = [SharePage(name, founded_s, network_id, one, total, machines).page() for one in made]
    result: dict[str, Any] = {
        "household": None if roster is None else roster.name,
        "set": made[0].set_number,
        "of": total,
        "need": needed,
        "files": None,
        "pages": pages,
    }
    if out is None:
        session.show(result, ["\n\f\n".join(pages)])
        return exits.DONE
    files = [Path(out) / f"share-{one.number}-of-{total}.txt" for one in made]
    Path(out).mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, page in zip(files, pages, strict=True):
        _write_private(file, page)
    result |= {"files": [str(file.absolute()) for file in files], "pages": None}
    lines = [f"{total} shares are in {out}: print each by itself, and delete the files"]
    session.show(result, [*lines, f"any {needed} of them open everything; one tells nothing"])
    return exits.DONE


@kit.command(cls=Verb)
@click.option("--lost", is_flag=True, help="The old words are lost: every admin has to agree instead.")
@click.option("--out", "kit_file", metavar="FILE", help="Write the new page there, for you alone (mode 0600).")
@_WORDS_FILE
@_SHARES
@click.pass_obj
def rotate(
    session: Session, *, lost: bool, kit_file: str | None, words_files: tuple[str, ...], shares: bool
) -> int:
    """Replace the paper key: new words, and the old ones open nothing that is stored from then on.

    Run it on an admin machine. It asks for the old words; with --lost it does not, and then every admin machine has to
    agree (`recovery-kit agree`). Who had a copy of the old words may have read what was stored until now.
    """
    import random
    import time

    from p2pstore.cli.verbs.start import show_kit
    from p2pstore.keys.household import RecoveryKit, new_secret, words_of

    paper = session.ask("recovery-kit")
    if kit_file is None and not session.interactive:
        raise click.UsageError("missing --out FILE: the new words are shown to a person or written to a file")
    old = None if lost else secret_typed(session, words_files, shares=shares)
    if old is not None:
        _demand_keys(paper["household"], old, (paper["root"], paper["recovery"], paper["recovery_curve"]))
    fresh = new_secret(random.SystemRandom())
    network_id = NetworkId(bytes.fromhex(paper["network_id"]))
    page = RecoveryKit(paper["household"], time.time(), network_id, words_of(fresh), _machines(session))
    if kit_file is not None:
        is_html = kit_file.lower().endswith((".html", ".htm"))
        _write_private(Path(kit_file), page.page_html() if is_html else page.page() + "\n" + page.qr_terminal())
    else:
        show_kit(session, list(page.words), page.qr_terminal())
    result = session.ask("recovery-kit.rotate", {"new": fresh, **({} if old is None else {"secret": old})})
    where = [] if kit_file is None else [f"the new recovery kit is in {kit_file}: print it, and delete the file"]
    return _show_rotated(session, result, where)


@kit.command(cls=Verb)
@click.argument("root", required=False, default="")
@click.pass_obj
def agree(session: Session, *, root: str) -> int:
    """Agree to a new paper key that another admin made with `rotate --lost`.

    ROOT, the first digits of its number, tells several apart.
    """
    return _show_rotated(session, session.ask("recovery-kit.agree", {"root": root}), [])


def _show_rotated(session: Session, result: dict[str, Any], where: list[str]) -> int:
    if result["counts"]:
        lines = [f"the new words are the paper key of {result['household']} now; destroy the old paper and its shares"]
        if result["away"]:
            lines.append(f"away, and still to hear of it: {', '.join(result['away'])}")
        lines.append("what the old words could open until now, who has a copy of them may have read")
    else:
        lines = [
            f"the old paper still counts: {', '.join(result['lacking'])} must agree to {result['root'][:8]}",
            "on each of them: p2pstore recovery-kit agree",
        ]
    session.show(result, where + lines)
    return exits.DONE if result["counts"] else exits.PARTLY


@kit.command(cls=Verb)
@click.option(
    "--at",
    "addresses",
    metavar="HOST:PORT",
    type=Converted("address", text.parse_address),
    multiple=True,
    help="A surviving machine, as its `status` shows it; may be given several times.",
)
@click.option("--to", "folder", metavar="FOLDER", required=True, help="Where the files go; made if it is not there.")
@_WORDS_FILE
@_SHARES
@click.pass_obj
def use(
    session: Session,
    *,
    addresses: tuple[tuple[str, int], ...],
    folder: str,
    words_files: tuple[str, ...],
    shares: bool,
) -> int:
    """Restore everything onto a fresh machine, with nothing but the words.

    Any machine of the household that still runs tells of the others. Nothing is changed there, and this machine does
    not become a member: `p2pstore join` does that afterwards. --yes writes into a folder that is not empty.
    """
    from p2pstore.cli.progress import Progress
    from p2pstore.daemon.recover import restore_household

    if not addresses:
        if not session.interactive:
            raise click.UsageError(
                "missing --at HOST:PORT: the words do not say where a machine is, and without the household's keys"
                " the local network cannot be asked; any one surviving machine will do"
            )
        addresses = (_ask_address(),)
    secret = secret_typed(session, words_files, shares=shares)
    with Progress(session, "get") as progress:
        restored = restore_household(
            session.home,
            secret=secret,
            at=addresses,
            to=Path(folder),
            overwrite=session.yes,
            report=progress.take,
            tell=session.note,
        )
    failed = [_failure(one) for one in restored.failed]
    code = _exit_of(failed, restored)
    result = {
        "household": restored.household,
        "network_id": restored.network_id,
        "to": str(Path(folder).absolute()),
        "machines": restored.machines,
        "silent": restored.silent,
        "broken": restored.broken,
        "generations": restored.generations,
        "waiting": restored.waiting,
        "files": restored.files,
        "bytes": restored.bytes,
        "failed": failed,
        "seconds": restored.seconds,
        "exit": code,
    }
    session.show(result, _use_lines(session, restored, folder))
    _list_failed(session, failed)
    return code


def _exit_of(failed: list[dict[str, Any]], restored: Restored) -> int:
    """7 if any data cannot be read, 3 if something else is missing, else 0."""
    if any(one["code"] in ("unreadable", "damaged") for one in failed):
        return exits.UNREADABLE
    return exits.PARTLY if failed or restored.waiting or restored.broken else exits.DONE


def _use_lines(session: Session, restored: Restored, folder: str) -> list[str]:
    if session.plain:
        keys = ("household", "files", "bytes", "generations", "waiting", "seconds")
        lines = [f"{key}: {getattr(restored, key)}" for key in keys]
        lines += [f"{key}: {', '.join(getattr(restored, key))}" for key in ("machines", "silent", "broken")]
        return [*lines, f"failed: {len(restored.failed)}"]
    files = f"{text.count(restored.files, 'file')}, {text.size(restored.bytes)}"
    lines = [
        f"restored {files} of {restored.household} to {folder} in {restored.seconds:.1f} s",
        f"  read from {', '.join(restored.machines)}",
    ]
    if restored.silent:
        lines.append(f"  silent: {', '.join(restored.silent)}")
    if restored.broken:
        lines.append(f"  stopped answering: {', '.join(restored.broken)}; what only they knew is missing")
    if restored.waiting:
        lines.append(f"  {text.count(restored.waiting, 'change')} build on others that no surviving machine has")
    return [*lines, "this machine is no member yet; next: p2pstore invite on another, p2pstore join here"]


def _failure(failed: Any) -> dict[str, Any]:
    fault = fault_of(failed.error)
    return {"path": failed.path, "code": fault.code, "what": fault.what, "why": fault.why}


def _list_failed(session: Session, failed: list[dict[str, Any]]) -> None:
    if session.json or not failed:
        return
    shown = failed if session.verbose or session.plain else failed[:FAILED_SHOWN_MAX]
    lines = [f"{text.count(len(failed), 'file')} could not be restored:"]
    lines += [f"  {text.shown(one['path'])}: {one['what']}" for one in shown]
    if len(failed) > len(shown):
        lines.append(f"  and {len(failed) - len(shown):,} more; -v lists all")
    sys.stderr.write("\n".join(lines) + "\n")


# --- words --------------------------------------------------------------------------------------------------------


def secret_typed(session: Session, words_files: Sequence[str] = (), *, shares: bool = False) -> bytes:
    """The household secret that the person types, or that is in files: as 24 words, or as family shares. Raises
    Failure that names the slip."""
    return _secret_of(_typed_all(session, words_files, shares=shares))


def _typed_all(session: Session, words_files: Sequence[str], *, shares: bool) -> bytes | list[Share]:
    """The secret, or the shares that were given instead of it."""
    from p2pstore.errors import Misuse
    from p2pstore.keys.household import WORDS_TYPED_CHARACTERS_MAX, lines_of_page, secret_of
    from p2pstore.keys.shares import looks_like_shares, read_shares

    typed = _typed(session, words_files, shares=shares)
    try:
        if shares or looks_like_shares(typed):
            return list(read_shares(typed))
        return secret_of(lines_of_page(typed)[:WORDS_TYPED_CHARACTERS_MAX])
    except Misuse as error:
        raise _wrong_words(str(error)) from None


def _secret_of(typed: bytes | list[Share]) -> bytes:
    from p2pstore.errors import Misuse
    from p2pstore.keys.shares import secret_of_shares

    try:
        return typed if isinstance(typed, bytes) else secret_of_shares(typed)
    except Misuse as error:
        raise _wrong_words(str(error)) from None


def _wrong_words(why: str) -> Failure:
    return Failure(Fault("wrong-words", "these are not the words of a recovery kit", why, (), exits.USAGE))


def _typed(session: Session, words_files: Sequence[str], *, shares: bool) -> str:
    if words_files and list(words_files) != ["-"]:
        return "\n".join(_read(file) for file in words_files)
    if words_files or not sys.stdin.isatty():
        return sys.stdin.read(WORDS_FILE_BYTES_MAX)
    if session.json or session.yes:
        raise click.UsageError("missing --words-file, and there is nobody to ask")
    if shares:
        return _typed_shares()
    sys.stderr.write("The words, a line of the paper at a time, with or without the number at its end.\n")
    return "\n".join(_typed_line(line) for line in range(1, LINES + 1))


def _read(file: str) -> str:
    if file == "-":
        return sys.stdin.read(WORDS_FILE_BYTES_MAX)
    with Path(file).open("rb") as opened:
        return opened.read(WORDS_FILE_BYTES_MAX).decode("utf-8", "replace")


def _typed_shares() -> str:
    """Shares, until there are enough; one that is not right is asked for again."""
    from p2pstore.errors import Misuse
    from p2pstore.keys.shares import SHARE_WORDS, read_shares

    typed: list[str] = []
    numbers: set[int] = set()
    while True:
        click.echo(f"Share {len(typed) + 1}: its {SHARE_WORDS} words, on as many lines as you like.", err=True)
        text = ""
        while sum(word.isalpha() for word in text.split()) < SHARE_WORDS:
            text += f" {click.prompt('Words', err=True)}"
        try:
            [one] = read_shares(text)
        except (Misuse, ValueError) as error:
            click.echo(f"  {error}", err=True)
            continue
        typed.append(text)
        numbers.add(one.number)
        if len(numbers) >= one.needed or not click.confirm("Another share?", default=True, err=True):
            return "\n".join(typed)


def _typed_line(line: int) -> str:
    """One line of the paper; asked again until it can be right."""
    from p2pstore.errors import Misuse
    from p2pstore.keys.household import checked_line

    first = (line - 1) * WORDS_PER_LINE + 1
    while True:
        typed: str = click.prompt(f"Words {first} to {first + WORDS_PER_LINE - 1}", err=True)
        try:
            return checked_line(line, typed)
        except Misuse as error:
            click.echo(f"  {error}", err=True)


def _ask_address() -> tuple[str, int]:
    click.echo("The words do not say where a machine is. Any one that still runs will do; `p2pstore status`", err=True)
    click.echo("on it shows its address, and so does the page of the kit.", err=True)
    while True:
        try:
            return text.parse_address(click.prompt("Address", err=True))
        except ValueError as error:
            click.echo(f"  {error}", err=True)


# --- this household -----------------------------------------------------------------------------------------------


def _roster_of(session: Session) -> Roster | None:
    """What this machine started from, if it is in a household: the genesis never changes. Needs no daemon."""
    from p2pstore.control.paths import is_household

    if not is_household(session.home):
        return None
    from p2pstore.daemon.setup import decode_roster

    return decode_roster((session.home / "roster").read_bytes())


def _machines(session: Session) -> tuple[tuple[str, str], ...]:
    """Names and addresses of the household's machines, if the daemon runs."""
    try:
        found = session.ask("peers")["peers"]
    except Failure:
        return ()
    return tuple((one["name"], one["address"]) for one in found if one["address"])


def _demand_same_household(roster: Roster, secret: bytes) -> None:
    wanted = (roster.root_public, roster.recovery_public, roster.recovery_curve_public)
    _demand_keys(roster.name, secret, wanted)


def _demand_keys(household: str, secret: bytes, wanted: tuple[bytes, bytes, bytes]) -> None:
    from p2pstore.keys.household import HouseholdKeys

    keys = HouseholdKeys.derive(secret)
    if (keys.public, keys.recovery_public, keys.recovery_curve_public) != wanted:
        what = f"these words are not those of {household}"
        why = "every word is right in itself: this is the paper of another household, or one that was replaced"
        raise Failure(Fault("other-household", what, why, (), exits.NOT_ALLOWED))


def _write_private(path: Path, content: str) -> None:
    """A new file for its owner alone. Raises Failure if there is one."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        why = "a recovery kit is never overwritten"
        raise Failure(Fault("exists", f"{path} is there already", why, ("--out OTHER",), exits.REFUSED)) from None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
