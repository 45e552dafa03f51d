"""Search, conflicts and the log, over what ledgers really wrote."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import trio

from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import PeerId
from p2pstore.keys.identity import verify
from p2pstore.ledger import conflicts as conflicts_module
from p2pstore.ledger import search
from p2pstore.ledger.conflicts import Conflict
from p2pstore.ledger.drafts import MakeSnapshot, Move, Remove, SetTag
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.search import Query
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.name_match import NamePattern
from p2pstore.metadata.version import Inline, Kind
from p2pstore.services.finding import kinds_and_endings
from p2pstore.services.log_check import Checked, check_log, follow
from p2pstore.services.resolving import resolution, resolve
from simulations.workers import InlineWorkers
from tests.ledger.household import Machine, do, household, ledgers, mkdir, path, pull, put, sync_all, tree


def named(*terms: str) -> Query:
    return Query(NamePattern(terms))


async def found(ledger: Ledger, query: Query, *, limit: int = 7) -> list[str]:
    """All paths that a query finds, page by page."""
    paths: list[str] = []
    before = None
    while True:
        page = await ledger.search(query, before=before, limit=limit)
        assert len(page.found) <= limit
        paths += [b"/".join(hit.path).decode() for hit in page.found]
        before = page.before
        if before is None:
            assert len(paths) == len(set(paths))
            return sorted(paths)


@pytest.mark.parametrize("page", [3, 1000])
async def test_each_filter_finds_what_a_look_at_everything_finds(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    for name in ("LOOKED_AT", "SCANNED", "SLICE"):
        monkeypatch.setattr(search, name, page)
    monkeypatch.setattr(search, "SELECTIVE", page)
    [machine] = household(1)
    rng = random.Random(1)
    async with machine.ledger() as ledger:
        sizes = {}
        for number in range(60):
            word, ending = rng.choice(("Photo", "note", "Rechnung")), rng.choice(("jpg", "txt"))
            where = f"d{number % 4}/{word} {number:03}.{ending}"
            sizes[where] = number * 10
            await do(ledger, replace(put(where), size=number * 10, mtime_ns=number))
        tagged = sorted(sizes)[::3]
        for where in tagged:
            item = await ledger.resolve(path(where))
            assert item is not None
            await do(ledger, SetTag(item.entry, "tax", present=True))
        gone = sorted(sizes)[::5]
        for where in gone:
            await do(ledger, Remove(path(where)))
        here = [where for where in sizes if where not in gone]
        assert await found(ledger, named("photo")) == sorted(w for w in here if "Photo" in w)
        assert await found(ledger, named("*9.JPG")) == sorted(w for w in here if w.endswith("9.jpg"))
        assert await found(ledger, named("o", "1")) == sorted(w for w in here if "o" in w[3:] and "1" in w[3:])
        assert await found(ledger, replace(named(), kinds=(Kind.FOLDER,))) == ["d0", "d1", "d2", "d3"]
        assert await found(ledger, replace(named(), size_min=300, size_max=400)) == sorted(
            w for w in here if 300 <= sizes[w] <= 400
        )
        assert await found(ledger, replace(named("note"), mtime_min_ns=50)) == sorted(
            w for w in here if "note" in w and sizes[w] >= 500
        )
        assert await found(ledger, replace(named(), tags=("tax",))) == sorted(w for w in here if w in tagged)
        assert await found(ledger, replace(named("txt"), tags=("tax",))) == sorted(
            w for w in here if w in tagged and "txt" in w
        )
        assert await found(ledger, replace(named("photo"), deleted=True)) == sorted(w for w in gone if "Photo" in w)
        assert await found(ledger, replace(named(), deleted=True)) == gone
        assert await found(ledger, replace(named(), endings=(".jpg",))) == sorted(w for w in here if "jpg" in w)


async def test_a_renamed_file_is_found_by_its_new_name_only(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("before.txt"))
        await do(ledger, Move(path("before.txt"), path("after.txt")))
        assert await found(ledger, named("before")) == []
        assert await found(ledger, named("after")) == ["after.txt"]


def test_a_type_is_a_kind_or_a_sort_of_file() -> None:
    assert kinds_and_endings(["folder", "link"]) == ((Kind.FOLDER, Kind.LINK), ())
    kinds, endings = kinds_and_endings(["image"])
    assert kinds == (Kind.FILE,)
    assert ".jpg" in endings
    for wrong in (["rubbish"], ["image", "folder"]):
        with pytest.raises(Misuse):
            kinds_and_endings(wrong)


# --- conflicts ----------------------------------------------------------------------------------------------------


async def all_conflicts(ledger: Ledger, *, limit: int) -> dict[bytes, Conflict]:
    conflicts: dict[bytes, Conflict] = {}
    after = None
    while True:
        page = await ledger.conflicts(after=after, limit=limit)
        conflicts |= {b"/".join((*one.folder, one.items[0].name)): one for one in page.conflicts}
        after = page.after
        if after is None:
            return conflicts


@pytest.mark.parametrize(("limit", "scanned"), [(1, 1), (1, 1000), (100, 3), (100, 1000)])
async def test_every_kind_of_conflict_is_listed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch, limit: int, scanned: int
) -> None:
    monkeypatch.setattr(conflicts_module, "SCANNED", scanned)
    async with ledgers(household(2)) as opened:
        await do(opened[0], put("d/edited", b"0"), put("quiet"))
        await sync_all(opened)
        for number, ledger in enumerate(opened):
            data = b"%d" % number
            await do(ledger, put("d/edited", b"by " + data), put("d/made", data), put("twice/inner/file", data))
            await do(ledger, mkdir("same"), put("equal", b"equal"))
        await do(opened[0], put("mixed"))
        await do(opened[1], mkdir("mixed"))
        await sync_all(opened)
        for ledger in opened:
            conflicts = await all_conflicts(ledger, limit=limit)
            assert sorted(conflicts) == [b"d/edited", b"d/made", b"mixed", b"twice/inner/file"]
            assert all(len(one.items) == 2 for one in conflicts.values())


@pytest.mark.parametrize("keep", ["this", "other", "both"])
async def test_a_conflict_ends_and_every_version_stays_in_the_history(
    autojump_clock: trio.testing.MockClock, keep: str
) -> None:
    async with ledgers(household(2)) as opened:
        for number, ledger in enumerate(opened):
            await do(ledger, put("f", b"by %d" % number))
        await sync_all(opened)
        [conflict] = (await all_conflicts(opened[0], limit=10)).values()
        contents = [item.content.data for item in conflict.items if isinstance(item.content, Inline)]
        await resolve(opened[0], path("f"), keep)
        await pull(opened[1], opened[0])
        for ledger in opened:
            shown = await tree(ledger)
            if keep == "both":
                assert sorted(data for data in shown.values() if data is not None) == sorted(contents)
            else:
                assert shown == {"f": contents[0 if keep == "this" else 1]}
            assert await all_conflicts(ledger, limit=10) == {}
            kept = {one.held.version.content for name in shown for one in (await ledger.versions_of(path(name)))[0]}
            assert {Inline(data) for data in contents} <= kept
        with pytest.raises(PathFault):
            await resolve(opened[0], path("f"), keep)
        with pytest.raises(PathFault):
            await resolve(opened[0], path("nothing"), keep)


async def test_a_folder_does_not_go_for_a_file(autojump_clock: trio.testing.MockClock) -> None:
    async with ledgers(household(2)) as opened:
        await do(opened[0], put("x", b"file"))
        await do(opened[1], put("x/inside"))
        await sync_all(opened)
        [conflict] = (await all_conflicts(opened[0], limit=10)).values()
        folder, file = conflict.items
        for this, keep in ((file, "this"), (folder, "other")):
            with pytest.raises(Misuse):
                resolution(conflict, this, keep)
        await resolve(opened[0], path("x"), "this")
        assert await tree(opened[0]) == {"x": None, "x/inside": b"x"}
        assert [one.path for one in (await opened[0].trash_page()).items] == [path("x")]


# --- the log ------------------------------------------------------------------------------------------------------


async def test_the_log_says_who_did_what_the_latest_first(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as opened:
        [outcome] = (await do(opened[0], put("a"))).outcomes
        assert outcome.entry is not None
        await sync_all(opened)
        await machines[1].clock.sleep(60)
        await do(opened[1], Move(path("a"), path("b")), *[put(f"many/{number}") for number in range(9)])
        await do(opened[1], SetTag(outcome.entry, "tax", present=True), MakeSnapshot("now"))
        await sync_all(opened)
        entries, before = await opened[0].log_page()
        assert before is None
        deeds = [{deed.change: (deed.count, deed.samples[0]) for deed in entry.deeds} for entry in entries]
        assert deeds == [
            {"tagged": (1, path("b")), "snapshot": (1, path("now"))},
            {"renamed": (1, path("b")), "created": (10, path("many"))},
            {"created": (1, path("a"))},
        ]
        assert [entry.author for entry in entries] == [opened[1].peer_id, opened[1].peer_id, opened[0].peer_id]
        first, before = await opened[0].log_page(limit=1)
        second, _ = await opened[0].log_page(limit=1, before=before)
        assert [*first, *second] == entries[:2]
        assert (await opened[0].log_page(author=opened[0].peer_id))[0] == entries[2:]
        last = await opened[0].log_end()
        await do(opened[0], put("c"))
        [news] = await opened[0].log_after(last)
        assert news.deeds[0].samples == (path("c"),)


async def checked(machine: Machine, ledger: Ledger) -> list[Checked]:
    workers = InlineWorkers(machine.clock, machine.disk)
    return await check_log(ledger, workers, public_of=machine.publics.get, verify=verify)


async def test_a_sound_log_is_said_to_be_sound_and_ends_alike_everywhere(
    autojump_clock: trio.testing.MockClock,
) -> None:
    machines = household(2)
    async with ledgers(machines) as opened:
        for number in range(5):
            await do(opened[number % 2], put(f"f{number}"))
        await sync_all(opened)
        both = [await checked(machine, ledger) for machine, ledger in zip(machines, opened, strict=True)]
        assert [one.problem for found in both for one in found] == [None] * 4
        assert {(one.chain.writer, one.commit_hash) for one in both[0]} == {
            (one.chain.writer, one.commit_hash) for one in both[1]
        }


async def test_a_commit_that_is_missing_changed_or_not_signed_is_found(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        for number in range(4):
            await do(ledger, put(f"f{number}"))
        [chain] = await ledger.chains()
        raw = await ledger.raw_commits(chain.slot, 0, 10)
        public: bytes | None = machine.publics[PeerId(chain.writer.author)]

        def problem(commits: list[bytes], key: bytes | None = public) -> str:
            one = Checked(chain)
            follow(one, commits, key, verify)
            return one.problem or ""

        assert problem(raw) == ""
        assert "gap after number 1" in problem([raw[0], raw[2]])
        forged = bytearray(raw[1])
        forged[-70] ^= 1
        assert "after number 1" in problem([raw[0], bytes(forged)])
        other = replace(decode_commit(raw[1]), previous=bytes(range(32))).encode()
        assert "after number 1" in problem([raw[0], other])
        assert "key" in problem(raw, None)


async def test_names_are_found_though_another_job_of_their_batch_was_undone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:

        async def failing() -> None:
            with pytest.raises(PathFault):
                await do(ledger, put("undone"), Remove(path("nothing")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, ledger, put("before"))
            nursery.start_soon(failing)
            nursery.start_soon(do, ledger, put("after"))
        assert await found(ledger, named("before")) == ["before"]
        assert await found(ledger, named("after")) == ["after"]
        assert await found(ledger, named("undone")) == []
        assert sorted(await tree(ledger)) == ["after", "before"]
