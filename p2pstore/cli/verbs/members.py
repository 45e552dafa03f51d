"""peers, and peers rename, role, site, limit, revoke, forget: the household's machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from p2pstore.cli import text
from p2pstore.cli.paths import MachineName
from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.cli.verbs.safety import can_leave
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault


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
            f"{' leaving left ' + str(one['leaving']['left']) if one['leaving'] else ''}"
            for one in found
        ]
    header = ["machine", "where", "state", "heard", "rtt", "used", "given", "role", "address"]
    rows = [
        [
            one["name"],
            one["site"],
            _state_word(one),
            "" if one["state"] == "self" else text.age(one["last_heard_s"]),
            f"{one['rtt_ms']:.1f} ms" if one["rtt_ms"] is not None else "",
            text.size(one["used"]) if one["used"] is not None else "",
            text.size(one["capacity"]) if one["capacity"] is not None else "",
            one["role"],
            one["address"] or "",
        ]
        for one in found
    ]
    lines = text.table([header, *rows])
    for one in found:
        if one["leaving"]:
            lines.append(f"{one['name']} leaves: {_leaving_words(one['leaving'])}")
    return lines


def _state_word(one: Mapping[str, Any]) -> str:
    if one["leaving"]:
        return "leaving" if one["state"] != "away" else "leaving, away"
    return "this one" if one["state"] == "self" else str(one["state"])


def _leaving_words(leaving: Mapping[str, Any]) -> str:
    """How far a machine is that leaves."""
    if leaving["done"]:
        return "all it held is elsewhere; it goes when an admin has removed it"
    if leaving["left"] is None:
        return str(leaving["waits"])
    amount = f"{leaving['left']:,} of {text.count(leaving['pieces'], 'piece')} left, {text.size(leaving['left_bytes'])}"
    return f"{amount}; {leaving['waits']}" if leaving["waits"] else amount


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@click.argument("new")
@click.pass_obj
def rename(session: Session, name: str, new: str) -> int:
    """Give a machine another name."""
    result = session.ask("peers.rename", {"name": name, "new": new})
    session.show(result, [f"{result['was']} is called {result['name']} now"])
    return exits.DONE


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@click.argument("site")
@click.pass_obj
def site(session: Session, name: str, site: str) -> int:
    """Say where a machine stands.

    Machines of one site may burn together.
    """
    result = session.ask("peers.site", {"name": name, "site": site})
    session.show(result, [f"{result['name']} stands at {result['site']} now"])
    return exits.DONE


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@click.argument("new_role", metavar="ROLE", type=click.Choice(["admin", "member", "storage"]))
@click.pass_obj
def role(session: Session, name: str, new_role: str) -> int:
    """Make a machine an admin, a member or a storage peer.

    Admins invite and remove. Members read and write everything. Storage peers hold shards and can read nothing that is
    stored from then on; what they could read as members they can read for ever.
    """
    if new_role == "admin":
        _confirm(session, f"{name} will be able to invite and remove machines", "peers role")
    result = session.ask("peers.role", {"name": name, "role": new_role})
    lines = [f"{result['name']} has the role {result['role']} now"]
    if result["new_keys"]:
        lines.append("what is stored from now on is sealed with new keys")
    session.show(result, lines)
    return exits.DONE


@peers.command(cls=Verb)
@click.argument("arguments", nargs=-1, required=True, metavar="[NAME] SIZE")
@click.pass_obj
def limit(session: Session, arguments: tuple[str, ...]) -> int:
    """Say how much of this machine's disk is given.

    It counts at once, and after a restart. What is held beyond a smaller size stays until it is moved away.
    """
    if len(arguments) > 2:
        raise click.UsageError("one size, and at most one name before it")
    try:
        size = text.parse_size(arguments[-1])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    name = arguments[0] if len(arguments) == 2 else None
    result = session.ask("peers.limit", {"name": name, "size": size})
    lines = [f"{result['name']} gives {text.size(result['capacity'])}, {text.size(result['used'])} of it used"]
    session.show(result, lines)
    return exits.DONE


_PAPER = click.option("--with-paper-key", is_flag=True, help="Sign with the 24 words: needed for an admin, alone.")
_WORDS_FILE = click.option("--words-file", metavar="FILE", help="With --with-paper-key: read the words there.")


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@_PAPER
@_WORDS_FILE
@click.pass_obj
def revoke(session: Session, name: str, *, with_paper_key: bool, words_file: str | None) -> int:
    """Cut off a machine that was stolen.

    Every machine drops it as soon as it hears of it, and what is stored from then on is sealed with keys that it never
    gets. Nothing takes back what it could read. An admin is removed by the paper key, or by enough other admins.
    """
    _confirm(session, f"{name} will be cut off from the household for good", "peers revoke")
    return _remove(session, "peers.revoke", name, with_paper_key=with_paper_key, words_file=words_file)


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@_PAPER
@_WORDS_FILE
@click.pass_obj
def forget(session: Session, name: str, *, with_paper_key: bool, words_file: str | None) -> int:
    """Remove a machine that is gone for good.

    Its shards do not count any more. The same as revoke, for a machine that died instead of being stolen.
    """
    _confirm(session, f"the shards on {name} will not count any more", "peers forget")
    return _remove(session, "peers.forget", name, with_paper_key=with_paper_key, words_file=words_file)


@peers.command(cls=Verb)
@click.argument("name", required=False)
@click.pass_obj
def frozen(session: Session, name: str | None) -> int:
    """List what removed machines wrote after they were removed.

    Nobody had heard of these changes when the machine was removed, so they are held back: shown nowhere, replacing
    nothing. After a theft that is as it should be; of a machine that was only away, adopt them.
    """
    result = session.ask("peers.frozen", {"name": name})
    lines = []
    for machine in result["machines"]:
        left_out = machine["count"] - len(machine["changes"])
        lines.append(f"{text.printable(machine['name'])}: {text.count(machine['count'], 'change')} held back")
        for one in machine["changes"]:
            change = "removes" if one["deleted"] else one["kind"]
            lines.append(f"  {text.moment(one['when_ms'] * 1_000_000)}  {change:7}  {text.shown(one['path'])}")
        lines += [f"  and {left_out:,} more"] if left_out else []
        lines.append(f"  take them in: p2pstore peers adopt {text.printable(machine['name'])}")
    session.show(result, lines or ["nothing is held back"])
    return exits.DONE


@peers.command(cls=Verb)
@click.argument("name")
@click.pass_obj
def adopt(session: Session, name: str) -> int:
    """Take in what a removed machine wrote after it was removed.

    All machines do. What was changed elsewhere meanwhile becomes a conflict copy; nothing is replaced unseen.
    """
    _confirm(session, f"what {name} wrote after its removal will count", "peers adopt")
    result = session.ask("peers.adopt", {"name": name})
    session.show(result, [f"{text.count(result['adopted'], 'change')} of {result['name']} taken in"])
    return exits.DONE


@peers.command(cls=Verb)
@click.argument("name", type=MachineName())
@click.option("--anyway", is_flag=True, help="Also if promises cannot be kept without it; what that means is named.")
@click.option("--cancel", is_flag=True, help="It stays after all.")
@click.pass_obj
def retire(session: Session, name: str, *, anyway: bool, cancel: bool) -> int:
    """Have a machine leave in good order.

    It gets nothing new. Everything it holds is written elsewhere and read back there; then the machine leaves the
    household and erases its keys and shards. `p2pstore peers` shows how far it is. It may be switched off meanwhile:
    it goes on where it was. Refused when promises cannot be kept without it.
    """
    if anyway and cancel:
        raise click.UsageError("either --anyway or --cancel")
    if not cancel:
        _confirm(session, f"{name} will leave the household, and erase what it holds of it", "peers retire")
    result = session.ask("peers.retire", {"name": name, "anyway": anyway, "stays": cancel}, unbounded=True)
    session.show(result, _retire_lines(session, result))
    return exits.DONE


def _retire_lines(session: Session, result: Mapping[str, Any]) -> list[str]:
    if session.plain:
        lines = [f"{key}: {result[key]}" for key in ("name", "leaves", "anyway", "answers")]
        return lines + [f"{key}: {'; '.join(result[key])}" for key in ("consequences", "next")]
    if not result["leaves"]:
        return [f"{result['name']} stays"]
    lines = [f"{result['name']} leaves: what it holds is written elsewhere first, and read back there"]
    lines += [f"  {each}" for each in result["consequences"]]
    return [*lines, "next:", *(f"  {step}" for step in result["next"])]


@peers.command(cls=Verb)
@click.argument("old", type=MachineName())
@click.argument("new", type=MachineName())
@click.option("--dead", is_flag=True, help="OLD is gone for good; what it held is rebuilt from others.")
@_PAPER
@_WORDS_FILE
@click.pass_obj
def replace(
    session: Session, old: str, new: str, *, dead: bool, with_paper_key: bool, words_file: str | None
) -> int:
    """Have a new machine take over from an old one.

    NEW has joined already (`p2pstore invite`). What OLD holds is written to NEW first, then OLD leaves as with retire.
    With --dead it is removed at once, as with forget.
    """
    _confirm(session, f"{new} will take over from {old}, and {old} will leave the household", "peers replace")
    args: dict[str, Any] = {"old": old, "new": new, "dead": dead}
    if with_paper_key:
        from p2pstore.cli.verbs.recovery import secret_typed

        args["secret"] = secret_typed(session, [words_file] if words_file else [])
    result = session.ask("peers.replace", args, unbounded=True)
    code = exits.PARTLY if dead and not result["removed"] else exits.DONE
    session.show({**result, "exit": code}, _replace_lines(session, result, dead=dead))
    return code


def _replace_lines(session: Session, result: Mapping[str, Any], *, dead: bool) -> list[str]:
    if session.plain:
        lines = [f"{key}: {result[key]}" for key in ("name", "new", "leaves", "answers", "bytes", "removed")]
        return [*lines, f"next: {'; '.join(result['next'])}"]
    amount = text.size(result["bytes"])
    if result["removed"]:
        lines = [f"{result['name']} is not in the household any more; {result['new']} takes over {amount}"]
    elif dead:
        lines = [f"{result['name']} is an admin, and one admin alone cannot remove another: this is a vote"]
    else:
        lines = [f"{result['new']} takes over {amount} from {result['name']}, which leaves when that is done"]
    return [*lines, "next:", *(f"  {step}" for step in result["next"])]


def _remove(session: Session, op: str, name: str, *, with_paper_key: bool, words_file: str | None) -> int:
    args: dict[str, Any] = {"name": name}
    if with_paper_key:
        from p2pstore.cli.verbs.recovery import secret_typed

        args["secret"] = secret_typed(session, [words_file] if words_file else [])
    result = session.ask(op, args)
    code = exits.DONE if result["removed"] else exits.PARTLY
    session.show({**result, "exit": code}, _removal_lines(session, result, stolen=op == "peers.revoke"))
    return code


def _removal_lines(session: Session, result: Mapping[str, Any], *, stolen: bool) -> list[str]:
    if session.plain:
        keys = ("name", "removed", "by_paper_key", "generation", "could_read")
        lines = [f"{key}: {result[key]}" for key in keys]
        return lines + [f"{key}: {', '.join(result[key])}" for key in ("votes", "told", "away", "enrolled", "next")]
    if not result["removed"]:
        lines = [f"{result['name']} is an admin, and one admin alone cannot remove another: this is a vote"]
        lines.append(f"  voted so far: {', '.join(result['votes'])}")
        return [*lines, *(f"  {step}" for step in result["next"])]
    lines = [f"{result['name']} is not in the household any more"]
    if result["generation"] is not None:
        lines.append("what is stored from now on is sealed with new keys")
    if result["away"]:
        lines.append(f"they hear of it when they return: {', '.join(result['away'])}")
    if stolen:
        lines.append(f"what it could read: {result['could_read']}")
        lines += ["next:", *(f"  {step}" for step in result["next"])]
    return lines


def _confirm(session: Session, what: str, verb: str) -> None:
    """Ask; exit 5 where nobody can be asked and --yes was not given."""
    if session.yes:
        return
    if not session.interactive:
        fix = (f"p2pstore {verb} ... --yes",)
        raise Failure(Fault("not-confirmed", what, "this is not done unasked", fix, exits.REFUSED))
    if not click.confirm(f"{what}. Go on?", err=True):
        from p2pstore.control.faults import CANCELLED

        raise Failure(CANCELLED)
