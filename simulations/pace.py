"""Slows down what a household does for ever, so that a year of it can be simulated in minutes.

Only upkeep is slowed: asking who is there, comparing what is known, refreshing the DHT, dialling who sleeps. How long a
machine may be silent, how old a proof may be and what people do stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Final
from unittest.mock import patch

PERIODS: Final = (
    ("p2pstore.services.liveness", "ASK_EVERY_S"),
    ("p2pstore.services.liveness", "HEARD_WITHIN_S"),
    ("p2pstore.services.verdict", "UNHEARD_FOR_S"),
    ("p2pstore.services.silences", "TICK_S"),
    ("p2pstore.services.silences", "KEEP_EVERY_S"),
    ("p2pstore.services.scrubber", "STEP_EVERY_MAX_S"),
    ("p2pstore.services.scrubber", "KEEP_EVERY_S"),
    ("p2pstore.services.placer", "TRY_EVERY_S"),
    ("p2pstore.protocols.sync", "ROUND_S"),
    ("p2pstore.protocols.sync", "RETRY_MAX_S"),
    ("p2pstore.services.inventory_sync", "RETRY_MAX_S"),
    ("dht.limits", "PING_AFTER_S"),
    ("dht.limits", "REFRESH_AFTER_S"),
    ("simulations.invariants.capacity", "LOOK_EVERY_S"),
)
"""(module, name): the periods of upkeep. `REDIAL_MAX_S` and the DHT's own rounds are settings of each node."""


@contextmanager
def paced(pace: float) -> Iterator[None]:
    """For the length of the block every period is `pace` times as long. Raises AttributeError if one is gone."""
    with ExitStack() as stack:
        if pace != 1.0:
            for name, period in PERIODS:
                module = import_module(name)
                stack.enter_context(patch.object(module, period, getattr(module, period) * pace))
        yield
