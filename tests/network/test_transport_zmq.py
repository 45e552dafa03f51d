"""What only real sockets can show: hostile bytes, stolen moments between libzmq's threads, ports, buffers, shutdown."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
import trio
import zmq
from zmq.utils import z85

from p2pstore.edges.clock import RealClock
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.edges.trio_zmq import TrioSocket
from p2pstore.edges.zmq_links import Monitor, numeric_addresses
from p2pstore.errors import Malformed, TimedOut, Unreachable
from p2pstore.ids import PeerId
from p2pstore.limits import MIB
from p2pstore.packing import pack
from p2pstore.protocols import wire
from p2pstore.protocols.links import LinkTiming
from p2pstore.seams.network import Listen, Message, PeerEndpoint, Plane
from tests.network.twins import TIMING, ZmqWorld, echo, peer_id_of

ANNA, BEN, EVE = peer_id_of("anna"), peer_id_of("ben"), peer_id_of("eve")
PING = Message("ping")


def real_time(scenario: Callable[[ZmqWorld], Awaitable[None]]) -> Callable[[], None]:
    """Run an async test in a ZmqWorld, in real time."""

    def run() -> None:
        async def main() -> None:
            with trio.fail_after(20):
                async with trio.open_nursery() as nursery:
                    await scenario(ZmqWorld(nursery))
                    nursery.cancel_scope.cancel()

        trio.run(main)

    run.__name__ = scenario.__name__
    return run


def raw_pair(context: zmq.Context[zmq.Socket[bytes]], count: int) -> tuple[TrioSocket, TrioSocket]:
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    for raw in (router, dealer):
        raw.set(zmq.SNDHWM, count)
        raw.set(zmq.RCVHWM, count)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    dealer.connect(f"tcp://127.0.0.1:{port}")
    return TrioSocket(router), TrioSocket(dealer)


async def test_a_socket_loses_and_doubles_nothing_under_cancelled_receivers() -> None:
    rng = random.Random(3)
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, dealer = raw_pair(context, 20_000)
    got: Counter[int] = Counter()
    done = trio.Event()
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(router.run)
            nursery.start_soon(dealer.run)

            async def receive() -> None:
                while not done.is_set():
                    with trio.move_on_after(rng.uniform(0.00002, 0.003)):
                        parts = await router.receive()
                        got[int(parts[1].bytes)] += 1
                        if len(got) == 3000:
                            done.set()

            async def send(first: int) -> None:
                for number in range(first, 3000, 4):
                    assert dealer.send([b"%d" % number])
                    if rng.random() < 0.1:
                        await trio.lowlevel.checkpoint()

            for first in range(4):
                nursery.start_soon(send, first)
            for _ in range(3):
                nursery.start_soon(receive)
            await done.wait()
            nursery.cancel_scope.cancel()
    assert set(got.values()) == {1}
    router.close()
    dealer.close()
    context.term()


async def test_what_happens_after_a_monitor_is_closed_holds_nobody_up() -> None:
    """Left alone, libzmq's thread waits for ever to tell somebody, and every connection on that thread with it."""
    ours: zmq.Context[zmq.Socket[bytes]] = zmq.Context(io_threads=1)
    theirs: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, watched = theirs.socket(zmq.ROUTER), ours.socket(zmq.DEALER)
    monitor = Monitor(ours, watched, zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED)
    watched.connect(f"tcp://127.0.0.1:{router.bind_to_random_port('tcp://127.0.0.1')}")
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(monitor.run)
            event, _ = await monitor.next_event()
            assert event == zmq.EVENT_HANDSHAKE_SUCCEEDED
            monitor.close()
            router.close(linger=0)
            await trio.to_thread.run_sync(theirs.term)
            receiver, sender = raw_pair(ours, 10)
            nursery.start_soon(receiver.run)
            assert sender.send([b"still alive"])
            assert (await receiver.receive())[1].bytes == b"still alive"
            nursery.cancel_scope.cancel()
    watched.close()
    receiver.close()
    sender.close()


async def test_a_closed_socket_wakes_its_receiver_and_takes_nothing() -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    router, dealer = raw_pair(context, 10)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(router.run)

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await router.receive()

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        router.close()
        router.close()
    with pytest.raises(trio.ClosedResourceError):
        await router.receive()
    assert not router.send([b"x"])
    dealer.close()
    context.term()


class Member:
    """A member's key, but a socket that says whatever the test likes."""

    def __init__(self, world: ZmqWorld, name: str, plane: Plane) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        public, secret = zmq.curve_keypair()
        world.keys[peer_id_of(name)] = z85.decode(public)
        self.socket.set(zmq.LINGER, 0)
        self.socket.set(zmq.CURVE_PUBLICKEY, public)
        self.socket.set(zmq.CURVE_SECRETKEY, secret)
        endpoint = world._directory(ANNA)
        assert endpoint is not None
        self.socket.set(zmq.CURVE_SERVERKEY, endpoint.curve_public)
        self.socket.connect(f"tcp://{(endpoint.control if plane is Plane.CONTROL else endpoint.bulk)[0]}")

    async def receive(self) -> list[bytes]:
        """Waits in a thread: the test is not about this socket."""
        return await trio.to_thread.run_sync(self._receive)

    def _receive(self) -> list[bytes]:
        assert self.socket.poll(5000), "nothing came"
        return self.socket.recv_multipart()

    def close(self) -> None:
        self.socket.close(0)
        self.context.term()


@real_time
async def test_hostile_messages_are_counted_and_end_nothing(world: ZmqWorld) -> None:
    anna = await world.start("anna", echo)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING)
    eve = Member(world, "eve", Plane.CONTROL)
    hello = wire.encode(wire.Hello())
    eve.socket.send(b"not a hello")
    eve.socket.send(hello)
    assert isinstance(wire.decode((await eve.receive())[0]), wire.Hello)
    rng = random.Random(5)
    for _ in range(50):
        eve.socket.send(rng.randbytes(rng.randrange(200)))
    eve.socket.send_multipart([hello, b"", b"three parts"])
    eve.socket.send(pack((9, 1, 1, 1, "ping", {})))
    eve.socket.send(pack((1, 1, 5, 2**50, "echo", {"n": 1})))
    # The last one was well-formed, and is served.
    assert wire.decode((await eve.receive())[0]) == wire.Reply(5, Message("", {"n": 1}))
    faults = world.watch("anna").faults
    assert {peer for peer, _ in faults} == {EVE}
    assert {type(error) for _, error in faults} == {Malformed}
    assert len(faults) == anna.link_stats(EVE).malformed >= 50
    assert (await ben.request(ANNA, Message("ping", {"n": 2}))).args == {"n": 2}
    eve.close()


@real_time
async def test_a_frame_beyond_the_limit_costs_its_sender_the_link_and_nobody_else(world: ZmqWorld) -> None:
    await world.start("anna", echo)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING)
    eve = Member(world, "eve", Plane.CONTROL)
    eve.socket.send(wire.encode(wire.Hello()))
    await world.watch("anna").wait_linked(EVE)
    eve.socket.send(bytes(4 * MIB))
    await world.watch("anna").wait_linked(EVE, up=False)
    await ben.request(ANNA, PING)
    eve.close()


@real_time
async def test_bytes_that_are_no_zeromq_end_nothing(world: ZmqWorld) -> None:
    await world.start("anna", echo)
    endpoint = world._directory(ANNA)
    assert endpoint is not None
    rng = random.Random(6)
    silent = []
    for number in range(20):
        for address in (*endpoint.control, *endpoint.bulk):
            stream = await trio.open_tcp_stream("127.0.0.1", int(address.rpartition(":")[2]))
            if number % 2:
                silent.append(stream)
                continue
            try:
                await stream.send_all(rng.randbytes(500))
                await stream.receive_some()
            except trio.BrokenResourceError:
                pass
            await stream.aclose()
    ben = await world.start("ben", echo)
    for plane in Plane:
        await ben.request(ANNA, PING, plane=plane)
    for stream in silent:
        await stream.aclose()


@real_time
async def test_a_member_cannot_speak_as_another(world: ZmqWorld) -> None:
    """The identity is the proven key's: a routing id of somebody else gains nothing."""
    asked = []

    async def note(peer: PeerId, message: Message) -> Message:
        asked.append(peer)
        return Message("")

    await world.start("anna", note)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING)
    eve = Member(world, "eve", Plane.CONTROL)
    eve.socket.send(wire.encode(wire.Hello()))
    eve.socket.send(pack((1, 1, 5, 2**50, "echo", {"peer": BEN})))
    assert wire.decode((await eve.receive())[0])
    assert wire.decode((await eve.receive())[0])
    assert asked == [BEN, EVE]
    eve.close()


@real_time
async def test_a_port_in_use_is_waited_for_and_then_an_error(world: ZmqWorld) -> None:
    anna = await world.start("anna", echo)
    assert anna.bound is not None
    ports = anna.bound
    async with trio.open_nursery() as nursery:

        async def free() -> None:
            await trio.sleep(0.25)
            await world.stop("anna")

        nursery.start_soon(free)
        network = ZmqNetwork(BEN, *world_keys(), RealClock(), lambda _: None, lambda _: None)
        bound = await nursery.start(
            lambda task_status: network.run(echo, listen=Listen("127.0.0.1", *ports), task_status=task_status)
        )
        assert bound == ports
        nursery.cancel_scope.cancel()


def world_keys() -> tuple[bytes, bytes]:
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


@real_time
async def test_an_address_that_is_not_ours_cannot_be_listened_on(world: ZmqWorld) -> None:
    network = ZmqNetwork(BEN, *world_keys(), RealClock(), lambda _: None, lambda _: None)
    with pytest.raises(OSError, match="cannot listen"):
        await network.run(echo, listen=Listen("192.0.2.1"))


@real_time
async def test_all_interfaces_can_be_listened_on(world: ZmqWorld) -> None:
    for host in ("*", "::1"):
        network = ZmqNetwork(BEN, *world_keys(), RealClock(), lambda _: None, lambda _: None)
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(
                lambda task_status: network.run(echo, listen=Listen(host), task_status=task_status)  # noqa: B023
            )
            assert bound.control != bound.bulk
            stream = await trio.open_tcp_stream("127.0.0.1" if host == "*" else host, bound.control)
            await stream.aclose()
            nursery.cancel_scope.cancel()


@real_time
async def test_addresses_are_tried_in_order_until_one_answers(world: ZmqWorld) -> None:
    anna = await world.start("anna", echo)
    assert anna.bound is not None
    dead = ("nobody.invalid:1", "no address", "127.0.0.1:1", "127.0.0.1:99999")
    world._endpoints[ANNA] = PeerEndpoint(
        (*dead, f"127.0.0.1:{anna.bound.control}"), (*dead, f"127.0.0.1:{anna.bound.bulk}"), world.keys[ANNA]
    )
    ben = await world.start("ben", echo)
    for plane in Plane:
        await ben.request(ANNA, PING, plane=plane)
    world._endpoints[ANNA] = PeerEndpoint(dead, dead, world.keys[ANNA])
    cleo = await world.start("cleo", echo)
    with pytest.raises(Unreachable):
        await cleo.request(ANNA, PING)


@real_time
async def test_whoever_listens_at_a_peers_address_without_its_key_is_not_that_peer(world: ZmqWorld) -> None:
    await world.start("anna", echo)
    eve = await world.start("eve", echo)
    ben = await world.start("ben", echo)
    assert eve.bound is not None
    world._endpoints[ANNA] = PeerEndpoint(
        (f"127.0.0.1:{eve.bound.control}",), (f"127.0.0.1:{eve.bound.bulk}",), world.keys[ANNA]
    )
    with pytest.raises((Unreachable, TimedOut)):
        await ben.request(ANNA, PING, timeout_s=3)


async def test_addresses_become_numbers() -> None:
    assert await numeric_addresses("127.0.0.1:80") == ["127.0.0.1:80"]
    assert await numeric_addresses("[::1]:80") == ["[::1]:80"]
    for nonsense in ("", ":", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "\0:1", "a" * 300 + ":1"):
        assert await numeric_addresses(nonsense) == []


@real_time
async def test_an_abandoned_request_returns_only_when_its_buffer_is_its_callers_again(world: ZmqWorld) -> None:
    """What the caller writes into the buffer afterwards never leaves the machine."""
    seen: list[int] = []

    async def look(_: PeerId, message: Message) -> Message:
        seen.extend(set(bytes(message.payload)))
        return Message("")

    await world.start("anna", look)
    ben = await world.start("ben", echo, timing=LinkTiming())
    await ben.request(ANNA, PING, plane=Plane.BULK)
    seen.clear()
    for patience_s in (0.0001, 0.001, 0.01):
        buffer = bytearray(b"\x01" * 8 * MIB)
        with trio.move_on_after(patience_s):
            await ben.request(ANNA, Message("put", {}, memoryview(buffer)), plane=Plane.BULK)
        buffer[:] = b"\x02" * len(buffer)
        del buffer
    await ben.request(ANNA, PING, plane=Plane.BULK)
    assert set(seen) <= {1}


@real_time
async def test_a_buffer_stuck_behind_a_silent_peer_is_freed_by_cutting_the_link(world: ZmqWorld) -> None:
    await world.start("anna", echo, stallable=True)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING, plane=Plane.BULK)
    world.stall("anna")
    buffer = bytearray(8 * MIB)
    for _ in range(2):
        with pytest.raises((TimedOut, Unreachable)):
            await ben.request(ANNA, Message("put", {}, memoryview(buffer)), plane=Plane.BULK, timeout_s=0.1)
    assert world.watch("ben").faults == []


@real_time
async def test_many_networks_come_and_go_without_hanging(world: ZmqWorld) -> None:
    for _ in range(5):
        await world.start("anna", echo)
        ben = await world.start("ben", echo, timing=TIMING)
        await ben.request(ANNA, Message("ping", {}, bytes(MIB)))
        started = trio.current_time()
        for name in ("anna", "ben"):
            await world.stop(name)
        assert trio.current_time() - started < 2
