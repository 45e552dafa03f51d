"""Whole networks of nodes on simulated datagrams: lookups, records, holders, clients, partitions, death."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
import trio
from trio.testing import MockClock

from dht import Settings
from dht.contacts import Contact
from simulations.datagrams import DatagramWeather
from simulations.dht_nodes import DhtWorld, ids, node_address

KEY = bytes(range(32))


async def test_a_thousand_nodes_find_exactly_the_nearest_and_records_survive_death_and_loss(
    autojump_clock: MockClock,
) -> None:
    rng = Random(1)
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=1)
        for _ in range(1000):
            world.add()
        world.acquaint()

        for _ in range(40):
            asker, key = rng.choice(world.nodes), rng.randbytes(32)
            assert ids(await asker.dht.find_node(key)) == world.nearest(key, 20, but=asker)
        assert max(node.dht.stats.rounds_most for node in world.nodes) <= 6

        published = rng.sample(world.nodes, 10)
        for node in published:
            assert await node.dht.publish([f"{node.address[0]}:5000"], b"body") >= 19
        doomed = rng.sample([node for node in world.nodes if node not in published], 200)
        for node in doomed:
            world.network.kill(node.address)
        world.network.weather = DatagramWeather(loss=0.02)
        alive = [node for node in world.nodes if node.socket.is_alive]
        found = 0
        for number in range(60):
            wanted = published[number % len(published)]
            record = await rng.choice(alive).dht.endpoint(wanted.id)
            found += record is not None and record.addresses == (f"{wanted.address[0]}:5000",)
        assert found == 60
        nursery.cancel_scope.cancel()


async def test_nodes_that_join_one_after_the_other_find_each_other_exactly(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=2)
        await world.grow(80)
        for _ in range(30):
            asker, key = world.rng.choice(world.nodes), world.rng.randbytes(32)
            assert ids(await asker.dht.find_node(key)) == world.nearest(key, 20, but=asker)
        nursery.cancel_scope.cancel()


async def test_a_household_answers_from_memory_for_half_a_minute(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=3)
        await world.grow(7)
        asker = world.nodes[0]
        await trio.sleep(31)
        await asker.dht.find_node(KEY)
        sent, before_s = asker.dht.stats.requests_sent, trio.current_time()
        for _ in range(100):
            key = world.rng.randbytes(32)
            assert ids(await asker.dht.find_node(key, 80)) == world.nearest(key, 20, but=asker)
        assert (asker.dht.stats.requests_sent, trio.current_time()) == (sent, before_s)
        await trio.sleep(31)
        await asker.dht.find_node(KEY)
        assert asker.dht.stats.requests_sent > sent
        nursery.cancel_scope.cancel()


async def test_who_has_just_joined_is_in_an_answer_from_memory(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=4)
        await world.grow(6)
        await world.nodes[0].dht.find_node(KEY)
        late = (await world.grow(1))[0]
        await trio.sleep(1)
        sent = world.nodes[0].dht.stats.requests_sent
        assert late.id in ids(await world.nodes[0].dht.find_node(KEY))
        assert world.nodes[0].dht.stats.requests_sent == sent
        nursery.cancel_scope.cancel()


async def test_the_dead_are_not_among_the_nearest_that_answered(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=5)
        await world.grow(12)
        for node in world.nodes[8:]:
            world.network.kill(node.address)
        await trio.sleep(31)
        asker = world.nodes[0]
        assert ids(await asker.dht.find_node(KEY)) == world.nearest(KEY, 20, but=asker)
        assert asker.dht.stats.failures >= 4
        nursery.cancel_scope.cancel()


async def test_the_dead_do_not_crowd_out_the_living_where_all_tables_are_alike(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=18)
        await world.grow(30)
        for node in world.nodes:
            await node.dht.find_node(world.rng.randbytes(32), 60)
        for node in world.nodes[24:]:
            world.network.kill(node.address)
        for asker in world.nodes[:12]:
            key = world.rng.randbytes(32)
            assert ids(await asker.dht.find_node(key)) == world.nearest(key, 20, but=asker)
        nursery.cancel_scope.cancel()


async def test_a_node_that_answers_nobody_leaves_the_tables(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=6)
        await world.grow(10)
        gone = world.nodes[3]
        world.network.kill(gone.address)
        await trio.sleep(1800)
        for node in world.nodes:
            if node is not gone:
                assert gone.id not in ids(node.dht.contacts())
        nursery.cancel_scope.cancel()


async def test_clients_ask_but_enter_no_table(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=7)
        await world.grow(40)
        clients = [world.add(is_nat=True, settings=Settings(is_client=True)) for _ in range(8)]
        for client in clients:
            assert await client.dht.bootstrap([world.nodes[0].address]) == 20
        await world.nodes[5].dht.publish(["10.9.9.9:1"])
        for client in clients:
            assert ids(await client.dht.find_node(KEY)) == world.nearest(KEY, 20)
            record = await client.dht.endpoint(world.nodes[5].id)
            assert record is not None
            assert record.addresses == ("10.9.9.9:1",)
        assert await clients[0].dht.publish(["[2001:db8::1]:7"]) == 20
        found = await world.nodes[9].dht.endpoint(clients[0].id)
        assert found is not None
        assert found.addresses == ("[2001:db8::1]:7",)
        hidden = {client.id for client in clients}
        for node in world.nodes:
            assert not hidden & set(ids(node.dht.contacts()))
        nursery.cancel_scope.cancel()


async def test_a_nat_that_nobody_knows_of_hides_few_of_the_others(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=8)
        await world.grow(40)
        for _ in range(8):
            await world.add(is_nat=True).dht.bootstrap([world.nodes[0].address])
        await trio.sleep(120)
        reachable = [node for node in world.nodes if not node.socket.is_nat]
        for asker in reachable[:10]:
            found = ids(await asker.dht.find_node(KEY, 30))
            assert len(set(world.nearest(KEY, 20, but=asker)) & set(found)) >= 18
        nursery.cancel_scope.cancel()


async def test_halves_that_were_parted_find_each_other_again(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=9)
        await world.grow(24)
        left, right = world.nodes[:12], world.nodes[12:]
        world.network.partition([node.address for node in left])
        await trio.sleep(1800)
        assert set(ids(await left[0].dht.find_node(KEY))) <= {node.id for node in left}
        assert all(node.id not in ids(left[0].dht.contacts()) for node in right)
        world.network.heal()
        await trio.sleep(300)
        for asker in (left[0], right[0]):
            assert ids(await asker.dht.find_node(KEY)) == world.nearest(KEY, 20, but=asker)
        nursery.cancel_scope.cancel()


async def test_a_node_cut_off_alone_does_not_forget_the_others(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=10)
        await world.grow(8)
        alone = world.nodes[2]
        world.network.partition([alone.address])
        for _ in range(5):
            await trio.sleep(60)
            assert await alone.dht.find_node(KEY) == []
        assert alone.dht.table_size == 7
        world.network.heal()
        assert len(await alone.dht.find_node(KEY)) == 7
        nursery.cancel_scope.cancel()


async def test_a_first_node_that_was_away_is_joined_through_later(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=11)
        first, second = world.add(), world.add()
        world.network.kill(first.address)
        assert await second.dht.bootstrap([first.address]) == 0
        world.network.revive(first.address)
        await trio.sleep(150)
        assert ids(second.dht.contacts()) == [first.id]
        assert ids(first.dht.contacts()) == [second.id]
        nursery.cancel_scope.cancel()


async def test_holders_are_found_with_who_said_so_and_no_more_than_asked_for(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=12)
        await world.grow(10)

        def says(number: int) -> Callable[[bytes], list[bytes]]:
            return lambda key: [b"shard %d" % number] if key == KEY else []

        sayers = [world.add(holders=says(number)) for number in (1, 2)]
        for sayer in sayers:
            await sayer.dht.bootstrap([world.nodes[0].address])
        found = await world.nodes[4].dht.find_holders(KEY, 20)
        assert sorted(found) == sorted((sayer.id, b"shard %d" % number) for number, sayer in enumerate(sayers, 1))
        assert len(await world.nodes[4].dht.find_holders(KEY, 1)) == 1
        assert await world.nodes[4].dht.find_holders(bytes(32), 20) == []
        nursery.cancel_scope.cancel()


async def test_a_record_is_published_again_before_it_expires_and_the_newest_wins(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=13)
        await world.grow(5)
        mover, seeker = world.nodes[1], world.nodes[3]
        await mover.dht.publish(["10.0.0.1:1"])
        await trio.sleep(2.5 * 3600)
        record = await seeker.dht.endpoint(mover.id)
        assert record is not None
        assert record.addresses == ("10.0.0.1:1",)
        assert record.expires_s > world.clock.wall_s()
        await mover.dht.publish(["10.0.0.2:1"], b"moved")
        record = await seeker.dht.endpoint(mover.id)
        assert record is not None
        assert (record.addresses, record.body) == (("10.0.0.2:1",), b"moved")
        world.network.kill(mover.address)
        record = await seeker.dht.endpoint(mover.id)
        assert record is not None, "others hold it"
        await trio.sleep(2.1 * 3600)
        assert await seeker.dht.endpoint(mover.id) is None
        nursery.cancel_scope.cancel()


async def test_keys_of_two_generations_understand_each_other_and_strangers_are_not_heard(
    autojump_clock: MockClock,
) -> None:
    old, new = bytes(32), bytes([1]) * 32
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=14)
        current = world.add(keys=(new, old))
        behind = world.add(keys=(old,))
        stranger = world.add(keys=(bytes([2]) * 32,))
        assert await behind.dht.bootstrap([current.address]) == 1, "a reply is sealed with the key of its request"
        assert await stranger.dht.bootstrap([current.address]) == 0
        assert current.dht.stats.datagrams_dropped == 2
        behind.dht.replace_keys((new, old))
        await trio.sleep(31)
        assert len(await current.dht.find_node(KEY)) in (0, 1)
        assert ids(await behind.dht.find_node(KEY)) == [current.id]
        nursery.cancel_scope.cancel()


async def test_who_is_not_admitted_is_neither_answered_nor_told_of(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=15)
        removed = world.add()
        others = [world.add(admits=lambda node_id: node_id != removed.id) for _ in range(4)]
        for node in others[1:]:
            await node.dht.bootstrap([others[0].address])
        assert await removed.dht.bootstrap([node.address for node in others]) == 0
        for node in others:
            assert removed.id not in ids(await node.dht.find_node(KEY))
        nursery.cancel_scope.cancel()


async def test_works_while_the_network_loses_doubles_and_reorders(autojump_clock: MockClock) -> None:
    weather = DatagramWeather(loss=0.05, duplication=0.1, reordering=0.2, jitter_s=0.02)
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=16, weather=weather)
        await world.grow(30)
        await world.nodes[3].dht.publish(["10.1.1.1:1"])
        for asker in world.nodes[10:20]:
            assert await asker.dht.endpoint(world.nodes[3].id) is not None
        nursery.cancel_scope.cancel()


def test_the_same_seed_gives_the_same_deliveries(monkeypatch: pytest.MonkeyPatch) -> None:
    scheduler = trio._core._run  # trio has no public way to seed its scheduler
    monkeypatch.setattr(scheduler, "_ALLOW_DETERMINISTIC_SCHEDULING", True)

    async def run(seed: int) -> str:
        async with trio.open_nursery() as nursery:
            world = DhtWorld(nursery, seed=seed, weather=DatagramWeather(loss=0.05, duplication=0.05, reordering=0.1))
            await world.grow(15)
            await world.nodes[2].dht.publish(["10.0.0.1:1"])
            world.network.kill(node_address(5))
            await trio.sleep(1000)
            await world.nodes[9].dht.find_node(KEY)
            nursery.cancel_scope.cancel()
        return world.network.digest()

    def trace(seed: int) -> str:
        monkeypatch.setattr(scheduler, "_r", Random(seed))
        return trio.run(run, seed, clock=MockClock(autojump_threshold=0))

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


async def test_an_ask_whose_caller_gave_up_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=17)
        await world.grow(5)
        with trio.move_on_after(0.001):
            await world.nodes[0].dht.endpoint(KEY)
        await trio.sleep(30)
        core = world.nodes[0].dht.core
        assert core.is_idle
        assert isinstance(world.nodes[0].dht.contacts()[0], Contact)
        nursery.cancel_scope.cancel()
