"""Parts of a long listing by number: for screens that show a folder without reading all of it."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from p2pstore.errors import PathFault
from tests.ledger.household import do, household, ledgers, path, pull, put


async def test_windows_put_together_are_the_listing_and_each_name_is_where_it_is_said_to_be(
    autojump_clock: MockClock,
) -> None:
    async with ledgers(household(1)) as (a,):
        for number in range(37):
            await do(a, put(f"d/{number * 7919 % 1000:03}", b"%d" % number))
        listing = [item.name for item in (await a.list_folder(path("d"))).items]
        found: list[bytes] = []
        for offset in range(0, 40, 5):
            count, items = await a.folder_window(path("d"), offset=offset, limit=5)
            assert count == 37
            found += [item.name for item in items]
        assert found == listing
        assert [await a.place_in_folder(path("d"), name) for name in listing] == list(range(37))
        assert await a.place_in_folder(path("d"), b"zzz") == 37


async def test_conflict_copies_stand_behind_their_name_and_are_not_counted(autojump_clock: MockClock) -> None:
    async with ledgers(household(2)) as (a, b):
        for name in ("a", "m", "z"):
            await do(a, put(name, b"0"))
        await pull(b, a)
        await do(a, put("m", b"1"))
        await do(b, put("m", b"2"))
        await pull(a, b)
        count, items = await a.folder_window((), offset=1, limit=1)
        assert count == 3
        assert [item.conflict for item in items] == [False, True]


async def test_what_is_no_folder_has_no_windows(autojump_clock: MockClock) -> None:
    async with ledgers(household(1)) as (a,):
        await do(a, put("f", b"1"))
        for name, code in (("f", "not-a-folder"), ("g", "not-found")):
            with pytest.raises(PathFault) as caught:
                await a.folder_window(path(name), offset=0, limit=5)
            assert caught.value.code == code
            with pytest.raises(PathFault):
                await a.place_in_folder(path(name), b"x")
