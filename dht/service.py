"""The DHT as callers see it: asks that wait for the machine, and the one loop that drives it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import trio

from dht import limits
from dht.contacts import Contact
from dht.core import (
    Arrived,
    Bootstrap,
    Core,
    Done,
    Effect,
    Event,
    FindEndpoint,
    FindHolders,
    FindNode,
    Forget,
    Publish,
    Send,
    Settings,
    Stats,
    Woken,
)
from dht.records import EndpointRecord, IdOf, Sign, Verify
from dht.seams import Address, Clock, Datagrams


class _Ask:
    """Somebody waits for a result."""

    __slots__ = ("done", "result")

    def __init__(self) -> None:
        self.done = trio.Event()
        self.result: Any = None


class Dht:
    """One node. Call `run` in a nursery; every question below waits at most 30 s and answers with what it found.

    All answers are hints: nothing is to be believed without a signature, nothing deleted because of one.

    Attributes:
        core: the machine inside, for tests and status pages.
    """

    def __init__(
        self,
        *,
        own_id: bytes,
        public: bytes,
        keys: Sequence[bytes],
        datagrams: Datagrams,
        clock: Clock,
        rng: Random,
        sign: Sign,
        verify: Verify,
        id_of: IdOf,
        holders: Callable[[bytes], list[bytes]] = lambda _key: [],
        admits: Callable[[bytes], bool] = lambda _id: True,
        settings: Settings | None = None,
    ) -> None:
        """
        Args:
            own_id: our 32-byte id, equal to `id_of(public)`.
            public: our public key, 32 bytes.
            keys: 1 to 4 datagram keys of 32 bytes, newest first: sealed with the newest, opened with any.
            datagrams: the bound socket; stays the caller's to close.
            clock: this machine's time.
            rng: random.SystemRandom() in earnest, seeded in simulations.
            sign: makes our 64-byte signatures.
            verify: (public, signature, message) -> whether it is one.
            id_of: public key -> 32-byte id.
            holders: what we tell others about a key; pure and quick, at most 16 payloads and 600 bytes count.
            admits: whether this id may take part (a member); what others send is dropped.
            settings: k, alpha and the like.
        """
        self._datagrams = datagrams
        self._clock = clock
        self.core = Core(
            own_id=own_id,
            public=public,
            keys=keys,
            rng=rng,
            sign=sign,
            verify=verify,
            id_of=id_of,
            holders=holders,
            admits=admits,
            settings=settings or Settings(),
            now_s=clock.now_s(),
        )
        self._asks: dict[int, _Ask] = {}
        self._tickets = itertools.count(1)
        self._armed_s = float("-inf")
        self._armed: trio.CancelScope | None = None

    # --- questions ------------------------------------------------------------------------------------------------

    async def find_node(self, key: bytes, count: int = limits.BUCKET_SIZE) -> list[Contact]:
        """The `count` (at most 255) nodes nearest to `key` that answered, nearest first, without ourselves.

        In a network that a search has just seen to be smaller than what it looked for, this answers from memory for
        30 s, with those that answered within that time.
        """
        result: list[Contact] = await self._ask(lambda ticket: FindNode(ticket, _checked(key), count))
        return result

    async def endpoint(self, peer: bytes) -> EndpointRecord | None:
        """The newest verified record of `peer` that could be found, or None."""
        result: EndpointRecord | None = await self._ask(lambda ticket: FindEndpoint(ticket, _checked(peer)))
        return result

    async def find_holders(self, key: bytes, count: int) -> list[tuple[bytes, bytes]]:
        """What the nodes near `key` say about it: at most `count` pairs of (who said it, its opaque payload)."""
        result: list[tuple[bytes, bytes]] = await self._ask(lambda ticket: FindHolders(ticket, _checked(key), count))
        return result

    async def bootstrap(self, addresses: Sequence[Address]) -> int:
        """Join through these addresses (numeric host, port), remembered to rejoin. Returns how many nodes near us
        answered; 0 if nobody is there now."""
        result: int | None = await self._ask(lambda ticket: Bootstrap(ticket, tuple(addresses)))
        return result or 0

    async def publish(self, addresses: Sequence[str], body: bytes = b"") -> int:
        """Sign where we are and store it at the nodes nearest to us; again before it expires, until the next call.

        Returns:
            How many nodes hold it.

        Raises:
            Misuse: more than 8 addresses or 600 bytes of body.
        """
        result: int | None = await self._ask(lambda ticket: Publish(ticket, tuple(addresses), body))
        return result or 0

    # --- what is known --------------------------------------------------------------------------------------------

    @property
    def address(self) -> Address:
        """Where our socket is bound."""
        return self._datagrams.address

    @property
    def own_id(self) -> bytes:
        """Our id."""
        return self.core.own_id

    def contacts(self) -> list[Contact]:
        """Everybody in the routing table, nearest to us first."""
        entries = self.core.table.nearest(int.from_bytes(self.core.own_id), len(self.core.table))
        return [entry.contact for entry in entries]

    @property
    def table_size(self) -> int:
        """How many are in the routing table."""
        return len(self.core.table)

    @property
    def stats(self) -> Stats:
        """Counts since the start; live, not a copy."""
        return self.core.stats

    def replace_keys(self, keys: Sequence[bytes]) -> None:
        """From now on these datagram keys, newest first. Raises Misuse."""
        self.core.seals.replace_keys(keys)

    # --- the loop -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive, answer, wake the machine at its deadlines; until cancelled."""
        task_status.started()
        core, clock = self.core, self._clock
        while True:
            self._armed_s = core.next_deadline()
            with clock.move_on_after(max(0.0, self._armed_s - clock.now_s())) as self._armed:
                await self._receive_until_due()
            self._armed = None
            now_s = clock.now_s()
            if core.next_deadline() <= now_s:
                self._perform(core.handle(Woken(), now_s, clock.wall_s()))

    async def _receive_until_due(self) -> None:
        """Handle what arrives until something is due earlier than when we are woken. Most deadlines are of requests
        that will be answered before, so re-arming for each datagram would be the larger part of the work."""
        core, clock, datagrams = self.core, self._clock, self._datagrams
        while core.next_deadline() >= self._armed_s:
            batch = await datagrams.receive()
            now_s, wall_s = clock.now_s(), clock.wall_s()
            for data, source in batch:
                self._perform(core.handle(Arrived(data, source), now_s, wall_s))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            if type(effect) is Send:
                self._datagrams.send(effect.data, effect.address)
            elif type(effect) is Done:
                ask = self._asks.pop(effect.ticket, None)
                if ask is not None:
                    ask.result = effect.result
                    ask.done.set()

    def _handle(self, event: Event) -> None:
        """An event of a caller's: the loop may sleep for longer than the machine now wants."""
        self._perform(self.core.handle(event, self._clock.now_s(), self._clock.wall_s()))
        if self._armed is not None and self.core.next_deadline() < self._armed_s:
            self._armed.cancel()

    async def _ask(self, event: Callable[[int], Event]) -> Any:
        ticket = next(self._tickets)
        ask = self._asks[ticket] = _Ask()
        try:
            self._handle(event(ticket))
            with self._clock.move_on_after(limits.LOOKUP_TIMEOUT_S):
                await ask.done.wait()
        finally:
            if not ask.done.is_set():
                self._handle(Forget(ticket))
                self._asks.pop(ticket, None)
        return ask.result


def _checked(key: bytes) -> bytes:
    assert len(key) == limits.ID_BYTES, "keys and ids are 32 bytes"
    return key
