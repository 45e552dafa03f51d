"""Rebuilds what is lost: finds stripes that no longer keep their promise, and adds the rows they lack.

```
something went (a removal, a grace that ended, a shard off an inventory, damage here) > look at the stripes held here
    > due, and our turn > ask whoever answers what it has > rebuild from any k, without a key > place > receipts
```

Only stripes held here are looked at: of each stripe's holders the nearest acts, and the next takes over. Nothing is
ever dropped. What machines hold is asked again before a byte is rebuilt, and the answers only ever add to what counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from p2pstore.errors import P2PStoreError, Unavailable
from p2pstore.ids import EncodingId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.pipeline.stripe import EncodedShard
from p2pstore.placement.ranking import Offer
from p2pstore.placement.repair import Standing, plan_repair, repairers, staying, turn_after_s
from p2pstore.seams.clock import Clock
from p2pstore.services.download import Downloader
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership
from p2pstore.services.mender import Mender
from p2pstore.services.placing import PlacedStripe, Placing
from p2pstore.services.repair_work import RepairWork
from p2pstore.services.silences import Silences
from p2pstore.services.surveyor import PAGE_STRIPES, Found, Surveyor

SLOW_REST: Final = 300.0
"""The pass that looks at everything now and then rests so many times as long as it works: a third of a percent."""

HURRIED_REST: Final = 1.0
"""After a removal it leaves half of the time to others."""

PASS_EVERY_S: Final = 24 * 3600.0
LEAVING_PASS_EVERY_S: Final = 5.0
"""While somebody leaves, a pass looks this often: what it took a moment before it began to leave shows only now."""

LEAVING_PASS_REST: Final = 10.0
"""Then at most every eleventh second is for looking."""

FIRST_PASS_AFTER_S: Final = 15.0
"""Links come up first, and inventories with them. The first pass does not dawdle: who was removed while this daemon was
off is known from its start, and no news will say so."""

AT_ONCE: Final = 4
"""Stripes under way together: enough to fill a line; 4 x 9 MiB of memory at most for the largest chunks."""

BATCH: Final = 64
"""Stripes begun before the list is sorted anew."""

DUE_MAX: Final = 20_000
"""Stripes remembered as due, some megabytes; a pass finds the others again."""

SUSPECTS_MAX: Final = 20_000
"""Stripes of which somebody lost a shard, not looked at yet; more of them make a pass."""

RETRY_FIRST_S: Final = 60.0
RETRY_DOUBLINGS: Final = 8
"""A minute, two, four ... four hours."""

ARRIVAL_S: Final = 30.0
"""After a machine has come, its own work (what is owed to it) goes first."""

SETTING_RATE: Final = "repair.max-rate"


@dataclass(slots=True)
class _Job:
    """A stripe that is due.

    Attributes:
        margin: the lowest goes first.
        since_s: when it was found due.
        not_before_s: whose turn it is may make it wait.
        attempts: that failed.
    """

    margin: int
    since_s: float
    not_before_s: float
    attempts: int = 0


class Repairer:
    """Keeps promises. `run` it; `hurry` when a person is there."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        silences: Silences,
        liveness: Liveness,
        surveyor: Surveyor,
        placing: Placing,
        downloader: Downloader,
        mender: Mender,
        work: RepairWork,
        clock: Clock,
    ) -> None:
        self._me = membership.me
        self._membership = membership
        self._ledger = ledger
        self._silences = silences
        self._liveness = liveness
        self._surveyor = surveyor
        self._placing = placing
        self._downloader = downloader
        self._mender = mender
        self._clock = clock
        self._due: dict[EncodingId, _Job] = {}
        self._suspects: set[EncodingId] = set()
        self._bell = trio.Event()
        self._pass_wanted = trio.Event()
        self._impatient = False
        self._passing = False
        self.work = work

    # --- for those who ask ----------------------------------------------------------------------------------------

    @property
    def due_count(self) -> int:
        """Stripes held here that are known to be due."""
        return len(self._due)

    @property
    def busy(self) -> bool:
        """Whether a pass or a repair is under way or about to be."""
        now_s = self._clock.now_s()
        looking = self._passing or self._pass_wanted.is_set() or bool(self._suspects)
        return looking or any(job.not_before_s <= now_s for job in self._due.values())

    def hurry(self, *, impatient: bool = False) -> None:
        """Look at everything now, and act out of turn; a person who is `impatient` says that it is not our link."""
        self._impatient = self._impatient or impatient
        for job in self._due.values():
            job.not_before_s, job.attempts = self._clock.now_s(), 0
        self._want_pass()
        self._ring()

    async def set_rate(self, bytes_per_s: int) -> None:
        """Bound what repairs place; kept across restarts."""
        self.work.rate = bytes_per_s
        await self._ledger.set_setting(SETTING_RATE, str(bytes_per_s).encode())

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Repair for ever."""
        if (rate := await self._ledger.setting(SETTING_RATE)) is not None and rate.isdigit():
            self.work.rate = max(1, int(rate))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_inventories)
            nursery.start_soon(self._watch_machines)
            nursery.start_soon(self._repair_for_ever)
            await self._pass_for_ever()

    def _ring(self) -> None:
        self._bell.set()
        self._bell = trio.Event()

    def _want_pass(self) -> None:
        self._pass_wanted.set()

    async def _watch_inventories(self) -> None:
        with self._ledger.subscribe() as news:
            async for change in news:
                if change.lost is None or len(self._suspects) + len(change.lost) > SUSPECTS_MAX:
                    self._want_pass()
                elif change.lost:
                    self._suspects |= change.lost
                    self._ring()

    async def _watch_machines(self) -> None:
        """A machine was removed, or is gone: look at everything. One has come: what failed may go now."""
        before: frozenset[PeerId] | None = None
        answering = frozenset(self._liveness.answering())
        while True:
            events = (self._membership.changed, self._silences.ticked, self._liveness.changed)
            standing = await self._silences.standings()
            there = frozenset(peer for peer, each in standing.items() if each.stays)
            if before is not None and before - there:
                self._want_pass()
            before = there
            if frozenset(self._liveness.answering()) - answering:
                soon_s = self._clock.now_s() + ARRIVAL_S
                for job in self._due.values():
                    if job.attempts:
                        job.not_before_s = min(job.not_before_s, soon_s)
                self._mender.hurry()
                self._ring()
            answering = frozenset(self._liveness.answering())
            await _wait_any(events)

    async def _pass_for_ever(self) -> None:
        wait_s, first = FIRST_PASS_AFTER_S, True
        while True:
            with self._clock.move_on_after(wait_s):
                await self._pass_wanted.wait()
            hurried, first = first or self._pass_wanted.is_set() or bool(self._membership.leaving()), False
            wait_s, began_s = PASS_EVERY_S, self._clock.now_s()
            self._pass_wanted = trio.Event()
            self._passing = True
            try:
                await self._pass(HURRIED_REST if hurried else SLOW_REST)
            except Unavailable as error:
                wait_s = RETRY_FIRST_S  # the ledger's disk, or ours: soon again
                self.work.fail(error)
            finally:
                self._passing = False
            if self._membership.leaving():
                took_s = self._clock.now_s() - began_s
                wait_s = min(wait_s, max(LEAVING_PASS_EVERY_S, LEAVING_PASS_REST * took_s))

    async def _next_page(self, after: tuple[EncodingId, int] | None) -> list[tuple[EncodingId, int]]:
        """Stripes held here; for somebody impatient, all that we know of."""
        if self._impatient:
            statements = await self._ledger.stripes_after(None if after is None else after[0], PAGE_STRIPES)
            return [(each.encoding, 0) for each in statements]
        held = await self._ledger.held_shards(self._me, after=after, limit=PAGE_STRIPES)
        return [(encoding, index) for encoding, index, _ in held]

    async def _pass(self, rest: float) -> None:
        """Look at one stripe after the other."""
        after: tuple[EncodingId, int] | None = None
        while page := await self._next_page(after):
            started_s = self._clock.now_s()
            after = page[-1]
            await self._examine({encoding for encoding, _ in page})
            rest_s = (self._clock.now_s() - started_s) * rest
            if rest <= HURRIED_REST:
                await self._clock.sleep(rest_s)
                continue
            with self._clock.move_on_after(rest_s):
                await self._pass_wanted.wait()
                return  # somebody wants a quick one, from the start

    # --- looking --------------------------------------------------------------------------------------------------

    async def _examine(self, encodings: Iterable[EncodingId]) -> None:
        """Note which of some stripes are due here, and when it is our turn."""
        if self._membership.myself is None:
            return  # we were removed: what others hold is no business of ours
        standing = await self._silences.standings(impatient=self._impatient)
        for found in await self._surveyor.look_at(encodings, standing):
            encoding = found.stripe.encoding
            rank = self._rank(found)
            if not found.judgement.due or rank is None:
                self._due.pop(encoding, None)
                continue
            now_s = self._clock.now_s()
            known = self._due.get(encoding)
            if known is None and len(self._due) >= DUE_MAX:
                continue
            turn_s = 0.0 if self._impatient else turn_after_s(rank, found.judgement, self._silences.rules)
            since_s = now_s if known is None else known.since_s
            self._due[encoding] = _Job(
                found.judgement.margin,
                since_s,
                max(since_s + turn_s, 0.0 if known is None or not known.attempts else known.not_before_s),
                0 if known is None else known.attempts,
            )
        self._ring()

    def _rank(self, found: Found) -> int | None:
        """How many holders come before us; None if we hold nothing of it and nobody is impatient."""
        order = repairers(found.stripe.encoding, found.stripe.holders, [self._me, *self._liveness.answering()])
        if self._me in order:
            return order.index(self._me)
        return 0 if self._impatient else None

    # --- repairing ------------------------------------------------------------------------------------------------

    async def _repair_for_ever(self) -> None:
        while True:
            bell = self._bell
            if self._suspects:
                suspects, self._suspects = sorted(self._suspects), set()
                try:
                    for start in range(0, len(suspects), PAGE_STRIPES):
                        await self._examine(suspects[start : start + PAGE_STRIPES])
                except Unavailable as error:
                    self.work.fail(error)
                    self._want_pass()
                continue
            now_s = self._clock.now_s()
            ready = [(job.margin, encoding) for encoding, job in self._due.items() if job.not_before_s <= now_s]
            if ready:
                await self._repair_batch([encoding for _, encoding in sorted(ready)[:BATCH]])
                continue
            if not (self._passing or self._pass_wanted.is_set()):
                self._impatient = False
            next_s = min((job.not_before_s for job in self._due.values()), default=float("inf"))
            with self._clock.move_on_after(min(next_s - now_s, PASS_EVERY_S)):
                await bell.wait()

    async def _repair_batch(self, batch: Sequence[EncodingId]) -> None:
        standing = await self._silences.standings(impatient=self._impatient)
        limiter = trio.CapacityLimiter(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for encoding in batch:
                turn = object()
                await limiter.acquire_on_behalf_of(turn)
                nursery.start_soon(self._try_one, encoding, standing, limiter, turn)

    async def _try_one(
        self,
        encoding: EncodingId,
        standing: Mapping[PeerId, Standing],
        limiter: trio.CapacityLimiter,
        turn: object,
    ) -> None:
        try:
            if await self._repair(encoding, standing):
                self._due.pop(encoding, None)
            else:
                self._put_off(encoding, "too few machines answer that could take what is missing")
        except P2PStoreError as error:
            self._put_off(encoding, error)
        finally:
            limiter.release_on_behalf_of(turn)

    def _put_off(self, encoding: EncodingId, why: P2PStoreError | str) -> None:
        self.work.fail(why)
        if (job := self._due.get(encoding)) is None:
            return
        job.not_before_s = self._clock.now_s() + RETRY_FIRST_S * 2 ** min(job.attempts, RETRY_DOUBLINGS)
        job.attempts += 1

    async def _repair(self, encoding: EncodingId, standing: Mapping[PeerId, Standing]) -> bool:
        """Add what one stripe lacks; whether there is nothing left to do."""
        found = await self._surveyor.look_closely(encoding, standing)
        if found is None or not found.judgement.due:
            return True
        stripe, promise = found.stripe, found.promise
        left = staying(stripe.holders, standing)
        away = {peer: indices for peer, indices in stripe.holders.items() if peer not in left}
        sites = self._membership.sites()
        placed = PlacedStripe(
            encoding, stripe.needed, 0, stripe.shard_length, promise, for_repair=True, sites=sites
        )
        placed.held = {peer: list(indices) for peer, indices in left.items()}

        heirs = self._membership.successors_of(found.judgement.without)

        def plan(placed: PlacedStripe, offers: Sequence[Offer]) -> Sequence[tuple[PeerId, int]]:
            held = {**away, **placed.held}
            if heirs:
                inherited = [each for each in offers if each.peer in heirs]
                by_heirs = plan_repair(placed.needed, held, standing, inherited, promise, placed.sites)
                if by_heirs.added and by_heirs.keeps:
                    return by_heirs.added
            return plan_repair(placed.needed, held, standing, offers, promise, placed.sites).added

        async def more(indices: Sequence[int]) -> Sequence[EncodedShard]:
            await self.work.pace(len(indices) * stripe.shard_length)
            members = {peer: each for peer, each in stripe.holders.items() if peer in standing}
            return await self._downloader.rebuild(replace(stripe, holders=members), indices)

        await self._placing.extend(placed, {}, more, receipted=self.work.receipted, plan=plan)
        if placed.safe:
            self.work.stripes += 1
        return placed.safe


async def _wait_any(events: Sequence[trio.Event]) -> None:
    async def wait(event: trio.Event) -> None:
        await event.wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for event in events:
            nursery.start_soon(wait, event)
