"""Arguments of a request, read at the door: typed values or Malformed."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from p2pstore.errors import Malformed, Misuse
from p2pstore.ledger.drafts import Path
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import LinkTarget

Args = Mapping[str, Any]


def path(args: Args, name: str = "path") -> Path:
    """A path in the store."""
    return split(args.get(name))


def optional_path(args: Args, name: str) -> Path | None:
    """A path in the store, or None where none is given."""
    return None if args.get(name) is None else path(args, name)


def split(value: Any) -> Path:
    """The names of a path; "/" is ()."""
    if type(value) is not bytes or not value.startswith(b"/") or b"\0" in value:
        raise Malformed("a path in the store begins with /")
    return tuple(part for part in posixpath.normpath(b"/" + value.lstrip(b"/")).split(b"/") if part)


def shown(names: Path) -> bytes:
    """The inverse of `split`."""
    return b"/" + b"/".join(names)


def raw(args: Args, name: str) -> bytes:
    """Bytes."""
    value = args.get(name)
    if type(value) is not bytes:
        raise Malformed(f"{name}: wanted bytes")
    return value


def text(args: Args, name: str, default: str | None = None, *, among: Sequence[str] | None = None) -> str:
    """A text; one of `among` if given."""
    value = args.get(name, default)
    if type(value) is not str:
        raise Malformed(f"{name}: wanted text")
    if among is not None and value not in among:
        raise Misuse(f"{name}: {value!r} is none of {', '.join(among)}")
    return value


def texts(args: Args, name: str, *, most: int = 100) -> list[str]:
    """A list of texts; none where nothing is given."""
    value = args.get(name) or []
    if not isinstance(value, list) or len(value) > most or any(type(each) is not str for each in value):
        raise Malformed(f"{name}: wanted at most {most} texts")
    return value


def array(args: Args, name: str, *, most: int = 100_000) -> list[Any]:
    """A list, of whatever."""
    value = args.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise Malformed(f"{name}: wanted a list of at most {most}")
    return value


def optional_text(args: Args, name: str) -> str | None:
    """A text, or None where none is given."""
    return None if args.get(name) is None else text(args, name)


def integer(args: Args, name: str, default: int | None = None, *, least: int = 0, most: int = 2**62) -> int:
    """An integer from `least` to `most`; it must be given where there is no default."""
    value = args.get(name)
    value = default if value is None else value
    if type(value) is not int or not least <= value <= most:
        raise Malformed(f"{name}: wanted an integer from {least} to {most}")
    return value


def number(args: Args, name: str, default: float, *, most: float) -> float:
    """A number above 0, up to `most`."""
    value = args.get(name, default)
    if type(value) not in (int, float) or not 0 < value <= most:
        raise Malformed(f"{name}: wanted a number up to {most}")
    return float(value)


def optional_integer(args: Args, name: str) -> int | None:
    """An integer that may be negative, or None where none is given."""
    value = args.get(name)
    if value is not None and (type(value) is not int or abs(value) >= 2**63):
        raise Malformed(f"{name}: wanted an integer")
    return value


def flag(args: Args, name: str) -> bool:
    """Whether a flag is given."""
    return args.get(name) is True


def entry_map(item: Item) -> dict[str, Any]:
    """An item as the local API has it in listings."""
    return {
        "name": item.name,
        "kind": item.kind.name.lower(),
        "size": item.size,
        "mtime_ns": item.mtime_ns,
        "mode": item.mode,
        "conflict": item.conflict,
        "target": item.content.target if isinstance(item.content, LinkTarget) else None,
    }
