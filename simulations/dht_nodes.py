"""Many DHT nodes in one process, over simulated datagrams: for tests and benchmarks of the DHT alone.

Keys and signatures are toys (a hash anybody can compute): what is tried here is the network, not the cryptography.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import trio
from blake3 import blake3

from dht import Address, Clock, Contact, Dht, Settings
from dht.contacts import contact_of
from simulations.clock import SimulatedClock
from simulations.datagrams import DatagramNetwork, DatagramWeather, SimulatedDatagrams

TOY_NETWORK_KEY = bytes(range(32))


def toy_id(public: bytes) -> bytes:
    """A public key's id."""
    return blake3(public).digest()


def toy_signature(public: bytes, message: bytes) -> bytes:
    """64 bytes that fit the key and the message, made without any secret."""
    return blake3(public + message).digest(length=64)


def toy_verify(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether toy_signature made it."""
    return signature == toy_signature(public, message)


@dataclass(slots=True, eq=False)
class SimulatedNode:
    """A node, its socket and its key."""

    dht: Dht
    socket: SimulatedDatagrams
    public: bytes

    @property
    def id(self) -> bytes:
        """The node's id."""
        return self.dht.own_id

    @property
    def address(self) -> Address:
        """Where it is."""
        return self.socket.address


def node_address(number: int) -> Address:
    """The address of the number-th node, each with a host of its own."""
    return (f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}", 4000)


class DhtWorld:
    """Nodes, network and one clock; `nursery` runs everything."""

    def __init__(self, nursery: trio.Nursery, *, seed: int = 0, weather: DatagramWeather | None = None) -> None:
        self.rng = Random(f"{seed} nodes")
        self.network = DatagramNetwork(Random(f"{seed} network"), weather)
        self.clock: Clock = SimulatedClock()
        self.nodes: list[SimulatedNode] = []
        self._nursery = nursery
        nursery.start_soon(self.network.run)

    def add(
        self,
        *,
        is_nat: bool = False,
        settings: Settings | None = None,
        keys: Sequence[bytes] = (TOY_NETWORK_KEY,),
        holders: Callable[[bytes], list[bytes]] = lambda _key: [],
        admits: Callable[[bytes], bool] = lambda _id: True,
    ) -> SimulatedNode:
        """One more node, running, knowing nobody."""
        public = self.rng.randbytes(32)
        socket = self.network.socket(node_address(len(self.nodes) + 1), is_nat=is_nat)
        dht = Dht(
            own_id=toy_id(public),
            public=public,
            keys=keys,
            datagrams=socket,
            clock=self.clock,
            rng=self.rng,
            sign=lambda message: toy_signature(public, message),
            verify=toy_verify,
            id_of=toy_id,
            holders=holders,
            admits=admits,
            settings=settings,
        )
        node = SimulatedNode(dht, socket, public)
        self.nodes.append(node)
        self._nursery.start_soon(dht.run)
        return node

    async def grow(self, count: int, *, at_once: int = 25, settings: Settings | None = None) -> list[SimulatedNode]:
        """`count` more nodes, each joining through a random earlier one."""
        added: list[SimulatedNode] = []
        while len(added) < count:
            earlier = list(self.nodes)
            wave = [self.add(settings=settings) for _ in range(min(at_once, count - len(added), max(1, len(earlier))))]
            async with trio.open_nursery() as nursery:
                for node in wave:
                    if earlier:
                        nursery.start_soon(node.dht.bootstrap, [self.rng.choice(earlier).address])
            added += wave
        return added

    def acquaint(self, *, neighbours: int = 30, others: int = 100) -> None:
        """Give everybody at once the table that hours of life would: who is near in id order, and a random sample."""
        by_id = sorted(self.nodes, key=lambda node: node.id)
        contacts = [contact_of(node.id, node.address) for node in by_id]
        now_s = self.clock.now_s()
        for number, node in enumerate(by_id):
            around = contacts[max(0, number - neighbours) : number + neighbours + 1]
            for contact in around + self.rng.sample(contacts, min(others, len(contacts))):
                if contact.id != node.id:
                    node.dht.core.table.heard(contact, rtt_s=None, now_s=now_s)

    def nearest(self, key: bytes, count: int, *, but: SimulatedNode | None = None) -> list[bytes]:
        """The ids of the truly nearest nodes that are alive and can be reached, without `but`."""
        target = int.from_bytes(key)
        alive = [node.id for node in self.nodes if node is not but and node.socket.is_alive and not node.socket.is_nat]
        return sorted(alive, key=lambda node_id: int.from_bytes(node_id) ^ target)[:count]


def ids(contacts: Sequence[Contact]) -> list[bytes]:
    """The ids of contacts."""
    return [contact.id for contact in contacts]
