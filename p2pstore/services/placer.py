"""Goes on placing: stripes that did not keep their promise when their upload ended are owed, until they do.

The list of what is owed is durable. Whenever a machine appears, and now and then, each owed stripe gets the rows it
lacks, made from any k others; shards that this machine kept only until others had them are then let go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import EncodingId, PeerId, ShardId
from p2pstore.pipeline.stripe import EncodedShard
from p2pstore.placement.planner import surplus
from p2pstore.placement.promise import NO_SITES, Promise, Sites
from p2pstore.seams.clock import Clock
from p2pstore.services.download import Downloader, KnownStripe
from p2pstore.services.liveness import Liveness
from p2pstore.services.placing import PlacedStripe, Placing

TRY_AGAIN_FIRST_S: Final = 5.0
TRY_AGAIN_MAX_S: Final = 600.0
"""How soon owed stripes are tried again when nobody has come or gone since: who has just come may not have said yet how
much room it has, and somebody may have made room."""

STRIPES_AT_ONCE: Final = 8
"""Stripes under way together: enough to fill a line, few enough to leave room for uploads."""


class OwedList(Protocol):
    """The durable list of stripes that are owed."""

    async def owed(self) -> list[EncodingId]:
        """Sorted."""
        ...

    async def add_owed(self, encodings: Sequence[EncodingId]) -> None:
        """Durable on return."""
        ...

    async def remove_owed(self, encodings: Sequence[EncodingId]) -> None:
        """They keep their promise."""
        ...


class Placer:
    """Brings owed stripes to their promise."""

    def __init__(
        self,
        *,
        me: PeerId,
        clock: Clock,
        owed: OwedList,
        stripe_of: Callable[[EncodingId], Awaitable[tuple[KnownStripe, Promise] | None]],
        placing: Placing,
        downloader: Downloader,
        liveness: Liveness,
        drop_here: Callable[[ShardId], Awaitable[None]],
        sites: Callable[[], Sites] = lambda: NO_SITES,
        stays: Callable[[PeerId], bool] = lambda _: True,
    ) -> None:
        self._me = me
        self._clock = clock
        self._owed = owed
        self._stripe_of = stripe_of
        self._placing = placing
        self._downloader = downloader
        self._liveness = liveness
        self._drop_here = drop_here
        self._sites = sites
        self._stays = stays
        self._pending: set[EncodingId] = set()
        self._hurry = trio.Event()
        self._progress = trio.Event()

    @property
    def owed_count(self) -> int:
        """Stripes that do not keep their promise."""
        return len(self._pending)

    async def note_debt(self, encodings: Sequence[EncodingId]) -> None:
        """Durable on return: these stripes are owed from their commit on. To be called before it.

        A daemon that dies between the commit and `owe` finds the note when it starts, and forgets the note of what was
        never committed.
        """
        await self._owed.add_owed(encodings)

    def owe(self, encodings: Sequence[EncodingId]) -> None:
        """Take responsibility for stripes that are noted and committed."""
        self._pending.update(encodings)
        self._hurry.set()

    async def run(self) -> None:
        """Try for ever."""
        self._pending.update(await self._owed.owed())
        pause_s = TRY_AGAIN_FIRST_S
        while True:
            self._hurry, changed = trio.Event(), self._liveness.changed
            if self._pending:
                await self._try_all()
            with self._clock.move_on_after(pause_s) as nothing_new:
                await self._wait_change(self._hurry, changed)
            pause_s = min(2 * pause_s, TRY_AGAIN_MAX_S) if nothing_new.cancelled_caught else TRY_AGAIN_FIRST_S

    async def _wait_change(self, *events: trio.Event) -> None:
        async def wait(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            for event in events:
                nursery.start_soon(wait, event)

    async def _try_all(self) -> None:
        limiter = trio.CapacityLimiter(STRIPES_AT_ONCE)
        settled: list[EncodingId] = []
        async with trio.open_nursery() as nursery:
            for encoding in sorted(self._pending):
                turn = object()
                await limiter.acquire_on_behalf_of(turn)
                nursery.start_soon(self._try_one, encoding, settled, limiter, turn)
        if settled:
            with contextlib.suppress(P2PStoreError):  # a full disk: the next start looks at them once more
                await self._owed.remove_owed(settled)

    async def _try_one(
        self, encoding: EncodingId, settled: list[EncodingId], limiter: trio.CapacityLimiter, turn: object
    ) -> None:
        try:
            if await self._improve(encoding):
                settled.append(encoding)
                self._pending.discard(encoding)
                self._announce()
        except P2PStoreError:
            return  # too few machines answer; the next change of who is there tries again
        finally:
            limiter.release_on_behalf_of(turn)

    async def _improve(self, encoding: EncodingId) -> bool:
        """Place what a stripe lacks; whether its promise holds now."""
        found = await self._stripe_of(encoding)
        if found is None:
            return True
        stripe, promise = found
        sites = self._sites()
        placed = PlacedStripe(encoding, stripe.needed, 0, stripe.shard_length, promise, sites=sites)
        for peer, indices in stripe.holders.items():
            if self._stays(peer):  # what those hold who leave, or were removed, keeps no promise
                placed.held[peer] = list(indices)
        before = sum(map(len, placed.held.values()))

        async def more(indices: Sequence[int]) -> Sequence[EncodedShard]:
            return await self._downloader.rebuild(stripe, indices)

        await self._placing.extend(placed, {}, more)
        if sum(map(len, placed.held.values())) > before:
            self._announce()
        if not placed.safe:
            return False
        for index in surplus(placed.needed, placed.held, self._me, promise, sites):
            await self._drop_here(ShardId(encoding, index))
        return True

    def _announce(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    async def wait_safe(self, encodings: Collection[EncodingId], *, patience_s: float) -> bool:
        """Wait until none of `encodings` is owed, or nothing has got better for `patience_s`; whether none is."""
        while self._pending.intersection(encodings):
            progress = self._progress
            with self._clock.move_on_after(patience_s) as scope:
                await progress.wait()
            if scope.cancelled_caught:
                return False
        return True
