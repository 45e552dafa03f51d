"""The daily look through the ledger: it finds what is lost, and a full disk does not end it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from p2pstore.ledger.mending import Found
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.services.self_check import AGAIN_AFTER_S, EVERY_S, FIRST_AFTER_S, SelfCheck
from tests.ledger.household import do, household, put, tree


async def test_a_look_after_the_start_and_then_every_day_even_past_a_full_disk(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger, trio.open_nursery() as nursery:
        await do(ledger, *(put(f"d/{number}") for number in range(300)))
        before = await tree(ledger)
        nursery.start_soon(SelfCheck(ledger=ledger, clock=machine.clock).run)
        ledger._store.database.execute("DELETE FROM versions WHERE kind = 0")
        machine.disk.capacity_bytes = machine.disk.used_bytes
        await trio.sleep(FIRST_AFTER_S + 60)
        assert (await ledger.health()).rows == 0, "there was no room to mend anything"
        machine.disk.capacity_bytes = None
        await trio.sleep(AGAIN_AFTER_S + 60)
        assert (await ledger.health()).rows == 300
        assert await tree(ledger) == before
        ledger._store.database.execute("DELETE FROM entries WHERE kind = 0")
        await trio.sleep(EVERY_S)
        assert await tree(ledger) == before
        nursery.cancel_scope.cancel()


async def test_what_cannot_be_read_now_ends_no_look_for_good(autojump_clock: MockClock) -> None:
    [machine] = household(1)
    async with machine.ledger() as ledger, trio.open_nursery() as nursery:
        await do(ledger, put("d/f"))
        nursery.start_soon(SelfCheck(ledger=ledger, clock=machine.clock).run)
        inspect = ledger.inspect

        async def damaged(*, pace: float = 0.0) -> Found:
            raise RowDamaged(1, 1)

        ledger.inspect = damaged  # type: ignore[method-assign]
        await trio.sleep(FIRST_AFTER_S + 60)
        ledger.inspect = inspect  # type: ignore[method-assign]
        ledger._store.database.execute("DELETE FROM versions WHERE kind = 0")
        await trio.sleep(AGAIN_AFTER_S + 60)
        assert (await ledger.health()).rows == 1
        nursery.cancel_scope.cancel()
