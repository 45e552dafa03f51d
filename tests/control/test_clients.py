"""The blocking and the asyncio client against a real server, over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import socket
import threading
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from p2pstore.control import exits
from p2pstore.control.aio import ITEMS_WAITING_MAX, AsyncClient
from p2pstore.control.blocking import Client
from p2pstore.control.faults import Failure
from p2pstore.control.frames import Hello, encode
from p2pstore.control.listening import listening
from p2pstore.control.paths import HOUSEHOLD_FILE, socket_path
from p2pstore.control.server import Call
from p2pstore.errors import NoSpace, TooFewShards
from tests.control.fake_daemon import FakeDaemon, Node, serving


async def echo(call: Call) -> Any:
    return dict(call.args)


async def fail(call: Call) -> Any:
    raise TooFewShards(4, 3)


async def burst(call: Call) -> Any:
    for number in range(call.args["count"]):
        await call.emit(number)
    return "all"


async def gather(call: Call) -> Any:
    digest = hashlib.sha256()
    while (piece := await call.receive()) is not None:
        call.report({"took": len(piece)})
        digest.update(piece)
    assert await call.receive() is None
    return digest.digest()


async def break_(call: Call) -> Any:
    raise ZeroDivisionError("a bug")


async def too_long(call: Call) -> Any:
    return bytes(2**20)


HANDLERS = {"echo": echo, "fail": fail, "burst": burst, "gather": gather, "break": break_, "too_long": too_long}


def test_a_request_gets_its_result_and_bytes_stay_bytes(home: Path) -> None:
    with serving(HANDLERS, home), Client.connect(home) as client:
        assert client.hello.pid == os.getpid()
        assert client.hello.version == "0.1.0-fake"
        assert client.call("echo", {"path": b"/caf\xe9", "n": [1, None]}) == {"path": b"/caf\xe9", "n": [1, None]}


def test_a_stream_arrives_whole_and_in_order_before_the_result(home: Path) -> None:
    with serving(HANDLERS, home), Client.connect(home) as client:
        items: list[int] = []
        assert client.call("burst", {"count": 5000}, on_item=items.append) == "all"
        assert items == list(range(5000))


@pytest.mark.parametrize(
    ("op", "code", "exit_code"),
    [
        ("fail", "unreadable", exits.UNREADABLE),
        ("break", "internal", exits.FAILED),
        ("no-such", "unknown-op", exits.VERSIONS),
        ("too_long", "misuse", exits.USAGE),
    ],
)
def test_a_failure_says_what_and_the_connection_goes_on(home: Path, op: str, code: str, exit_code: int) -> None:
    with serving(HANDLERS, home), Client.connect(home) as client:
        with pytest.raises(Failure) as caught:
            client.call(op)
        assert (caught.value.fault.code, caught.value.fault.exit) == (code, exit_code)
        assert client.call("echo", {"still": "there"}) == {"still": "there"}


def test_bytes_of_a_descriptor_travel_with_a_request(home: Path) -> None:
    content = os.urandom(3_000_001)
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(content)

    with serving(HANDLERS, home), Client.connect(home) as client:
        writer = threading.Thread(target=write)
        writer.start()
        assert client.call("gather", upload=reading) == hashlib.sha256(content).digest()
        writer.join()
    os.close(reading)


def test_a_cancelled_request_is_stopped_before_the_interrupt_goes_on(home: Path) -> None:
    fake = FakeDaemon()
    with serving(fake.handlers(), home), Client.connect(home) as client:
        timer = threading.Timer(0.05, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):
            client.call("hang", on_item=lambda item: timer.start())
        assert fake.cancelled == ["hang"]
        assert client.call("peers")["peers"]


def test_a_deadline_cancels_the_request(home: Path) -> None:
    fake = FakeDaemon()
    with serving(fake.handlers(), home), Client.connect(home) as client:
        with pytest.raises(Failure) as caught:
            client.call("hang", timeout_s=0.05)
        assert caught.value.fault.exit == exits.TIMED_OUT
        assert fake.cancelled == ["hang"]


def test_a_stream_left_early_is_cancelled(home: Path) -> None:
    with serving(HANDLERS, home), Client.connect(home) as client:
        stream = client.stream("burst", {"count": 10**9})
        assert next(stream) == 0
        stream.close()
        assert client.call("echo", {}) == {}


def test_a_daemon_that_ends_meanwhile_is_told_from_one_that_does_not_run(home: Path) -> None:
    fake = FakeDaemon()
    with serving(fake.handlers(), home) as stop, Client.connect(home) as client:
        with pytest.raises(Failure) as caught:
            client.call("hang", on_item=lambda item: stop())
        assert caught.value.fault.code == "daemon-gone"
        with pytest.raises(Failure) as caught:
            Client.connect(home)
        assert caught.value.fault.code == "not-running"


def test_without_a_household_there_is_nothing_to_connect_to(home: Path) -> None:
    with pytest.raises(Failure) as caught:
        Client.connect(home)
    assert caught.value.fault.exit == exits.NO_HOUSEHOLD


def test_a_daemon_of_another_version_is_not_talked_to(home: Path) -> None:
    home.mkdir()
    (home / HOUSEHOLD_FILE).touch()
    with listening(socket_path(home)) as sock:
        sock.setblocking(True)

        def greet() -> None:
            connection, _ = sock.accept()
            connection.sendall(encode(Hello(9, 8, "9.0", 1)))
            connection.close()

        thread = threading.Thread(target=greet)
        thread.start()
        with pytest.raises(Failure) as caught:
            Client.connect(home)
        thread.join()
    assert caught.value.fault.exit == exits.VERSIONS


def test_a_daemon_that_says_nothing_is_not_waited_for(home: Path) -> None:
    with listening(socket_path(home)):
        with pytest.raises(Failure) as caught:
            Client.connect(home, timeout_s=0.05)
    assert caught.value.fault.exit == exits.TIMED_OUT


# --- asyncio ------------------------------------------------------------------------------------------------------


def test_many_requests_share_one_asyncio_connection(home: Path) -> None:
    async def go() -> None:
        async with await AsyncClient.connect(home) as client:
            results = await asyncio.gather(*(client.call("echo", {"n": n}) for n in range(50)))
            assert [r["n"] for r in results] == list(range(50))
            with pytest.raises(Failure) as caught:
                await client.call("fail")
            assert caught.value.fault.code == "unreadable"

    with serving(HANDLERS, home):
        asyncio.run(go())


def test_an_asyncio_stream_can_be_left_early(home: Path) -> None:
    fake = FakeDaemon()

    async def go() -> None:
        async with await AsyncClient.connect(home) as client:
            async with aclosing(client.stream("hang")) as items:
                async for item in items:
                    assert item == "hanging"
                    break
            assert (await client.call("peers"))["peers"]

    with serving(fake.handlers(), home):
        asyncio.run(go())
    assert fake.cancelled == ["hang"]


def test_an_asyncio_consumer_that_falls_behind_loses_its_stream_only(home: Path) -> None:
    async def go() -> None:
        async with await AsyncClient.connect(home) as client:
            async with aclosing(client.stream("burst", {"count": 100_000})) as items:
                assert await anext(items) == 0
                assert await client.call("echo", {"n": 1}) == {"n": 1}
                expected = 1
                with pytest.raises(Failure) as caught:
                    async for item in items:
                        assert item == expected
                        expected += 1
                        await asyncio.sleep(0.001)
                assert expected > ITEMS_WAITING_MAX
                assert caught.value.fault.code == "reader-too-slow"
            assert await client.call("echo", {"n": 2}) == {"n": 2}

    with serving(HANDLERS, home):
        asyncio.run(go())


def test_an_asyncio_request_fails_when_the_daemon_goes(home: Path) -> None:
    fake = FakeDaemon(tree={b"/": Node("folder")})

    async def go(stop: Any) -> None:
        async with await AsyncClient.connect(home) as client:
            async with aclosing(client.stream("hang")) as items:
                assert await anext(items) == "hanging"
                await asyncio.to_thread(stop)
                with pytest.raises(Failure) as caught:
                    await anext(items)
                assert caught.value.fault.code == "daemon-gone"
            with pytest.raises(Failure):
                await client.call("peers")

    with serving(fake.handlers(), home) as stop:
        asyncio.run(go(stop))


def test_an_asyncio_request_has_a_deadline(home: Path) -> None:
    fake = FakeDaemon()

    async def go() -> None:
        async with await AsyncClient.connect(home) as client:
            with pytest.raises(Failure) as caught:
                await client.call("hang", timeout_s=0.05)
            assert caught.value.fault.exit == exits.TIMED_OUT
            await client.call("peers")

    with serving(fake.handlers(), home):
        asyncio.run(go())
    assert fake.cancelled == ["hang"]


async def full(call: Call) -> Any:
    async def write() -> None:
        raise NoSpace("6 MB left")

    import trio

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        nursery.start_soon(trio.sleep_forever)


def test_an_error_inside_a_nursery_is_named_all_the_same(home: Path) -> None:
    with serving({"full": full}, home), Client.connect(home) as client:
        with pytest.raises(Failure) as caught:
            client.call("full")
    assert caught.value.fault.exit == exits.FULL
    assert caught.value.fault.why == "6 MB left"


def test_a_plain_socket_that_talks_nonsense_is_hung_up_on_and_others_go_on(home: Path) -> None:
    with serving(HANDLERS, home), Client.connect(home) as client:
        with socket.socket(socket.AF_UNIX) as rude:
            rude.connect(str(socket_path(home)))
            rude.settimeout(5)
            assert rude.recv(1000)
            rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert rude.recv(1000) == b""
        assert client.call("echo", {}) == {}
