"""Silence is counted in our own running time, and kept across restarts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import trio
from trio.testing import MockClock

from p2pstore.edges.clock import RealClock
from p2pstore.ids import PeerId, StoreId
from p2pstore.ledger.holdings import StorePosition
from p2pstore.placement.repair import Silence
from p2pstore.services.liveness import Acquaintance, Condition
from p2pstore.services.silences import SETTING, Silences

NAS, LAPTOP = PeerId(b"\1" * 32), PeerId(b"\2" * 32)
HOUR_S = 3600.0


@dataclass
class Ledger:
    """Settings, and inventories that were told just now on some wall clock."""

    settings: dict[str, bytes] = field(default_factory=dict)
    proven_ms: dict[PeerId, int] = field(default_factory=dict)

    async def setting(self, name: str) -> bytes | None:
        return self.settings.get(name)

    async def set_setting(self, name: str, value: bytes) -> None:
        self.settings[name] = value

    async def store_positions(self, peer: PeerId | None = None) -> list[StorePosition]:
        return [
            StorePosition(each, StoreId(bytes(16)), b"", 1, ms, 1, 1) for each, ms in sorted(self.proven_ms.items())
        ]


@dataclass
class Household:
    """Who belongs to it, and who answers."""

    answering: set[PeerId] = field(default_factory=set)
    heard: dict[PeerId, Acquaintance] = field(default_factory=dict)

    def others(self) -> list[PeerId]:
        return [NAS, LAPTOP]

    def answers(self, peer: PeerId) -> bool:
        if peer in self.answering:
            self.heard[peer] = Acquaintance(trio.current_time(), 0.0, Condition(0, 0, 0))
        return peer in self.answering

    def known(self) -> dict[PeerId, Acquaintance]:
        return self.heard


@asynccontextmanager
async def running(ledger: Ledger, household: Household) -> AsyncIterator[Silences]:
    anything = cast("Any", household)
    silences = Silences(clock=RealClock(), ledger=ledger, liveness=anything, membership=anything)
    async with trio.open_nursery() as nursery:
        await nursery.start(silences.run)
        yield silences
        nursery.cancel_scope.cancel()


async def silence_of(silences: Silences, peer: PeerId) -> Silence:
    return (await silences.all())[peer]


async def test_silence_grows_while_we_listen_and_ends_with_a_word(autojump_clock: MockClock) -> None:
    household = Household()
    async with running(Ledger(), household) as silences:
        await trio.sleep(10 * HOUR_S)
        assert abs((await silence_of(silences, NAS)).listened_s - 10 * HOUR_S) < 1
        household.answering.add(NAS)
        silences.count()
        assert await silence_of(silences, NAS) == Silence(True, 0.0, float("inf"))
        household.answering.clear()
        await trio.sleep(90.0)
        assert (await silence_of(silences, NAS)).listened_s <= 90.0
        assert abs((await silence_of(silences, LAPTOP)).listened_s - 10 * HOUR_S) < 200


async def test_time_in_which_we_did_not_run_is_nobodys_silence(autojump_clock: MockClock) -> None:
    ledger = Ledger()
    async with running(ledger, Household()):
        await trio.sleep(3 * HOUR_S)
    await trio.sleep(1000 * HOUR_S)
    async with running(ledger, Household()) as silences:
        await trio.sleep(HOUR_S)
        listened_s = (await silence_of(silences, LAPTOP)).listened_s
    assert 3.7 * HOUR_S <= listened_s <= 4 * HOUR_S + 1, "and a crash forgets a quarter of an hour at most"


async def test_what_was_kept_and_cannot_be_read_is_a_new_beginning(autojump_clock: MockClock) -> None:
    for rubbish in (b"", b"\xff\xff", b"\x92\x01\x91\x92\xc4\x01a\x01", b"\x92\x09\x90"):
        async with running(Ledger({SETTING: rubbish}), Household()) as silences:
            assert (await silence_of(silences, NAS)).listened_s < 1


async def test_a_word_ages_by_the_wall_clock_but_is_no_older_than_what_we_heard(autojump_clock: MockClock) -> None:
    wall_s = RealClock().wall_s()
    ledger = Ledger(proven_ms={NAS: int((wall_s - 5 * HOUR_S) * 1000), LAPTOP: int((wall_s + 9 * HOUR_S) * 1000)})
    household = Household()
    async with running(ledger, household) as silences:
        assert abs((await silence_of(silences, NAS)).proven_age_s - 5 * HOUR_S) < 60
        assert (await silence_of(silences, LAPTOP)).proven_age_s == 0.0
        household.answering.add(NAS)
        assert household.answers(NAS)
        household.answering.clear()
        await trio.sleep(HOUR_S)
        assert abs((await silence_of(silences, NAS)).proven_age_s - HOUR_S) < 61
