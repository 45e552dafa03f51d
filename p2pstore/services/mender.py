"""Rebuilds shards of this machine that were found damaged, each in its place, at once."""

from __future__ import annotations

from typing import Final

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import PeerId, ShardId
from p2pstore.ledger.ledger import Ledger
from p2pstore.seams.clock import Clock
from p2pstore.services.download import Downloader, KnownStripe
from p2pstore.services.membership import Membership
from p2pstore.services.repair_work import RepairWork
from p2pstore.services.shards import ShardClient
from p2pstore.storage.store import ShardStore

RETRY_FIRST_S: Final = 60.0
RETRY_MAX_S: Final = 6 * 3600.0

DAMAGE_PAGE: Final = 4096
"""Damaged shards tried in one round; a disk with more of them is dying."""


class Mender:
    """Watches the store's quarantine. `run` it."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        store: ShardStore,
        shards: ShardClient,
        downloader: Downloader,
        clock: Clock,
        work: RepairWork,
    ) -> None:
        self._me = membership.me
        self._membership = membership
        self._ledger = ledger
        self._store = store
        self._shards = shards
        self._downloader = downloader
        self._clock = clock
        self._work = work
        self._bell = trio.Event()

    def hurry(self) -> None:
        """A shard went into quarantine, or somebody has come who may help."""
        self._bell.set()

    async def run(self) -> None:
        """Mend for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_store)
            await self._mend_for_ever()

    async def _watch_store(self) -> None:
        known = 0
        while True:
            if (count := self._store.usage().damaged_count) > known:
                self._bell.set()
            known = count
            await self._store.wait_change()

    async def _mend_for_ever(self) -> None:
        """Shards in quarantine are rebuilt in their place, at once, whatever else the stripe still bears."""
        pause_s = RETRY_FIRST_S
        while True:
            if self._store.usage().damaged_count:
                with self._clock.move_on_after(pause_s):
                    await self._bell.wait()
            else:
                await self._bell.wait()
            news = self._bell.is_set()
            self._bell = trio.Event()
            try:
                mended = await self._mend_some()
            except P2PStoreError as error:
                mended = False
                self._work.fail(error)
            pause_s = RETRY_FIRST_S if mended or news else min(RETRY_MAX_S, 2 * pause_s)
            if mended and self._store.usage().damaged_count:
                self._bell.set()

    async def _mend_some(self) -> bool:
        """Rebuild some damaged shards; whether any was."""
        mended = False
        for shard in await self._store.damaged(DAMAGE_PAGE):
            try:
                mended = await self._mend(shard) or mended
            except P2PStoreError as error:
                self._work.fail(error)
        return mended

    async def _mend(self, shard: ShardId) -> bool:
        stated = (await self._ledger.stripes_of([shard.encoding]))[shard.encoding]
        if not stated:
            return False  # nobody refers to it
        holders: dict[PeerId, list[int]] = {}
        for holder in (await self._ledger.holders_of([shard.encoding]))[shard.encoding]:
            if holder.peer != self._me and self._membership.is_member(holder.peer):
                holders.setdefault(holder.peer, []).append(holder.index)
        holders[self._me] = await self._store.shards_of(shard.encoding)
        stripe = KnownStripe(shard.encoding, stated[0].needed, stated[0].shard_length, holders)
        await self._work.pace(stripe.shard_length)
        (rebuilt,) = await self._downloader.rebuild(stripe, [shard.index])
        await self._shards.put(self._me, rebuilt.parsed, rebuilt.header, rebuilt.payload, for_repair=True)
        self._work.receipted(len(rebuilt.payload))
        return True
