"""Rows of a ledger are lost with its vector kept, on one of several machines: nothing is deleted anywhere, the loss is
found, restored from the others, and counted."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pstore.ledger.mending import Health
from p2pstore.ledger.opening import DATABASE_NAME
from p2pstore.placement.levels import Level
from simulations.faults import Faults
from simulations.invariants import sound
from simulations.invariants.convergence import shown
from simulations.machine import Machine
from simulations.people import People
from simulations.schedule import Fault, Work
from simulations.swarm import household
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World


def in_world(main: Callable[[World, People], Awaitable[None]], *, seed: int = 1) -> None:
    """Run `main` in a household of three with some files and some history."""

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, trace=Trace())
            await world.found(household(3))
            await trio.sleep(20)
            people = People(world, Work())
            await people.make_folders(world.machines[0])
            for number in range(8):
                size = 30_000 if number % 2 else 500
                assert await people.store(
                    world.machines[number % 3], b"/docs/%d" % (number % 5), bytes([number]) * size, Level.SAFE
                )
            await trio.sleep(60)
            await main(world, people)
            assert not world.oracle.violations
            assert not world.bugs
            nursery.cancel_scope.cancel()

    run_virtual(run, seed=seed)


async def health(machine: Machine) -> Health:
    assert machine.node is not None
    return await machine.node.ledger.health()


async def lose(world: World, what: str, amount: float = 60.0) -> None:
    faults = Faults(world, damage_max=1)
    await faults.run([Fault(world.now_s, "lose-rows", 1, -1, 5.0, amount, what)])
    assert faults.happened["lose-rows"] == 1


@pytest.mark.parametrize("what", ["commits", "versions", "entries", "stripes", "manifest_pages", "half"])
def test_lost_rows_delete_nothing_and_come_back(what: str) -> None:
    async def main(world: World, people: People) -> None:
        before = await shown(world.machines[0])
        vectors = [machine.node.ledger.vector() for machine in world.machines if machine.node]
        assert len({vector.root() for vector in vectors}) == 1
        operations = set(world.oracle.operations)
        await lose(world, what)
        await trio.sleep(120)
        damaged = await health(world.machines[1])
        assert damaged.missing == 0
        assert damaged.restored == damaged.lost
        assert damaged.lost if what in ("commits", "half") else damaged.rows
        fingerprints = set()
        for machine in world.machines:
            assert machine.node is not None
            world.observe(machine)
            assert await shown(machine) == before
            assert machine.node.ledger.vector() == vectors[0]
            fingerprints.add(machine.node.ledger.fingerprint())
        assert len(fingerprints) == 1
        assert set(world.oracle.operations) == operations, "nobody wrote anything, least of all a deletion"
        for machine in (world.machines[0], world.machines[2]):
            told = await health(machine)
            assert (told.missing, told.lost, told.restored, told.rows) == (0, 0, 0, 0)
        for number in range(5):
            assert await people.read(world.machines[1], b"/docs/%d" % number)
        await sound.check(world, world.living())

    in_world(main)


def test_a_damaged_machine_that_goes_on_writing_deletes_nothing_of_what_it_lost() -> None:
    async def main(world: World, people: People) -> None:
        paths = {line[0] for line in await shown(world.machines[0])}
        await lose(world, "half")
        machine = world.machines[1]
        for number in range(3):
            assert await people.store(machine, b"/docs/new-%d" % number, b"n" * 400, Level.PLACED)
        await trio.sleep(120)
        for each in world.machines:
            assert paths < {line[0] for line in await shown(each)}
        assert (await health(machine)).missing == 0
        await sound.check(world, world.living())

    in_world(main, seed=2)


def test_a_ledger_that_is_not_sound_at_all_joins_anew_and_loses_nothing() -> None:
    async def main(world: World, people: People) -> None:
        before = await shown(world.machines[0])
        machine = world.machines[1]
        await machine.stop()
        disk = machine.ledger_disk
        for page in range(1, disk.size_of(DATABASE_NAME) // 4096):
            disk.flip_bit(DATABASE_NAME, offset=page * 4096 + 5)
        world.oracle.lost_memory(machine)
        assert await world.restart(machine)
        assert machine.node is not None
        assert machine.node.ledger.damaged_as is not None
        await trio.sleep(60)
        for each in world.machines:
            assert await shown(each) == before
        assert (await health(machine)).missing == 0

    in_world(main, seed=3)


def test_an_undamaged_ledger_that_tells_of_damage_is_a_violation() -> None:
    async def main(world: World, people: People) -> None:
        await sound.check(world, world.living())
        assert not world.oracle.violations
        node = world.machines[2].node
        assert node is not None
        await node.ledger.note_difference()
        await sound.check(world, world.living())
        assert [each.invariant for each in world.oracle.violations] == [sound.NAME]
        world.oracle.violations.clear()

    in_world(main)

