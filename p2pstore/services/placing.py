"""Places one stripe: hands its shards to machines, and when some fail, adds rows elsewhere until the promise holds.

```
placed already? > confirm with the holders > send the rest > receipts > (somebody failed: extend) > how safe is it now
```
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from p2pstore.errors import PeerFault, Unavailable
from p2pstore.ids import EncodingId, PeerId, ShardId
from p2pstore.pipeline.stripe import EncodedChunk, EncodedShard
from p2pstore.placement.planner import extend_stripe
from p2pstore.placement.promise import NO_SITES, Promise, Sites, StripeHealth, stripe_health
from p2pstore.placement.ranking import Candidate, Offer, offers_of
from p2pstore.services.liveness import Liveness
from p2pstore.services.shards import ShardClient

PATIENCE_S: Final = 0.8
"""How long a holder may sit on a shard before we ask whether it is still there at all."""


class Candidates(Protocol):
    """Who could take a shard."""

    async def near(self, encoding: EncodingId, *, for_repair: bool = False) -> list[Candidate]:
        """Machines that answered lately and accept shards, this one included if it does; for a repair also those that
        are too full for anything else."""
        ...


@dataclass(slots=True)
class PlacedStripe:
    """Where the shards of one stripe are, as receipted.

    Attributes:
        encoding: the stripe.
        needed: k.
        sealed_length: bytes of the sealed chunk.
        shard_length: bytes of each payload.
        promise: what it was to survive.
        held: indices per machine.
        failed: machines that did not take theirs.
        for_repair: stores that are too full for placements take its shards too.
        sites: where machines stand.
    """

    encoding: EncodingId
    needed: int
    sealed_length: int
    shard_length: int
    promise: Promise
    held: dict[PeerId, list[int]] = field(default_factory=dict)
    failed: set[PeerId] = field(default_factory=set)
    for_repair: bool = False
    sites: Sites = field(default_factory=lambda: NO_SITES)

    def health(self) -> StripeHealth:
        """What it survives."""
        return stripe_health(self.needed, self.held, self.sites)

    @property
    def safe(self) -> bool:
        """Whether the promise holds."""
        return self.health().keeps(self.promise)

    def add(self, peer: PeerId, index: int) -> None:
        """Note a receipt."""
        indices = self.held.setdefault(peer, [])
        if index not in indices:
            indices.append(index)


MoreShards = Callable[[Sequence[int]], Awaitable[Sequence[EncodedShard]]]
"""Makes further rows of a stripe."""

Plan = Callable[[PlacedStripe, Sequence[Offer]], Sequence[tuple[PeerId, int]]]
"""Which shards to add to a stripe on machines that offer room; nothing to leave it at that."""


def _keep_promise(placed: PlacedStripe, offers: Sequence[Offer]) -> Sequence[tuple[PeerId, int]]:
    return extend_stripe(placed.needed, placed.held, offers, placed.promise, sites=placed.sites)


class Placing:
    """Places stripes. Holds no state between them."""

    def __init__(
        self,
        *,
        me: PeerId,
        shards: ShardClient,
        liveness: Liveness,
        candidates: Candidates,
        known_holders: Callable[[EncodingId], Awaitable[Mapping[PeerId, Sequence[int]]]],
        receipted: Callable[[EncodingId, PeerId, int], None] = lambda _encoding, _peer, _index: None,
        move_on_after: Callable[[float], trio.CancelScope],
        sites: Callable[[], Sites] = lambda: NO_SITES,
        leaving: Callable[[], Collection[PeerId]] = frozenset,
    ) -> None:
        self._me = me
        self._shards = shards
        self._liveness = liveness
        self._candidates = candidates
        self._known_holders = known_holders
        self._receipted = receipted
        self._move_on_after = move_on_after
        self._sites = sites
        self._leaving = leaving

    async def place(
        self,
        encoded: EncodedChunk,
        promise: Promise,
        more: MoreShards,
        *,
        receipted: Callable[[int], None] = lambda _: None,
    ) -> PlacedStripe:
        """Hand out the shards of a stripe that was just encoded.

        Args:
            encoded: the stripe; as many shards as its plan has.
            promise: what it must survive.
            more: makes further rows when machines fail.
            receipted: told the payload bytes of each receipt as it comes.

        Returns:
            Where the shards are. It may fall short of the promise, even of k: the caller looks at its health.
        """
        placed = self._nothing_placed(encoded, promise)
        shards = {shard.index: shard for shard in encoded.shards}
        await self._confirm_known(placed, shards, receipted)
        await self.extend(placed, shards, more, receipted=receipted)
        return placed

    def _nothing_placed(self, encoded: EncodedChunk, promise: Promise) -> PlacedStripe:
        return PlacedStripe(
            encoded.encoding,
            encoded.needed,
            encoded.sealed_length,
            encoded.shard_length,
            promise,
            sites=self._sites(),
        )

    async def place_here(self, encoded: EncodedChunk, promise: Promise) -> PlacedStripe:
        """Keep k shards on this machine: durable and readable, whatever else happens."""
        placed = self._nothing_placed(encoded, promise)
        shards = {shard.index: shard for shard in encoded.shards}
        wave = [(self._me, index) for index in range(encoded.needed)]
        await self._send_wave(placed, shards, wave, lambda _: None)
        return placed

    async def extend(
        self,
        placed: PlacedStripe,
        shards: dict[int, EncodedShard],
        more: MoreShards,
        *,
        receipted: Callable[[int], None] = lambda _: None,
        plan: Plan = _keep_promise,
    ) -> None:
        """Add rows until the promise holds, no machine is left to put them on, or `plan` names none."""
        while not placed.safe:
            near = await self._candidates.near(placed.encoding, for_repair=placed.for_repair)
            wave = plan(placed, self._offers(placed, near))
            if not wave:
                return
            missing = [index for _, index in wave if index not in shards]
            if missing:
                shards.update({shard.index: shard for shard in await more(missing)})
            await self._send_wave(placed, shards, wave, receipted)

    def _offers(self, placed: PlacedStripe, near: Sequence[Candidate]) -> list[Offer]:
        usable = [candidate for candidate in near if candidate.peer not in placed.failed]
        return offers_of(placed.encoding, usable, shard_bytes=placed.shard_length)

    async def _confirm_known(
        self, placed: PlacedStripe, shards: Mapping[int, EncodedShard], receipted: Callable[[int], None]
    ) -> None:
        """Count what an earlier upload left, if its holders still have exactly those bytes."""
        leaving = self._leaving()
        announced = await self._known_holders(placed.encoding)
        known = {peer: indices for peer, indices in announced.items() if peer not in leaving}
        if not known:
            return

        async def confirm(peer: PeerId, index: int) -> None:
            payload_hash = shards[index].parsed.payload_hash
            try:
                await self._shards.confirm(peer, ShardId(placed.encoding, index), payload_hash)
            except (Unavailable, PeerFault):
                return
            placed.add(peer, index)
            receipted(placed.shard_length)

        async with trio.open_nursery() as nursery:
            for peer, indices in sorted(known.items()):
                if peer != self._me and not self._liveness.answers(peer):
                    continue
                for index in sorted(indices):
                    if index in shards:
                        nursery.start_soon(confirm, peer, index)

    async def _send_wave(
        self,
        placed: PlacedStripe,
        shards: Mapping[int, EncodedShard],
        wave: Sequence[tuple[PeerId, int]],
        receipted: Callable[[int], None],
    ) -> None:
        """Hand out shards, all at once; whoever answers nothing any more is waited for no longer."""
        if not wave:
            return
        waiting: dict[trio.CancelScope, PeerId] = {}

        async def send(peer: PeerId, shard: EncodedShard) -> None:
            with trio.CancelScope() as scope:
                if peer != self._me:
                    waiting[scope] = peer
                stored = await self._stored(peer, shard, for_repair=placed.for_repair)
            waiting.pop(scope, None)
            if scope.cancelled_caught or not stored:
                placed.failed.add(peer)
            else:
                placed.add(peer, shard.index)
                self._receipted(placed.encoding, peer, shard.index)
                receipted(len(shard.payload))
            if not waiting:
                watcher.cancel()

        async with trio.open_nursery() as nursery:
            for peer, index in wave:
                nursery.start_soon(send, peer, shards[index])
            with trio.CancelScope() as watcher:
                await self._watch(waiting)

    async def _stored(self, peer: PeerId, shard: EncodedShard, *, for_repair: bool) -> bool:
        """Whether the machine took the shard."""
        try:
            await self._shards.put(peer, shard.parsed, shard.header, shard.payload, for_repair=for_repair)
        except PeerFault:
            return False
        except Unavailable:
            if peer != self._me:
                self._liveness.distrust(peer)
            return False
        return True

    async def _watch(self, waiting: Mapping[trio.CancelScope, PeerId]) -> None:
        """Give up those that have stopped answering, until nobody is waited for."""
        while True:
            with self._move_on_after(PATIENCE_S):
                await trio.sleep_forever()
            if not waiting:
                return
            for peer in sorted(set(waiting.values())):
                if await self._liveness.stalled(peer):
                    for scope in [scope for scope, each in waiting.items() if each == peer]:
                        scope.cancel()
