"""A household of real nodes in virtual time loses machines, sight of each other, and disks; times are scaled down."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest
import trio

from p2pstore.errors import NoSpace
from p2pstore.ids import PeerId
from p2pstore.placement.promise import stripe_health
from p2pstore.placement.repair import Rules, Standing
from p2pstore.placement.verdict import State
from simulations.machine import Fitting, Machine
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World

RULES = Rules(
    grace_s={"always-on": 120.0, "desktop": 240.0, "laptop": 600.0},
    silent_after_s=60.0,
    patience_s=900.0,
    aftermath_s=180.0,
    takeover_s=60.0,
    settle_s=10.0,
)
"""A second stands for twelve minutes."""

SIX = [
    Fitting("nas"),
    Fitting("pi"),
    Fitting("desk"),
    Fitting("study", steadiness="desktop"),
    Fitting("lap", steadiness="laptop"),
    Fitting("old", steadiness="laptop"),
]
TWO_SITES = [Fitting(f"m{n}", site="home" if n < 3 else "cabin") for n in range(6)]

Act = Callable[["House"], Awaitable[None]]


class House:
    """A world with a file of some stripes in it."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __getitem__(self, name: str) -> Machine:
        return next(machine for machine in self.world.machines if machine.fitting.name == name)

    def scale_down(self) -> None:
        for machine in self.world.living():
            assert machine.node is not None
            machine.node.silences.rules = RULES

    async def put(self, by: Machine, *, seed: int = 5, rest_s: float = 30.0) -> None:
        """A file in shards, everywhere known."""
        by.files.write_file(b"/f", Random(seed).randbytes(3_000_000), mtime_ns=seed)
        assert by.operations is not None
        call = _Call({"sources": [{"path": b"/f", "name": b"f"}], "destination": b"/f", "ack": "safe"})
        result = await by.operations["put"](call)  # type: ignore[arg-type]
        assert result["state"] == "safe"
        await trio.sleep(rest_s)

    def placed_bytes(self) -> int:
        """By repairs, in the present lives of all daemons."""
        return sum(machine.node.repairer.work.bytes for machine in self.world.living() if machine.node is not None)

    async def survives(self, lost: Sequence[Machine] = ()) -> int:
        """How many machines more may be lost, for the worst stripe: looked up on the disks themselves."""
        node = self.world.living()[0].node
        assert node is not None
        worst = 99
        for stated in await node.ledger.stripes_after(None, 1000):
            held = {
                machine.me: machine.shards_of(stated.encoding) or []
                for machine in self.world.machines
                if machine not in lost
            }
            worst = min(worst, stripe_health(stated.needed, held).survives)
        return worst

    async def standing(self, of: Machine, seen_by: Machine) -> Standing:
        assert seen_by.node is not None
        return (await seen_by.node.silences.standings())[of.me]


class _Call:
    """A request of a client that listens to nothing."""

    def __init__(self, args: dict[str, object]) -> None:
        self.args = args
        self.scope = trio.CancelScope()

    def report(self, item: object) -> None:
        pass


def play(fittings: Sequence[Fitting], act: Act, *, seed: int = 1) -> None:
    """Found a household, store a file, and do what the test wants; no bug may come up."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, trace=Trace(keep=False))
            await world.found(fittings)
            house = House(world)
            house.scale_down()
            await trio.sleep(10.0)
            await house.put(world.machines[0])
            await act(house)
            for machine in world.machines:
                if not machine.gone:
                    await machine.stop()
            assert world.bugs == []
            nursery.cancel_scope.cancel()

    run_virtual(main, seed=seed)


def test_a_laptop_that_sleeps_within_its_grace_costs_no_byte_and_its_shards_count() -> None:
    async def act(house: House) -> None:
        house["lap"].sleep()
        await trio.sleep(500.0)
        assert await house.standing(house["lap"], house["nas"]) is Standing.ASLEEP
        assert house.placed_bytes() == 0
        node = house["nas"].node
        assert node is not None
        assert (await node.verdicts.verdict(fresh=True)).state is State.SAFE
        house["lap"].wake(stalled=False)
        await trio.sleep(100.0)
        assert house.placed_bytes() == 0

    play(SIX, act)


def test_a_machine_past_its_grace_is_made_up_for_and_nothing_is_dropped_when_it_returns() -> None:
    async def act(house: House) -> None:
        pi = house["pi"]
        await pi.crash(power_cut=True)
        await trio.sleep(100.0)
        assert house.placed_bytes() == 0
        assert await house.survives(lost=[pi]) == 1
        await trio.sleep(200.0)
        assert await house.standing(pi, house["nas"]) is Standing.GONE
        assert await house.survives(lost=[pi]) >= 2
        placed = house.placed_bytes()
        assert placed > 0
        node = house["nas"].node
        assert node is not None
        stated = await node.ledger.stripes_after(None, 1000)
        assert placed <= 3 * sum(each.shard_length for each in stated), "three rows for each, once"
        await house.world.restart(pi)
        house.scale_down()
        await trio.sleep(120.0)
        assert house.placed_bytes() == placed
        assert await house.survives() >= 2
        assert all(pi.shards_of(each.encoding) for each in stated), "its shards count again"
        assert (await node.surveyor.survey()).due == 0

    play(SIX, act)


def test_two_sites_that_lose_sight_of_each_other_rebuild_nothing() -> None:
    async def act(house: House) -> None:
        cut = house.world.cut([(a, b) for a in range(6) for b in range(6) if (a < 3) != (b < 3)])
        await trio.sleep(700.0)
        for seen_by, of in (("m0", "m3"), ("m4", "m1")):
            assert await house.standing(house[of], house[seen_by]) is Standing.PATIENCE
        assert house.placed_bytes() == 0
        house.world.mend(cut)
        await trio.sleep(120.0)
        assert house.placed_bytes() == 0
        assert await house.standing(house["m3"], house["m0"]) is Standing.ANSWERS

    play(TWO_SITES, act)


def test_a_person_ends_the_patience() -> None:
    async def act(house: House) -> None:
        for number in (4, 5):
            await house[f"m{number}"].crash(power_cut=False)
        house["m3"].sleep()
        await trio.sleep(300.0)
        assert house.placed_bytes() == 0
        node = house["m0"].node
        assert node is not None
        house["m3"].wake(stalled=False)
        await trio.sleep(30.0)
        node.repairer.hurry(impatient=True)
        await trio.sleep(60.0)
        lost: list[Machine] = [house["m4"], house["m5"]]
        assert await house.survives(lost=lost) >= 2

    play(TWO_SITES, act)


def test_who_was_off_for_long_takes_nobody_for_gone_when_it_returns() -> None:
    async def act(house: House) -> None:
        desk = house["desk"]
        desk.sleep()
        await trio.sleep(80.0)
        for name in ("pi", "study"):
            house[name].sleep()
        await trio.sleep(25.0)
        desk.wake(stalled=False)
        await trio.sleep(20.0)
        peers: dict[PeerId, Standing] = await desk.node.silences.standings()  # type: ignore[union-attr]
        assert Standing.GONE not in peers.values()
        assert house.placed_bytes() == 0

    play(SIX, act)


def test_a_disk_that_is_away_is_asleep_and_not_gone() -> None:
    async def act(house: House) -> None:
        house["pi"].store_disk.unplug()
        await trio.sleep(60.0)
        node = house["pi"].node
        assert node is not None
        node.repairer.hurry(impatient=True)
        node.scrubber.round = type(node.scrubber.round)(paused=True)
        await trio.sleep(300.0)
        assert house.placed_bytes() == 0
        other = house["nas"].node
        assert other is not None
        assert (await other.verdicts.verdict(fresh=True)).state is State.SAFE

    play(SIX, act)


@pytest.mark.parametrize("seed", [1, 2])
def test_rotten_shards_are_rebuilt_in_their_place(seed: int) -> None:
    async def act(house: House) -> None:
        machine = house["pi"]
        node = machine.node
        assert node is not None
        before = machine._look_shards()
        packs = machine.store_disk.names("packs")
        assert packs
        for name in packs:
            machine.store_disk.flip_bit(f"packs/{name}", offset=machine.store_disk.size_of(f"packs/{name}") // 2)
        await node.scrubber.now(lambda _: None)
        assert node.scrubber.round.damaged > 0
        await trio.sleep(5.0)
        assert node.store.usage().damaged_count == 0
        assert machine._look_shards() == before
        others = [each for each in house.world.living() if each is not machine]
        assert all(each.node is not None and each.node.repairer.work.bytes == 0 for each in others)

    play(SIX, act, seed=seed)


def test_who_dies_right_after_a_commit_still_owes_what_is_thin() -> None:
    async def act(house: House) -> None:
        nas, others = house["nas"], [machine for machine in house.world.machines if machine.fitting.name != "nas"]
        for machine in others:
            await machine.stop()
        nas.files.write_file(b"/thin", Random(9).randbytes(3_000_000), mtime_ns=9)
        assert nas.node is not None
        assert nas.operations is not None
        died = trio.Event()

        async def power_cut() -> None:
            await nas.crash(power_cut=True)
            died.set()

        nas.node.placer.owe = lambda _: house.world.nursery.start_soon(power_cut)  # type: ignore[method-assign]
        call = _Call({"sources": [{"path": b"/thin", "name": b"thin"}], "destination": b"/thin", "ack": "here"})
        house.world.nursery.start_soon(_try, nas.operations["put"], call)
        await died.wait()
        for machine in house.world.machines:
            machine.begin()
            assert await machine.wait_ready()
        house.scale_down()
        await trio.sleep(RULES.settle_s / 2)
        assert await house.survives() == 0
        await trio.sleep(60.0)
        assert await house.survives() == 2
        assert house.placed_bytes() == 0, "the one who owed has paid"

    play(SIX, act)


async def _try(operation: Callable[..., Awaitable[object]], call: _Call) -> None:
    with contextlib.suppress(Exception):
        await operation(call)


def test_a_debt_that_is_paid_while_the_disk_is_full_ends_nobody() -> None:
    async def act(house: House) -> None:
        node = house["nas"].node
        assert node is not None
        encodings = [each.encoding for each in await node.ledger.stripes_after(None, 1000)]

        async def full(_encodings: object) -> None:
            raise NoSpace("full")

        node.placer._owed.remove_owed = full  # type: ignore[method-assign]
        node.placer.owe(encodings)
        assert await node.placer.wait_safe(encodings, patience_s=60.0)
        await trio.sleep(10.0)

    play(SIX, act)
