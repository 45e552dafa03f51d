"""What folders promise: inherited, replicated, and both of two that were set at the same time."""

from __future__ import annotations

import trio.testing

from p2pstore.ids import ROOT_ENTRY
from p2pstore.ledger.drafts import Move, SetPromise
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.folder_promise import FolderPromise
from tests.ledger.household import do, household, ledgers, path, put, sync_all


async def say(ledger: Ledger, where: str, word: str | None) -> bool:
    """Whether anything had to be written."""
    item = await ledger.resolve(path(where)) if where else None
    entry = ROOT_ENTRY if item is None else item.entry
    return (await do(ledger, SetPromise(FolderPromise(entry, word)))).upto is not None


async def holds(ledger: Ledger, where: str) -> str | None:
    return await ledger.promise_word_at(path(where) if where else ())


async def test_a_promise_holds_below_its_folder_until_a_nearer_one(autojump_clock: trio.testing.MockClock) -> None:
    async with ledgers(household(1)) as (ledger,):
        await do(ledger, put("photos/2026/a"), put("films/b"))
        assert await holds(ledger, "photos") is None
        await say(ledger, "photos", "house")
        assert not await say(ledger, "photos", "house"), "it says so already"
        assert await holds(ledger, "photos/2026") == "house"
        assert await holds(ledger, "photos/2026/not/there/yet") == "house"
        assert await holds(ledger, "films") is None
        await say(ledger, "", "any-2")
        await say(ledger, "photos/2026", "any-1")
        assert [await holds(ledger, each) for each in ("", "films", "photos", "photos/2026")] == [
            "any-2", "any-2", "house", "any-1",
        ]  # fmt: skip
        await do(ledger, Move(path("photos"), path("pictures")))
        assert await ledger.folder_promises() == [
            ((), "any-2"), (path("pictures"), "house"), (path("pictures/2026"), "any-1"),
        ]  # fmt: skip
        await say(ledger, "pictures", None)
        assert await holds(ledger, "pictures") == "any-2"


async def test_of_two_that_were_set_at_the_same_time_both_hold_until_one_is_said_anew(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with ledgers(household(2)) as opened:
        await do(opened[0], put("d/a"))
        await sync_all(opened)
        await say(opened[0], "d", "any-2")
        await say(opened[1], "d", "house")
        await sync_all(opened)
        assert [await holds(ledger, "d") for ledger in opened] == ["any-2+house", "any-2+house"]
        await say(opened[1], "d", "any-1")
        await sync_all(opened)
        assert [await holds(ledger, "d") for ledger in opened] == ["any-1", "any-1"]
        await opened[0].rebuild_index()
        assert await holds(opened[0], "d") == "any-1"
