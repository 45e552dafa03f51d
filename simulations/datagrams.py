"""A simulated UDP network: latency, jitter, loss, duplication, reordering, partitions, dead nodes and NAT.

One task delivers everything from a heap, on trio's clock (MockClock in a virtual run). All chance comes from one rng,
so the same seed and the same sends give the same deliveries; `digest` proves it.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from random import Random
from typing import Final

import trio

from dht.limits import BATCH_MAX, DATAGRAM_BYTES_MAX
from dht.seams import Address

QUEUE_DATAGRAMS_MAX: Final = 512
"""A socket buffer's worth (Linux: 212,992 bytes); what comes while it is full is lost, as with real UDP."""


@dataclass(frozen=True, slots=True)
class DatagramWeather:
    """How bad the network is; may be changed while it runs.

    Attributes:
        latency_s: each node draws its distance from the centre from this range; a path is the sum of two.
        jitter_s: up to so much is added to each datagram, so that some overtake others.
        loss: share of datagrams that vanish.
        duplication: share that arrives twice.
        reordering: share that is held back by `reordering_s` more.
        tick_s: arrival times are rounded up to this grid: one wake-up of a receiver for many datagrams.
        nat_memory_s: for so long a NAT lets the other side of a datagram answer.
    """

    latency_s: tuple[float, float] = (0.005, 0.03)
    jitter_s: float = 0.002
    loss: float = 0.0
    duplication: float = 0.0
    reordering: float = 0.0
    reordering_s: float = 0.1
    tick_s: float = 0.005
    nat_memory_s: float = 60.0


class SimulatedDatagrams:
    """One socket of the simulated network; honours `dht.seams.Datagrams`."""

    __slots__ = (
        "_network", "_queue", "_talked_to", "_waiting", "address", "is_alive", "is_closed", "is_nat", "latency_s",
    )  # fmt: skip

    def __init__(self, network: DatagramNetwork, address: Address, latency_s: float, *, is_nat: bool) -> None:
        self.address = address
        self.latency_s = latency_s
        self.is_nat = is_nat
        self.is_alive = True
        self.is_closed = False
        self._network = network
        self._queue: deque[tuple[bytes, Address]] = deque()
        self._waiting: trio.Event | None = None
        self._talked_to: dict[Address, float] = {}

    def send(self, data: bytes, address: Address) -> None:
        """Into the network, where anything may happen to it."""
        if len(data) > DATAGRAM_BYTES_MAX or not self.is_alive or self.is_closed:
            return
        if self.is_nat:
            self._talked_to[address] = trio.current_time()
        self._network.carry(data, self, address)

    async def receive(self) -> Sequence[tuple[bytes, Address]]:
        """Wait for datagrams and take all that are there, at most 64."""
        if self._queue:
            await trio.lowlevel.checkpoint()
        while not self._queue:
            if self.is_closed:
                raise trio.ClosedResourceError
            self._waiting = trio.Event()
            await self._waiting.wait()
        return [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_MAX))]

    def close(self) -> None:
        """Let go of the address; a waiting receive raises trio.ClosedResourceError."""
        if not self.is_closed:
            self.is_closed = True
            self._queue.clear()
            self._network.leave(self)
            self._wake()

    def deliver(self, data: bytes, source: Address) -> None:
        """What the network does when a datagram comes in."""
        if not self.is_alive or len(self._queue) >= QUEUE_DATAGRAMS_MAX or not self._lets_in(source):
            return
        self._queue.append((data, source))
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.set()
            self._waiting = None

    def _lets_in(self, source: Address) -> bool:
        if not self.is_nat:
            return True
        talked_s = self._talked_to.get(source)
        if talked_s is None:
            return False
        if talked_s < trio.current_time() - self._network.weather.nat_memory_s:
            del self._talked_to[source]
            return False
        return True


class DatagramNetwork:
    """All sockets and everything on its way. `run` delivers until cancelled."""

    def __init__(self, rng: Random, weather: DatagramWeather | None = None) -> None:
        self.weather = weather or DatagramWeather()
        self.sent = 0
        self.delivered = 0
        self.bytes_sent = 0
        self._rng = rng
        self._sockets: dict[Address, SimulatedDatagrams] = {}
        self._side: dict[Address, int] = {}
        self._cut_ways: frozenset[tuple[Address, Address]] = frozenset()
        self._heap: list[tuple[float, int, bytes, Address, Address]] = []
        self._wake = trio.Event()
        self._wakes_at = math.inf
        self._trace = blake2b(digest_size=16)
        self.on_delivery: Callable[[Address, bytes], None] | None = None
        """Told of every datagram as it arrives: where, what."""

    def socket(self, address: Address, *, is_nat: bool = False) -> SimulatedDatagrams:
        """A new socket. Raises OSError if the address is taken.

        Args:
            address: numeric host and port.
            is_nat: behind a NAT: only those it sent to within `nat_memory_s` can reach it.
        """
        if address in self._sockets:
            raise OSError(f"{address} is taken")
        socket = SimulatedDatagrams(self, address, self._rng.uniform(*self.weather.latency_s), is_nat=is_nat)
        self._sockets[address] = socket
        return socket

    def leave(self, socket: SimulatedDatagrams) -> None:
        """A socket closed; its address is free again."""
        if self._sockets.get(socket.address) is socket:
            del self._sockets[socket.address]

    def kill(self, address: Address) -> None:
        """From now on this node neither sends nor receives."""
        self._sockets[address].is_alive = False

    def revive(self, address: Address) -> None:
        """And now it does again."""
        self._sockets[address].is_alive = True

    def partition(self, *sides: Collection[Address]) -> None:
        """From now on datagrams pass only inside each side; addresses in none of them make one side together."""
        self._side = {address: number for number, side in enumerate(sides, 1) for address in side}

    def set_cuts(self, ways: Collection[tuple[Address, Address]]) -> None:
        """From now on nothing passes on exactly these (source, target) ways, whatever `partition` says."""
        self._cut_ways = frozenset(ways)

    def heal(self) -> None:
        """End every partition and cut."""
        self._side = {}
        self._cut_ways = frozenset()

    def digest(self) -> str:
        """A hash of all deliveries so far: when, from where, to where, what."""
        return self._trace.hexdigest()

    def carry(self, data: bytes, source: SimulatedDatagrams, address: Address) -> None:
        """Take a datagram from a socket; decide its fate now."""
        self.sent += 1
        self.bytes_sent += len(data)
        weather, rng = self.weather, self._rng
        if weather.loss and rng.random() < weather.loss:
            return
        self._schedule(data, source, address)
        if weather.duplication and rng.random() < weather.duplication:
            self._schedule(data, source, address)

    def _schedule(self, data: bytes, source: SimulatedDatagrams, address: Address) -> None:
        weather, rng = self.weather, self._rng
        target = self._sockets.get(address)
        if target is None:
            return
        delay_s = source.latency_s + target.latency_s + weather.jitter_s * rng.random()
        if weather.reordering and rng.random() < weather.reordering:
            delay_s += weather.reordering_s
        at_s = math.ceil((trio.current_time() + delay_s) / weather.tick_s) * weather.tick_s
        heapq.heappush(self._heap, (at_s, self.sent, data, source.address, address))
        if at_s < self._wakes_at:
            self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Deliver what is due, until cancelled."""
        task_status.started()
        while True:
            now_s = trio.current_time()
            while self._heap and self._heap[0][0] <= now_s:
                at_s, _, data, source, address = heapq.heappop(self._heap)
                self._deliver(at_s, data, source, address)
            self._wake = trio.Event()
            self._wakes_at = self._heap[0][0] if self._heap else math.inf
            with trio.move_on_at(self._wakes_at):
                await self._wake.wait()

    def _deliver(self, at_s: float, data: bytes, source: Address, address: Address) -> None:
        target = self._sockets.get(address)
        if target is None or self._side.get(source, 0) != self._side.get(address, 0):
            return
        if (source, address) in self._cut_ways:
            return
        self.delivered += 1
        self._trace.update(f"{at_s:.6f} {source} {address}".encode())
        self._trace.update(data)
        if self.on_delivery is not None:
            self.on_delivery(address, data)
        target.deliver(data, source)
