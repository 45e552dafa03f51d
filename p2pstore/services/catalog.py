"""What this machine knows of stripes, manifests and who could take shards: ledger, own store and DHT, put together."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from p2pstore.ids import ChunkId, EncodingId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import STORE_REPAIR_BELOW
from p2pstore.metadata.member import Member
from p2pstore.metadata.operations import StripeStatement
from p2pstore.placement.promise import Promise, promise_of_words
from p2pstore.placement.ranking import Candidate, awake_share
from p2pstore.seams.clock import Clock
from p2pstore.services.download import KnownStripe
from p2pstore.services.liveness import Condition, Liveness
from p2pstore.storage.store import ShardStore

CANDIDATES_MIN: Final = 20
"""How many nodes near a stripe are asked for: k of the DHT, so that in a household it is everybody."""


REMEMBERED_S: Final = 1.0
"""Where everybody is near every stripe, the answer is the same for all stripes of a second."""


RECEIPTS_COUNT_FOR_S: Final = 30.0
"""A receipt of our own stands for the holder's inventory until that has arrived: it comes every two seconds."""


class Receipts:
    """Who receipted what to this machine lately."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[EncodingId, dict[PeerId, set[int]]] = {}
        self._order: deque[tuple[float, EncodingId]] = deque()

    def note(self, encoding: EncodingId, peer: PeerId, index: int) -> None:
        """A machine has just receipted a shard."""
        self._forget()
        if encoding not in self._held:
            self._order.append((self._clock.now_s() + RECEIPTS_COUNT_FOR_S, encoding))
        self._held.setdefault(encoding, {}).setdefault(peer, set()).add(index)

    def of(self, encoding: EncodingId) -> Mapping[PeerId, Collection[int]]:
        """Which indices each machine has receipted lately."""
        self._forget()
        return self._held.get(encoding, {})

    def _forget(self) -> None:
        now_s = self._clock.now_s()
        while self._order and self._order[0][0] <= now_s:
            self._held.pop(self._order.popleft()[1], None)


class Catalog:
    """Answers the services' questions about stripes."""

    def __init__(
        self, *, me: PeerId, ledger: Ledger, store: ShardStore | None, receipts: Receipts | None = None
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._store = store
        self._receipts = receipts

    async def holders_of(self, encodings: Sequence[EncodingId]) -> dict[EncodingId, dict[PeerId, list[int]]]:
        """What inventories and fresh receipts say, and for this machine what its store says."""
        known = await self._ledger.holders_of(encodings)
        found: dict[EncodingId, dict[PeerId, list[int]]] = {}
        for encoding in encodings:
            by_peer: dict[PeerId, list[int]] = {}
            for holder in known[encoding]:
                if holder.peer != self._me:
                    by_peer.setdefault(holder.peer, []).append(holder.index)
            for peer, indices in ({} if self._receipts is None else self._receipts.of(encoding)).items():
                if peer != self._me:
                    by_peer[peer] = sorted({*by_peer.get(peer, ()), *indices})
            if self._store is not None and (mine := await self._store.shards_of(encoding)):
                by_peer[self._me] = mine
            found[encoding] = by_peer
        return found

    async def holders(self, encoding: EncodingId) -> Mapping[PeerId, Sequence[int]]:
        """Which indices of a stripe each machine is said to hold."""
        return (await self.holders_of([encoding]))[encoding]

    async def announced(self, encoding: EncodingId) -> Mapping[PeerId, Sequence[int]]:
        """What inventories say, this machine's own among them; one question, for those who ask the holders anyway. Of a
        stripe that was signed away, nothing: it is placed as if it were new."""
        found: dict[PeerId, list[int]] = {}
        for holder in await self._ledger.announced(encoding):
            found.setdefault(holder.peer, []).append(holder.index)
        return found

    async def stripes_of_chunk(self, chunk: ChunkId) -> list[KnownStripe]:
        """Every stripe of a chunk, the one with most holders first."""
        statements = {each.encoding: each for each in (await self._ledger.stripes_for([chunk]))[chunk]}
        holders = await self.holders_of(sorted(statements))
        stripes = [_known(statements[encoding], holders[encoding]) for encoding in sorted(statements)]
        return sorted(stripes, key=lambda stripe: -sum(map(len, stripe.holders.values())) + stripe.needed)

    async def stripes_elsewhere(self, chunk: ChunkId) -> list[KnownStripe]:
        """The same without what lies here: for proving that the others suffice."""
        return [
            replace(stripe, holders={peer: held for peer, held in stripe.holders.items() if peer != self._me})
            for stripe in await self.stripes_of_chunk(chunk)
        ]

    async def stripe(self, encoding: EncodingId) -> tuple[KnownStripe, Promise] | None:
        """A stripe and the union of the promises that were stated for it; None if nobody refers to it."""
        statements = (await self._ledger.stripes_of([encoding]))[encoding]
        if not statements:
            return None
        promise = promise_of_words(each.promise for each in statements)
        return _known(statements[0], await self.holders(encoding)), promise


def _known(statement: StripeStatement, holders: Mapping[PeerId, Sequence[int]]) -> KnownStripe:
    return KnownStripe(statement.encoding, statement.needed, statement.shard_length, holders)


class Nearby:
    """Who could take a shard now: the nearest by the DHT that answered, if they belong to us and answer us too.

    The DHT is a hint: where it knows fewer than it should of those who answer us, all of them are taken. In a household
    of up to 20 others that is everybody either way, and the DHT answers from memory.
    """

    def __init__(
        self,
        *,
        me: PeerId,
        clock: Clock,
        liveness: Liveness,
        own_condition: Callable[[], Condition],
        find_node: Callable[[bytes, int], Awaitable[Sequence[PeerId]]],
        member: Callable[[PeerId], Member | None],
        leaving: Callable[[], Collection[PeerId]] = frozenset,
    ) -> None:
        self._me = me
        self._clock = clock
        self._liveness = liveness
        self._own_condition = own_condition
        self._find_node = find_node
        self._member = member
        self._leaving = leaving
        self._everybody: tuple[float, list[Candidate]] = (-math.inf, [])

    async def near(self, encoding: EncodingId, *, for_repair: bool = False) -> list[Candidate]:
        """Machines that accept shards, this one included if it does; nobody who leaves. Order means nothing."""
        found = await (self._near_for_repair(encoding) if for_repair else self._near(encoding))
        leaving = self._leaving()
        return [candidate for candidate in found if candidate.peer not in leaving]

    async def _near(self, encoding: EncodingId) -> list[Candidate]:
        asked_at_s, everybody = self._everybody
        now_s = self._clock.now_s()
        if now_s - asked_at_s < REMEMBERED_S:
            return [each for each in everybody if each.peer == self._me or self._liveness.answers(each.peer)]
        answering = self._liveness.answering()
        found = frozenset(await self._find_node(encoding, CANDIDATES_MIN))
        nearest = [peer for peer in answering if peer in found]
        if len(nearest) < min(len(answering), CANDIDATES_MIN):
            nearest = answering
        known = self._liveness.known()
        conditions = {peer: known[peer].condition for peer in nearest} | {self._me: self._own_condition()}
        candidates = [self._candidate(peer, each, each.accepts_bytes) for peer, each in conditions.items()]
        willing = [candidate for candidate in candidates if candidate.free_bytes > 0]
        if len(answering) <= CANDIDATES_MIN:
            self._everybody = (now_s, willing)
        return willing

    async def _near_for_repair(self, encoding: EncodingId) -> list[Candidate]:
        """The same, and those that take repairs only; their room is what is left below the rung where they are full."""
        willing = {candidate.peer: candidate for candidate in await self._near(encoding)}
        known = self._liveness.known()
        conditions = {peer: known[peer].condition for peer in self._liveness.answering()}
        for peer, condition in sorted({**conditions, self._me: self._own_condition()}.items()):
            room = int(condition.given_bytes * STORE_REPAIR_BELOW) - condition.used_bytes
            if peer not in willing and room > 0:
                willing[peer] = self._candidate(peer, condition, room)
        return list(willing.values())

    async def machines_at_hand(self) -> list[Candidate]:
        """Machines that a stripe can be planned for."""
        return await self.near(EncodingId(bytes(32)))

    def _candidate(self, peer: PeerId, condition: Condition, free_bytes: int) -> Candidate:
        member = self._member(peer)
        if member is None:
            return Candidate(peer, free_bytes, given_bytes=condition.given_bytes)
        return Candidate(peer, free_bytes, awake_share(member.steadiness), member.site, condition.given_bytes)
