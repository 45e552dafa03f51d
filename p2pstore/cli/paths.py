"""Paths on the command line, as bytes: in the store (`p2p:/Photos/x.jpg`, or a leading `/`) and on this machine."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from p2pstore.control.store_paths import store_path

COMPLETION_LIMIT_S: Final = 0.15
"""A person who pressed Tab waits for no longer; then there are no suggestions."""


def local_path(argument: str) -> bytes:
    """The absolute path of a local file that an argument names; links and ".." are left to the system."""
    raw = os.path.join(os.getcwdb(), os.fsencode(argument))
    return raw.rstrip(b"/") or b"/"


def local_source(argument: str) -> dict[str, bytes | None]:
    """{path, name} of something to store: `name` is what it will be called inside a folder, or None where the
    contents are meant (".", "dir/."), as with `cp -r`. A slash at the end follows a link."""
    path = local_path(argument)
    name: bytes | None = os.path.basename(path)
    if name in (b"", b".", b".."):
        name = None
    if argument.endswith("/"):
        path = os.path.realpath(path)
    return {"path": path, "name": name}


class StorePath(click.ParamType[bytes]):
    """An argument that names a path in the store; completes from the running daemon."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Bytes of the path."""
        if isinstance(value, bytes):
            return value
        try:
            return store_path(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str  # noqa: ARG002 - click's signature
    ) -> list[Any]:
        """Names in the folder typed so far; none when the daemon is not there at once."""
        from click.shell_completion import CompletionItem

        from p2pstore.cli.session import Session
        from p2pstore.errors import P2PStoreError

        session = ctx.find_object(Session)
        text = incomplete or "/"
        if session is None or not text.startswith(("/", "p2p:/")):
            return []
        folder = text[: text.rindex("/") + 1]
        try:
            with session.connect(timeout_s=COMPLETION_LIMIT_S) as client:
                entries: list[dict[str, Any]] = []
                client.call(
                    "ls",
                    {"path": store_path(folder), "all": False, "long": False},
                    on_item=lambda item: entries.extend(item["entries"]),
                    timeout_s=COMPLETION_LIMIT_S,
                )
            found = [os.fsdecode(entry["name"]) + ("/" if entry["kind"] == "folder" else "") for entry in entries]
            names = [name for name in found if name.isprintable()]
        except (P2PStoreError, OSError, ValueError):
            return []
        return [CompletionItem(folder + name) for name in names if (folder + name).startswith(text)]


class LocalFolder(click.ParamType[bytes]):
    """An argument that names a local folder."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> bytes:  # noqa: ARG002
        """Its absolute path; the daemon knows whether there is one."""
        return value if isinstance(value, bytes) else local_path(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """The shell knows its folders."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="dir")]


class WatchedPath(LocalFolder):
    """An argument that names a watched folder; completes from the running daemon."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The watched folders; local folders when the daemon is not there at once."""
        from p2pstore.cli.completing import watched_folders

        return list(watched_folders(ctx, incomplete)) or super().shell_complete(ctx, param, incomplete)


class MachineName(click.ParamType[str]):
    """An argument that names a machine of the household; completes from the running daemon."""

    name = "machine"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """The name as it is; the daemon knows whether there is such a machine."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:  # noqa: ARG002
        """Names of machines; none when the daemon is not there at once."""
        from p2pstore.cli.completing import machine_names

        return list(machine_names(ctx, incomplete))


class Converted(click.ParamType[Any]):
    """An argument that a function from `p2pstore.cli.text` reads."""

    def __init__(self, name: str, parse: Any) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the function made of it; its ValueError becomes a usage error."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
