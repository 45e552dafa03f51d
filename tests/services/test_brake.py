"""The brake: a mass change by one machine is found by all, and nothing is let go until it was allowed."""

from __future__ import annotations

import pytest
import trio

from p2pstore.daemon.operations_brake import BrakeOperations
from p2pstore.ledger.drafts import Remove
from p2pstore.ledger.ledger import Ledger
from p2pstore.seams.clock import Clock
from p2pstore.services.brake import Brake
from simulations.machine import Fitting
from simulations.people import call
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World
from tests.ledger.household import do, household, ledgers, mkdir, path, put, sync_all


async def filled(ledger: Ledger, count: int, folder: str = "f") -> None:
    await do(ledger, mkdir(folder), *(put(f"{folder}/{number}") for number in range(count)))
    await trio.sleep(10.0)


@pytest.mark.parametrize(("count", "gone", "on"), [(100, 49, False), (240, 50, True), (260, 50, False), (60, 60, True)])
async def test_goes_on_for_many_entries_that_are_much_of_a_folder(
    autojump_clock: object, count: int, gone: int, on: bool
) -> None:
    house = household(2)
    async with ledgers(house) as [one, other]:
        await filled(one, count)
        await sync_all([one, other])
        await do(other, *(Remove(path(f"f/{number}")) for number in range(gone)))
        await sync_all([one, other])
        for machine, ledger in zip(house, (one, other), strict=True):
            brake = Brake(ledger=ledger, clock=machine.clock)
            assert await brake.look() is on


@pytest.mark.parametrize(("pause_s", "on"), [(30.0, True), (3600.0, True), (2 * 86_400.0, False)])
async def test_what_is_spread_over_time_needs_a_larger_share(autojump_clock: object, pause_s: float, on: bool) -> None:
    [machine] = household(1)
    async with ledgers([machine]) as [ledger]:
        await filled(ledger, 200)
        for start in range(0, 80, 20):
            await do(ledger, *(put(f"f/{number}", b"other") for number in range(start, start + 20)))
            await trio.sleep(pause_s)
        assert await Brake(ledger=ledger, clock=machine.clock).look() is on


async def test_what_a_machine_made_itself_in_the_same_hour_is_its_own(autojump_clock: object) -> None:
    [machine] = household(1)
    async with ledgers([machine]) as [ledger]:
        await filled(ledger, 60, "old")
        await do(ledger, Remove(path("old/0")))
        await filled(ledger, 100, "new")
        await do(ledger, *(Remove(path(f"new/{number}")) for number in range(100)))
        assert not await Brake(ledger=ledger, clock=machine.clock).look()


async def test_remembers_until_it_is_allowed_or_put_back(autojump_clock: object) -> None:
    [machine] = household(1)
    clock: Clock = machine.clock
    async with ledgers([machine]) as [ledger]:
        await filled(ledger, 60)
        await do(ledger, *(put(f"f/{number}", b"other") for number in range(60)))
        assert await Brake(ledger=ledger, clock=clock).look()
        assert await Brake(ledger=ledger, clock=clock).look(), "it was noted durably"
        assert await Brake(ledger=ledger, clock=clock).allow() == 1
        assert not await Brake(ledger=ledger, clock=clock).look()
        await trio.sleep(9 * 86_400.0)
        await do(ledger, *(put(f"f/{number}", b"third") for number in range(60)))
        assert await Brake(ledger=ledger, clock=clock).look(), "what comes later was not allowed"


def test_a_stolen_laptop_deletes_everything_and_nothing_is_let_go() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(3, nursery, trace=Trace(keep=False))
            await world.found([Fitting("nas"), Fitting("desk"), Fitting("lap", steadiness="laptop")])
            await trio.sleep(10.0)
            nas, lap = (next(each for each in world.machines if each.fitting.name == name) for name in ("nas", "lap"))
            assert nas.node is not None
            assert lap.node is not None
            await filled(nas.node.ledger, 80)
            await trio.sleep(30.0)
            await lap.node.ledger.remove_tree(path("f"))
            await trio.sleep(60.0)
            operations = BrakeOperations(nas.node)
            told = await operations.brake(call(action="status"))
            assert [(each["machine"], each["changed"]) for each in told["changes"]] == [("lap", 81)]
            assert "lap has removed" in (await nas.node.verdicts.verdict(fresh=True)).sentence
            assert "brake" in (await nas.node.collector.look()).why_not
            before = await nas.node.ledger.history_size()
            assert before.removed == 81
            later_ms = int((nas.node.seams.clock.wall_s() + 40 * 86_400) * 1000)

            async def in_forty_days() -> int:
                return later_ms

            nas.node.history_keeper._time_ms = in_forty_days  # type: ignore[method-assign]
            assert await nas.node.history_keeper.sweep() == 0
            assert await nas.node.ledger.history_size() == before
            await operations.brake(call(action="allow"))
            assert await nas.node.history_keeper.sweep() == 162, "81 things in the trash, and what they were before"
            for machine in world.machines:
                await machine.stop()
            assert world.bugs == []
            nursery.cancel_scope.cancel()

    run_virtual(main, seed=3)
