"""How a name is read by people: what the search index holds of it."""

from __future__ import annotations


def indexed_name(name: bytes) -> str:
    """`name` as text, composed of what can be read of it; bytes that are no text become U+FFFD."""
    return name.decode("utf-8", "replace")
