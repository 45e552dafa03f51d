"""demo, completion, help, version."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits
from p2pstore.errors import P2PStoreError


@click.command(cls=Verb)
@click.argument("paths", nargs=-1, metavar="[PATH...]", type=click.Path(exists=True, path_type=Path))
@click.option("--kill", type=click.IntRange(min=0), default=2, show_default=True, help="Machines to kill.")
@click.option("--peers", type=click.IntRange(min=1, max=30), default=6, show_default=True, help="Machines to start.")
@click.option("--keep", is_flag=True, help="Leave it running, and say how to look around.")
@click.pass_obj
def demo(session: Session, paths: tuple[Path, ...], *, kill: int, peers: int, keep: bool) -> int:
    """Watch it survive: six machines, two killed, every byte compared.

    Starts real daemons on this machine, in a temporary folder, stores PATHs (or files of its own), kills some of the
    daemons in the middle, and reads everything back.
    """
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


@click.command("help", cls=Verb)
@click.argument("topic", required=False)
@click.pass_context
def help_(ctx: click.Context, topic: str | None) -> int:
    """Explain a verb or a topic.

    Topics: exit-codes, paths.
    """
    session = ctx.find_object(Session)
    assert session is not None
    root = ctx.find_root()
    group = root.command
    assert isinstance(group, click.Group)
    if topic is None:
        session.show({"topic": "p2pstore", "text": root.get_help()}, [root.get_help()])
    elif topic == "exit-codes":
        table = [{"exit": code, "meaning": meaning} for code, meaning in exits.MEANINGS.items()]
        session.show({"topic": topic, "exits": table}, [f"{row['exit']:>3}  {row['meaning']}" for row in table])
    elif topic == "paths":
        session.show({"topic": topic, "text": PATHS_TOPIC}, [PATHS_TOPIC])
    elif (command := group.get_command(root, topic)) is not None:
        explained = command.get_help(click.Context(command, info_name=topic, parent=root))
        session.show({"topic": topic, "text": explained}, [explained])
    else:
        raise click.UsageError(f"no verb or topic {topic!r}; topics are exit-codes and paths")
    return exits.DONE


PATHS_TOPIC = """\
Paths in the store begin with / or with p2p:/. Both mean the same:
  p2pstore ls /Photos
  p2pstore get p2p:/Photos/x.jpg .

Where things land follows cp: into the destination if it is a folder, under the destination's name otherwise. Several
sources, or a slash at the end, need a folder. "DIR/." means the contents of DIR.

A name may hold any byte but zero and "/". On a terminal, control characters and bytes that are not UTF-8 are shown as
escapes, and a backslash is doubled. With --json, a name that is not UTF-8 comes with its exact bytes in name_hex."""


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
