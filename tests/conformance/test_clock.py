"""What both twins of the clock seam promise, and what only a simulated machine's clock does."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from p2pstore.edges.clock import RealClock
from p2pstore.seams.clock import Clock
from simulations.clock import SimulatedClock


@pytest.fixture(params=["real", "simulated"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return RealClock() if request.param == "real" else SimulatedClock()


async def test_sleeps_as_long_as_told(clock: Clock, autojump_clock: trio.testing.MockClock) -> None:
    started_s = clock.now_s()
    await clock.sleep(12.5)
    assert clock.now_s() - started_s == pytest.approx(12.5)


@pytest.mark.parametrize("seconds", [0, -1])
async def test_no_sleep_is_still_a_checkpoint(
    clock: Clock, seconds: float, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.testing.assert_checkpoints():
        await clock.sleep(seconds)


async def test_a_scope_ends_by_itself(clock: Clock, autojump_clock: trio.testing.MockClock) -> None:
    started_s = clock.now_s()
    with clock.move_on_after(3) as scope:
        await trio.sleep_forever()
    assert scope.cancelled_caught
    assert clock.now_s() - started_s == pytest.approx(3)
    with clock.move_on_after(3) as scope:
        await clock.sleep(1)
    assert not scope.cancelled_caught


async def test_the_wall_clock_is_of_this_century(clock: Clock) -> None:
    assert 1.7e9 < clock.wall_s() < 5e9


async def test_a_skewed_wall_clock_moves_on_and_disturbs_no_timer(autojump_clock: trio.testing.MockClock) -> None:
    clock, right = SimulatedClock(skew_s=3600), SimulatedClock()
    assert clock.wall_s() - right.wall_s() == pytest.approx(3600)
    started_s = clock.now_s()
    clock.skew_s = -1e6
    await clock.sleep(5)
    assert clock.now_s() - started_s == pytest.approx(5)
    assert clock.wall_s() - right.wall_s() == pytest.approx(-1e6)


@pytest.mark.parametrize(("stalled", "ends_s", "clock_shows_s"), [(False, 3625, 25), (True, 3615, 3615)])
async def test_a_suspended_machine_times_nothing_out_until_it_wakes(
    autojump_clock: trio.testing.MockClock, stalled: bool, ends_s: float, clock_shows_s: float
) -> None:
    clock = SimulatedClock()
    world_s, machine_s = trio.current_time(), clock.now_s()
    seen = {}

    async def request() -> None:
        with clock.move_on_after(25):
            await trio.sleep_forever()
        seen["world"] = trio.current_time() - world_s
        seen["machine"] = clock.now_s() - machine_s

    async with trio.open_nursery() as nursery:
        nursery.start_soon(request)
        await trio.sleep(15)
        clock.suspend()
        assert clock.suspended
        frozen_s = clock.now_s()
        await trio.sleep(3600)
        assert clock.now_s() == frozen_s
        assert not seen
        clock.resume(stalled=stalled)
    assert seen == {"world": pytest.approx(ends_s), "machine": pytest.approx(clock_shows_s)}


async def test_a_timer_set_while_suspended_starts_when_the_machine_wakes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = SimulatedClock()
    clock.suspend()
    woke_s = []

    async def sleeper() -> None:
        await clock.sleep(10)
        woke_s.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sleeper)
        nursery.start_soon(clock.wait_awake)
        await trio.sleep(100)
        resumed_s = trio.current_time()
        clock.resume()
    assert woke_s == [pytest.approx(resumed_s + 10)]
    await clock.wait_awake()
