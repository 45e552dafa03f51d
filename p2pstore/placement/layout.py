"""How many shards of a stripe each machine holds: the cheapest layout that keeps a promise. Pure.

For k data shards and n in all, a promise is two caps: of any f machines that may fail together none holds more than
(n - k) / f shards, and no house more than n - k. Such caps nest (a machine stands in one house), so taking the cheapest
machine that still may is the cheapest layout for that n; n is tried from k + 1 up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from p2pstore.ids import PeerId
from p2pstore.limits import MOTHER_PARITY
from p2pstore.placement.promise import Promise
from p2pstore.placement.ranking import Offer

READS: Final = 0.99
"""A layout is good enough to read when its machines hold k shards that are awake for so much of the time."""

_ANOTHER: Final = 0.6
"""How awake a machine is taken to be that holds shards and offers nothing now: as a desktop."""


_VARIANTS: Final = ((False, True), (True, True), (True, False), (False, False))
"""(steady machines first, by price rather than by how awake they are), the cheapest first."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How many shards each machine holds.

    Attributes:
        counts: by machine; those that were held before are among them, up to what is of use.
        price: of what is added.
        reads: share of the time at which k shards are awake.
    """

    counts: Mapping[PeerId, int]
    price: float
    reads: float

    @property
    def total(self) -> int:
        """n."""
        return sum(self.counts.values())


def cheapest_layout(
    needed: int,
    promise: Promise,
    offers: Sequence[Offer],
    *,
    held: Mapping[PeerId, int] | None = None,
    sites: Mapping[PeerId, str] | None = None,
) -> Layout | None:
    """The cheapest layout of stripes of `needed` data shards that keeps `promise`.

    Args:
        needed: k.
        promise: what must be survived.
        offers: machines that can take shards, each once.
        held: shards that lie somewhere already; what is of use of them costs nothing.
        sites: where the machines of `held` stand that offer nothing.

    Returns:
        Of the layouts that read READS of the time the cheapest; if there is none, of those with k shards on steady
        machines, and then of all. None if the promise cannot be kept on these machines.
    """
    best: tuple[tuple[bool, bool, float, int], Layout] | None = None
    ground = _Ground(needed, offers, dict(held or {}), dict(sites or {}))
    for total in range(needed + 1, min(needed * (promise.machines + 1), needed + MOTHER_PARITY) + 1):
        for steady_first, by_price in _VARIANTS:
            counts = ground.fill(total, promise, steady_first=steady_first, by_price=by_price)
            if counts is None:
                break  # the caps are the same for every variant
            price, reads = ground.price(counts), ground.reads(counts)
            poor = reads < READS
            key = (poor, poor and not ground.is_steady(counts), price, total)
            if best is None or key < best[0]:
                best = key, Layout(counts, price, reads)
            if not poor:
                break  # the next variants cost more
    return None if best is None else best[1]


class _Ground:
    """What layouts of one stripe are made on."""

    def __init__(
        self, needed: int, offers: Sequence[Offer], held: dict[PeerId, int], sites: dict[PeerId, str]
    ) -> None:
        self._needed = needed
        self._held = held
        self._site = {peer: sites.get(peer, "") for peer in held} | {offer.peer: offer.site for offer in offers}
        self._offers = {offer.peer: offer for offer in offers}
        self._by_price = sorted(offers, key=lambda offer: (offer.price, offer.peer))
        self._by_awake = sorted(offers, key=lambda offer: (-offer.awake, offer.price, offer.peer))

    def fill(
        self, total: int, promise: Promise, *, steady_first: bool, by_price: bool
    ) -> dict[PeerId, int] | None:
        """Who holds how many of `total` shards; None if the caps leave no room for so many."""
        machine_cap = (total - self._needed) // promise.machines
        house_cap = total - self._needed if promise.house else total
        counts: dict[PeerId, int] = {}
        houses: dict[str, int] = {}

        def take(peer: PeerId, most: int) -> int:
            site = self._site[peer]
            most = min(most, machine_cap - counts.get(peer, 0), house_cap - houses.get(site, 0))
            if most > 0:
                counts[peer] = counts.get(peer, 0) + most
                houses[site] = houses.get(site, 0) + most
            return max(0, most)

        left = total - sum(take(peer, min(self._held[peer], total)) for peer in sorted(self._held))
        order = self._by_price if by_price else self._by_awake
        if steady_first:
            steady = sum(count for peer, count in counts.items() if peer in self._offers and self._offers[peer].steady)
            wanted = min(left, self._needed - steady)
            for offer in order:
                if offer.steady and wanted > 0:
                    taken = take(offer.peer, min(wanted, self._room(offer, counts)))
                    wanted, left = wanted - taken, left - taken
        for offer in order:
            if left <= 0:
                break
            left -= take(offer.peer, min(left, self._room(offer, counts)))
        return None if left > 0 else counts

    def _room(self, offer: Offer, counts: Mapping[PeerId, int]) -> int:
        return offer.room - max(0, counts.get(offer.peer, 0) - self._held.get(offer.peer, 0))

    def price(self, counts: Mapping[PeerId, int]) -> float:
        """What the shards cost that are not held yet."""
        return sum(
            (count - self._held.get(peer, 0)) * self._offers[peer].price
            for peer, count in counts.items()
            if count > self._held.get(peer, 0)
        )

    def is_steady(self, counts: Mapping[PeerId, int]) -> bool:
        """Whether k shards lie on steady machines."""
        steady = (count for peer, count in counts.items() if peer in self._offers and self._offers[peer].steady)
        return sum(steady) >= self._needed

    def reads(self, counts: Mapping[PeerId, int]) -> float:
        """How much of the time k shards are awake."""
        machines = (
            (self._offers[peer].awake if peer in self._offers else _ANOTHER, count) for peer, count in counts.items()
        )
        return readable_share(self._needed, tuple(sorted(machines)))


@lru_cache(maxsize=4096)
def readable_share(needed: int, machines: tuple[tuple[float, int], ...]) -> float:
    """The probability that machines with `needed` shards together are awake, each independently of the others.

    Args:
        needed: k.
        machines: how awake each is, and how many shards it holds.
    """
    chances = [1.0] + [0.0] * needed
    for share, count in machines:
        after = [0.0] * (needed + 1)
        for found, chance in enumerate(chances):
            after[min(needed, found + count)] += chance * share
            after[found] += chance * (1 - share)
        chances = after
    return chances[needed]
