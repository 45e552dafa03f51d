"""Five nodes over real UDP on loopback, with real time and real randomness."""

from __future__ import annotations

import random
import time

import trio

from dht import Dht
from dht.udp import UdpDatagrams
from simulations.dht_nodes import TOY_NETWORK_KEY, ids, toy_id, toy_signature, toy_verify

KEY = bytes(range(32))


class RealClock:
    """trio's and the system's time."""

    def now_s(self) -> float:
        return trio.current_time()

    def wall_s(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def move_on_after(self, seconds: float) -> trio.CancelScope:
        return trio.move_on_after(seconds)


def make_node(socket: UdpDatagrams) -> Dht:
    public = random.randbytes(32)
    return Dht(
        own_id=toy_id(public),
        public=public,
        keys=[TOY_NETWORK_KEY],
        datagrams=socket,
        clock=RealClock(),
        rng=random.SystemRandom(),
        sign=lambda message: toy_signature(public, message),
        verify=toy_verify,
        id_of=toy_id,
        holders=lambda key: [b"here"] if key == KEY else [],
    )


async def test_five_nodes_on_loopback_find_each_other() -> None:
    sockets = [UdpDatagrams() for _ in range(5)]
    nodes = [make_node(socket) for socket in sockets]
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for node in nodes:
                await nursery.start(node.run)
            for node in nodes[1:]:
                assert await node.bootstrap([nodes[0].address]) >= 1
            for node in nodes:
                others = sorted(other.own_id for other in nodes if other is not node)
                assert sorted(ids(await node.find_node(KEY))) == others
            assert await nodes[1].publish(["127.0.0.1:7000"], b"control") == 4
            record = await nodes[4].endpoint(nodes[1].own_id)
            assert record is not None
            assert record.body == b"control"
            assert len(await nodes[2].find_holders(KEY, 20)) == 4
            nursery.cancel_scope.cancel()
    for socket in sockets:
        socket.close()


async def test_rubbish_from_a_stranger_is_dropped_and_answers_go_on() -> None:
    sockets = [UdpDatagrams() for _ in range(3)]
    first, second = make_node(sockets[0]), make_node(sockets[1])
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            await nursery.start(first.run)
            await nursery.start(second.run)
            for size in (0, 1, 29, 30, 1200, 1201, 9000):
                sockets[2].send(bytes(size), sockets[0].address)
            assert await second.bootstrap([first.address]) == 1
            while first.stats.datagrams_dropped < 7:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    for socket in sockets:
        socket.close()
