from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pstore.placement.levels import Level
from simulations.faults import Faults
from simulations.machine import Machine
from simulations.people import People
from simulations.schedule import Fault, Work
from simulations.swarm import household
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World


def in_world(main: Callable[[World], Awaitable[None]], *, count: int = 3, seed: int = 1) -> None:
    """Run `main` in a household that was just founded."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, trace=Trace())
            await world.found(household(count))
            await trio.sleep(20)
            await main(world)
            nursery.cancel_scope.cancel()

    run_virtual(run, seed=seed)


@pytest.mark.parametrize("power_cut", [True, False])
def test_what_was_acknowledged_survives_the_end_of_every_machine_at_once(power_cut: bool) -> None:
    async def main(world: World) -> None:
        people = People(world, Work())
        await people.make_folders(world.machines[0])
        assert await people.store(world.machines[0], b"/docs/a", b"x" * 30_000, Level.SAFE)
        for machine in world.machines:
            await machine.crash(power_cut=power_cut)
        for machine in world.machines:
            assert await world.restart(machine)
        await trio.sleep(60)
        for machine in world.machines:
            assert await people.read(machine, b"/docs/a")
        assert not world.oracle.violations
        assert not world.bugs

    in_world(main)


def test_a_crash_runs_no_line_of_cleanup_that_reaches_the_disk() -> None:
    async def main(world: World) -> None:
        machine = world.machines[1]
        steps = [disk.steps for disk in machine.disks]
        await machine.crash(power_cut=True)
        assert [disk.steps for disk in machine.disks] == steps
        assert not world.bugs

    in_world(main)


def test_a_stopped_machine_tidies_up_and_ends() -> None:
    async def main(world: World) -> None:
        machine = world.machines[1]
        steps = machine.ledger_disk.steps
        await machine.stop()
        assert not machine.is_up
        assert machine.ledger_disk.steps > steps
        assert await world.restart(machine)
        assert not world.bugs

    in_world(main)


def test_an_exception_in_one_machine_is_its_end_and_a_finding_but_not_the_worlds() -> None:
    async def main(world: World) -> None:
        raised: list[Machine] = []

        async def habit(machine: Machine) -> None:
            if machine.number == 1 and not raised:
                raised.append(machine)
                raise RuntimeError("planted")

        world.habits.append(habit)
        machine = world.machines[1]
        await machine.stop()
        machine.begin()
        await trio.sleep(10)
        assert not machine.is_up
        assert [bug.what.partition(" (")[0] for bug in world.bugs] == ["RuntimeError: planted"]
        assert all(other.is_up for other in world.machines if other is not machine)
        await trio.sleep(60)
        assert machine.is_up, "a service manager starts it again"

    in_world(main)


def test_a_fault_beyond_the_budget_does_nothing() -> None:
    async def main(world: World) -> None:
        faults = Faults(world, damage_max=1)
        now_s = world.now_s
        wipes = [Fault(now_s + 10 * number, "wipe", number, -1, 1.0, 0.0, "store") for number in range(3)]
        with trio.move_on_after(120):
            await faults.run(wipes)
        assert faults.happened["wipe"] == 1
        assert faults.passed["wipe"] == 2
        assert [machine.damage.store_at_s > 0 for machine in world.machines] == [True, False, False]

    in_world(main)


def test_faults_that_overlap_end_when_the_last_of_them_does() -> None:
    async def main(world: World) -> None:
        machine = world.machines[0]
        world.cut([(0, 1), (1, 0)])
        second = world.cut([(0, 1), (1, 0), (0, 2)])
        world.mend(second)
        await trio.sleep(120)
        assert machine.node is not None
        assert machine.node.network.linked_peers() == [world.machines[2].me]
        machine.store_disk.stick()
        machine.store_disk.stick()
        machine.store_disk.unstick()
        with trio.fail_after(1):
            await machine.store_disk.wait_unstuck()
        await world.heal()
        await trio.sleep(120)
        assert len(machine.node.network.linked_peers()) == 2

    in_world(main)


def test_a_suspended_machine_does_nothing_and_goes_on_when_it_wakes() -> None:
    async def main(world: World) -> None:
        machine = world.machines[2]
        machine.sleep()
        before_s = machine.clock.now_s()
        await trio.sleep(3600)
        assert machine.clock.now_s() == before_s
        assert machine.is_up
        assert not machine.is_awake
        machine.wake(stalled=False)
        await trio.sleep(120)
        assert machine.node is not None
        assert len(machine.node.liveness.answering()) == 2
        assert not world.bugs

    in_world(main)
