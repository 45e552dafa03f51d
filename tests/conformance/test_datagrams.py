"""The datagram seam: the real socket and the simulated one keep the same promises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import pytest
import trio
import trio.testing

from dht.seams import Address, Datagrams
from dht.udp import UdpDatagrams
from simulations.datagrams import DatagramNetwork, DatagramWeather, SimulatedDatagrams

Socket = UdpDatagrams | SimulatedDatagrams
Make = Callable[[], Socket]
Kind = Callable[[], AbstractAsyncContextManager[Make]]


@asynccontextmanager
async def real() -> AsyncIterator[Make]:
    sockets: list[UdpDatagrams] = []

    def make() -> UdpDatagrams:
        sockets.append(UdpDatagrams())
        return sockets[-1]

    yield make
    for socket in sockets:
        socket.close()


@asynccontextmanager
async def real_v6() -> AsyncIterator[Make]:
    sockets: list[UdpDatagrams] = []

    def make() -> UdpDatagrams:
        sockets.append(UdpDatagrams("::1"))
        return sockets[-1]

    yield make
    for socket in sockets:
        socket.close()


@asynccontextmanager
async def simulated() -> AsyncIterator[Make]:
    network = DatagramNetwork(Random(1), DatagramWeather(latency_s=(0.0, 0.001), jitter_s=0.0))
    ports = iter(range(1, 100))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        yield lambda: network.socket(("10.0.0.1", next(ports)))
        nursery.cancel_scope.cancel()


KINDS = pytest.mark.parametrize("kind", [real, real_v6, simulated])


async def take(socket: Datagrams, count: int) -> list[tuple[bytes, Address]]:
    """Receive until so many have come."""
    taken: list[tuple[bytes, Address]] = []
    with trio.fail_after(5):
        while len(taken) < count:
            taken += await socket.receive()
    return taken


@KINDS
async def test_a_datagram_arrives_whole_with_its_source(kind: Kind) -> None:
    async with kind() as make:
        here, there = make(), make()
        for data in (b"", b"x", bytes(1200)):
            here.send(data, there.address)
            assert await take(there, 1) == [(data, here.address)]


@KINDS
async def test_what_waits_is_taken_at_one_wake_up_but_bounded(kind: Kind) -> None:
    async with kind() as make:
        here, there = make(), make()
        for number in range(100):
            here.send(bytes([number]), there.address)
        with trio.fail_after(5):
            first = await there.receive()
        assert 1 <= len(first) <= 64
        rest = await take(there, 100 - len(first))
        assert [data for data, _ in [*first, *rest]] == [bytes([number]) for number in range(100)]


@KINDS
async def test_a_cancelled_receive_loses_nothing(kind: Kind) -> None:
    async with kind() as make:
        here, there = make(), make()
        with trio.move_on_after(0.01):
            await there.receive()
        here.send(b"after", there.address)
        with trio.CancelScope() as scope:
            scope.cancel()
            await there.receive()
        assert await take(there, 1) == [(b"after", here.address)]


@KINDS
async def test_sending_to_nobody_or_too_much_drops_it_without_a_word(kind: Kind) -> None:
    async with kind() as make:
        here, gone, there = make(), make(), make()
        gone.close()
        here.send(b"lost", gone.address)
        here.send(bytes(70_000), there.address)
        here.send(b"next", there.address)
        assert await take(there, 1) == [(b"next", here.address)]


@KINDS
async def test_closing_ends_a_waiting_receive(kind: Kind) -> None:
    async with kind() as make:
        socket = make()

        async def wait_closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await socket.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            socket.close()
        socket.close()
        socket.send(b"x", ("127.0.0.1", 9))
        with pytest.raises(trio.ClosedResourceError):
            await socket.receive()


@KINDS
async def test_an_address_is_taken_once(kind: Kind) -> None:
    async with kind() as make:
        socket = make()
        with pytest.raises(OSError):
            if isinstance(socket, UdpDatagrams):
                UdpDatagrams(*socket.address)
            else:
                socket._network.socket(socket.address)
