"""Commits from outside: checked, in causal order, once each; rubbish and forks end nothing."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from p2pstore.errors import Misuse
from p2pstore.ids import ROOT_ENTRY, ChunkId, Dot, EncodingId, EntryId, Incarnation
from p2pstore.keys.identity import Identity
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import WAITING_COMMITS_MAX
from p2pstore.metadata.commits import NO_COMMIT, decode_commit, make_commit
from p2pstore.metadata.operations import MetadataKeys, StripeStatement, seal_operation
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import Inline, Kind, Version
from p2pstore.packing import pack
from tests.ledger.household import Machine, do, household, keys_numbered, ledgers, path, pull, put, sync_all, tree


async def commits_of(ledger: Ledger) -> list[bytes]:
    """All raw commits."""
    return list((await ledger.commits_after(Vector(), 10**9)).commits)


async def test_waits_for_what_a_commit_builds_on(autojump_clock: MockClock) -> None:
    async with ledgers(household(3)) as (a, b, c):
        await do(a, put("f", b"1"))
        await pull(b, a)
        await do(b, put("f", b"2"))
        from_a, from_b = await commits_of(b)
        done = await c.apply([from_b])
        assert (done.applied, done.waiting) == (0, 1)
        assert await tree(c) == {}
        assert c.vector() == Vector()
        done = await c.apply([from_a])
        assert (done.applied, done.waiting) == (2, 0)
        assert await tree(c) == {"f": b"2"}


async def test_applies_each_commit_once_in_whatever_order_they_come(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        for number in range(30):
            await do(a, put(f"{number % 7}", b"%d" % number))
        commits = await commits_of(a)
        shuffled = commits * 3
        random.Random(5).shuffle(shuffled)
        for raw in shuffled:
            await b.apply([raw])
        assert await tree(a) == await tree(b)
        done = await b.apply(commits)
        assert (done.applied, done.known, done.waiting, done.refused) == (0, 30, 0, 0)


async def test_the_waiting_buffer_is_bounded(autojump_clock: MockClock) -> None:
    machines = household(2)
    keys = machines[0].current
    assert keys is not None
    async with machines[1].ledger() as b:
        chain = _chain(machines[0].identity, keys, WAITING_COMMITS_MAX + 20)
        done = await b.apply(chain[1:])
        assert done.waiting == WAITING_COMMITS_MAX
        await b.apply(chain[:1])
        await b.apply(chain)
        assert len(await tree(b)) == len(chain)


def _file(entry: bytes, name: bytes, data: bytes) -> Version:
    return Version(EntryId(entry), ROOT_ENTRY, name, Kind.FILE, Inline(data), len(data), 0, 0o644)


def _chain(identity: Identity, keys: MetadataKeys, length: int, *, tag: int = 0) -> list[bytes]:
    """Commits of one file each by `identity`, as bytes."""
    writer = Writer(identity.peer_id, Incarnation(b"incarn.1"))
    previous, raw = NO_COMMIT, []
    for sequence in range(1, length + 1):
        data = b"%d %d" % (tag, sequence)
        version = _file(data.rjust(16, b"."), b"f" + data, data)
        operation = seal_operation(version, Dot(*writer, sequence), keys)
        commit = make_commit(
            identity,
            writer,
            sequence,
            [operation],
            generation=keys.generation,
            hlc=sequence << 16,
            previous=previous,
            named=[],
        )
        previous = commit.hash
        raw.append(commit.encode())
    return raw


async def test_refuses_forged_and_broken_commits(autojump_clock: MockClock) -> None:
    machines = household(2)
    stranger = Identity.generate(random.Random(99))
    keys = machines[0].current
    assert keys is not None
    async with machines[1].ledger() as b:
        [good] = _chain(machines[0].identity, keys, 1)
        commit = decode_commit(good)
        changed = good.replace(commit.operations[0][-20:], bytes(20))
        [by_stranger] = _chain(stranger, keys, 1)
        in_anothers_name = by_stranger.replace(stranger.peer_id, machines[0].peer_id)
        for bad in (changed, good[:-1], good + b"x", b"", by_stranger, in_anothers_name, pack([1, 2, 3])):
            done = await b.apply([bad])
            assert (done.applied, done.refused) == (0, 1)
        assert b.vector() == Vector()
        assert (await b.apply([good])).applied == 1
        # the same dots forged again freeze nobody
        assert (await b.apply([changed])).refused == 1
        assert await b.forks() == []


async def test_an_operation_that_opens_to_rubbish_is_carried_and_not_shown(autojump_clock: MockClock) -> None:
    machines = household(2)
    identity, keys = machines[0].identity, machines[0].current
    assert keys is not None
    writer = Writer(identity.peer_id, Incarnation(b"incarn.1"))
    version = _file(b"e" * 16, b"good", b"")
    operations = [
        b"\xc1",
        b"rubbish",
        pack([77, "a kind of next year"]),
        pack([1, b"t" * 16, [], b"n" * 12, b"b" * 200]),
        seal_operation(version, Dot(*writer, 7), keys),  # sealed for another dot
        seal_operation(version, Dot(*writer, 6), keys),
    ]
    raw = make_commit(
        identity, writer, 1, operations, generation=keys.generation, hlc=1, previous=NO_COMMIT, named=[]
    ).encode()
    async with machines[1].ledger() as b:
        assert (await b.apply([raw])).applied == 1
        assert await tree(b) == {"good": b""}
        assert await commits_of(b) == [raw]


async def test_a_fork_is_found_frozen_and_kept_as_evidence(autojump_clock: MockClock) -> None:
    machines = household(3)
    cloned, keys = machines[0].identity, machines[0].current
    assert keys is not None
    one, two = _chain(cloned, keys, 3, tag=1), _chain(cloned, keys, 4, tag=2)
    async with ledgers(machines[1:]) as (b, c):
        await b.apply(one)
        done = await b.apply(two)
        assert (done.applied, done.refused) == (0, 4)
        assert {fork.first for fork in await b.forks()} == {1, 2, 3, 4}
        assert len(await tree(b)) == 3, "what was shown stays"
        # the writer is frozen: what follows on either side is kept, not applied; nobody else is held up
        await c.apply(two)
        await do(c, put("by c"))
        await b.apply(await commits_of(c))
        assert "by c" in await tree(b)
        assert b.wanted_vector().covers_all(c.vector())


async def test_a_fork_of_ourselves_begins_a_new_life(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with machines[0].ledger() as a:
        await do(a, put("1"))
        image = machines[0].disk.snapshot()
        life = a.own_writer
        await do(a, put("2 on one disk"))
        one = await commits_of(a)
    machines[0].disk.restore(image)
    async with machines[0].ledger() as clone:
        assert clone.own_writer == life, "nothing here tells that this disk is a copy"
        await do(clone, put("2 on the other"))
        await clone.apply(one)
        assert clone.own_writer != life
        assert len(await clone.forks()) == 1
        await do(clone, put("3"))
        assert set(await tree(clone)) == {"1", "2 on the other", "3"}


async def test_a_restored_database_begins_a_new_life(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with machines[0].ledger() as a:
        await do(a, put("1"))
    old = {name: data for name, data in machines[0].disk.snapshot().items() if name != "ledger.life"}
    async with ledgers(machines) as (a, b):
        life = a.own_writer
        await do(a, put("2"))
        await sync_all([a, b])
    image = machines[0].disk.snapshot()
    machines[0].disk.restore({**old, "ledger.life": image["ledger.life"]})
    async with ledgers(machines) as (a, b):
        assert a.own_writer != life
        await do(a, put("3"))
        await sync_all([a, b])
        assert set(await tree(a)) == set(await tree(b)) == {"1", "2", "3"}
        assert await a.forks() == await b.forks() == []


async def test_our_own_lost_commits_come_back_under_their_old_life(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with machines[1].ledger() as b:
        async with machines[0].ledger() as a:
            await do(a, put("kept elsewhere"))
            await sync_all([a, b])
        machines[0].disk.wipe()
        async with machines[0].ledger() as a:
            await do(a, put("new"))
            await sync_all([a, b])
            assert set(await tree(a)) == set(await tree(b)) == {"kept elsewhere", "new"}


async def test_a_copy_on_another_machine_begins_a_new_life(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    machine.machine = b"here"
    async with machine.ledger() as a:
        life = a.own_writer
    async with machine.ledger() as a:
        assert a.own_writer == life
    machine.machine = b"there"
    async with machine.ledger() as a:
        assert a.own_writer != life


async def test_clocks_years_wrong_change_no_more_than_a_name(autojump_clock: MockClock) -> None:
    machines = household(2)
    machines[0].clock.skew_s = 20 * 365 * 86400.0
    machines[1].clock.skew_s = -70 * 365 * 86400.0
    async with ledgers(machines) as (a, b):
        await do(a, put("f", b"from the future"))
        await sync_all([a, b])
        await do(b, put("f", b"causally later"))
        await sync_all([a, b])
        assert await tree(a) == await tree(b) == {"f": b"causally later"}


# --- blind machines -----------------------------------------------------------------------------------------------


def _disk_bytes(machine: Machine) -> bytes:
    return b"".join(data for _, data in sorted(machine.disk.snapshot().items()))


async def test_a_blind_machine_has_no_names_and_no_contents(autojump_clock: MockClock) -> None:
    machines = household(3, blind=[1])
    async with ledgers(machines) as (a, blind, c):
        await do(a, put("holiday-in-rome/receipt-hotel.pdf", b"the-secret-of-the-house"))
        await do(a, put("holiday-in-rome/receipt-hotel.pdf", b"another-secret-of-it"))
        await pull(blind, a)
        await pull(c, blind)
        assert await tree(c) == {"holiday-in-rome": None, "holiday-in-rome/receipt-hotel.pdf": b"another-secret-of-it"}
        assert await tree(blind) == {}
    words = [b"holiday-in-rome", b"receipt-hotel", b"the-secret-of", b"another-secret"]
    assert all(word in _disk_bytes(machines[2]) for word in words)
    assert not any(word in _disk_bytes(machines[1]) for word in words)


async def test_what_was_sealed_is_opened_when_the_key_comes(autojump_clock: MockClock) -> None:
    machines = household(2)
    later = keys_numbered(2)
    async with ledgers(machines) as (a, b):
        await do(a, put("before", b"1"), put("edited", b"1"))
        machines[0].keys[later.generation] = machines[0].current = later
        await do(a, put("after", b"2"), put("edited", b"2"))
        await sync_all([a, b])
        assert await tree(b) == {"before": b"1", "edited": b"1"}, "what cannot be read yet replaces nothing yet"
        assert await b.keys_arrived() == 0
        machines[1].keys[later.generation] = later
        assert await b.keys_arrived() == 1
        assert await tree(b) == await tree(a) == {"before": b"1", "after": b"2", "edited": b"2"}


async def test_keys_may_come_in_any_order(autojump_clock: MockClock) -> None:
    machines = household(2)
    first, second = keys_numbered(1), keys_numbered(2)
    machines[1].keys.clear()
    machines[1].current = None
    async with ledgers(machines) as (a, b):
        await do(a, put("d/f", b"1"))
        machines[0].keys[second.generation] = machines[0].current = second
        await do(a, put("d/f", b"2"))
        await sync_all([a, b])
        assert await tree(b) == {}
        machines[1].keys[second.generation] = second
        await b.keys_arrived()
        assert await tree(b) == {"Recovered": None, "Recovered/f": b"2"}
        machines[1].keys[first.generation] = first
        await b.keys_arrived()
        assert await tree(b) == await tree(a) == {"d": None, "d/f": b"2"}


async def test_a_blind_machine_writes_stripes_and_nothing_else(autojump_clock: MockClock) -> None:
    statement = StripeStatement(EncodingId(b"e" * 32), ChunkId(b"c" * 32), 2, 100, 64, "any-1")
    async with ledgers(household(2, blind=[0])) as (blind, b):
        with pytest.raises(Misuse):
            await do(blind, put("f"))
        await do(blind, statement)
        await pull(b, blind)
        assert await b.stripes_for([ChunkId(b"c" * 32)]) == {b"c" * 32: [statement]}


async def test_history_keeps_what_was_replaced(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        for number in range(3):
            await do(a, put("f", b"%d" % number))
            await trio.sleep(1)
        await sync_all([a, b])
        item = await b.resolve(path("f"))
        assert item is not None
        contents = [past.held.version.content for past in await b.history(item.entry)]
        assert contents == [Inline(b"2"), Inline(b"1"), Inline(b"0")]
