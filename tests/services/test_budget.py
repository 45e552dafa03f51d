"""Bytes in flight stay within the budget, whoever is cancelled."""

from __future__ import annotations

import random

import trio

from p2pstore.services.budget import ByteBudget


async def test_waiters_are_let_in_in_order_and_never_beyond_the_budget(autojump_clock: trio.abc.Clock) -> None:
    budget = ByteBudget(100)
    order: list[int] = []
    most = 0

    async def worker(number: int, size: int) -> None:
        nonlocal most
        async with budget.hold(size):
            order.append(number)
            most = max(most, budget.held)
            await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        for number, size in enumerate([60, 60, 30, 100, 1000, 5]):
            nursery.start_soon(worker, number, size)
            await trio.sleep(0.01)
    assert [order[0], set(order[1:3]), *order[3:]] == [0, {1, 2}, 3, 4, 5], "1 and 2 fit together, nobody overtakes"
    assert most <= 100
    assert budget.held == 0


async def test_cancelled_waiters_leak_nothing(autojump_clock: trio.abc.Clock) -> None:
    budget = ByteBudget(50)
    rng = random.Random(4)

    async def worker() -> None:
        with trio.move_on_after(rng.random()):
            async with budget.hold(rng.randrange(1, 80)):
                await trio.sleep(rng.random())

    async with trio.open_nursery() as nursery:
        for _ in range(300):
            nursery.start_soon(worker)
    assert budget.held == 0
    with trio.fail_after(1):
        await budget.take(50)
