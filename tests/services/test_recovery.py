"""The recovery door on loopback, and what a machine with the paper key is served."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from p2pstore.edges.clock import RealClock
from p2pstore.errors import Refused
from p2pstore.ids import PeerId
from p2pstore.keys.household import HouseholdKeys
from p2pstore.limits import RECOVERY_QUESTIONS_MAX
from p2pstore.protocols import sync
from p2pstore.protocols.recovery_door import Doorkeeper
from p2pstore.seams.network import Message, PeerEndpoint
from p2pstore.services import liveness, shards
from p2pstore.services.recovery import Contacts, WrongPaper, ask_door
from p2pstore.services.recovery_door import READ_KINDS, ReadOnly, RecoveryDoor
from tests.keys.household import Household

KEYS = HouseholdKeys.derive(bytes(range(32)))
OTHERS = HouseholdKeys.derive(bytes(32))
KEEPER = Doorkeeper(PeerId(b"\x07" * 32), b"\x08" * 32)


@asynccontextmanager
async def door() -> AsyncIterator[int]:
    """An open door; its port."""
    keeper = RecoveryDoor(
        me=KEEPER.peer,
        curve_public=KEEPER.curve_public,
        recovery_curve_public=lambda: KEYS.recovery_curve_public,
        clock=RealClock(),
        rng=random.Random(1),
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run, listeners)
        yield int(listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def knock(port: int, keys: HouseholdKeys) -> Doorkeeper:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    return await ask_door(stream, keys, clock=RealClock(), rng=random.Random(2), timeout_s=5.0)


async def test_the_paper_learns_who_is_there_and_other_papers_learn_nothing() -> None:
    async with door() as port:
        assert await knock(port, KEYS) == KEEPER
        with pytest.raises(WrongPaper):
            await knock(port, OTHERS)
        assert await knock(port, KEYS) == KEEPER


async def test_who_connects_and_says_nothing_keeps_nobody_out() -> None:
    async with door() as port:
        silent = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3 * RECOVERY_QUESTIONS_MAX)]
        assert await knock(port, KEYS) == KEEPER
        for stream in silent:
            await stream.aclose()


async def test_what_does_not_merely_read_is_refused_before_anybody_sees_it() -> None:
    seen: list[str] = []

    async def serve(message: Message) -> Message:
        seen.append(message.kind)
        return Message("ok")

    server = ReadOnly(shards=serve, metadata=serve, condition=lambda: [1, 0, 0, 0])
    for kind in sorted(sync.KINDS | shards.KINDS | {"of.tomorrow", ""}):
        if kind in READ_KINDS:
            assert (await server.handle(Message(kind))).kind == "ok"
        else:
            with pytest.raises(Refused, match="read-only"):
                await server.handle(Message(kind))
    assert set(seen) == READ_KINDS - {liveness.KIND}
    assert (await server.handle(Message(liveness.KIND, {"me": "anything"}))).args == {"me": [1, 0, 0, 0]}


def test_the_kinds_that_may_be_read_are_counted_here() -> None:
    """Whoever adds one says why a copied paper may ask for it."""
    assert {"roster.pull", "meta.pull", "inventory.pull", "shard.get", "shard.find", "peer.how"} == READ_KINDS


def test_the_address_that_was_typed_is_tried_before_those_of_the_roster() -> None:
    household = Household()
    first = household.first
    typed = PeerEndpoint(("10.0.0.1:1",), ("10.0.0.1:2",), first.curve_public)
    contacts = Contacts(typed={first.peer_id: typed})
    assert contacts.endpoint(first.peer_id) == typed
    contacts.roster = household.roster
    found = contacts.endpoint(first.peer_id)
    assert found is not None
    assert found.control[0] == "10.0.0.1:1"
    assert contacts.endpoint(PeerId(bytes(32))) is None
