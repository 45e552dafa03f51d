"""Damage to a ledger: never shown, found, mended from its own log or from peers, counted; nothing is lost elsewhere."""

from __future__ import annotations

import random

import pytest
import trio
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from p2pstore.ids import ChunkId, EncodingId, ManifestId
from p2pstore.ledger.drafts import MakeSnapshot, Put, Remove, SetTag
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.mending import Found, Health
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.metadata.adoption import joined_cuts
from p2pstore.metadata.commits import decode_commit, make_commit
from p2pstore.metadata.fingerprint import count_dots
from p2pstore.metadata.operations import ManifestPage, StripeStatement
from p2pstore.metadata.version import Inline, Kind, ManifestRef
from simulations.disk import SimulatedDisk
from tests.ledger.household import do, household, keys_numbered, ledgers, mkdir, path, pull, put, sync_all, tree
from tests.ledger.test_merging import live_apart

SECRET = b"what lies in the row and nowhere else in the clear"


def sql(ledger: Ledger, statement: str, *parameters: object) -> list[tuple[object, ...]]:
    """Past everything that guards the database."""
    return ledger._store.database.execute(statement, parameters)


async def bytes_of(ledger: Ledger, where: str) -> bytes:
    item = await ledger.resolve(path(where))
    assert item is not None
    assert isinstance(item.content, Inline)
    return item.content.data


def rot(disk: SimulatedDisk, inside: bytes) -> int:
    """Flip a bit of every place of the disk where some bytes lie; how many there were."""
    flipped = 0
    for name in disk.all_names():
        if not name.startswith("ledger.db"):
            continue
        file = disk.open(name)
        data = file.read(0, disk.size_of(name))
        file.close()
        at = data.find(inside)
        while at >= 0:
            disk.flip_bit(name, offset=at + len(inside) // 2)
            flipped += 1
            at = data.find(inside, at + 1)
    return flipped


async def test_a_rotten_bit_of_a_small_file_is_never_read_and_the_file_comes_back(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/small", SECRET), put("d/other"))
    assert rot(machine.disk, SECRET)
    async with machine.ledger() as ledger:
        assert ledger.damaged_as is None, "SQLite sees nothing wrong"
        assert await bytes_of(ledger, "d/small") == SECRET
        assert await ledger.health() == Health(rows=1)
        assert await tree(ledger) == {"d": None, "d/small": SECRET, "d/other": b"x"}


@pytest.mark.parametrize("column", ["content", "name", "size", "mtime_ns", "mode", "parent", "hlc", "row_check"])
async def test_whatever_rots_in_a_row_is_noticed_when_it_is_read(column: str, autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/small", SECRET))
        before = await tree(ledger)
        rotten = "x'93'" if column in ("content", "name", "parent") else f"{column} + 1"
        sql(ledger, f"UPDATE versions SET {column} = {rotten} WHERE size = {len(SECRET)}")
        assert await tree(ledger) == before
        assert (await ledger.health()).rows == 1


@pytest.mark.parametrize("column", ["content", "name", "parent", "entry"])
async def test_bytes_that_rot_into_text_that_is_none_are_damage_like_any_other(
    column: str, autojump_clock: MockClock
) -> None:
    """One bit of a record's head tells bytes from text."""
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/small", SECRET))
        before = await tree(ledger)
        sql(ledger, f"UPDATE versions SET {column} = CAST({column} || x'ff' AS TEXT) WHERE size = {len(SECRET)}")
        assert await tree(ledger) == before
        assert (await ledger.health()).rows == 1
        await do(ledger, put("d/another", b"2"))


async def test_a_commit_that_rots_into_text_that_is_none_comes_back_from_a_peer(autojump_clock: MockClock) -> None:
    here, there = household(2)
    async with ledgers([here, there]) as (one, two):
        await do(one, put("d/small", SECRET))
        await sync_all([one, two])
        sql(two, "UPDATE commits SET raw = CAST(raw || x'ff' AS TEXT)")
        found = await two.inspect()
        assert found.lost == 2
        assert (await two.health()).missing == 2
        await do(two, put("mine", b"2"))


async def test_writing_over_a_rotten_row_mends_it_first(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/small", SECRET))
        sql(ledger, "UPDATE versions SET content = x'930101' WHERE kind = 0")
        await do(ledger, Remove(path("d/small")))
        assert await tree(ledger) == {"d": None}
        [buried] = await ledger.trash()
        assert buried.version.content == Inline(SECRET)


async def test_what_the_log_cannot_tell_is_an_error_until_a_peer_tells_it(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (here, there):
        await do(here, put("d/small", SECRET))
        await sync_all([here, there])
        fingerprint = here.fingerprint()
        assert there.fingerprint() == fingerprint
        sql(here, "UPDATE versions SET content = x'930101' WHERE kind = 0")
        sql(here, "UPDATE commits SET raw = CAST(substr(raw, 1, 200) || x'00' || substr(raw, 202) AS BLOB)")
        with pytest.raises(RowDamaged):
            await here.resolve(path("d/small"))
        assert here.vector() == there.vector()
        assert here.fingerprint() != fingerprint
        missing = await here.missing()
        assert count_dots(missing) == (await here.health()).missing == 2
        commits, more = await there.commits_of(missing, 200_000)
        assert not more
        assert (await here.apply(commits)).restored == 1
        assert await bytes_of(here, "d/small") == SECRET
        assert here.fingerprint() == fingerprint
        health = await here.health()
        assert (health.missing, health.lost, health.restored) == (0, 2, 2)


def file(number: int) -> tuple[StripeStatement, ManifestPage, Put]:
    digest = blake3(b"%d" % number).digest()
    return (
        StripeStatement(EncodingId(digest), ChunkId(digest), 2, 2**20, 2**19, "any-2"),
        ManifestPage(ManifestId(digest), 0, 1, digest),
        Put(path(f"d/{number}"), Kind.FILE, ManifestRef(ManifestId(digest), keys_numbered(1).generation), 9, 0, 0o644),
    )


async def everything(ledger: Ledger) -> object:
    """All that is shown, and all that is known of stripes and manifests."""
    manifests = [await ledger.manifest(ManifestId(blake3(b"%d" % number).digest())) for number in range(4)]
    stripes = await ledger.stripes_after(None, 100)
    return await tree(ledger), manifests, stripes, await ledger.all_tags(), await ledger.snapshots()


@pytest.mark.parametrize(
    "lost", ["versions", "entries", "stripes", "manifest_pages", "tags", "snapshots", "dead", "fingerprint", "foretold"]
)
async def test_rows_that_are_lost_are_made_anew_from_the_log(lost: str, autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (here, there):
        for number in range(4):
            await do(here, *file(number))
        await do(here, put("d/small", b"1"))
        await do(here, put("d/small", b"2"), Remove(path("d/3")), mkdir("e/f"))
        item = await here.resolve(path("d/0"))
        assert item is not None
        await do(here, MakeSnapshot("then"), SetTag(item.entry, "red", True))
        await sync_all([here, there])
        before = await everything(here)
        fingerprint = here.fingerprint()
        assert (await here.inspect()).rows == 0
        assert (await here.health()).is_sound
        assert sql(here, f"SELECT count(*) FROM {lost}") != [(0,)] or lost == "foretold"
        sql(here, f"DELETE FROM {lost}")
        here._store.live.reload()
        found = await here.inspect()
        assert found.lost == 0
        assert await everything(here) == before
        assert here.fingerprint() == there.fingerprint() == fingerprint
        if lost != "foretold":
            assert found.rows
            assert (await here.health()).rows == found.rows
        assert (await here.inspect()).rows == 0


@pytest.mark.parametrize("seed", range(4))
async def test_commits_that_are_lost_come_back_from_a_peer_in_their_place(
    seed: int, autojump_clock: MockClock
) -> None:
    rng = random.Random(seed)
    machines = household(3)
    async with ledgers(machines) as opened:
        here, there, fresh = opened
        for number in range(12):
            await do(opened[number % 2], put(f"d/{number % 5}", b"%d" % number))
            if number % 3 == 0:
                await sync_all(opened[:2])
        await sync_all(opened[:2])
        before, fingerprint, vector = await tree(here), here.fingerprint(), here.vector()
        assert there.fingerprint() == fingerprint
        numbers = [row[0] for row in sql(here, "SELECT id FROM commits")]
        lost = rng.sample(numbers, rng.randrange(1, len(numbers)))
        for number in lost:
            sql(here, "DELETE FROM commits WHERE id = ?", number)
            for table in ("versions", "entries"):
                sql(here, f"DELETE FROM {table} WHERE rowid % 2 = 0" if table == "versions" else "DELETE FROM entries")
        found = await here.inspect()
        assert found.lost == (await here.health()).missing >= len(lost)
        assert here.vector() == vector, "what was seen stays seen"
        await pull(there, here)
        assert await tree(there) == before, "the damaged one has no say"
        while missing := await here.missing():
            commits, _ = await there.commits_of(missing, 400)
            assert (await here.apply(commits)).restored
        await here.inspect()
        assert await tree(here) == before
        assert here.fingerprint() == fingerprint
        assert (await here.forks(), await there.forks()) == ([], [])
        await pull(fresh, here, bytes_max=300)
        assert fresh.vector() == vector, "their numbers are still an order in which they can be applied"
        assert await tree(fresh) == before


async def test_a_commit_that_does_not_fit_the_chain_does_not_fill_a_gap(autojump_clock: MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (here, there):
        for number in range(3):
            await do(there, put(f"{number}"))
        await sync_all([here, there])
        [(raw,)] = sql(here, "SELECT raw FROM commits WHERE first = 2")
        right = decode_commit(raw)  # type: ignore[arg-type]
        wrong = make_commit(
            machines[1].identity, right.writer, 2, right.operations, generation=right.generation, hlc=right.hlc + 1,
            previous=right.previous, named=right.named,
        )  # fmt: skip
        sql(here, "DELETE FROM commits WHERE first = 2")
        await here.inspect()
        applied = await here.apply([wrong.encode()])
        assert (applied.restored, applied.refused) == (0, 1)
        assert (await here.health()).missing == 1


@given(st.integers(0, 2**32))
@settings(max_examples=settings().max_examples // 4)
def test_equal_vectors_have_equal_fingerprints_whoever_wrote_and_in_whatever_order(seed: int) -> None:
    trio.run(check_fingerprints, seed, clock=MockClock(autojump_threshold=0))


async def check_fingerprints(seed: int) -> None:
    rng = random.Random(seed)
    async with ledgers(household(4, blind=[3], seed=seed)) as opened:
        await live_apart(opened[:3], rng, 30)
        await sync_all(opened)
        assert len({ledger.vector().root() for ledger in opened}) == 1
        assert len({ledger.fingerprint() for ledger in opened}) == 1
        for ledger in opened:
            assert await ledger.inspect() == Found(None)
            assert (await ledger.health()).is_sound


async def test_what_a_removed_machine_says_beyond_its_cut_does_not_bury_a_row_that_is_mended(
    autojump_clock: MockClock,
) -> None:
    machines = household(2)
    async with ledgers(machines) as (home, laptop):
        await do(home, put("a", b"1"), put("b", b"2"), put("c", b"3"))
        await sync_all([home, laptop])
        cuts = joined_cuts([(machines[1].peer_id, [home.vector().encode()])])
        await do(laptop, put("a", b"stolen"), Remove(path("b")), put("new", b"n"))
        await home.cut_off(cuts)
        await sync_all([home, laptop])
        before = await tree(home)
        assert before == {"a": b"1", "b": b"2", "c": b"3"}
        assert (await home.inspect()).rows == 0
        sql(home, "UPDATE versions SET content = x'930101' WHERE live = 1")
        assert await tree(home) == before
        assert (await home.health()).rows == 3
        sql(home, "DELETE FROM entries")
        await home.inspect()
        assert await tree(home) == before
        assert await home.frozen_counts() == {machines[1].peer_id: 3}
        assert home.fingerprint() == laptop.fingerprint(), "what counts is the roster's affair, not the fingerprint's"
