"""A scrub reads everything in time, goes on where it stopped, and gets out of the way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from p2pstore.errors import Unavailable
from p2pstore.limits import MIB
from p2pstore.services.scrubber import (
    DAY_S,
    REST_MIN,
    ROUND_S,
    SETTING,
    STEP_EVERY_MAX_S,
    Round,
    Scrubber,
    rest_s,
)
from p2pstore.storage.store import ShardStore
from tests.storage.houses import Machine, header_of, payload_of, put, shard_id


class Settings:
    """The ledger, as far as a scrub needs it."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    async def setting(self, name: str) -> bytes | None:
        return self.kept.get(name)

    async def set_setting(self, name: str, value: bytes) -> None:
        self.kept[name] = value


@asynccontextmanager
async def scrubbing(
    machine: Machine, store: ShardStore, settings: Settings, found: list[None]
) -> AsyncIterator[Scrubber]:
    scrubber = Scrubber(
        store=store, ledger=cast("Any", settings), clock=machine.clock, damage_found=lambda: found.append(None)
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scrubber.run)
        yield scrubber
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("store_bytes", "worked_s"), [(10 * MIB, 0.1), (2**30, 0.1), (2**40, 0.1), (20 * 2**40, 0.1), (2**40, 60.0)]
)
def test_a_round_ends_in_time_unless_the_disk_is_too_slow_for_that(store_bytes: int, worked_s: float) -> None:
    step_bytes = 8 * MIB
    steps = -(-store_bytes // step_bytes)
    one_s = worked_s + rest_s(worked_s=worked_s, step_bytes=step_bytes, store_bytes=store_bytes)
    assert one_s * steps <= max(ROUND_S + STEP_EVERY_MAX_S, steps * worked_s * (1 + REST_MIN)) * 1.01


@given(st.floats(0, 3600), st.integers(0, 2**45), st.integers(0, 2**45))
def test_it_always_rests_longer_than_it_works(worked_s: float, step_bytes: int, store_bytes: int) -> None:
    rest = rest_s(worked_s=worked_s, step_bytes=step_bytes, store_bytes=store_bytes)
    assert REST_MIN * worked_s <= rest <= max(REST_MIN * worked_s, STEP_EVERY_MAX_S)


@given(st.binary(max_size=200))
def test_what_was_kept_and_cannot_be_read_is_a_new_beginning(data: bytes) -> None:
    assert isinstance(Round.decode(data), Round)


def test_a_round_is_kept_whole() -> None:
    kept = Round(b"s" * 16, 7, 1e9, 2e9, 3, 4, 5, True)
    assert Round.decode(kept.encode()) == kept
    between = Round(b"s" * 16, None, 1e9, 2e9, 3, 4, 5, False)
    assert Round.decode(between.encode()) == between


async def test_damage_is_found_and_told(autojump_clock: MockClock) -> None:
    machine, found = Machine(), []
    async with machine.running() as store:
        for number in range(20):
            await put(store, number)
        name = f"packs/{machine.disk.names('packs')[0]}"
        machine.disk.flip_bit(name, offset=machine.disk.size_of(name) // 2)
        async with scrubbing(machine, store, Settings(), found) as scrubber:
            ended = await scrubber.now(lambda _: None)
        assert (ended.damaged, ended.checked, len(found)) == (1, 19, 1)
        (damaged,) = await store.damaged(10)
        number = next(n for n in range(20) if shard_id(n) == damaged)
        await store.put(
            damaged, header_of(number), payload_of(number), payload_hash=_hash(payload_of(number)), for_repair=True
        )
        assert store.usage().damaged_count == 0, "a put takes it out of quarantine"


async def test_the_next_round_comes_a_month_after_the_last_began(autojump_clock: MockClock) -> None:
    machine, settings = Machine(), Settings()
    async with machine.running() as store:
        await put(store, 1)
        async with scrubbing(machine, store, settings, []) as scrubber:
            await trio.sleep(STEP_EVERY_MAX_S)
            first = scrubber.round
            assert first.after is None
            assert first.checked == 1
        assert Round.decode(settings.kept[SETTING]).checked == 1
        async with scrubbing(machine, store, settings, []) as scrubber:
            await trio.sleep(DAY_S)
            assert scrubber.round == Round.decode(first.encode()), "a restart begins nothing anew"


async def test_a_pause_is_kept_across_restarts(autojump_clock: MockClock) -> None:
    machine, settings = Machine(), Settings()
    async with machine.running() as store:
        await put(store, 1)
        async with scrubbing(machine, store, settings, []) as scrubber:
            await scrubber.pause(True)
        before = Round.decode(settings.kept[SETTING])
        async with scrubbing(machine, store, settings, []) as scrubber:
            await trio.sleep(DAY_S)
            assert scrubber.round == before
            await scrubber.pause(False)
            await trio.sleep(STEP_EVERY_MAX_S)
            assert scrubber.round.ended_s > 0


async def test_who_waits_for_a_scrub_is_told_that_it_was_paused(autojump_clock: MockClock) -> None:
    machine = Machine()
    async with machine.running() as store:
        for number in range(3000):
            await put(store, number)
        async with scrubbing(machine, store, Settings(), []) as scrubber:
            told: list[str] = []

            async def wait() -> None:
                with pytest.raises(Unavailable):
                    await scrubber.now(lambda _: None)
                told.append("paused")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                while not scrubber.hurried:
                    await trio.lowlevel.checkpoint()
                await scrubber.pause(True)
            assert told


def _hash(data: bytes) -> bytes:
    from blake3 import blake3

    return blake3(data).digest()
