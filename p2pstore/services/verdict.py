"""Computes the verdict from what inventories say, and keeps it for those who ask often."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from p2pstore.ids import EncodingId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.operations import StripeStatement
from p2pstore.placement.promise import Promise, promise_of_words
from p2pstore.placement.verdict import ORDER, State, Verdict, sentence_of
from p2pstore.placement.what_if import CountedStripe
from p2pstore.seams.clock import Clock
from p2pstore.services.brake import Brake
from p2pstore.services.catalog import Catalog
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership
from p2pstore.services.silences import Silences

PAGE_STRIPES: Final = 1000
"""Stripes looked at in one go."""

FRESH_FOR_S: Final = 10.0
"""`status` may show a verdict of this age, unless a machine has come or gone since."""

UNHEARD_FOR_S: Final = 900.0
"""Alone for so long, nothing green is said."""


class VerdictService:
    """Answers "is my data safe right now?"."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        catalog: Catalog,
        liveness: Liveness,
        silences: Silences,
        clock: Clock,
        brake: Brake,
    ) -> None:
        self._membership = membership
        self._ledger = ledger
        self._catalog = catalog
        self._liveness = liveness
        self._silences = silences
        self._clock = clock
        self._brake = brake
        self._started_s = clock.now_s()
        self._last: Verdict | None = None
        self._roster: object = None

    async def verdict(self, *, fresh: bool = False) -> Verdict:
        """The verdict; computed anew if `fresh`, or if the last one is too old."""
        last, now_s, roster = self._last, self._clock.now_s(), self._membership.roster
        if last is None or fresh or roster is not self._roster or now_s - last.computed_at_s > FRESH_FOR_S:
            last = self._last = await self._compute()
            self._roster = roster
        return last

    async def _compute(self) -> Verdict:
        members = self._membership.roster.members()
        counts = dict.fromkeys((state.value for state in ORDER), 0)
        promised: dict[Promise, State] = {}
        async for stripes in self.stripes():
            for stripe in stripes:
                counts[stripe.state.value] += 1
                known = promised.get(stripe.promise, State.SAFE)
                promised[stripe.promise] = max(known, stripe.state, key=ORDER.index)
        wanted = next(iter(promised)) if len(promised) == 1 else None
        worst = next((state for state in reversed(ORDER) if counts[state.value]), State.SAFE)
        if len(members) == 1 and worst is State.SAFE:
            worst = State.RISK
        if len(members) > 1 and not self._heard_lately():
            worst = State.UNKNOWN
        sentence = sentence_of(worst, counts=counts, promise=wanted, machines=len(members))
        if self._brake.on:
            change, _ = self._brake.on[-1]
            sentence += (
                f" {self._membership.name_of(change.author)} has removed or rewritten {change.count:,} of"
                f" {change.entries:,} entries of a folder: nothing is let go until you look (p2pstore brake)."
            )
        return Verdict(worst, sentence, counts, self._clock.now_s(), promised)

    async def states_of(self, statements: Sequence[StripeStatement]) -> list[State]:
        """Where each of some stripes stands now, sorted by encoding."""
        return await self._states(statements, await self._counted())

    async def _states(
        self, statements: Sequence[StripeStatement], counted: Mapping[PeerId, bool]
    ) -> list[State]:
        return [stripe.state for stripe in await self._as_counted(statements, counted)]

    async def _as_counted(
        self, statements: Sequence[StripeStatement], counted: Mapping[PeerId, bool]
    ) -> list[CountedStripe]:
        """Stripes with the holders that count, sorted by encoding."""
        stated: dict[EncodingId, list[StripeStatement]] = {}
        for statement in statements:
            stated.setdefault(statement.encoding, []).append(statement)
        holders = await self._catalog.holders_of(sorted(stated))
        stripes = []
        sites = self._membership.sites()
        for encoding, said in sorted(stated.items()):
            held = {peer: indices for peer, indices in holders[encoding].items() if counted.get(peer)}
            promise = promise_of_words(each.promise for each in said)
            first = said[0]
            stripes.append(
                CountedStripe(encoding, first.chunk, first.needed, first.shard_length, promise, held, sites)
            )
        return stripes

    async def stripes(self) -> AsyncIterator[list[CountedStripe]]:
        """Every stripe as the verdict sees it, a page at a time."""
        counted = await self._counted()
        after: EncodingId | None = None
        while statements := await self._ledger.stripes_after(after, PAGE_STRIPES):
            after = statements[-1].encoding
            yield await self._as_counted(statements, counted)

    async def _counted(self) -> dict[PeerId, bool]:
        """Whose shards count: by the rules that repair goes by."""
        standing = await self._silences.standings()
        return {peer: each.counts for peer, each in standing.items()}

    def _heard_lately(self) -> bool:
        now_s = self._clock.now_s()
        heard = [each.heard_at_s for each in self._liveness.known().values()]
        return now_s - max(heard, default=self._started_s) <= UNHEARD_FOR_S
