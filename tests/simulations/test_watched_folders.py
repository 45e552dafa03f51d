"""Watched folders on a real node in virtual time: what changes is stored, and doubtful deletions wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from p2pstore.metadata.version import Inline, Kind
from p2pstore.placement.levels import Level
from p2pstore.services.watched_folder import WatchedFolder
from p2pstore.services.watched_folders import CannotWatch
from simulations.machine import Machine
from simulations.people import People
from simulations.schedule import Work
from simulations.world import World
from tests.simulations.test_world import in_world

HERE = b"/home/anna/photos"
THERE = (b"photos",)

Story = Callable[[World, Machine], Awaitable[None]]


def told(story: Story, *, count: int = 2) -> None:
    """Run a story on the first machine of a household."""

    async def main(world: World) -> None:
        await story(world, world.machines[0])
        assert not world.bugs

    in_world(main, count=count)


async def watch(machine: Machine, files: dict[bytes, bytes], *, ignored: tuple[str, ...] = ()) -> WatchedFolder:
    """Watch a folder with these files, and wait until they are stored."""
    machine.files.make_folder(HERE)
    for name, data in files.items():
        machine.files.write_file(HERE + b"/" + name, data)
    assert machine.node is not None
    await machine.node.watched.add(HERE, THERE, ignored=ignored)
    await trio.sleep(30)
    return folder_on(machine)


def folder_on(machine: Machine) -> WatchedFolder:
    assert machine.node is not None
    return machine.node.watched.find(HERE)


async def stored(machine: Machine) -> dict[bytes, bytes]:
    """Path below the target, and content, of all files that a machine shows; folders end with a slash."""
    assert machine.node is not None
    found = {}
    if await machine.node.ledger.resolve(THERE) is None:
        return {}
    async for path, item in machine.node.ledger.walk(THERE):
        name = b"/".join(path[len(THERE) :])
        if item.kind is Kind.FOLDER:
            found[name + b"/"] = b""
            continue
        pieces: list[bytes] = []

        async def sink(piece: memoryview, pieces: list[bytes] = pieces) -> None:
            pieces.append(bytes(piece))

        if item.kind is Kind.FILE:
            await machine.node.exporter.read(item, 0, item.size, sink)
        found[name] = b"".join(pieces) if item.kind is Kind.FILE else getattr(item.content, "target", b"")
    return found


async def trash_names(machine: Machine) -> list[bytes]:
    assert machine.node is not None
    return sorted(held.version.name for held in await machine.node.ledger.trash())


def many(count: int) -> dict[bytes, bytes]:
    return {b"d%d/f%03d" % (number % 4, number): b"%d" % number for number in range(count)}


def with_folders(files: dict[bytes, bytes]) -> dict[bytes, bytes]:
    folders = {name.rpartition(b"/")[0] + b"/": b"" for name in files if b"/" in name}
    return folders | files


def test_what_is_there_and_what_comes_is_stored_everywhere() -> None:
    async def story(world: World, machine: Machine) -> None:
        before = {b"a": b"1", b"d/b": b"x" * 100_000, b"caf\xe9": b"2"}
        folder = await watch(machine, before)
        machine.files.make_link(b"a", HERE + b"/link")
        assert await stored(machine) == with_folders(before)
        assert folder.state == "watching"
        assert folder.known_count == 4
        machine.files.write_file(HERE + b"/new/deep/c", b"3")
        machine.files.write_file(HERE + b"/a", b"changed")
        await trio.sleep(30)
        after = before | {b"a": b"changed", b"new/deep/c": b"3", b"new/": b"", b"link": b"a"}
        assert await stored(machine) == with_folders(after)
        await trio.sleep(60)
        assert await stored(world.machines[1]) == with_folders(after)
        assert folder.waiting == folder.refused_count == 0

    told(story)


def test_what_was_deleted_is_in_the_trash_and_nothing_is_purged() -> None:
    async def story(_world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"b": b"2", b"d/c": b"3", b"d/e": b"4"})
        machine.files.remove(HERE + b"/a")
        machine.files.remove_all(HERE + b"/d")
        await trio.sleep(3)
        assert b"a" in await stored(machine), "a program may be saving by deleting and writing anew"
        await trio.sleep(30)
        assert await stored(machine) == {b"b": b"2"}
        assert await trash_names(machine) == [b"a", b"c", b"d", b"e"]
        assert machine.node is not None
        kept = {held.version.name: held.version.content for held in await machine.node.ledger.trash()}
        assert kept[b"a"] == Inline(b"1")

    told(story)


def test_a_file_that_is_being_written_is_stored_when_it_comes_to_rest() -> None:
    async def story(_world: World, machine: Machine) -> None:
        await watch(machine, {})
        path = HERE + b"/growing"
        machine.files.write_file(path, b"", mtime_ns=2**62)
        for size in range(1, 20):
            await trio.sleep(1)
            machine.files.change_file(path, b"x" * size)
            assert await stored(machine) == {}
        await trio.sleep(10)
        assert await stored(machine) == {b"growing": b"x" * 19}
        assert machine.node is not None
        item = await machine.node.ledger.resolve((*THERE, b"growing"))
        assert item is not None
        assert len(await machine.node.ledger.history(item.entry)) == 1, "no half of it was stored"

    told(story)


@pytest.mark.parametrize("how", ["stop", "kill", "power"])
def test_a_restart_goes_on_and_stores_nothing_twice(how: str) -> None:
    async def story(world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"b": b"2", b"d/c": b"x" * 50_000})
        assert machine.node is not None
        end = await machine.node.ledger.log_end()
        if how == "stop":
            await machine.stop()
        else:
            await machine.crash(power_cut=how == "power")
        machine.files.write_file(HERE + b"/while-away", b"new")
        machine.files.remove(HERE + b"/b")
        assert await world.restart(machine)
        await trio.sleep(60)
        assert await stored(machine) == {b"a": b"1", b"d/": b"", b"d/c": b"x" * 50_000, b"while-away": b"new"}
        assert machine.node is not None
        assert await machine.node.ledger.log_end() - end <= 3, "the new file and the deletion, nothing else"

    told(story)


def test_dying_between_the_commit_and_its_memory_stores_nothing_twice() -> None:
    async def story(world: World, machine: Machine) -> None:
        folder = await watch(machine, {b"a": b"1", b"d/b": b"2"})
        assert machine.node is not None
        store = machine.node.watched._means.store
        known = await store.below(folder.watch, b"")
        await machine.stop()
        assert await world.restart(machine)
        assert machine.node is not None
        await machine.node.watched.remove(HERE)
        again = await machine.node.watched.add(HERE, THERE, ignored=())
        await trio.sleep(30)
        item = await machine.node.ledger.resolve((*THERE, b"a"))
        assert item is not None
        assert len(await machine.node.ledger.history(item.entry)) == 1
        assert again.known_count == len(known)
        machine.files.remove(HERE + b"/a")
        await trio.sleep(30)
        assert await stored(machine) == {b"d/": b"", b"d/b": b"2"}, "it knows what it found in the store"

    told(story)


def test_many_deletions_at_once_wait_for_a_person() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = many(100)
        folder = await watch(machine, files)
        for name in sorted(files)[:60]:
            machine.files.remove(HERE + b"/" + name)
        machine.files.write_file(HERE + b"/new", b"goes on")
        await trio.sleep(120)
        assert folder.state == "asks"
        assert folder.hold is not None
        assert (folder.hold.trouble, folder.hold.missing) == ("too-many", 60)
        assert await stored(machine) == with_folders(files) | {b"new": b"goes on"}
        assert await folder.allow() == 60
        await trio.sleep(30)
        left = {name: data for name, data in files.items() if name not in sorted(files)[:60]}
        assert await stored(machine) == with_folders(files).fromkeys(
            [name for name in with_folders(files) if name.endswith(b"/")], b""
        ) | left | {b"new": b"goes on"}
        assert folder.state == "watching"

    told(story)


def test_a_flood_in_small_waves_waits_too() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = many(100)
        folder = await watch(machine, files)
        for name in sorted(files)[:90]:
            machine.files.remove(HERE + b"/" + name)
            await trio.sleep(15)
        await trio.sleep(60)
        assert folder.state == "asks"
        left = [name for name in await stored(machine) if not name.endswith(b"/")]
        assert len(left) == 50

    told(story)


def test_the_answer_keep_leaves_all_in_the_store_and_asks_no_more() -> None:
    async def story(world: World, machine: Machine) -> None:
        files = many(100)
        folder = await watch(machine, files)
        for name in sorted(files)[:60]:
            machine.files.remove(HERE + b"/" + name)
        await trio.sleep(60)
        assert await folder.keep() == 60
        await trio.sleep(60)
        assert folder.state == "watching"
        await machine.stop()
        assert await world.restart(machine)
        await trio.sleep(60)
        assert folder_on(machine).state == "watching"
        assert await stored(machine) == with_folders(files)

    told(story)


def test_what_comes_back_is_not_deleted_and_the_question_is_gone() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = many(100)
        folder = await watch(machine, files)
        machine.files.rename(HERE + b"/d0", b"/home/anna/away")
        machine.files.rename(HERE + b"/d1", b"/home/anna/away1")
        machine.files.rename(HERE + b"/d2", b"/home/anna/away2")
        await trio.sleep(60)
        assert folder.state == "asks"
        for number, name in enumerate([b"away", b"away1", b"away2"]):
            machine.files.rename(b"/home/anna/" + name, HERE + b"/d%d" % number)
        await trio.sleep(60)
        assert folder.state == "watching"
        assert await stored(machine) == with_folders(files)

    told(story)


@pytest.mark.parametrize("restart", [False, True])
def test_an_unmounted_subfolder_is_not_a_deletion(restart: bool) -> None:
    async def story(world: World, machine: Machine) -> None:
        files = {b"own": b"1", b"disk/a": b"2", b"disk/d/b": b"3"}
        machine.files.make_folder(HERE + b"/disk")
        machine.files.make_mount(HERE + b"/disk", 7)
        folder = await watch(machine, files)
        if restart:
            await machine.stop()
        mounted = machine.files.unmount(HERE + b"/disk")
        if restart:
            assert await world.restart(machine)
            folder = folder_on(machine)
        else:
            folder.hurry()
        await trio.sleep(120)
        assert folder.state == "asks"
        assert folder.hold is not None
        assert (folder.hold.trouble, folder.hold.where) == ("device-changed", b"disk")
        machine.files.write_file(HERE + b"/new", b"goes on")
        folder.hurry()
        await trio.sleep(120)
        assert await stored(machine) == with_folders(files) | {b"new": b"goes on"}
        machine.files.mount(HERE + b"/disk", mounted)
        folder.hurry()
        await trio.sleep(60)
        assert folder.state == "watching"
        assert await trash_names(machine) == []

    told(story)


def test_a_folder_emptied_by_another_of_its_device_waits() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = {b"own": b"1", b"bound/a": b"2"}
        folder = await watch(machine, files)
        machine.files.unmount(HERE + b"/bound")
        folder.hurry()
        await trio.sleep(120)
        assert folder.hold is not None
        assert folder.hold.trouble == "emptied"
        assert await stored(machine) == with_folders(files)

    told(story)


def test_a_folder_that_cannot_be_read_holds_deletions_and_nothing_in_it_goes() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = {b"own": b"1", b"locked/a": b"2"}
        folder = await watch(machine, files)
        machine.files.set_readable(HERE + b"/locked", readable=False)
        machine.files.remove(HERE + b"/own")
        folder.hurry()
        await trio.sleep(120)
        assert folder.hold is not None
        assert folder.hold.trouble == "unreadable"
        assert await stored(machine) == with_folders(files)
        machine.files.set_readable(HERE + b"/locked", readable=True)
        folder.hurry()
        await trio.sleep(60)
        assert await stored(machine) == {b"locked/": b"", b"locked/a": b"2"}

    told(story)


def test_an_absent_folder_is_waited_for() -> None:
    async def story(_world: World, machine: Machine) -> None:
        folder = await watch(machine, many(10))
        machine.files.rename(HERE, b"/elsewhere")
        folder.hurry()
        await trio.sleep(600)
        assert folder.state == "absent"
        assert await stored(machine) == with_folders(many(10))
        machine.files.rename(b"/elsewhere", HERE)
        machine.files.write_file(HERE + b"/new", b"1")
        await trio.sleep(200)
        assert folder.state == "watching"
        assert await stored(machine) == with_folders(many(10)) | {b"new": b"1"}

    told(story)


def test_a_renamed_folder_is_one_operation_and_no_deletion() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = {b"2024/f%03d" % number: b"%d" % number for number in range(80)}
        folder = await watch(machine, files)
        assert machine.node is not None
        end = await machine.node.ledger.log_end()
        machine.files.rename(HERE + b"/2024", HERE + b"/trips")
        await trio.sleep(60)
        assert folder.state == "watching"
        assert await stored(machine) == with_folders(
            {b"trips" + name[4:]: data for name, data in files.items()}
        )
        assert await trash_names(machine) == []
        assert await machine.node.ledger.log_end() == end + 1

    told(story)


def test_a_renamed_file_keeps_its_history() -> None:
    async def story(_world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"d/x": b"2"})
        machine.files.rename(HERE + b"/a", HERE + b"/d/b")
        await trio.sleep(60)
        assert await stored(machine) == {b"d/": b"", b"d/b": b"1", b"d/x": b"2"}
        assert machine.node is not None
        item = await machine.node.ledger.resolve((*THERE, b"d", b"b"))
        assert item is not None
        assert len(await machine.node.ledger.history(item.entry)) == 2
        machine.files.write_file(HERE + b"/d/b", b"later")
        machine.files.remove(HERE + b"/d/x")
        await trio.sleep(60)
        assert await stored(machine) == {b"d/": b"", b"d/b": b"later"}

    told(story)


def test_what_another_machine_changed_is_not_deleted_with_the_local_file() -> None:
    async def story(world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"b": b"2"})
        await trio.sleep(60)
        people = People(world, Work())
        assert await people.store(world.machines[1], b"/photos/a", b"theirs", Level.SAFE)
        await trio.sleep(30)
        machine.files.remove(HERE + b"/a")
        await trio.sleep(60)
        assert await stored(machine) == {b"a": b"theirs", b"b": b"2"}

    told(story)


def test_a_file_that_becomes_a_folder_and_the_other_way_round() -> None:
    async def story(_world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"d/x": b"2"})
        machine.files.remove(HERE + b"/a")
        machine.files.write_file(HERE + b"/a/inside", b"3")
        machine.files.remove_all(HERE + b"/d")
        machine.files.write_file(HERE + b"/d", b"4")
        await trio.sleep(60)
        assert await stored(machine) == {b"a/": b"", b"a/inside": b"3", b"d": b"4"}

    told(story)


def test_ignored_names_are_passed_over() -> None:
    async def story(_world: World, machine: Machine) -> None:
        files = {b"a": b"1", b".DS_Store": b"2", b"cache/x": b"3", b"b.tmp": b"4", b"d/.thumbs/y": b"5", b"d/z": b"6"}
        await watch(machine, files, ignored=("*.tmp", "cache", "d/.thumbs"))
        machine.files.write_file(HERE + b"/cache/new", b"7")
        await trio.sleep(30)
        assert await stored(machine) == {b"a": b"1", b"d/": b"", b"d/z": b"6"}

    told(story)


def test_sleep_and_wake_cause_no_scan() -> None:
    async def story(world: World, machine: Machine) -> None:
        folder = await watch(machine, many(20))
        before = folder.scanned_s
        machine.clock.suspend()
        await trio.sleep(8 * 3600)
        machine.clock.resume()
        machine.files.write_file(HERE + b"/new", b"1")
        await trio.sleep(60)
        assert folder.scanned_s == before
        assert b"new" in await stored(machine)

    told(story, count=1)


def test_without_news_everything_is_looked_at_now_and_then() -> None:
    async def story(_world: World, machine: Machine) -> None:
        folder = await watch(machine, {b"a": b"1"})
        machine.folder_events.is_deaf = True
        machine.files.write_file(HERE + b"/unheard", b"2")
        await trio.sleep(60)
        assert await stored(machine) == {b"a": b"1"}
        await trio.sleep(7 * 3600)
        assert await stored(machine) == {b"a": b"1", b"unheard": b"2"}
        assert folder.state == "watching"

    told(story, count=1)


def test_what_cannot_be_watched_is_refused() -> None:
    async def story(_world: World, machine: Machine) -> None:
        await watch(machine, {b"a": b"1", b"d/b": b"2"})
        assert machine.node is not None
        machine.files.make_folder(b"/other")
        watched = machine.node.watched
        for local, target, code in [
            (b"/no", (b"x",), "not-a-folder"), (HERE, (b"x",), "watched"), (HERE + b"/d", (b"x",), "watched"),
            (b"/home", (b"x",), "watched"), (b"/other", THERE, "taken"), (b"/other", (*THERE, b"d"), "taken"),
        ]:  # fmt: skip
            with pytest.raises(CannotWatch) as refused:
                await watched.add(local, target, ignored=())
            assert refused.value.code == code
        await watched.add(b"/other", (b"others",), ignored=())
        removed = await watched.remove(HERE)
        assert removed.watch.target == THERE
        machine.files.write_file(HERE + b"/after", b"3")
        await trio.sleep(60)
        assert b"after" not in await stored(machine)
        assert b"a" in await stored(machine)

    told(story)
