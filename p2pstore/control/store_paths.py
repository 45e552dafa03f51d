"""How people and programs write a path in the store: `/Photos/x.jpg` or `p2p:/Photos/x.jpg`."""

from __future__ import annotations

import os
from typing import Final

PREFIX: Final = b"p2p:"


def store_path(argument: str) -> bytes:
    """The path in the store that an argument names: absolute, no empty and no "." parts; a slash at its end stays.

    Raises:
        ValueError: not a path in the store.
    """
    raw = os.fsencode(argument)
    if raw.startswith(PREFIX):
        raw = b"/" + raw[len(PREFIX) :]
    if not raw.startswith(b"/"):
        raise ValueError(f"{argument!r} is not a path in the store: those begin with / or p2p:/")
    if b"\0" in raw:
        raise ValueError("a path cannot contain a zero byte")
    parts = [part for part in raw.split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise ValueError(f"{argument!r}: '..' is not followed in the store")
    return b"/" + b"/".join(parts) + (b"/" if parts and raw.endswith((b"/", b"/.")) else b"")
