"""What the simulated network adds: time, faults, and the same run for the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import MockClock

from p2pstore.edges.clock import RealClock
from p2pstore.errors import TimedOut, Unreachable
from p2pstore.ids import PeerId
from p2pstore.limits import HEARTBEAT_TIMEOUT_S, KIB, MIB
from p2pstore.seams.network import Listen, Message, Plane
from simulations.network import Fabric, LinkWeather, SimulatedNetwork
from tests.network.twins import echo, peer_id_of

ANNA, BEN, CLEO = (peer_id_of(name) for name in ("anna", "ben", "cleo"))
STILL = LinkWeather(latency_s=(0.01, 0.01), jitter_s=0.0)
PING = Message("ping")


class Household:
    """Three peers who know each other, all running."""

    def __init__(self, nursery: trio.Nursery, seed: int, weather: LinkWeather) -> None:
        self.nursery = nursery
        self.fabric = Fabric(random.Random(seed), weather)
        self.seed = seed
        self.networks: dict[PeerId, SimulatedNetwork] = {}
        self.scopes: dict[PeerId, trio.CancelScope] = {}

    async def start(
        self, peer: PeerId, *, is_nat: bool = False, uplink_bytes_per_s: float = math.inf
    ) -> SimulatedNetwork:
        network = self.networks[peer] = SimulatedNetwork(
            self.fabric,
            peer,
            peer,
            RealClock(),
            lambda key: PeerId(key) if key in self.networks else None,
            lambda other: self.networks[other].endpoint() if other in self.networks else None,
            rng=random.Random(self.seed),
            is_nat=is_nat,
            uplink_bytes_per_s=uplink_bytes_per_s,
        )
        scope = self.scopes[peer] = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[object]) -> None:
            with scope:
                await network.run(echo, listen=Listen("*"), task_status=task_status)

        await self.nursery.start(run)
        return network


def simulated(
    scenario: Callable[[Household], Awaitable[bytes | None]], *, seed: int = 1, weather: LinkWeather = STILL
) -> bytes | None:
    async def main() -> bytes | None:
        async with trio.open_nursery() as nursery:
            household = Household(nursery, seed, weather)
            nursery.start_soon(household.fabric.run)
            result = await scenario(household)
            nursery.cancel_scope.cancel()
        return result

    return trio.run(main, clock=MockClock(autojump_threshold=0))


async def took_s(request: Awaitable[object]) -> float:
    started = trio.current_time()
    await request
    return trio.current_time() - started


def test_a_round_trip_takes_the_latency_both_ways() -> None:
    async def scenario(household: Household) -> None:
        await household.start(ANNA)
        ben = await household.start(BEN)
        await ben.request(ANNA, PING)
        assert await took_s(ben.request(ANNA, PING)) == pytest.approx(0.04, abs=0.003)
        assert ben.link_stats(ANNA).round_trip_s == pytest.approx(0.04, abs=0.003)

    simulated(scenario)


def test_the_uplink_sets_the_pace_of_shards_and_not_of_pings() -> None:
    async def scenario(household: Household) -> None:
        await household.start(ANNA)
        ben = await household.start(BEN, uplink_bytes_per_s=MIB)
        await ben.request(ANNA, PING, plane=Plane.BULK)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                message = Message("put", {}, bytes(MIB))
                nursery.start_soon(partial(ben.request, ANNA, message, plane=Plane.BULK, timeout_s=60))
            await trio.sleep(0.5)
            assert await took_s(ben.request(ANNA, PING)) < 0.05
        # Four each way, and only Ben's uplink is slow.
        assert trio.current_time() - started == pytest.approx(4, abs=0.2)

    simulated(scenario)


def test_nobody_dials_through_a_nat() -> None:
    async def scenario(household: Household) -> None:
        anna = await household.start(ANNA)
        ben = await household.start(BEN, is_nat=True)
        with pytest.raises(Unreachable):
            await anna.request(BEN, PING)
        ben.keep_linked([ANNA])
        await trio.sleep(1)
        for plane in Plane:
            await anna.request(BEN, PING, plane=plane)

    simulated(scenario)


@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_holds_messages_back_and_breaks_links_if_it_lasts(one_way: bool) -> None:
    async def scenario(household: Household) -> None:
        anna = await household.start(ANNA)
        ben = await household.start(BEN)
        cleo = await household.start(CLEO)
        ben.keep_linked([ANNA, CLEO])
        await cleo.request(ANNA, PING)
        await trio.sleep(1)

        def part() -> None:
            household.fabric.cut(BEN, ANNA) if one_way else household.fabric.partition([BEN])

        part()
        with pytest.raises(TimedOut):
            await ben.request(ANNA, PING, timeout_s=5)
        household.fabric.heal()
        await ben.request(ANNA, PING, timeout_s=5)
        part()
        assert await took_s(expect_unreachable(ben, ANNA)) == pytest.approx(HEARTBEAT_TIMEOUT_S, abs=1)
        assert await took_s(cleo.request(ANNA, PING)) < 0.1
        assert anna.linked_peers() == [CLEO]
        household.fabric.heal()
        await trio.sleep(120)
        assert anna.linked_peers() == [BEN, CLEO]
        assert ben.linked_peers() == [ANNA, CLEO]

    simulated(scenario)


async def expect_unreachable(network: SimulatedNetwork, peer: PeerId) -> None:
    with pytest.raises(Unreachable):
        await network.request(peer, PING, timeout_s=500)


@pytest.mark.parametrize("silent", [False, True])
def test_a_crash_is_seen_at_once_or_by_heartbeats_and_a_new_life_is_linked_again(silent: bool) -> None:
    async def scenario(household: Household) -> None:
        await household.start(ANNA)
        ben = await household.start(BEN)
        ben.keep_linked([ANNA])
        await ben.request(ANNA, PING)
        household.fabric.crash(ANNA, silent=silent)
        household.scopes[ANNA].cancel()
        waited_s = await took_s(expect_unreachable(ben, ANNA))
        assert waited_s == pytest.approx(HEARTBEAT_TIMEOUT_S if silent else 0, abs=1)
        anna = await household.start(ANNA)
        await trio.sleep(120)
        assert anna.linked_peers() == [BEN]
        await anna.request(BEN, PING)

    simulated(scenario)


def test_a_stalled_peer_answers_when_it_goes_on() -> None:
    async def scenario(household: Household) -> None:
        await household.start(ANNA)
        ben = await household.start(BEN)
        await ben.request(ANNA, PING)
        household.fabric.stall(ANNA)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: ben.request(ANNA, PING, timeout_s=20))
            await trio.sleep(10)
            household.fabric.resume(ANNA)

    simulated(scenario)


def test_a_peer_stalled_for_long_finds_its_links_broken_and_makes_new_ones() -> None:
    async def scenario(household: Household) -> None:
        anna = await household.start(ANNA)
        ben = await household.start(BEN)
        ben.keep_linked([ANNA])
        await ben.request(ANNA, PING)
        household.fabric.stall(BEN)
        await trio.sleep(2 * HEARTBEAT_TIMEOUT_S)
        assert anna.linked_peers() == []
        household.fabric.resume(BEN)
        await trio.sleep(5)
        assert anna.linked_peers() == [BEN]
        await anna.request(BEN, PING)

    simulated(scenario)


def test_loss_only_delays_and_vanishing_messages_time_out() -> None:
    async def scenario(household: Household) -> None:
        await household.start(ANNA)
        ben = await household.start(BEN)
        await ben.request(ANNA, PING)
        household.fabric.weather = LinkWeather(loss=0.3)
        for _ in range(50):
            await ben.request(ANNA, PING)
        household.fabric.weather = LinkWeather(vanishing=1.0)
        with pytest.raises(TimedOut):
            await ben.request(ANNA, PING)

    simulated(scenario)


async def busy_hour(household: Household) -> bytes:
    networks = [await household.start(peer) for peer in (ANNA, BEN, CLEO)]
    for network in networks:
        network.keep_linked([ANNA, BEN, CLEO])
    await trio.sleep(1)
    rng = random.Random(household.seed)

    async def chat(network: SimulatedNetwork) -> None:
        for _ in range(40):
            peer = rng.choice([peer for peer in (ANNA, BEN, CLEO) if peer != network.me])
            try:
                await network.request(peer, Message("put", {}, bytes(8 * KIB)), plane=Plane.BULK, timeout_s=2)
            except (TimedOut, Unreachable):
                await trio.sleep(0.1)

    async with trio.open_nursery() as nursery:
        for network in networks:
            nursery.start_soon(chat, network)
        await trio.sleep(0.5)
        household.fabric.partition([CLEO])
        await trio.sleep(40)
        household.fabric.heal()
    return household.fabric.digest()


def test_one_seed_gives_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    # The recipe of a repeatable run: trio shuffles each batch of tasks, with an rng that can be ours.
    monkeypatch.setattr(trio._core._run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    weather = LinkWeather(loss=0.05, vanishing=0.01)
    digests = []
    for seed in (1, 1, 2):
        monkeypatch.setattr(trio._core._run, "_r", random.Random(seed))
        digests.append(simulated(busy_hour, seed=seed, weather=weather))
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]
