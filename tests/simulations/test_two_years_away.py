"""A machine that was away for two years while the others deleted and edited a thousand files: nothing that was deleted
comes back, nothing that anybody wrote is lost, and history does not pile up."""

from __future__ import annotations

import trio

from p2pstore.ledger.drafts import MakeFolder, Put, Remove
from p2pstore.metadata.version import Inline, Kind
from p2pstore.node import Node
from simulations.clock import WALL_START_S
from simulations.invariants import sound
from simulations.invariants.convergence import shown, wait_equal
from simulations.machine import Machine
from simulations.swarm import household
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World

FILES = 600
DAY_S = 86_400.0
QUARTERS = 8


def put(number: int, data: bytes) -> Put:
    return Put((b"docs", b"%04d" % number), Kind.FILE, Inline(data), len(data), 0, 0o644)


def remove(number: int) -> Remove:
    return Remove((b"docs", b"%04d" % number))


def node_of(machine: Machine) -> Node:
    assert machine.node is not None
    return machine.node


async def contents(machine: Machine) -> dict[bytes, bytes]:
    found = {}
    async for path, item in node_of(machine).ledger.walk(()):
        if isinstance(item.content, Inline):
            found[path[-1]] = item.content.data
    return found


async def on(machine: Machine) -> None:
    machine.begin()
    assert await machine.wait_ready()


async def versions_kept(machine: Machine) -> int:
    return (await node_of(machine).ledger.history_size()).versions


def test_two_years_away() -> None:
    async def story(world: World) -> None:
        home, nas, laptop = world.machines
        drafts = [put(number, b"first %d" % number) for number in range(FILES)]
        await node_of(home).ledger.commit([MakeFolder((b"docs",)), *drafts])
        await wait_equal(world, world.machines, bound_s=120)
        expected = await contents(home)
        assert len(expected) == FILES
        await laptop.stop()

        # A thousand deletions and edits, in eight short sessions a quarter apart; the machines are off in between.
        changed = 0
        most_kept = 0
        for quarter in range(QUARTERS):
            await home.stop()
            await nas.stop()
            await trio.sleep(91.3 * DAY_S)
            await on(home)
            await on(nas)
            await trio.sleep(60)
            writer = (home, nas)[quarter % 2]
            batch: list[Put | Remove] = []
            for number in range(100, FILES):
                name = b"%04d" % number
                if number % 4 == 1 and name in expected and quarter == number // 4 % QUARTERS:
                    batch.append(remove(number))
                    del expected[name]
                elif number % 4 != 1 and number % 3 == quarter % 3:
                    data = b"quarter %d of %d" % (quarter, number)
                    batch.append(put(number, data))
                    expected[name] = data
            for start in range(0, len(batch), 100):
                await node_of(writer).ledger.commit(batch[start : start + 100])
            changed += len(batch)
            await wait_equal(world, [home, nas], bound_s=120)
            for machine in (home, nas):
                await node_of(machine).brake.look()
                await node_of(machine).brake.allow()  # so many changes at once are held until people allow them
                assert await node_of(machine).history_keeper.sweep() is not None
                most_kept = max(most_kept, await versions_kept(machine))
            assert await contents(home) == await contents(nas) == expected
        assert changed >= 1000
        assert world.now_s > 2 * 364 * DAY_S
        assert most_kept < changed // 3, "what was replaced more than a month ago is not kept"
        assert node_of(home).seams.clock.wall_s() > WALL_START_S + 2 * 364 * DAY_S

        # The laptop is switched on alone first: it has not heard of anything, and edits.
        await home.stop()
        await nas.stop()
        await on(laptop)
        await trio.sleep(30)
        ledger = node_of(laptop).ledger
        removed_meanwhile = next(b"%04d" % number for number in range(101, FILES, 4))
        await ledger.commit([
            put(int(removed_meanwhile), b"edited by who did not know"),
            put(102, b"the laptop's own"),
            put(3, b"nobody else touched it"),
            Put((b"docs", b"new"), Kind.FILE, Inline(b"new"), 3, 0, 0o644),
        ])
        await on(home)
        await on(nas)
        assert await wait_equal(world, world.machines, bound_s=300) is not None
        assert await shown(home) == await shown(nas) == await shown(laptop)
        found = await contents(laptop)
        assert found.pop(b"new") == b"new"
        assert found[b"0003"] == b"nobody else touched it"
        assert found.pop(removed_meanwhile) == b"edited by who did not know", "an edit beats a deletion unseen"
        copies = {name: data for name, data in found.items() if name.startswith(b"0102")}
        assert sorted(copies.values()) == sorted([b"the laptop's own", expected[b"0102"]]), "both edits stay"
        rest = {name: data for name, data in found.items() if name not in copies and name != b"0003"}
        assert rest == {name: data for name, data in expected.items() if name not in (b"0102", b"0003")}

        # It lets history go as the others do.
        assert await node_of(laptop).history_keeper.sweep() is not None
        for machine in world.machines:
            assert (await node_of(machine).ledger.inspect()).rows == 0
        await sound.check(world, world.living())

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            world = World(5, nursery, trace=Trace())
            await world.found(household(3))
            await trio.sleep(20)
            await story(world)
            assert not world.oracle.violations
            assert not world.bugs
            nursery.cancel_scope.cancel()

    run_virtual(run, seed=5)
