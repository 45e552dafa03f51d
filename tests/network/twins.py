"""Worlds of a few networks for the conformance suite: over loopback sockets in real time, or simulated."""

from __future__ import annotations

import functools
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
import trio
import zmq
from trio.testing import MockClock
from zmq.utils import z85

from p2pstore.edges.clock import RealClock
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.ids import PeerId
from p2pstore.protocols.links import LinkTiming
from p2pstore.seams.network import Bound, Handler, Listen, Message, PeerEndpoint, PeerNetwork
from simulations.network import Fabric, SimulatedNetwork

TIMING = LinkTiming(
    heartbeat_interval_s=0.3, heartbeat_timeout_s=1.0, dial_timeout_s=2.0, redial_first_s=0.05, redial_max_s=0.2
)


def peer_id_of(name: str) -> PeerId:
    return PeerId(name.encode().ljust(32, b"."))


@dataclass
class Watch:
    """What a network reported; `wait` for it."""

    linked: set[PeerId] = field(default_factory=set)
    changes: list[tuple[PeerId, bool]] = field(default_factory=list)
    faults: list[tuple[PeerId | None, BaseException]] = field(default_factory=list)
    _changed: trio.Event = field(default_factory=trio.Event)

    def link_change(self, peer: PeerId, up: bool) -> None:
        self.changes.append((peer, up))
        (self.linked.add if up else self.linked.discard)(peer)
        self._changed.set()
        self._changed = trio.Event()

    async def wait_linked(self, peer: PeerId, up: bool = True) -> None:
        while (peer in self.linked) is not up:
            await self._changed.wait()


class World(Protocol):
    """Peers by name. Every started peer is a member until removed."""

    async def start(self, name: str, handler: Handler, *, listening: bool = True, **options: Any) -> PeerNetwork: ...
    async def stop(self, name: str) -> None: ...
    def watch(self, name: str) -> Watch: ...
    def remove(self, name: str) -> None: ...
    def stall(self, name: str) -> None: ...


class Proxy:
    """Forwards TCP connections to a port, until told to hold everything back."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._open = trio.Event()
        self._open.set()

    def stall(self) -> None:
        self._open = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.port = listener.socket.getsockname()[1]
            task_status.started()
            await trio.serve_listeners(self._forward, [listener], handler_nursery=nursery)

    async def _forward(self, inner: trio.SocketStream) -> None:
        async with inner, await trio.open_tcp_stream("127.0.0.1", self._target) as outer:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._copy, inner, outer, nursery.cancel_scope)
                nursery.start_soon(self._copy, outer, inner, nursery.cancel_scope)

    async def _copy(self, source: trio.SocketStream, target: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                await self._open.wait()
                await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        scope.cancel()


class _Roster:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.keys: dict[PeerId, bytes] = {}
        self.watches: dict[str, Watch] = {}
        self.scopes: dict[str, tuple[trio.CancelScope, trio.Event]] = {}

    def admit(self, curve_public: bytes) -> PeerId | None:
        return next((peer for peer, key in self.keys.items() if key == curve_public), None)

    def watch(self, name: str) -> Watch:
        return self.watches[name]

    def remove(self, name: str) -> None:
        del self.keys[peer_id_of(name)]

    async def stop(self, name: str) -> None:
        scope, stopped = self.scopes.pop(name)
        scope.cancel()
        await stopped.wait()

    async def run(self, name: str, network: PeerNetwork, handler: Handler, listen: Listen | None) -> Bound | None:
        watch = self.watches[name] = Watch()
        network.on_link_change = watch.link_change
        network.on_fault = lambda peer, error: watch.faults.append((peer, error))
        scope, stopped = self.scopes[name] = (trio.CancelScope(), trio.Event())

        async def run(*, task_status: trio.TaskStatus[Bound | None]) -> None:
            with scope:
                await network.run(handler, listen=listen, task_status=task_status)
            stopped.set()

        bound: Bound | None = await self.nursery.start(run)
        return bound


class ZmqWorld(_Roster):
    """Loopback sockets."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self._pairs: dict[str, tuple[bytes, bytes]] = {}
        self._ports: dict[str, Bound] = {}
        self._proxies: dict[str, list[Proxy]] = {}
        self._endpoints: dict[PeerId, PeerEndpoint] = {}

    async def start(
        self, name: str, handler: Handler, *, listening: bool = True, member: bool = True, **options: Any
    ) -> PeerNetwork:
        me = peer_id_of(name)
        if name not in self._pairs:
            public, secret = zmq.curve_keypair()
            self._pairs[name] = (z85.decode(public), z85.decode(secret))
            if member:
                self.keys[me] = self._pairs[name][0]
        stallable = options.pop("stallable", False)
        options.pop("uplink_bytes_per_s", None)
        network = ZmqNetwork(
            me, *self._pairs[name], RealClock(), self.admit, self._directory, **{"timing": TIMING, **options}
        )
        listen = Listen("127.0.0.1", *self._ports.get(name, ())) if listening else None
        bound = await self.run(name, network, handler, listen)
        if bound is not None:
            self._ports[name] = bound
            ports = [bound.control, bound.bulk]
            if stallable:
                self._proxies[name] = [Proxy(port) for port in ports]
                for proxy in self._proxies[name]:
                    await self.nursery.start(proxy.run)
                ports = [proxy.port for proxy in self._proxies[name]]
            control, bulk = [(f"127.0.0.1:{port}",) for port in ports]
            self._endpoints[me] = PeerEndpoint(control, bulk, self._pairs[name][0])
        return network

    def _directory(self, peer: PeerId) -> PeerEndpoint | None:
        return self._endpoints.get(peer)

    def stall(self, name: str) -> None:
        for proxy in self._proxies[name]:
            proxy.stall()


class SimulatedWorld(_Roster):
    """A fabric, on a clock that jumps."""

    def __init__(self, nursery: trio.Nursery) -> None:
        super().__init__(nursery)
        self.fabric = Fabric(random.Random(1))
        nursery.start_soon(self.fabric.run)
        self._networks: dict[PeerId, SimulatedNetwork] = {}

    async def start(
        self, name: str, handler: Handler, *, listening: bool = True, member: bool = True, **options: Any
    ) -> PeerNetwork:
        me = peer_id_of(name)
        options.pop("stallable", False)
        curve_public = b"curve " + me[:26]
        if member:
            self.keys[me] = curve_public
        network = self._networks[me] = SimulatedNetwork(
            self.fabric,
            me,
            curve_public,
            RealClock(),
            self.admit,
            self._directory,
            rng=random.Random(name),
            **{"timing": TIMING, **options},
        )
        await self.run(name, network, handler, Listen("*") if listening else None)
        return network

    def _directory(self, peer: PeerId) -> PeerEndpoint | None:
        network = self._networks.get(peer)
        return None if network is None else network.endpoint()

    def stall(self, name: str) -> None:
        self.fabric.stall(peer_id_of(name))


def both_twins(scenario: Callable[[World], Awaitable[None]]) -> Callable[[str], None]:
    """Run an async test in both worlds; 20 seconds are enough for the real one, 600 for the simulated."""

    @functools.wraps(scenario)
    def run(twin: str) -> None:
        async def main() -> None:
            with trio.fail_after(20 if twin == "zmq" else 600):
                async with trio.open_nursery() as nursery:
                    world: World = ZmqWorld(nursery) if twin == "zmq" else SimulatedWorld(nursery)
                    await scenario(world)
                    nursery.cancel_scope.cancel()

        if twin == "zmq":
            trio.run(main)
        else:
            trio.run(main, clock=MockClock(autojump_threshold=0))

    del run.__wrapped__  # pytest would ask for a fixture called "world"
    return pytest.mark.parametrize("twin", ["simulated", "zmq"])(run)


async def echo(_peer: PeerId, message: Message) -> Message:
    """Answers with what was asked."""
    return Message("", message.args, message.payload)
