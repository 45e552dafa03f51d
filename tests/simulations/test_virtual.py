from __future__ import annotations

import os
import random
import socket
import time

import pytest
import trio
import trio._core._run as trio_run
import trio.testing

from simulations.tripwires import Unsimulated
from simulations.virtual import TICK_S, WrongTrio, check_hooks, run_virtual


def test_time_passes_at_once_and_on_a_grid() -> None:
    async def main() -> list[float]:
        times = []
        await trio.sleep(3600.0004)
        times.append(trio.current_time())
        with trio.move_on_after(0.0002):
            await trio.sleep_forever()
        times.append(trio.current_time())
        return times

    first, second = run_virtual(main, seed=1)
    assert first == pytest.approx(3600.0 + TICK_S)
    assert second == pytest.approx(3600.0 + 2 * TICK_S)


def test_tasks_that_are_ready_together_run_in_an_order_that_the_seed_decides() -> None:
    def order(seed: int) -> list[int]:
        ran: list[int] = []

        async def one(number: int) -> None:
            await trio.sleep(1)
            ran.append(number)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(one, number)

        run_virtual(main, seed=seed)
        return ran

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize(
    "reach",
    [
        time.time,
        time.monotonic,
        lambda: os.urandom(4),
        random.random,
        lambda: random.SystemRandom().random(),
        socket.socket,
        lambda: open(os.devnull),  # noqa: SIM115  it never opens
    ],
)
def test_whatever_reaches_past_the_seams_raises(reach: object) -> None:
    async def main() -> None:
        # looked up again, as code under test does
        name = getattr(reach, "__name__", "")
        if name in ("time", "monotonic"):
            getattr(time, name)()
        elif name == "random":
            random.random()
        elif name == "socket":
            socket.socket()
        else:
            reach()  # type: ignore[operator]

    with pytest.raises(Unsimulated):
        run_virtual(main, seed=1)


def test_threads_raise_too() -> None:
    async def main() -> None:
        await trio.to_thread.run_sync(lambda: None)

    with pytest.raises(Unsimulated):
        run_virtual(main, seed=1)


def test_after_the_run_everything_is_as_it_was() -> None:
    async def main() -> None:
        await trio.sleep(1)

    before = trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r
    run_virtual(main, seed=1)
    assert (trio_run._ALLOW_DETERMINISTIC_SCHEDULING, trio_run._r) == before
    assert time.time() > 0
    assert random.SystemRandom().random() < 1


def test_another_trio_is_an_error_and_not_a_run_that_cannot_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    check_hooks()
    monkeypatch.delattr(trio_run, "_r")
    with pytest.raises(WrongTrio, match="_r"):
        check_hooks()
