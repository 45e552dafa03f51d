"""A power cut at any moment: what was acknowledged is there, the rest wholly or not at all."""

from __future__ import annotations

import random

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from p2pstore.errors import NoSpace, P2PStoreError
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.opening import DATABASE_NAME
from p2pstore.metadata.vector import Vector
from simulations.disk import PowerCut
from tests.ledger.household import Machine, do, household, ledgers, pull, put, sync_all, tree


async def _write_until_cut(machine: Machine, life: int, acknowledged: set[str], attempted: set[str]) -> None:
    """Several callers put files until the power fails."""

    async def caller(ledger: Ledger, number: int) -> None:
        for turn in range(12):
            name = f"{life}-{number}-{turn}"
            attempted.add(name)
            try:
                await do(ledger, put(f"d/{name}"), put(f"d/{name}-twin"))
            except P2PStoreError:
                return
            acknowledged.add(name)

    try:
        ledger = await machine.open()
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            async with trio.open_nursery() as callers:
                for number in range(4):
                    callers.start_soon(caller, ledger, number)
            nursery.cancel_scope.cancel()
    except* PowerCut:
        pass


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 4)
def test_what_was_acknowledged_survives_any_power_cut(seed: int) -> None:
    trio.run(_check_power_cuts, seed, clock=MockClock(autojump_threshold=0))


async def _check_power_cuts(seed: int) -> None:
    rng = random.Random(seed)
    machine, other = household(2, seed=seed)
    acknowledged: set[str] = set()
    attempted: set[str] = set()
    vector = Vector()
    async with other.ledger() as witness:
        for life in range(3):
            machine.disk.dies_at_step = machine.disk.steps + rng.randrange(1, 120)
            await _write_until_cut(machine, life, acknowledged, attempted)
            machine.disk.dies_at_step = None
            machine.disk.restart(power_cut=True)
            async with machine.ledger() as ledger:
                shown = await tree(ledger)
                for name in acknowledged:
                    assert f"d/{name}" in shown
                for name in attempted:
                    assert (f"d/{name}" in shown) == (f"d/{name}-twin" in shown), "all of a call or nothing"
                assert set(shown) <= {"d"} | {f"d/{name}{twin}" for name in attempted for twin in ("", "-twin")}
                assert ledger.vector().covers_all(vector), "a vector never goes back"
                vector = ledger.vector()
                await pull(witness, ledger)
                assert await witness.forks() == [], "no dot was used twice"
                assert await tree(witness) == shown


async def test_a_full_disk_refuses_and_harms_nothing(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("before"))
        machine.disk.capacity_bytes = sum(len(data) for data in machine.disk.snapshot().values()) + 20_000
        refused = stored = 0
        for number in range(40):
            try:
                await do(ledger, put(f"{number}", b"z" * 4000))
                stored += 1
            except NoSpace:
                refused += 1
        assert refused
        machine.disk.capacity_bytes = None
        await do(ledger, put("after"))
        assert len(await tree(ledger)) == stored + 2
    async with machine.ledger() as ledger:
        assert len(await tree(ledger)) == stored + 2
        assert ledger.vector()[ledger.own_writer] == stored + 2


async def test_a_damaged_database_is_set_aside_and_comes_back_from_peers(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (a, b):
        await do(a, *(put(f"d/{number}") for number in range(200)))
        await sync_all([a, b])
        life = a.own_writer
    for page in range(40):
        machines[0].disk.flip_bit(DATABASE_NAME, offset=4096 * page + 16)
    async with ledgers(machines) as (a, b):
        assert a.damaged_as is not None
        assert a.damaged_as in machines[0].disk.names()
        assert a.own_writer != life
        assert await tree(a) == {}
        await sync_all([a, b])
        assert await tree(a) == await tree(b)
        assert len(await tree(b)) == 201, "nothing was deleted elsewhere"
        await do(a, put("new"))
        await sync_all([a, b])
        assert "new" in await tree(b)


async def test_callers_are_told_when_the_writer_has_ended(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    ledger = await machine.open()
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        await do(ledger, put("a"))
        nursery.cancel_scope.cancel()
    errors = []
    try:
        await do(ledger, put("b"))
    except P2PStoreError as error:
        errors.append(error)
    assert len(errors) == 1
    await ledger.close()
