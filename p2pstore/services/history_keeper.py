"""Lets history go when the household's rules no longer ask to keep it.

Ages are told by the machines' clocks together: by the middle one of all that answer, and by the earlier of two. So one
board that wakes in 2036 drops nothing, and a household whose others are all away waits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from p2pstore.errors import P2PStoreError, PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.retention import Position
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network

KIND: Final = "peer.clock"
KINDS: Final = frozenset({KIND})

FIRST_AFTER_S: Final = 1800.0
"""A machine that has just started has more urgent things to do, and its clock may not be set yet."""

EVERY_S: Final = 21_600.0
"""Retention is said in days: four times a day is often enough, and a laptop that is on in the evening gets there."""

PAGE: Final = 200
"""Versions looked at in one transaction: some 10 ms, so that nobody who writes meanwhile notices."""

PAUSE_S: Final = 0.05
ASK_TIMEOUT_S: Final = 5.0


def common_time_ms(own_ms: int, others_ms: list[int], *, alone: bool) -> int | None:
    """The time that a household goes by: the middle of its clocks, of an even number the earlier one in the middle.

    None if there are others and none of them answered: one clock by itself proves nothing.
    """
    if not others_ms and not alone:
        return None
    times = sorted([own_ms, *others_ms])
    return times[(len(times) - 1) // 2]


class HistoryKeeper:
    """Sweeps. `handle` tells others our time."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        network: Network,
        clock: Clock,
        others: Callable[[], list[PeerId]],
        answering: Callable[[], list[PeerId]],
        braked: Callable[[], Awaitable[bool]],
    ) -> None:
        self._ledger = ledger
        self._network = network
        self._clock = clock
        self._others = others
        self._answering = answering
        self._braked = braked
        self.dropped = 0
        """Versions and things in the trash that this daemon has let go since it started."""

    async def run(self) -> None:
        """Sweep a few times a day until cancelled."""
        await self._clock.sleep(FIRST_AFTER_S)
        while True:
            with contextlib.suppress(P2PStoreError):  # a full disk: history goes another day
                await self.sweep()
            await self._clock.sleep(EVERY_S)

    async def sweep(self) -> int | None:
        """Go through all history once; how much was let go: nothing while the brake is on, None if nobody could confirm
        the time."""
        now_ms = await self._time_ms()
        if now_ms is None:
            return None
        if await self._braked():
            return 0
        dropped = 0
        for trash in (False, True):
            after: Position | None = None
            while True:
                swept = await self._ledger.drop_history(now_ms, trash=trash, after=after, limit=PAGE)
                dropped += swept.dropped
                after = swept.after
                if after is None:
                    break
                await self._clock.sleep(PAUSE_S)
        while count := await self._ledger.drop_beyond_quota(now_ms, PAGE):
            dropped += count
            await self._clock.sleep(PAUSE_S)
        self.dropped += dropped
        return dropped

    async def _time_ms(self) -> int | None:
        told: list[int] = []

        async def ask(peer: PeerId) -> None:
            try:
                reply = await self._network.request(peer, Message(KIND), timeout_s=ASK_TIMEOUT_S)
            except (Unavailable, PeerFault):
                return
            at_ms = reply.args.get("at")
            if type(at_ms) is int and 0 <= at_ms < 2**47:
                told.append(at_ms)

        async with trio.open_nursery() as nursery:
            for peer in self._answering():
                nursery.start_soon(ask, peer)
        return common_time_ms(int(self._clock.wall_s() * 1000), told, alone=not self._others())

    async def handle(self) -> Message:
        """Tell somebody our time."""
        return Message(KIND, {"at": int(self._clock.wall_s() * 1000)})
