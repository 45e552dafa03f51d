"""One source of chance per concern, all from one seed: one draw more in a machine must not shift the network's."""

from __future__ import annotations

from hashlib import blake2b
from random import Random


def derived(seed: int, *names: object) -> Random:
    """The source of chance of one concern of one run, e.g. `derived(17, "machine", 3, "life", 2)`."""
    text = "\x1f".join(map(str, (seed, *names)))
    return Random(int.from_bytes(blake2b(text.encode(), digest_size=16).digest()))
