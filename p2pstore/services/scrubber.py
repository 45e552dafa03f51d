"""Re-reads every shard on this machine's disk once a month and checks its hash; what is damaged is rebuilt at once.

The position is kept, so that a scrub goes on where a restart, a pause or a night interrupted it. A full round takes
ROUND_S at most and the next begins EVERY_S after the last began; between two steps it rests, so that the disk's other
users hardly notice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import trio

from p2pstore.errors import Corrupt, DiskAsleep, Malformed, Unavailable
from p2pstore.ledger.ledger import Ledger
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.clock import Clock
from p2pstore.storage.scrub import CHECK_STEP_BYTES
from p2pstore.storage.store import ShardStore

DAY_S: Final = 86400.0
EVERY_S: Final = 30 * DAY_S
"""A round a month: a holder's word counts for 35 days."""

ROUND_S: Final = 20 * DAY_S
"""A round is paced to take so long at most; the days that are left are for machines that are off at night."""

REST_MIN: Final = 3.0
"""After a step it rests at least so many times as long as the step took: a quarter of the disk at most (facts:
simulation, 5.5)."""

STEP_EVERY_MAX_S: Final = 600.0
"""A small store is not stretched over weeks: a gigabyte takes a day."""

KEEP_EVERY_S: Final = 300.0
"""The position is kept so often: that much is read again after a crash."""

RETRY_S: Final = 600.0
SETTING: Final = "scrub"
_BYTES_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class Round:
    """Where the scrub stands; what is kept.

    Attributes:
        store: whose round it is: another disk begins anew.
        after: the next step starts behind this change; None between two rounds.
        began_s: wall time when this round, or the last one, began; 0 for never.
        ended_s: wall time when the last full round ended; 0 for never.
        checked: shards found intact in this or the last round.
        checked_bytes: their payloads.
        damaged: shards found damaged in this or the last round.
        paused: a person said so.
    """

    store: bytes = b""
    after: int | None = None
    began_s: float = 0.0
    ended_s: float = 0.0
    checked: int = 0
    checked_bytes: int = 0
    damaged: int = 0
    paused: bool = False

    def encode(self) -> bytes:
        """For the ledger's settings."""
        after = -1 if self.after is None else self.after
        times = [int(self.began_s), int(self.ended_s)]
        return pack([1, self.store, after, *times, self.checked, self.checked_bytes, self.damaged, self.paused])

    @staticmethod
    def decode(data: bytes | None) -> Round:
        """What was kept; a new beginning if that is nothing sensible."""
        try:
            fields = Fields(unpack(data or b"", bytes_max=_BYTES_MAX), "scrub", version=1)
            store, after = fields.raw(most=64), fields.integer(-1, 2**63)
            began_s, ended_s, checked, checked_bytes, damaged = (fields.integer(0, 2**63) for _ in range(5))
            paused = fields.truth()
        except Malformed:
            return Round()
        position = None if after < 0 else after
        return Round(store, position, began_s, ended_s, checked, checked_bytes, damaged, paused)


def rest_s(*, worked_s: float, step_bytes: int, store_bytes: int) -> float:
    """How long to rest after a step, so that a round takes ROUND_S at most and nobody is disturbed."""
    share = min(1.0, max(step_bytes, 1) / max(store_bytes, 1))
    return max(REST_MIN * worked_s, min(STEP_EVERY_MAX_S, ROUND_S * share) - worked_s)


class Scrubber:
    """Scrubs one store. `run` it."""

    def __init__(
        self, *, store: ShardStore, ledger: Ledger, clock: Clock, damage_found: Callable[[], None]
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._clock = clock
        self._damage_found = damage_found
        self._bell = trio.Event()
        self._hurried = False
        self._stepped = trio.Event()
        self.round = Round()
        self.problem = ""
        """Why it does not get on; "" if it does."""

    @property
    def hurried(self) -> bool:
        """Whether a person waits for this round."""
        return self._hurried

    async def run(self) -> None:
        """Scrub for ever."""
        self.round = Round.decode(await self._ledger.setting(SETTING))
        kept_s = self._clock.now_s()
        while True:
            bell = self._bell
            wait_s = self._wait_s()
            if wait_s > 0:
                with self._clock.move_on_after(wait_s):
                    await bell.wait()
                continue
            started_s = self._clock.now_s()
            try:
                step_bytes, ended = await self._step()
                if ended or self._clock.now_s() - kept_s > KEEP_EVERY_S:
                    await self._keep()
                    kept_s = self._clock.now_s()
            except (Unavailable, Corrupt) as error:
                self.problem = "the disk is away" if isinstance(error, DiskAsleep) else str(error)
                self._tell()
                with self._clock.move_on_after(RETRY_S):
                    await bell.wait()
                continue
            self.problem = ""
            worked_s = self._clock.now_s() - started_s
            if self._hurried:
                await trio.lowlevel.checkpoint()
                continue
            live_bytes = self._store.usage().live_bytes
            with self._clock.move_on_after(
                rest_s(worked_s=worked_s, step_bytes=max(step_bytes, CHECK_STEP_BYTES), store_bytes=live_bytes)
            ):
                await bell.wait()

    def _wait_s(self) -> float:
        """How long until the next step is due."""
        if self._hurried or (self.round.after is not None and not self.round.paused):
            return 0.0
        if self.round.paused:
            return EVERY_S  # a bell ends that
        since_s = self._clock.wall_s() - self.round.began_s
        if since_s < 0:
            return DAY_S  # the clock was set back: look again tomorrow
        return max(0.0, EVERY_S - since_s)

    async def _step(self) -> tuple[int, bool]:
        """Check the next few shards; (bytes read, whether that was the end of a round)."""
        state = self.round
        if state.after is None or state.store != self._store.store:
            ended_s = state.ended_s
            state = Round(self._store.store, 0, self._clock.wall_s(), ended_s, paused=state.paused)
        assert state.after is not None
        report = await self._store.check_some(state.after)
        ended = report.after is None
        self.round = replace(
            state,
            after=report.after,
            ended_s=self._clock.wall_s() if ended else state.ended_s,
            checked=state.checked + report.checked,
            checked_bytes=state.checked_bytes + report.checked_bytes,
            damaged=state.damaged + len(report.damaged),
        )
        if report.damaged:
            self._damage_found()
        if ended:
            self._hurried = False
        self._tell()
        return report.checked_bytes, ended

    def _tell(self) -> None:
        self._stepped.set()
        self._stepped = trio.Event()

    async def _keep(self) -> None:
        await self._ledger.set_setting(SETTING, self.round.encode())

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()

    async def pause(self, paused: bool) -> None:
        """Stop after the step under way, or go on; kept across restarts."""
        self.round = replace(self.round, paused=paused)
        if paused:
            self._hurried = False
            self._tell()
        await self._keep()
        self._ring()

    async def now(self, report: Callable[[Round], None]) -> Round:
        """Scrub everything now, from the first shard, without rests; the round when it has ended.

        Raises:
            Unavailable: the disk is away, or it was paused meanwhile.
        """
        self.round = replace(self.round, after=None, paused=False)
        self._hurried = True
        self._ring()
        while self._hurried:
            await self._stepped.wait()
            report(self.round)
            if self.problem:
                self._hurried = False
                raise Unavailable(self.problem)
        if self.round.paused:
            raise Unavailable("the scrub was paused")
        return self.round
