"""Ledgers that find each other over a network: everything reaches everybody, soon, and quiet is quiet."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
from blake3 import blake3

from p2pstore.errors import Malformed, Refused, Unavailable
from p2pstore.ids import EncodingId, PeerId, ShardId, StoreId
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import INVENTORY_CHANGES_MAX
from p2pstore.metadata.vector import Vector
from p2pstore.protocols import sync
from p2pstore.seams.network import Listen, Message, PeerEndpoint
from p2pstore.services.inventory_sync import GATHER_S
from p2pstore.services.metadata_sync import MetadataSync
from p2pstore.storage.entries import Change
from simulations.disk import PowerCut
from simulations.network import Fabric, SimulatedNetwork
from tests.ledger.household import Machine, do, household, put, tree, upto


class Book:
    """A roster of opaque statements; refuses those that start with "bad"."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._statements: dict[bytes, bytes] = {}

    @property
    def roster(self) -> Book:
        return self

    @property
    def digest(self) -> bytes:
        return blake3(b"".join(self.statement_ids())).digest(16)

    def statement_ids(self) -> list[bytes]:
        return sorted(self._statements)

    def missing(self, ids: Collection[bytes]) -> list[bytes]:
        return [self._statements[each] for each in self.statement_ids() if each not in ids]

    def all(self) -> set[bytes]:
        return set(self._statements.values())

    async def accept(self, statements: Iterable[bytes]) -> int:
        good = [raw for raw in statements if not raw.startswith(b"bad")]
        fresh = {blake3(raw).digest(16): raw for raw in good if blake3(raw).digest(16) not in self._statements}
        self._statements.update(fresh)
        await self._ledger.put_statements(fresh.values())
        return len(fresh)


class Shelf:
    """A store that remembers only what changed."""

    def __init__(self, name: bytes) -> None:
        self.store = StoreId(name.ljust(16, b"."))
        self.epoch = b"epoch 1"
        self._counter = 0
        self._changes: dict[ShardId, Change] = {}
        self._changed = trio.Event()

    def set(self, encoding: bytes, index: int, *, held: bool = True) -> None:
        self._counter += 1
        shard = ShardId(EncodingId(encoding.ljust(32, b".")), index)
        self._changes[shard] = Change(self._counter, shard, held, 1000)
        self._changed.set()
        self._changed = trio.Event()

    async def changes_since(self, counter: int, limit: int) -> Sequence[Change]:
        await trio.lowlevel.checkpoint()
        found = sorted(
            (each for each in self._changes.values() if each.counter > counter), key=lambda each: each.counter
        )
        return found[:limit]

    async def wait_change(self) -> None:
        await self._changed.wait()


@dataclass
class Peer:
    """One machine on the network."""

    machine: Machine
    ledger: Ledger
    network: SimulatedNetwork
    sync: MetadataSync
    book: Book
    shelf: Shelf
    received: list[str] = field(default_factory=list)

    @property
    def id(self) -> PeerId:
        return self.machine.peer_id


@dataclass
class World:
    """Some machines, linked unless told otherwise."""

    fabric: Fabric
    peers: list[Peer]

    async def settle(self, until: Callable[[], bool], *, within_s: float = 60.0) -> float:
        """Wait until `until`; virtual seconds that it took."""
        start = trio.current_time()
        while not until():
            assert trio.current_time() - start < within_s, "not settled in time"
            await trio.sleep(0.01)
        return trio.current_time() - start

    def sent_bytes(self) -> int:
        """What all have sent each other."""
        return sum(
            peer.network.link_stats(other.id).sent_bytes
            for peer in self.peers
            for other in self.peers
            if other is not peer
        )

    def equal(self) -> bool:
        first = self.peers[0]
        return all(
            peer.ledger.vector() == first.ledger.vector() and peer.book.digest == first.book.digest
            for peer in self.peers
        )


@asynccontextmanager
async def world(
    count: int,
    *,
    blind: Sequence[int] = (),
    links: Callable[[int, int], bool] = lambda a, b: True,
    packs: Callable[[Machine], bool] = lambda _: True,
) -> AsyncIterator[World]:
    """`count` machines; those for which `links` says so keep a link, those for which `packs` does ask for packed
    commits."""
    machines = household(count, blind=blind)
    networks: dict[PeerId, SimulatedNetwork] = {}
    by_curve = {machine.identity.curve_public: machine.peer_id for machine in machines}

    def directory(peer: PeerId) -> PeerEndpoint | None:
        return networks[peer].endpoint() if peer in networks else None

    async with trio.open_nursery() as nursery:
        fabric = Fabric(random.Random(1))
        await nursery.start(fabric.run)
        peers: list[Peer] = []
        for number, machine in enumerate(machines):
            ledger = await machine.open()
            await nursery.start(ledger.run)
            network = networks[machine.peer_id] = SimulatedNetwork(
                fabric,
                machine.peer_id,
                machine.identity.curve_public,
                machine.clock,
                by_curve.get,
                directory,
                rng=random.Random(number),
            )
            book, shelf = Book(ledger), Shelf(b"shelf %d" % number)
            metadata_sync = MetadataSync(
                me=machine.peer_id,
                ledger=ledger,
                network=network,
                roster=book,
                clock=machine.clock,
                rng=random.Random(100 + number),
                stores=lambda shelf=shelf: [shelf],  # type: ignore[misc]
                generations=lambda machine=machine: sorted(machine.keys) if packs(machine) else [],  # type: ignore[misc]
            )
            peers.append(Peer(machine, ledger, network, metadata_sync, book, shelf))
        for peer in peers:

            async def handler(asker: PeerId, message: Message, peer: Peer = peer) -> Message:
                peer.received.append(message.kind)
                if (reply := await peer.sync.handle(asker, message)) is None:
                    raise Refused("unknown-kind")
                return reply

            peer.network.on_link_change = peer.sync.link_changed
            await nursery.start(partial(peer.network.run, handler, listen=Listen("*")))
            await nursery.start(peer.sync.run)
        for a, peer in enumerate(peers):
            peer.network.keep_linked(other.id for b, other in enumerate(peers) if a != b and links(a, b))
        yield World(fabric, peers)
        nursery.cancel_scope.cancel()


async def test_a_put_is_listed_everywhere_within_two_seconds(autojump_clock: trio.testing.MockClock) -> None:
    async with world(6) as all_of:
        await trio.sleep(5)
        await do(all_of.peers[2].ledger, put("photos/cat.jpg", b"meow"))
        assert await all_of.settle(all_of.equal) < 2
        for peer in all_of.peers:
            assert await tree(peer.ledger) == {"photos": None, "photos/cat.jpg": b"meow"}


async def test_passes_on_what_came_from_others(autojump_clock: trio.testing.MockClock) -> None:
    async with world(5, links=lambda a, b: abs(a - b) == 1) as line:
        await trio.sleep(5)
        await do(line.peers[0].ledger, put("from one end"))
        await do(line.peers[4].ledger, put("from the other"))
        assert await line.settle(line.equal) < 10
        assert set(await tree(line.peers[2].ledger)) == {"from one end", "from the other"}


async def test_two_halves_that_were_apart_become_equal(autojump_clock: trio.testing.MockClock) -> None:
    async with world(4) as all_of:
        await trio.sleep(5)
        ids = [peer.id for peer in all_of.peers]
        all_of.fabric.partition(ids[:2], ids[2:])
        for number, peer in enumerate(all_of.peers):
            for turn in range(20):
                await do(peer.ledger, put(f"shared/{turn}", b"%d" % number), put(f"own {number}/{turn}"))
        await trio.sleep(120)
        assert not all_of.equal()
        all_of.fabric.heal()
        await all_of.settle(all_of.equal, within_s=120)
        trees = [await tree(peer.ledger) for peer in all_of.peers]
        assert all(other == trees[0] for other in trees)
        assert len([name for name in trees[0] if "conflict" in name]) >= 20


async def test_a_long_history_streams_in_order_to_a_new_machine(autojump_clock: trio.testing.MockClock) -> None:
    async with world(2, links=lambda a, b: False, packs=lambda _: False) as pair:
        first, second = pair.peers
        for turn in range(30):
            await do(first.ledger, *(put(f"{turn}/{number}", b"x" * 1000) for number in range(40)))
        first.network.keep_linked([second.id])
        second.network.keep_linked([first.id])
        await pair.settle(pair.equal, within_s=120)
        assert second.received.count(sync.PUSH) + first.received.count(sync.PULL) >= 7, "in bounded messages"
        assert await tree(second.ledger) == await tree(first.ledger)


@pytest.mark.parametrize("new_build", [True, False])
async def test_a_member_that_joins_is_given_the_tree_packed(
    autojump_clock: trio.testing.MockClock, *, new_build: bool
) -> None:
    async with world(3, links=lambda a, b: False, blind=[2], packs=lambda _: new_build) as all_of:
        first, second, blind = all_of.peers
        raw = 0
        for turn in range(20):
            await do(first.ledger, *(put(f"{turn}/{number}") for number in range(100)))
        raw = sum(map(len, (await first.ledger.commits_after(Vector(), 10**9)).commits))
        for peer in (second, blind):
            before = all_of.sent_bytes()
            first.network.keep_linked([peer.id])
            peer.network.keep_linked([first.id])
            await all_of.settle(lambda peer=peer: peer.ledger.vector() == first.ledger.vector(), within_s=120)  # type: ignore[misc]
            sent = all_of.sent_bytes() - before
            if peer is second and new_build:
                assert sent < 0.6 * raw
            else:
                assert sent > raw, "sealed, as it is stored"
            assert first.ledger.fingerprint() == peer.ledger.fingerprint()
        assert await tree(second.ledger) == await tree(first.ledger)


async def test_joining_goes_on_where_a_power_cut_ended_it(autojump_clock: trio.testing.MockClock) -> None:
    source, joiner = household(2)
    keys = sorted(source.keys)
    async with source.ledger() as there:
        for turn in range(12):
            await do(there, *(put(f"{turn}/{number}", b"x" * 700) for number in range(100)))
        expected, taken = await tree(there), 0
        for life in range(40):
            joiner.disk.dies_at_step = joiner.disk.steps + 25 if life < 30 else None
            try:
                async with joiner.ledger() as here:
                    assert here.vector()[there.own_writer] >= taken, "nothing that was durable is asked for again"
                    while not here.vector().covers_all(there.vector()):
                        batch = await there.commits_after(here.wanted_vector(), 200_000)
                        await here.apply(await here.unpacked(*await there.packed(batch.commits, keys)))
                        taken = here.vector()[there.own_writer]
                    assert await tree(here) == expected
                    assert here.fingerprint() == there.fingerprint()
                    assert (await here.inspect()).rows == 0
                    break
            except* PowerCut:
                joiner.disk.dies_at_step = None
                joiner.disk.restart(power_cut=True)
        else:
            raise AssertionError("it never joined")
        assert life > 1, "the power was cut in between"


async def test_a_receipt_means_durable_there(autojump_clock: trio.testing.MockClock) -> None:
    async with world(4) as all_of:
        await trio.sleep(5)
        writer, *others = all_of.peers
        committed = upto(await do(writer.ledger, put("a")))
        ids = [peer.id for peer in others]
        assert await writer.sync.spread(committed, ids, timeout_s=30) == frozenset(ids)
        for peer in all_of.peers:
            peer.machine.disk.kill()
    for peer in others:
        peer.machine.disk.restart(power_cut=True)
        async with peer.machine.ledger() as ledger:
            assert set(await tree(ledger)) == {"a"}


async def test_spreading_ends_when_enough_have_it_or_time_is_up(autojump_clock: trio.testing.MockClock) -> None:
    async with world(4) as all_of:
        await trio.sleep(5)
        writer, second, third, fourth = all_of.peers
        all_of.fabric.partition([fourth.id])
        committed = upto(await do(writer.ledger, put("a")))
        ids = [second.id, third.id, fourth.id]
        start = trio.current_time()
        got = await writer.sync.spread(committed, ids, enough=lambda got: len(got) >= 2, timeout_s=600)
        assert got == {second.id, third.id}
        assert trio.current_time() - start < 1
        got = await writer.sync.spread(committed, ids, timeout_s=20)
        assert got == {second.id, third.id}
        assert 20 <= trio.current_time() - start < 22
        all_of.fabric.heal()
        assert await writer.sync.spread(committed, ids, timeout_s=120) == set(ids)


async def test_idle_peers_say_little(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3) as all_of:
        await trio.sleep(30)
        await do(all_of.peers[0].ledger, put("a"))
        await trio.sleep(30)
        before = [len(peer.received) for peer in all_of.peers]
        bytes_before = all_of.sent_bytes()
        await trio.sleep(600)
        asked = sum(len(peer.received) - was for peer, was in zip(all_of.peers, before, strict=True))
        assert asked / 3 / 10 < 4.5, "requests a minute and pair"
        assert (all_of.sent_bytes() - bytes_before) / 3 / 10 < 500, "bytes a minute and pair"


async def test_statements_reach_everybody_and_bad_ones_nobody(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3) as all_of:
        first, second, third = all_of.peers
        await first.book.accept([b"a" * 60_000, b"b" * 60_000, *(b"%d" % n * 20_000 for n in range(10, 40))])
        await second.book.accept([b"c"])
        first.book._statements[b"?" * 16] = b"bad one"
        await trio.sleep(60)
        assert second.book.all() == third.book.all() == first.book.all() - {b"bad one"}
        assert len(second.book.all()) == 33
        assert set(await third.ledger.statements()) == third.book.all()


async def test_a_statement_is_told_at_once(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3) as all_of:
        await trio.sleep(60)
        await all_of.peers[0].book.accept([b"news"])
        assert await all_of.settle(all_of.equal) < 2


async def test_everybody_knows_who_holds_what(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3) as all_of:
        first, second, third = all_of.peers
        for number in range(INVENTORY_CHANGES_MAX + 500):
            first.shelf.set(b"early %d" % number, number % 6)
        await trio.sleep(10)
        count = INVENTORY_CHANGES_MAX + 500
        for peer in all_of.peers:
            assert await peer.ledger.held_by(first.id) == (count, count * 1000)
        encoding = EncodingId(b"late".ljust(32, b"."))
        second.shelf.set(b"late", 3)
        third.shelf.set(b"late", 4)
        await trio.sleep(2 * GATHER_S)
        for peer in all_of.peers:
            held = await peer.ledger.holders(encoding)
            assert [(holder.peer, holder.index) for holder in held] == [(second.id, 3), (third.id, 4)]
        second.shelf.set(b"late", 3, held=False)
        await trio.sleep(2 * GATHER_S)
        for peer in all_of.peers:
            assert [holder.peer for holder in await peer.ledger.holders(encoding)] == [third.id]
        second.shelf.epoch = b"epoch 2"
        second.shelf._changes.clear()
        second.shelf.set(b"after the rebuild", 1)
        await trio.sleep(10)
        for peer in all_of.peers:
            assert await peer.ledger.held_by(second.id) == (1, 1000)


async def test_changes_that_happened_while_apart_are_pulled(autojump_clock: trio.testing.MockClock) -> None:
    async with world(2) as pair:
        first, second = pair.peers
        await trio.sleep(5)
        pair.fabric.partition([first.id])
        first.shelf.set(b"while apart", 0)
        await trio.sleep(300)
        assert await second.ledger.held_by(first.id) == (0, 0)
        pair.fabric.heal()
        await trio.sleep(120)
        assert await second.ledger.held_by(first.id) == (1, 1000)


async def test_a_blind_machine_relays(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3, blind=[1], links=lambda a, b: abs(a - b) == 1) as line:
        await do(line.peers[0].ledger, put("secret-name", b"secret-bytes"))
        await line.settle(line.equal)
        assert await tree(line.peers[2].ledger) == {"secret-name": b"secret-bytes"}
        assert await tree(line.peers[1].ledger) == {}


async def test_commits_of_somebody_not_known_yet_come_when_he_is(autojump_clock: trio.testing.MockClock) -> None:
    async with world(3) as all_of:
        first, second, third = all_of.peers
        await trio.sleep(5)
        third.machine.publics = publics = dict(third.machine.publics)
        third.ledger._public_of = publics.get  # what `Membership.public_of` looks up changes with the roster
        known = publics.pop(first.id)
        await do(first.ledger, put("by a stranger"))
        await do(second.ledger, put("by a friend"))
        await trio.sleep(300)
        assert set(await tree(third.ledger)) == {"by a friend"}
        asked = len(second.received)
        await trio.sleep(600)
        assert len(second.received) - asked < 120, "asking does not become a storm"
        publics[first.id] = known
        await third.book.accept([b"the statement that enrols him"])
        assert await all_of.settle(all_of.equal, within_s=90) < 5


async def test_refuses_rubbish_and_goes_on(autojump_clock: trio.testing.MockClock) -> None:
    async with world(2) as pair:
        first, second = pair.peers
        await trio.sleep(5)
        for kind in sorted(sync.KINDS):
            for message in (Message(kind), Message(kind, {"v": 7}, b"\xc1"), Message(kind, {}, b"\x90" * 100)):
                with suppress(Refused, Malformed, Unavailable):
                    await first.network.request(second.id, message)
        await do(first.ledger, put("still here"))
        await pair.settle(pair.equal)
        assert set(await tree(second.ledger)) == {"still here"}


async def test_a_peer_that_knows_more_of_us_makes_us_begin_a_new_life(autojump_clock: trio.testing.MockClock) -> None:
    async with world(2) as pair:
        first, second = pair.peers
        await trio.sleep(5)
        before = first.ledger.own_writer
        await first.ledger.heard(Vector({before: 99}))
        assert first.ledger.own_writer != before
        await do(first.ledger, put("new life"))
        await pair.settle(pair.equal)
        assert set(await tree(second.ledger)) == {"new life"}
