"""Paths with versions, and bringing back what they lead to: always as new versions."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
import trio

from p2pstore.errors import PathFault
from p2pstore.ledger.drafts import MakeSnapshot, Move, Remove
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.version import Inline
from p2pstore.services import comparing, restoring
from p2pstore.services.addresses import Addresses, moment
from p2pstore.services.restoring import Restorer
from tests.ledger.household import do, household, ledgers, mkdir, path, put, tree


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone with a change of the clocks."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "first_s", "seconds"),
    [
        ("2026-10-01", 1790805600, 86_400),
        ("2026-10-25", 1792879200, 90_000),
        ("2026-03-29", 1774738800, 82_800),
        ("2026-10-01T18:30", 1790872200, 60),
        ("2026-10-01 18:30", 1790872200, 60),
    ],
)
def test_a_date_is_a_local_day_also_when_the_clocks_change(text: str, first_s: int, seconds: int) -> None:
    assert moment(text) == (first_s * 1000, (first_s + seconds) * 1000 - 1)


@pytest.mark.parametrize("text", ["", "2026", "2026-13-01", "2026-02-30", "26-1-1", "2026-10-01T25:00", "9999-12-31x"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert moment(text) is None


async def content(ledger: Ledger, text: str) -> bytes:
    found = await Addresses(ledger).find(path(text))
    assert isinstance(found.item.content, Inline)
    return found.item.content.data


async def fault(ledger: Ledger, text: str) -> str:
    with pytest.raises(PathFault) as caught:
        await Addresses(ledger).find(path(text))
    return caught.value.code


async def test_numbers_snapshots_and_dates_lead_to_what_was(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/f", b"1"), put("d/old"))
        await do(ledger, MakeSnapshot("spring"))
        today = time.strftime("%Y-%m-%d", time.localtime(machine.clock.wall_s()))
        await machine.clock.sleep(3 * 86_400)
        await do(ledger, put("d/f", b"2"))
        await do(ledger, Move(path("d"), path("e")))
        await do(ledger, Remove(path("e/old")))
        assert await content(ledger, "e/f@1") == b"1"
        assert await content(ledger, "e/f@2") == b"2"
        assert await content(ledger, f"d/f@{today}") == b"1"
        assert await content(ledger, f"d@{today}/f") == b"1"
        assert await content(ledger, "@spring/d/f") == b"1"
        found = await Addresses(ledger).find(path("d@spring"))
        assert (found.path, found.past) == (path("d"), True)
        assert (await Addresses(ledger).find(path("@spring"))).path == ()
        assert await fault(ledger, "e/f@3") == "no-version"
        assert await fault(ledger, "e/f@0") == "no-version"
        assert await fault(ledger, "e/f@winter") == "no-version"
        assert await fault(ledger, "e/f@spring") == "not-then"
        assert await fault(ledger, "e/f@1999-01-01") == "not-then"
        assert await fault(ledger, "e@1") == "is-a-folder"
        assert await fault(ledger, "e/old@2") == "removed-then"
        assert await fault(ledger, "e/none") == "not-found"
        assert await fault(ledger, "e/none@1") == "not-found"
        assert await fault(ledger, "e/f@") == "not-found"


async def test_an_exact_name_wins_over_a_version(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("m@h", b"1"), put("m", b"m"))
        await do(ledger, put("m@h", b"2"), MakeSnapshot("h"))
        assert await content(ledger, "m@h") == b"2"
        assert await content(ledger, "m@h@1") == b"1"
        assert await content(ledger, "m@h@h") == b"2"
        await do(ledger, Remove(path("m@h")))
        assert await content(ledger, "m@h") == b"m", "the snapshot, now that no such name is there"


async def test_a_tree_is_put_back_whole_in_small_batches(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restoring, "BATCH", 3)
    [machine] = household(1)
    async with machine.ledger() as ledger:
        rng = random.Random(1)
        names = ["/".join(rng.choices("abc", k=rng.randint(1, 3))) + f"/{number}" for number in range(40)]
        await do(ledger, *[put(f"top/{name}", name.encode()) for name in names], mkdir("top/empty"))
        before = await tree(ledger)
        await ledger.remove_tree(path("top"))
        assert await tree(ledger) == {}
        restored = await Restorer(ledger).put_back(path("top"), None)
        assert restored.path == path("top")
        assert await tree(ledger) == before
        assert (await ledger.trash_page()).items == ()
        await ledger.remove_tree(path("top/a"))
        await Restorer(ledger).put_back(path("top/a"), path("again"))
        assert {name for name in await tree(ledger) if name.startswith("again/")} == {
            "again" + name.removeprefix("top/a") for name in before if name.startswith("top/a/")
        }


async def test_what_is_there_is_not_overwritten_by_what_was_removed(autojump_clock: trio.testing.MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("f", b"old"), mkdir("folder"))
        await do(ledger, Remove(path("f")))
        await do(ledger, put("f", b"new"))
        restorer = Restorer(ledger)
        for to in (None, path("f")):
            with pytest.raises(PathFault) as caught:
                await restorer.put_back(path("f"), to)
            assert caught.value.code == "taken"
        with pytest.raises(PathFault):
            await restorer.put_back(path("f"), path("nowhere/f"))
        assert (await restorer.put_back(path("f"), path("folder"))).path == path("folder/f")
        assert await tree(ledger) == {"f": b"new", "folder": None, "folder/f": b"old"}
        with pytest.raises(PathFault) as caught:
            await restorer.put_back(path("f"), None)
        assert caught.value.code == "not-removed"


async def test_restoring_a_folder_writes_what_differs_and_takes_nothing_away(
    autojump_clock: trio.testing.MockClock,
) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, put("d/same"), put("d/edited", b"1"), put("d/sub/gone", b"2"), put("d/kind", b"3"))
        await do(ledger, MakeSnapshot("then"))
        await do(ledger, put("d/edited", b"changed"), put("d/new", b"4"), Remove(path("d/kind")), mkdir("d/kind"))
        await ledger.remove_tree(path("d/sub"))
        found = await Addresses(ledger).find(path("d@then"))
        restored = await Restorer(ledger).restore(found.path, found.item, None)
        assert await tree(ledger) == {
            "d": None, "d/same": b"x", "d/edited": b"1", "d/sub": None, "d/sub/gone": b"2", "d/kind": None,
            "d/new": b"4",
        }  # fmt: skip
        assert restored.same == 1
        assert [(error.code, error.path) for error in restored.failed] == [("is-a-folder", path("d/kind"))]
        beside = await Restorer(ledger).restore(found.path, found.item, path("beside"))
        assert beside.path == path("beside")
        assert (await tree(ledger))["beside/kind"] == b"3"


async def test_a_version_is_restored_as_the_newest(autojump_clock: trio.testing.MockClock) -> None:
    async with ledgers(household(1)) as [ledger]:
        await do(ledger, put("f", b"1"))
        await do(ledger, put("f", b"2"))
        found = await Addresses(ledger).find(path("f@1"))
        assert (await Restorer(ledger).restore(found.path, found.item, None)).entries == 1
        versions, total = await ledger.versions_of(path("f"))
        assert total == 3
        assert [one.held.version.content for one in versions] == [Inline(b"1"), Inline(b"2"), Inline(b"1")]
        assert (await Restorer(ledger).restore(found.path, found.item, None)).same == 1


async def test_folders_are_compared_with_all_below_them(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "PAGE", 2)
    [machine] = household(1)
    async with machine.ledger() as ledger:
        await do(ledger, *[put(f"d/{name}") for name in ("a", "b", "c", "sub/x", "sub/y", "gone/z", "turned")])
        await do(ledger, MakeSnapshot("then"))
        await ledger.remove_tree(path("d/gone"))
        await do(ledger, put("d/b", b"edited"), put("d/sub/y", b"edited"), put("d/sub/new"), put("d/fresh/1"))
        await do(ledger, Remove(path("d/turned")))
        await do(ledger, mkdir("d/turned"))
        then, now = [(await Addresses(ledger).find(path(where))).item for where in ("d@then", "d")]
        found = [
            (difference.change, b"/".join(difference.path))
            async for page in comparing.compare_folders(ledger, then, now)
            for difference in page
        ]
        assert sorted(found) == [
            ("added", b"fresh"), ("added", b"sub/new"), ("changed", b"b"), ("changed", b"sub/y"),
            ("changed", b"turned"), ("removed", b"gone"),
        ]  # fmt: skip
        assert [page async for page in comparing.compare_folders(ledger, then, then) if page] == []
