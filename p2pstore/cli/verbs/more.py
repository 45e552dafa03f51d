"""demo, completion, help, version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from p2pstore.cli.session import Session
from p2pstore.cli.topics import TOPICS
from p2pstore.cli.verb import Verb
from p2pstore.control import exits
from p2pstore.errors import P2PStoreError


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, metavar="[PATH...]", type=click.Path(exists=True, path_type=Path))
@click.option("--kill", type=click.IntRange(min=0), default=2, show_default=True, help="Machines to kill.")
@click.option("--peers", type=click.IntRange(min=1, max=30), default=6, show_default=True, help="Machines to start.")
@click.option("--keep", is_flag=True, help="Leave it running, and say how to look around.")
@click.option("--tui", "screens", is_flag=True, help="Open the screens; kill machines and bring them back from there.")
@click.pass_obj
def demo(session: Session, paths: tuple[Path, ...], *, kill: int, peers: int, keep: bool, screens: bool) -> int:
    """Watch it survive: six machines, two killed, every byte compared.

    Starts real daemons on this machine, in a temporary folder, stores PATHs (or files of its own), kills some of the
    daemons in the middle, and reads everything back.
    """
    if screens:
        from p2pstore.cli.demo_stage import run as run_with_screens
        from p2pstore.cli.verbs.tui import demand_terminal

        demand_terminal(session)
        return run_with_screens(list(paths), peers=peers, session=session)
    from p2pstore.cli.demo import run

    return run(list(paths), kill=kill, keep=keep, peers=peers, session=session)


@click.command(cls=Verb)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the completion script of a shell.

    Tab then knows verbs, options, paths in the store and the names of machines. For bash:
    p2pstore completion bash >> ~/.bashrc. For zsh: p2pstore completion zsh >> ~/.zshrc. For fish:
    p2pstore completion fish > ~/.config/fish/completions/p2pstore.fish
    """
    from click.shell_completion import get_completion_class

    from p2pstore.cli.completing import register
    from p2pstore.cli.main import COMPLETE_VARIABLE

    session = ctx.find_object(Session)
    assert session is not None
    register()
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "p2pstore", COMPLETE_VARIABLE).source()
    session.show({"shell": shell, "script": script}, [script])
    return exits.DONE


EXIT_CODES = "exit-codes"


class TopicName(click.ParamType[str]):
    """A verb, a part of one, or a topic."""

    name = "topic"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """As it is: a verb may have any number of parts."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Topics, then verbs."""
        from click.shell_completion import CompletionItem

        from p2pstore.cli.main import VERBS

        known = {EXIT_CODES: "what p2pstore ends with"} | {name: topic.summary for name, topic in TOPICS.items()}
        known |= {name: entry.summary for name, entry in VERBS.items()}
        return [CompletionItem(name, help=text) for name, text in known.items() if name.startswith(incomplete)]


@click.command("help", cls=Verb)
@click.argument("topic", nargs=-1, metavar="[VERB|TOPIC]", type=TopicName())
@click.pass_context
def help_(ctx: click.Context, topic: tuple[str, ...]) -> int:
    """Explain a verb or a topic.

    Topics: exit-codes, paths, versions, verdict, promise, machines, kit, scripts, trouble. Parts of verbs are explained
    too: p2pstore help peers revoke.
    """
    session = ctx.find_object(Session)
    assert session is not None
    name = " ".join(topic)
    if name == EXIT_CODES:
        table = [{"exit": code, "meaning": meaning} for code, meaning in exits.MEANINGS.items()]
        session.show({"topic": name, "exits": table}, [f"{row['exit']:>3}  {row['meaning']}" for row in table])
        return exits.DONE
    if not topic:
        explained = f"{ctx.find_root().get_help()}\n\n{_topics()}"
    elif name in TOPICS:
        explained = TOPICS[name].text
    else:
        explained = _help_of(ctx.find_root(), topic)
    session.show({"topic": name or "p2pstore", "text": explained}, [explained])
    return exits.DONE


def _topics() -> str:
    summaries = {EXIT_CODES: "what p2pstore ends with"} | {name: topic.summary for name, topic in TOPICS.items()}
    lines = [f"  {name:<12}  {summary}" for name, summary in summaries.items()]
    return "\n".join(["Topics (p2pstore help TOPIC):", *lines])


def _help_of(root: click.Context, words: tuple[str, ...]) -> str:
    """The help page of a verb, or of a part of one."""
    command, context = root.command, root
    for word in words:
        inner = command.get_command(context, word) if isinstance(command, click.Group) else None
        if inner is None:
            known = ", ".join([EXIT_CODES, *TOPICS])
            raise click.UsageError(f"no verb or topic {' '.join(words)!r}; topics are {known}")
        command, context = inner, click.Context(inner, info_name=word, parent=context)
    return command.get_help(context)


@click.command(cls=Verb)
@click.pass_obj
def version(session: Session) -> int:
    """Show the versions of this program and of the daemon."""
    import platform
    from importlib import metadata

    from p2pstore.control.frames import API

    own = metadata.version("p2pstore")
    daemon: dict[str, Any] | None = None
    try:
        with session.connect(timeout_s=1.0) as client:
            daemon = {"version": client.hello.version, "api": client.hello.api, "pid": client.hello.pid}
    except (P2PStoreError, OSError):
        daemon = None  # no household, not running or too different to talk to: then there is none to name
    result = {"version": own, "api": API, "python": platform.python_version(), "daemon": daemon}
    lines = [f"p2pstore {own}, API {API}, Python {result['python']} on {sys.platform}"]
    lines.append(f"daemon {daemon['version']}, pid {daemon['pid']}" if daemon else "no daemon is running")
    session.show(result, lines)
    return exits.DONE
