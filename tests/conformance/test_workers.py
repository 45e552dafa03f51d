"""What both twins of the workers seam promise: threads and virtual time."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from p2pstore.edges.clock import RealClock
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Malformed
from p2pstore.seams.workers import Workers
from simulations.workers import InlineWorkers


@pytest.fixture(params=["threads", "inline"])
def workers(request: pytest.FixtureRequest) -> Workers:
    return ThreadWorkers() if request.param == "threads" else InlineWorkers(RealClock())


async def test_returns_what_the_job_returns(workers: Workers) -> None:
    assert await workers.run(divmod, 17, 5) == (3, 2)


async def test_raises_what_the_job_raises(workers: Workers) -> None:
    def job() -> None:
        raise Malformed("so")

    with pytest.raises(Malformed):
        await workers.run(job)


async def test_runs_several_jobs_and_never_more_at_once_than_it_should(workers: Workers) -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def job() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        with lock:
            running -= 1

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(workers.run, job)
    assert 1 <= most <= 2


async def test_a_cancelled_caller_is_let_go_only_after_its_job(workers: Workers) -> None:
    ended = []

    async def caller() -> None:
        await workers.run(lambda: ended.append(True), cost_s=0.01)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert ended == [True]


async def test_a_simulated_job_takes_its_virtual_time(autojump_clock: trio.testing.MockClock) -> None:
    workers = InlineWorkers(RealClock(), threads=1)
    started_s = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: workers.run(int, cost_s=2.0))
    assert trio.current_time() - started_s == pytest.approx(6.0)
