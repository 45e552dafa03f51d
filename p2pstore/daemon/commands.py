"""What a person would type to ask for the same: shown beside each transfer, so that a screen teaches commands."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from typing import Any, Final

SOURCES_SHOWN: Final = 3
"""More sources than this are counted, not listed: it is a line on a screen."""


def command_of(verb: str, args: Mapping[str, Any]) -> str:
    """The command line of a `put` or `get` with these arguments, checked or not."""
    paths = [path for source in _list(args.get("sources")) if (path := _path(source))]
    shown = [_quoted(path) for path in paths[:SOURCES_SHOWN]]
    if args.get("stdin") is True:
        shown = ["-"]
    if len(paths) > SOURCES_SHOWN:
        shown.append(f"...{len(paths) - SOURCES_SHOWN} more")
    destination = args.get("destination")
    if isinstance(destination, bytes):
        folder = args.get("into") is True and not destination.endswith(b"/")
        shown.append(_quoted(destination + b"/" if folder else destination))
    flags = ["-r"] if args.get("recursive") is True else []
    return " ".join(["p2pstore", verb, *flags, *shown])


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _path(source: Any) -> bytes | None:
    path = source.get("path") if isinstance(source, dict) else source
    return path if isinstance(path, bytes) else None


def _quoted(path: bytes) -> str:
    return shlex.quote(os.fsdecode(path)).encode("utf-8", "backslashreplace").decode("utf-8")
