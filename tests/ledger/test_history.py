"""What was: the tree at a cut, the versions of a path, the trash, tags and snapshots."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Misuse, PathFault
from p2pstore.ledger import schema
from p2pstore.ledger.drafts import MakeSnapshot, Move, Remove, RemoveSnapshot, SetTag
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.change import ChangeKind
from p2pstore.metadata.marks import Tag, snapshot_name, tag_word
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Inline
from simulations.disk import SimulatedDisk
from tests.ledger.household import do, household, ledgers, mkdir, path, pull, put, sync_all, tree

NAMES = ("a", "b", "c")


async def tree_at(ledger: Ledger, at: Vector, *, page: int = 1000) -> dict[str, bytes | None]:
    """As `tree`, at a cut."""
    found: dict[str, bytes | None] = {}
    async for where, item in ledger.walk(at=at, page=page):
        content = item.content
        text = b"/".join(where).decode()
        assert text not in found, "one name, two items"
        assert item.at == at
        found[text] = content.data if isinstance(content, Inline) else None
    return found


async def random_step(rng: random.Random, opened: list[Ledger], count: int) -> None:
    ledger = rng.choice(opened)
    where = "/".join(rng.choices(NAMES, k=rng.randint(1, 3)))
    other = "/".join(rng.choices(NAMES, k=rng.randint(1, 3)))
    try:
        match rng.randrange(8):
            case 0 | 1 | 2:
                await do(ledger, put(where, b"%d" % count))
            case 3:
                await do(ledger, mkdir(where))
            case 4:
                await do(ledger, Move(path(where), path(other), replace=True))
            case 5:
                await ledger.remove_tree(path(where))
            case 6:
                await do(ledger, Remove(path(where)))
            case _:
                await pull(ledger, rng.choice(opened))
    except PathFault:
        pass


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_the_tree_at_a_cut_is_the_tree_that_was_shown_then(seed: int) -> None:
    async def story() -> None:
        rng = random.Random(seed)
        async with ledgers(household(2, seed=seed)) as opened:
            kept: list[tuple[Vector, dict[str, bytes | None]]] = []
            for count in range(40):
                await random_step(rng, opened, count)
                if count % 4 == 3:
                    kept.append((opened[0].vector(), await tree(opened[0])))
            await sync_all(opened)
            kept.append((opened[0].vector(), await tree(opened[0])))
            for ledger in opened:
                for vector, shown in kept:
                    assert await tree_at(ledger, vector) == shown
                    assert await tree_at(ledger, vector, page=1) == shown

    trio.run(story, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_folder_is_listed_as_it_was_before_it_was_emptied_renamed_and_refilled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("photos/1.jpg", b"one"), put("photos/2.jpg", b"two"))
        before = ledger.vector()
        shown = await tree(ledger)
        await do(ledger, put("photos/1.jpg", b"edited"), Remove(path("photos/2.jpg")))
        await do(ledger, Move(path("photos"), path("pictures")))
        await do(ledger, put("photos/9.jpg", b"nine"))
        await ledger.remove_tree(path("pictures"))
        assert await tree_at(ledger, before) == shown
        item = await ledger.resolve(path("photos/2.jpg"), at=before)
        assert item is not None
        assert item.content == Inline(b"two")
        assert await ledger.resolve(path("photos/9.jpg"), at=before) is None


async def test_a_time_is_a_cut_too(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as opened:
        await do(opened[0], put("a", b"1"))
        await sync_all(opened)
        now_ms = int(machines[0].clock.wall_s() * 1000)
        for machine in machines:
            await machine.clock.sleep(3600)
        await do(opened[1], put("a", b"2"), put("b"))
        await sync_all(opened)
        for ledger in opened:
            assert await tree_at(ledger, await ledger.cut_at(now_ms + 60_000)) == {"a": b"1"}
            assert await tree_at(ledger, await ledger.cut_at(now_ms - 3_600_000)) == {}
            assert await tree_at(ledger, await ledger.cut_at(now_ms + 9_000_000)) == {"a": b"2", "b": b"x"}


async def changes_of(ledger: Ledger, where: str) -> list[tuple[int, str, bytes]]:
    versions, total = await ledger.versions_of(path(where))
    assert total == len(versions)
    contents = [one.held.version.content for one in versions]
    return [
        (one.number, str(one.change), content.data if isinstance(content, Inline) else b"")
        for one, content in zip(versions, contents, strict=True)
    ]


async def test_a_path_has_numbered_versions_the_newest_first_through_renames_and_removals(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        for draft in (put("d/x", b"1"), put("d/x", b"2"), Move(path("d/x"), path("d/y")), Move(path("d/y"), path("y"))):
            await do(ledger, draft)
        whole = [(4, "moved", b"2"), (3, "renamed", b"2"), (2, "edited", b"2"), (1, "created", b"1")]
        assert await changes_of(ledger, "y") == whole
        assert await changes_of(ledger, "d/x") == [(2, "edited", b"2"), (1, "created", b"1")]
        await do(ledger, Remove(path("y")))
        assert await changes_of(ledger, "y") == [(5, "deleted", b"2"), *whole]
        await do(ledger, put("y", b"other"))
        assert await changes_of(ledger, "y") == [(6, "created", b"other"), (5, "deleted", b"2"), *whole]
        page, total = await ledger.versions_of(path("y"), skip=1, limit=2)
        assert ([one.number for one in page], total) == ([total - 1, total - 2], total)
        assert await ledger.versions_of(path("never/there")) == ([], 0)


async def test_overwriting_by_a_move_keeps_the_overwritten_in_the_history_of_the_path(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("a", b"mine"), put("b", b"theirs"))
        await do(ledger, Move(path("a"), path("b"), replace=True))
        assert (await changes_of(ledger, "b"))[0] == (3, ChangeKind.RENAMED, b"mine")
        assert b"theirs" in [content for _, _, content in await changes_of(ledger, "b")]


async def test_what_went_with_its_folder_is_one_line_of_the_trash(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("photos/old", b"0"), *[put(f"photos/trip/{number}") for number in range(30)], put("z"))
        await do(ledger, Remove(path("photos/old")))
        await machine.clock.sleep(7200)
        await ledger.remove_tree(path("photos"))
        await do(ledger, Remove(path("z")))
        page = await ledger.trash_page()
        assert [(one.path, one.below) for one in page.items] == [
            (path("z"), False), (path("photos"), True), (path("photos/old"), False),
        ]  # fmt: skip
        assert page.before is None
        everything = await ledger.trash_page(everything=True)
        assert len(everything.items) == 34
        first = await ledger.trash_page(limit=1)
        assert [one.path for one in first.items] == [path("z")]
        second = await ledger.trash_page(limit=1, before=first.before)
        assert [one.path for one in second.items] == [path("photos")]


async def test_a_tag_stays_through_renames_and_an_addition_wins_over_a_concurrent_removal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ledgers(household(2)) as opened:
        [outcome] = (await do(opened[0], put("a"))).outcomes
        entry = outcome.entry
        assert entry is not None
        await do(opened[0], SetTag(entry, "tax", present=True))
        assert (await do(opened[0], SetTag(entry, "tax", present=True))).upto is None
        await do(opened[0], Move(path("a"), path("b")))
        await sync_all(opened)
        assert await opened[1].tags_of(entry) == ["tax"]
        assert await opened[1].all_tags() == [("tax", 1)]
        await do(opened[0], SetTag(entry, "tax", present=False))
        assert await opened[0].tags_of(entry) == []
        await do(opened[1], SetTag(entry, "tax", present=False))
        await do(opened[1], SetTag(entry, "tax", present=True))
        await sync_all(opened)
        for ledger in opened:
            assert await ledger.tags_of(entry) == ["tax"]


async def test_a_snapshot_is_seen_by_all_and_shows_what_its_author_saw(autojump_clock: trio.testing.MockClock) -> None:
    async with ledgers(household(2)) as opened:
        await do(opened[0], put("a", b"1"))
        await do(opened[1], put("b", b"late"))
        await do(opened[0], put("c"), MakeSnapshot("spring"))
        with pytest.raises(PathFault):
            await do(opened[0], MakeSnapshot("spring"))
        await sync_all(opened)
        await do(opened[1], put("a", b"2"))
        [made] = await opened[1].snapshots()
        assert made.snapshot.name == "spring"
        assert made.snapshot.cut is not None
        assert made.dot.author == opened[0].peer_id
        assert await tree_at(opened[1], made.snapshot.cut) == {"a": b"1", "c": b"x"}
        await do(opened[1], RemoveSnapshot("spring"))
        await sync_all(opened)
        assert await opened[0].snapshots() == []
        with pytest.raises(PathFault):
            await do(opened[0], RemoveSnapshot("spring"))


async def test_what_ends_a_mark_ends_no_version(autojump_clock: trio.testing.MockClock) -> None:
    """Also where the version's key comes only later: machines must not differ in what they show."""
    machines = household(2)
    async with ledgers(machines) as opened:
        [outcome] = (await do(opened[0], put("a", b"1"))).outcomes
        assert outcome.entry is not None
        assert outcome.dot is not None
        keys = dict(machines[1].keys)
        machines[1].keys.clear()
        await sync_all(opened)

        for ledger in opened:  # what nobody writes by himself, so it goes past the drafts
            index, own = ledger._store.index, ledger._store.own
            index.mark(own.slot, 1000, 1, Tag(outcome.entry, "x", present=False), [outcome.dot])
        machines[1].keys.update(keys)
        await opened[1].keys_arrived()
        assert await tree(opened[0]) == await tree(opened[1]) == {"a": b"1"}


@pytest.mark.parametrize("text", ["", " ", "a/b", "a@b", "x" * 65, "a\nb"])
def test_what_cannot_be_addressed_is_no_name(text: str) -> None:
    with pytest.raises(Misuse):
        tag_word(text)
    with pytest.raises(Misuse):
        snapshot_name(text)


def test_a_snapshot_is_not_called_like_a_version_or_a_date() -> None:
    for text in ("3", "2026-10-01"):
        with pytest.raises(Misuse):
            snapshot_name(text)
    assert snapshot_name(" Ostern ") == "Ostern"
    assert tag_word("Steuer") == "steuer"


async def rows_of(disk: SimulatedDisk, *, undo: bool = False) -> dict[str, list[Any]]:
    """All of the tables of schema version 2; with `undo`, the ledger is made one of version 1."""
    database = disk.open_database("ledger.db")
    tables = {
        "replaced": "SELECT * FROM replaced ORDER BY 1, 2, 3, 4",
        "commits": "SELECT id, hlc FROM commits ORDER BY id",
        "names": "SELECT rowid FROM names WHERE names MATCH '\"fil\"' ORDER BY 1",
        "ended": "SELECT id, ended IS NULL FROM versions ORDER BY id",
        "checks": "SELECT id, row_check FROM versions ORDER BY id",
        "dead": "SELECT * FROM dead ORDER BY 1, 2",
        "fingerprint": "SELECT * FROM fingerprint WHERE sum <> zeroblob(16) ORDER BY 1",
    }
    rows = {name: database.execute(sql) for name, sql in tables.items()}
    if undo:
        with database.transaction():
            for table in ("replaced", "tags", "snapshots", "names", "dead", "missing", "fingerprint", "mended"):
                database.execute(f"DROP TABLE {table}")
            for index in (
                "versions_by_place", "versions_moved", "entries_contested", "commits_by_time", "commits_by_writer",
                "versions_by_size", "versions_by_mtime",
            ):  # fmt: skip
                database.execute(f"DROP INDEX {index}")
            for index in ("versions_ended", "versions_by_manifest"):
                database.execute(f"DROP INDEX {index}")
            for table in ("retentions", "cuts", "adoptions", "frozen", "forked", "folder_promises"):
                database.execute(f"DROP TABLE {table}")
            for table in ("intents", "lists", "listed", "consents", "spared", "forsaken", "closed_lists"):
                database.execute(f"DROP TABLE {table}")
            database.execute("ALTER TABLE versions DROP COLUMN ended")
            database.execute("ALTER TABLE versions DROP COLUMN came")
            database.execute("ALTER TABLE commits DROP COLUMN hlc")
            database.execute("ALTER TABLE versions DROP COLUMN row_check")
            database.execute("PRAGMA user_version = 1")
    database.close()
    return rows


async def test_a_ledger_of_version_1_gets_its_history(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as opened:
        await do(opened[0], put("d/file 1", b"1"), put("d/file 2"))
        await sync_all(opened)
        await do(opened[0], put("d/file 1", b"2"))
        await do(opened[1], put("d/file 1", b"3"))
        await sync_all(opened)
        await do(opened[0], put("d/file 1", b"4"), Remove(path("d/file 2")))
        shown = await changes_of(opened[0], "d/file 1")
    disk = machines[0].disk
    before = await rows_of(disk, undo=True)
    assert before["replaced"]
    async with machines[0].ledger() as ledger:
        assert await changes_of(ledger, "d/file 1") == shown
    assert await rows_of(disk) == before
    async with machines[0].ledger() as ledger:
        await ledger.rebuild_index()
        assert await changes_of(ledger, "d/file 1") == shown
    assert (await rows_of(disk))["replaced"] == before["replaced"]
    assert schema.SCHEMA_VERSION >= 2
