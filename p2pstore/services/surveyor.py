"""Looks at stripes: what the inventories say of them, what whoever answers says, and where they stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from p2pstore.errors import Corrupt, PeerFault, Unavailable
from p2pstore.ids import EncodingId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.operations import StripeStatement
from p2pstore.placement.promise import Promise, Sites, promise_of_words
from p2pstore.placement.ranking import Offer, plain_offers
from p2pstore.placement.repair import Cause, Judgement, Standing, judge, plan_repair
from p2pstore.services.download import KnownStripe
from p2pstore.services.liveness import Liveness
from p2pstore.services.shards import ShardClient
from p2pstore.services.silences import Silences
from p2pstore.storage.store import ShardStore

PAGE_STRIPES: Final = 200
"""Stripes looked at in one go: about 15 ms of the ledger's time."""


@dataclass(frozen=True, slots=True)
class Found:
    """A stripe as it was looked at.

    Attributes:
        stripe: with everybody who announced shards of it, removed machines among them.
        promise: the union of what was stated.
        judgement: where it stands.
    """

    stripe: KnownStripe
    promise: Promise
    judgement: Judgement


@dataclass(frozen=True, slots=True)
class Survey:
    """What is due in the whole household, as far as this machine knows.

    Attributes:
        looked_at: stripes.
        due: of them.
        shards: that repairs would add.
        bytes: their payloads.
        stuck: due, but no machine that answers could take what they lack.
        margins: due stripes by how many further failures they bear.
        causes: due stripes by cause; one may have several.
        without: due stripes by the machine that they lack.
        standing: every member's.
    """

    looked_at: int
    due: int
    shards: int
    bytes: int
    stuck: int
    margins: Mapping[int, int]
    causes: Mapping[Cause, int]
    without: Mapping[PeerId, int]
    standing: Mapping[PeerId, Standing]


@dataclass(slots=True)
class _Tally:
    looked_at: int = 0
    due: int = 0
    shards: int = 0
    bytes: int = 0
    stuck: int = 0
    margins: Counter[int] = field(default_factory=Counter)
    causes: Counter[Cause] = field(default_factory=Counter)
    without: Counter[PeerId] = field(default_factory=Counter)


class Surveyor:
    """Looks; changes nothing."""

    def __init__(
        self,
        *,
        me: PeerId,
        ledger: Ledger,
        store: ShardStore,
        silences: Silences,
        liveness: Liveness,
        shards: ShardClient,
        sites: Callable[[], Sites],
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._store = store
        self._silences = silences
        self._liveness = liveness
        self._shards = shards
        self._sites = sites

    async def survey(self, *, impatient: bool = False) -> Survey:
        """Look at every stripe that this machine knows of; changes nothing."""
        standing = await self._silences.standings(impatient=impatient)
        offers = plain_offers(sorted([self._me, *self._liveness.answering()]), self._sites())
        tally = _Tally()
        after: EncodingId | None = None
        while statements := await self._ledger.stripes_after(after, PAGE_STRIPES):
            after = statements[-1].encoding
            for found in await self.look_at({each.encoding for each in statements}, standing):
                tally.looked_at += 1
                if found.judgement.due:
                    self._count(tally, found, standing, offers)
        return Survey(
            tally.looked_at,
            tally.due,
            tally.shards,
            tally.bytes,
            tally.stuck,
            dict(tally.margins),
            dict(tally.causes),
            dict(tally.without),
            standing,
        )

    def _count(
        self, tally: _Tally, found: Found, standing: Mapping[PeerId, Standing], offers: Sequence[Offer]
    ) -> None:
        plan = plan_repair(
            found.stripe.needed, found.stripe.holders, standing, offers, found.promise, self._sites()
        )
        tally.due += 1
        tally.shards += len(plan.added)
        tally.bytes += len(plan.added) * found.stripe.shard_length
        tally.stuck += not plan.added
        tally.margins[found.judgement.margin] += 1
        tally.causes.update(found.judgement.causes)
        tally.without.update(found.judgement.without)

    async def look_at(self, encodings: Iterable[EncodingId], standing: Mapping[PeerId, Standing]) -> list[Found]:
        """Stripes as inventories have them; those that nobody refers to are left out."""
        wanted = sorted(encodings)
        stated = await self._ledger.stripes_of(wanted)
        holders = await self._ledger.holders_of(wanted)
        found = []
        for encoding in wanted:
            if not stated[encoding]:
                continue
            held: dict[PeerId, list[int]] = {}
            for holder in holders[encoding]:
                held.setdefault(holder.peer, []).append(holder.index)
            found.append(_judged(stated[encoding], held, standing, self._sites()))
        return found

    async def look_closely(self, encoding: EncodingId, standing: Mapping[PeerId, Standing]) -> Found | None:
        """The same for one stripe, everybody who answers asked. An answer may add shards, never take any away: an
        inventory that is being told anew, or a disk that is away, is no loss."""
        stated = (await self._ledger.stripes_of([encoding]))[encoding]
        if not stated:
            return None
        held: dict[PeerId, set[int]] = {}
        for holder in (await self._ledger.holders_of([encoding]))[encoding]:
            if holder.peer != self._me:
                held.setdefault(holder.peer, set()).add(holder.index)
        held[self._me] = set(await self._store.shards_of(encoding))

        async def ask(peer: PeerId) -> None:
            try:
                held.setdefault(peer, set()).update(await self._shards.find(peer, encoding))
            except (Unavailable, PeerFault, Corrupt):
                return

        async with trio.open_nursery() as nursery:
            for peer in self._liveness.answering():
                nursery.start_soon(ask, peer)
        found = {peer: sorted(held[peer]) for peer in sorted(held) if held[peer]}
        return _judged(stated, found, standing, self._sites())


def _judged(
    stated: Sequence[StripeStatement],
    held: Mapping[PeerId, Sequence[int]],
    standing: Mapping[PeerId, Standing],
    sites: Sites,
) -> Found:
    first = stated[0]
    promise = promise_of_words(each.promise for each in stated)
    stripe = KnownStripe(first.encoding, first.needed, first.shard_length, held)
    return Found(stripe, promise, judge(first.needed, held, standing, promise, sites))
