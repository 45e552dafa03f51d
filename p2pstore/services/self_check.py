"""Looks through this machine's ledger once a day for what it has lost; what its log can tell is made anew at once."""

from __future__ import annotations

from typing import Final

from p2pstore.errors import Unavailable
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.seams.clock import Clock

FIRST_AFTER_S: Final = 30.0
"""A start has more urgent work."""

EVERY_S: Final = 86_400.0
"""Of this machine's running time. In a tree of 10^6 entries one look takes 130 s of CPU (docs/measurements.md)."""

AGAIN_AFTER_S: Final = 600.0
"""A full disk takes no note of what was found, and a damaged row may not be readable before peers have given it back;
the next look finds it again. A file that is no sound database ends the daemon; the next start sets it aside."""

PACE: Final = 19.0
"""Seconds of rest for each second of work: a twentieth of one core, and nobody waits for the ledger."""


class SelfCheck:
    """Run `run`."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def run(self) -> None:
        """Look, rest, look again, until cancelled."""
        await self._clock.sleep(FIRST_AFTER_S)
        while True:
            try:
                await self._ledger.inspect(pace=PACE)
            except (Unavailable, RowDamaged):
                await self._clock.sleep(AGAIN_AFTER_S)
            else:
                await self._clock.sleep(EVERY_S)
