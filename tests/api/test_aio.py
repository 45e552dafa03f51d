"""The asyncio store: the same, awaited; and a cancelled task ends what it asked for. Plain functions, for pytest-trio
runs every async test on trio."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading

import pytest

from p2pstore.api import AsyncStore, NotFound, Progress, Store, StoreError, connect_async
from p2pstore.cli.demo import Machine
from p2pstore.control.server import Call
from tests.control.conftest import home  # noqa: F401 - the fixture
from tests.control.fake_daemon import FakeDaemon, serving

LARGE = os.urandom(3_000_000)


def test_it_has_every_method_of_the_blocking_store_with_the_same_arguments() -> None:
    for name, method in inspect.getmembers(Store, inspect.isfunction):
        if name.startswith("_") or name in ("open_raw", "begin_upload"):
            continue
        twin = getattr(AsyncStore, name)
        if name == "open":
            continue  # text options are fewer
        assert list(inspect.signature(method).parameters) == list(inspect.signature(twin).parameters), name


@pytest.mark.daemons
def test_what_is_written_is_read(machine: Machine, folder: str) -> None:
    async def go() -> None:
        async with await connect_async(machine.home) as store:
            assert (await store.write_bytes(f"{folder}/x", LARGE)).bytes == len(LARGE)
            found = await asyncio.gather(*(store.read_bytes(f"{folder}/x", start, 10) for start in range(40)))
            assert found == [LARGE[start : start + 10] for start in range(40)]
            assert [entry.name async for entry in store.scandir(folder)] == ["x"]
            assert [step async for step in store.walk(folder)] == [(folder, [], ["x"])]
            with pytest.raises(NotFound):
                await store.stat(f"{folder}/none")

    asyncio.run(go())


@pytest.mark.daemons
def test_files_are_read_and_written_in_pieces(machine: Machine, folder: str) -> None:
    async def go() -> None:
        async with await connect_async(machine.home) as store:
            async with await store.open(f"{folder}/x", "wb") as file:
                for start in range(0, len(LARGE), 500_000):
                    await file.write(LARGE[start : start + 500_000])
            async with await store.open(f"{folder}/x", "rb") as file:
                await file.seek(1_000_000)
                assert await file.read(10) == LARGE[1_000_000:1_000_010]
            with pytest.raises(ZeroDivisionError):
                async with await store.open(f"{folder}/half", "w") as file:
                    await file.write("half")
                    raise ZeroDivisionError
            assert not await store.exists(f"{folder}/half")
            async with await store.open(f"{folder}/t", "w") as file:
                await file.write("one\ntwo\n")
            async with await store.open(f"{folder}/t") as file:
                assert [line async for line in file] == ["one\n", "two\n"]

    asyncio.run(go())


@pytest.mark.daemons
def test_progress_comes_in_the_loops_thread(machine: Machine, folder: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "f").write_bytes(LARGE)

    async def go() -> None:
        loop = asyncio.get_running_loop()
        heard: list[Progress] = []

        def hear(progress: Progress) -> None:
            assert asyncio.get_running_loop() is loop
            heard.append(progress)

        async with await connect_async(machine.home) as store:
            await store.put(tmp_path / "f", folder, on_progress=hear)
            await asyncio.sleep(0)
        assert heard[-1].phase == "done"

    asyncio.run(go())


def test_cancelling_a_task_ends_its_request_in_the_daemon(home) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    daemon = FakeDaemon()
    handlers = daemon.handlers()
    asked = threading.Event()

    async def hang(call: Call) -> object:
        asked.set()
        return await daemon.handlers()["hang"](call)

    handlers["status"] = hang

    async def go() -> None:
        async with await connect_async(home) as store:
            asking = asyncio.create_task(store.status())
            await asyncio.to_thread(asked.wait, 10)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert daemon.cancelled == ["hang"]
            assert await store.peers()

    with serving(handlers, home):
        asyncio.run(go())


def test_a_daemon_that_is_not_there_is_said(home) -> None:  # type: ignore[no-untyped-def]  # noqa: F811
    async def go() -> None:
        await connect_async(home)

    with pytest.raises(StoreError):
        asyncio.run(go())
