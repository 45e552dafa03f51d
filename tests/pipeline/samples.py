"""Bytes for tests: random to look at, the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from blake3 import blake3

VECTORS = Path(__file__).parent.parent / "vectors"


def noise(length: int, seed: str = "noise") -> bytes:
    """Incompressible bytes."""
    return blake3(seed.encode()).digest(length=length)


def text(length: int, seed: str = "text") -> bytes:
    """Bytes that zstd makes much of."""
    words = noise(64, seed).hex(" ", 3).encode() + b"\n"
    return (words * (length // len(words) + 1))[:length]


def vectors(name: str) -> Any:
    """A file of frozen vectors."""
    return json.loads((VECTORS / f"{name}.json").read_text())
