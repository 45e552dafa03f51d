"""The ledger: what is written is there, in one tree, after a restart too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from p2pstore.errors import Misuse, PathFault
from p2pstore.ids import ChunkId, EncodingId, ManifestId
from p2pstore.ledger.drafts import AddVersion, MakeFolder, Move, Put, Remove
from p2pstore.metadata.operations import ManifestPage, StripeStatement
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Inline, Kind, LinkTarget, ManifestRef
from tests.ledger.household import do, household, ledgers, mkdir, path, put, sync_all, tree, upto


async def test_lists_what_was_put_and_makes_the_folders_above(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("a/b/c.txt", b"hello"), put("a/d", b""))
        assert await tree(ledger) == {"a": None, "a/b": None, "a/b/c.txt": b"hello", "a/d": b""}
        listing = await ledger.list_folder(path("a"))
        assert [(item.name, item.kind) for item in listing.items] == [(b"b", Kind.FOLDER), (b"d", Kind.FILE)]
        assert listing.after is None


async def test_survives_a_restart(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("a/b", b"1"))
        writer, vector = ledger.own_writer, ledger.vector()
    async with machine.ledger() as ledger:
        assert ledger.own_writer == writer
        assert ledger.vector() == vector
        assert await tree(ledger) == {"a": None, "a/b": b"1"}
        await do(ledger, put("a/c", b"2"))
        assert ledger.vector()[writer] == 3


async def test_two_puts_of_one_path_at_once_make_two_versions_and_no_conflict(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(do, ledger, put("new/file", b"%d" % number))
        shown = await tree(ledger)
        assert set(shown) == {"new", "new/file"}
        item = await ledger.resolve(path("new/file"))
        assert item is not None
        assert item.copies == 0
        history = await ledger.history(item.entry)
        assert len(history) == 20
        assert sum(past.live for past in history) == 1


async def test_many_callers_share_a_commit(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        before = machine.disk.syncs
        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(do, ledger, put(f"{number}"))
        assert len((await ledger.commits_after(Vector(), 10**6)).commits) == 1
        assert machine.disk.syncs - before <= 6


async def test_a_draft_that_fails_undoes_its_own_caller_only(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("there"))
        errors: list[str] = []

        async def failing() -> None:
            try:
                await do(ledger, put("half"), mkdir("there"))
            except PathFault as fault:
                errors.append(fault.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, ledger, put("one"))
            nursery.start_soon(failing)
            nursery.start_soon(do, ledger, put("two"))
        assert errors == ["taken"]
        assert set(await tree(ledger)) == {"there", "one", "two"}
        assert ledger.vector()[ledger.own_writer] == 3


async def test_an_import_is_cut_into_commits_within_the_limits(autojump_clock: trio.testing.MockClock) -> None:
    first, second = household(2)
    async with ledgers([first, second]) as (here, there):
        await do(here, *(put(f"f{number:04}", b"z" * 4000) for number in range(1500)))
        batch = await here.commits_after(there.vector(), 10**8)
        assert len(batch.commits) > 6
        assert max(len(raw) for raw in batch.commits) <= 900 * 1024
        await there.apply(batch.commits)
        assert there.vector()[here.own_writer] == 1500
        assert len(await tree(there)) == 1500


async def test_a_commit_undone_in_the_middle_of_a_job_leaves_the_chain_whole(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first, second = household(2)
    async with ledgers([first, second]) as (here, there):
        async def failing() -> None:
            with pytest.raises(PathFault):
                await do(here, *(put(f"f{number:04}") for number in range(1300)), Remove(path("nothing")))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(do, here, put("before"))
            nursery.start_soon(failing)
            nursery.start_soon(do, here, put("after"))
        await sync_all([here, there])
        assert await tree(there) == await tree(here) == {"before": b"x", "after": b"x"}


async def test_moves_a_folder_with_one_operation(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("a/b/c"), mkdir("z"))
        before = ledger.vector()[ledger.own_writer]
        await do(ledger, Move(path("a/b"), path("z/y")))
        assert ledger.vector()[ledger.own_writer] == before + 1
        assert set(await tree(ledger)) == {"a", "z", "z/y", "z/y/c"}
        with pytest.raises(PathFault, match="inside-itself"):
            await do(ledger, Move(path("z"), path("z/y/deeper")))
        await do(ledger, put("a/file", b"new"), put("file", b"old"))
        with pytest.raises(PathFault, match="taken"):
            await do(ledger, Move(path("a/file"), path("file")))
        await do(ledger, Move(path("a/file"), path("file"), replace=True))
        assert (await tree(ledger))["file"] == b"new"


async def test_removes_into_the_trash_and_puts_back(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("a/b", b"keep me"))
        with pytest.raises(PathFault, match="not-empty"):
            await do(ledger, Remove(path("a")))
        await do(ledger, Remove(path("a/b")), Remove(path("a")))
        assert await tree(ledger) == {}
        [file] = [held for held in await ledger.trash() if held.version.kind is Kind.FILE]
        assert file.version.content == Inline(b"keep me")
        await do(ledger, AddVersion(replace(file.version, deleted=False)))
        assert await tree(ledger) == {"a": None, "a/b": b"keep me"}, "what is alive keeps the folder above alive"
        assert [held.version.name for held in await ledger.trash()] == []
        await do(ledger, Remove(path("a/b")))
        assert await tree(ledger) == {}
        assert len(await ledger.trash(limit=1)) == 1


async def test_removes_a_tree_with_its_conflicts(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (here, there):
        await do(here, put("t/a", b"1"), put("t/u/b", b"1"))
        await do(there, put("t/a", b"2"))
        await sync_all([here, there])
        assert len(await tree(here)) == 5
        assert await here.remove_tree(path("t")) is not None
        assert await tree(here) == {}
        await sync_all([here, there])
        assert await tree(there) == {}


async def test_pages_are_sorted_and_whole(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        names = sorted(f"n{number:03}" for number in range(57))
        await do(ledger, *(put(f"d/{name}") for name in reversed(names)))
        found: list[str] = []
        after = None
        while True:
            page = await ledger.list_folder(path("d"), after=after, limit=10)
            found += [item.name.decode() for item in page.items]
            after = page.after
            if after is None:
                break
        assert found == names


async def test_names_are_bytes(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    names = [b"new\nline", b"\xff\xfe", "emoji 🐘".encode(), b"n" * 255, b" ", b"...", b"-rf", b"%_*?"]
    async with machine.ledger() as ledger:
        await ledger.commit([Put((b"d", name), Kind.FILE, Inline(name), len(name), 0, 0o600) for name in names])
        listing = await ledger.list_folder((b"d",))
        assert [item.name for item in listing.items] == sorted(names)
        for name in names:
            item = await ledger.resolve((b"d", name))
            assert item is not None
            assert item.content == Inline(name)
        for bad in (b"", b".", b"..", b"a/b", b"a\0", b"n" * 256):
            with pytest.raises(Misuse):
                await ledger.commit([Put((bad,), Kind.FILE, Inline(b""), 0, 0, 0)])


async def test_keeps_mode_time_links_and_manifests(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    manifest, chunk, encoding = ManifestId(b"m" * 32), ChunkId(b"c" * 32), EncodingId(b"e" * 32)
    statement = StripeStatement(encoding, chunk, 4, 2**20, 2**18, "any-2")
    async with ledgers(machines) as (here, there):
        generation = machines[0].current
        assert generation is not None
        content = ManifestRef(manifest, generation.generation)
        committed = await do(
            here,
            statement,
            ManifestPage(manifest, 0, 2, b"one"),
            ManifestPage(manifest, 1, 2, b"two"),
            Put((b"big",), Kind.FILE, content, 2**40, -5, 0o4755),
            Put((b"link",), Kind.LINK, LinkTarget(b"../\xff"), 5, 7, 0o777),
        )
        assert upto(committed).sequence == 5
        again = await do(here, statement, ManifestPage(manifest, 0, 2, b"one"))
        assert again.upto is None
        await sync_all([here, there])
        for ledger in (here, there):
            big = await ledger.resolve((b"big",))
            assert big is not None
            assert (big.content, big.size, big.mtime_ns, big.mode) == (content, 2**40, -5, 0o4755)
            link = await ledger.resolve((b"link",))
            assert link is not None
            assert link.content == LinkTarget(b"../\xff")
            assert await ledger.manifest(manifest) == b"onetwo"
            assert await ledger.manifest(ManifestId(b"?" * 32)) is None
            assert await ledger.stripes_for([chunk]) == {chunk: [statement]}
            assert await ledger.stripes_of([encoding]) == {encoding: [statement]}
            assert await ledger.stripes_after(None, 10) == [statement]


async def test_a_write_that_expects_something_else_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("f", b"1", expected=()))
        item = await ledger.resolve(path("f"))
        assert item is not None
        await do(ledger, put("f", b"2", expected=item.dots))
        with pytest.raises(PathFault, match="changed"):
            await do(ledger, put("f", b"3", expected=item.dots))
        assert (await tree(ledger))["f"] == b"2"


async def test_folders_are_made_once_and_take_new_attributes(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, MakeFolder(path("a/b"), mode=0o700))
        assert (await do(ledger, MakeFolder(path("a/b"), mode=0o750))).upto is None
        await do(ledger, MakeFolder(path("a/b"), mode=0o750, mtime_ns=9, update=True))
        item = await ledger.resolve(path("a/b"))
        assert item is not None
        assert (item.mode, item.mtime_ns) == (0o750, 9)
        await do(ledger, put("f"))
        with pytest.raises(PathFault, match="not-a-folder"):
            await do(ledger, put("f/below"))
        with pytest.raises(PathFault, match="is-a-folder"):
            await do(ledger, put("a/b"))
        with pytest.raises(PathFault, match="not-found"):
            await do(ledger, put("no/where", make_parents=False))


async def test_tells_subscribers_what_changed(autojump_clock: trio.testing.MockClock) -> None:
    machines = household(2)
    async with ledgers(machines) as (here, there):
        with here.subscribe() as ours, there.subscribe() as theirs:
            for number in range(3):
                await do(here, put(f"d/{number}"))
            change = await ours.__anext__()
            folder = await here.resolve(path("d"))
            assert folder is not None
            assert change.own
            assert not change.remote
            assert change.folders is not None
            assert folder.entry in change.folders
            await sync_all([here, there])
            change = await theirs.__anext__()
            assert change.remote
            assert not change.own


async def test_settings_and_statements_are_kept(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await ledger.set_setting("mark", b"1")
        assert await ledger.put_statements([b"one", b"two"]) == 2
        assert await ledger.put_statements([b"two", b"three"]) == 1
    async with machine.ledger() as ledger:
        assert await ledger.setting("mark") == b"1"
        assert await ledger.setting("other") is None
        assert sorted(await ledger.statements()) == [b"one", b"three", b"two"]
