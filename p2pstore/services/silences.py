"""How long each machine has not been heard, counted in this machine's own running time and kept across its restarts.

A wall clock may be years wrong, and whoever slept for a week heard nobody in it. So silence grows only while this
daemon runs and its machine is awake: nobody is ever taken for gone because *we* were away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import trio

from p2pstore.errors import Malformed, P2PStoreError
from p2pstore.ids import PeerId, peer_id
from p2pstore.ledger.holdings import StorePosition
from p2pstore.packing import Fields, pack, unpack
from p2pstore.placement.repair import RULES, Machine, Rules, Silence, Standing, is_common_silence, standings
from p2pstore.seams.clock import Clock
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership

SETTING: Final = "silences"
TICK_S: Final = 60.0
"""Silences are measured in hours and days."""

KEEP_EVERY_S: Final = 900.0
"""So much may be forgotten by a crash: it makes a silence seem shorter, never longer."""

_BYTES_MAX: Final = 1 << 20


class SettingsAndPositions(Protocol):
    """The ledger, as far as silences need it."""

    async def setting(self, name: str) -> bytes | None:
        """A small value."""
        ...

    async def set_setting(self, name: str, value: bytes) -> None:
        """Keep one, durably."""
        ...

    async def store_positions(self, peer: PeerId | None = None) -> list[StorePosition]:
        """Known stores of one peer or all."""
        ...


class Silences:
    """Counts. `run` keeps counting; `all` answers."""

    def __init__(
        self,
        *,
        clock: Clock,
        ledger: SettingsAndPositions,
        liveness: Liveness,
        membership: Membership,
        rules: Rules = RULES,
    ) -> None:
        self._clock = clock
        self._ledger = ledger
        self._liveness = liveness
        self._membership = membership
        self.rules = rules
        self._listened_s: dict[PeerId, float] = {}
        self._counted_at_s = clock.now_s()
        self._common_at_s = clock.now_s()
        self._kept: bytes | None = None
        self.ticked = trio.Event()
        """Set, and replaced by a new one, after each count."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what an earlier life counted, then count until cancelled."""
        self._listened_s = {**_decode(await self._ledger.setting(SETTING)), **self._listened_s}
        self._counted_at_s = self._common_at_s = kept_at_s = self._clock.now_s()
        task_status.started()
        while True:
            await self._clock.sleep(TICK_S)
            self.count()
            if self._clock.now_s() - kept_at_s >= KEEP_EVERY_S:
                kept_at_s = self._clock.now_s()
                await self._keep()

    def count(self) -> None:
        """Add the time since the last count to everybody who is silent; who answers starts anew."""
        now_s = self._clock.now_s()
        passed_s, self._counted_at_s = now_s - self._counted_at_s, now_s
        counted: dict[PeerId, float] = {}
        for peer in self._membership.others():
            if not self._liveness.answers(peer):
                counted[peer] = self._at_most(peer, self._listened_s.get(peer, 0.0) + passed_s)
        self._listened_s = counted
        self.ticked.set()
        self.ticked = trio.Event()

    def _at_most(self, peer: PeerId, listened_s: float) -> float:
        """No longer than since it was heard in this life: it may have fallen silent just now."""
        known = self._liveness.known().get(peer)
        return listened_s if known is None else min(listened_s, self._clock.now_s() - known.heard_at_s)

    async def _keep(self) -> None:
        data = pack([1, [[peer, int(seconds)] for peer, seconds in sorted(self._listened_s.items())]])
        if data == self._kept:
            return
        try:
            await self._ledger.set_setting(SETTING, data)
        except P2PStoreError:
            return  # a full disk: the next time
        self._kept = data

    async def all(self) -> Mapping[PeerId, Silence]:
        """The silence of every other member now."""
        now_s, wall_s = self._clock.now_s(), self._clock.wall_s()
        since_count_s = now_s - self._counted_at_s
        proven: dict[PeerId, float] = {}
        for position in await self._ledger.store_positions():
            proven[position.peer] = max(proven.get(position.peer, 0.0), position.proven_ms / 1000)
        known = self._liveness.known()
        found: dict[PeerId, Silence] = {}
        for peer in self._membership.others():
            age_s = max(0.0, wall_s - proven[peer]) if peer in proven else float("inf")
            if peer in known and peer in proven:
                age_s = min(age_s, now_s - known[peer].heard_at_s)
            answers = self._liveness.answers(peer)
            listened_s = 0.0 if answers else self._at_most(peer, self._listened_s.get(peer, 0.0) + since_count_s)
            found[peer] = Silence(answers, listened_s, age_s)
        return found

    async def standings(self, *, impatient: bool = False) -> dict[PeerId, Standing]:
        """How every member's shards are taken now; `impatient`: a person says that a common silence is no fault of our
        own link."""
        rules = replace(self.rules, patience_s=0.0) if impatient else self.rules
        machines = [
            Machine(member.peer_id, member.site, member.steadiness, member.leaves)
            for member in self._membership.roster.members()
        ]
        silences = await self.all()
        me = self._membership.me
        site = next((machine.site for machine in machines if machine.peer == me), "")
        others = [machine for machine in machines if machine.peer in silences]
        now_s = self._clock.now_s()
        if is_common_silence(site, others, silences, self.rules):
            self._common_at_s = now_s
        return standings(me, machines, silences, rules, since_common_s=now_s - self._common_at_s)


def _decode(data: bytes | None) -> dict[PeerId, float]:
    if data is None:
        return {}
    try:
        fields = Fields(unpack(data, bytes_max=_BYTES_MAX), "silences", version=1)
        found = {}
        for each in fields.array(most=100_000):
            pair = Fields(each, "silence")
            peer = peer_id(pair.raw(32))
            found[peer] = pair.number(0, 2**53)
        return found
    except Malformed:
        return {}  # counting anew only makes us more patient
