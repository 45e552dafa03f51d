"""Compiles a promise for the machines at hand into k, n and how many shards each machine holds.

The rule is not "one shard per machine" but: no failure set that was promised to be survivable holds more than n - k
shards of a stripe (docs/decisions/0003, 0060).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from p2pstore.ids import PeerId
from p2pstore.limits import MOTHER_PARITY
from p2pstore.placement.layout import READS, Layout, cheapest_layout
from p2pstore.placement.promise import NO_SITES, Promise, Sites, StripeHealth, stripe_health
from p2pstore.placement.ranking import Offer

DATA_SHARDS_MOST: Final = 10
"""k in a household. Wider stripes save less and less (10+2 stores 1.2 bytes a byte, 16+2 1.13) and each is as many more
messages and disk seeks; 10 keeps twelve equal machines within 1 % of what any layout could hold."""


@dataclass(frozen=True, slots=True)
class StripePlan:
    """How one stripe is coded and spread.

    Attributes:
        needed: k.
        holders: the machines, each once per shard; shard i goes to `holders[i]`.
        promised: what was asked for.
        kept: whether this plan keeps it.
        keeps: what it does keep; None for a lone machine.
        reads: share of the time at which it can be read.
    """

    needed: int
    holders: tuple[PeerId, ...]
    promised: Promise
    kept: bool
    keeps: Promise | None = None
    reads: float = 1.0

    @property
    def total(self) -> int:
        """n."""
        return len(self.holders)


def plan_stripe(offers: Sequence[Offer], promise: Promise) -> StripePlan:
    """The cheapest plan that keeps `promise` on the machines at hand, or the safest one if none does.

    Args:
        offers: machines that can take shards now, each once.
        promise: what must be survived.

    Returns:
        k from the machines' sites and steadiness alone, so that machines that fill up do not change how a chunk is
        coded; then the cheapest layout of that k.

    Raises:
        ValueError: no machine at all.
    """
    if not offers:
        raise ValueError("no machine to place on")
    for lesser in lesser_promises(promise):
        needed = needed_for(tuple(sorted((offer.site, offer.awake) for offer in offers)), lesser)
        layout = None if needed is None else cheapest_layout(needed, lesser, offers)
        if needed is not None and layout is not None:
            return StripePlan(needed, _holders(layout), promise, lesser == promise, lesser, layout.reads)
    first = min(offers, key=lambda offer: (-offer.awake, offer.price, offer.peer))
    return StripePlan(1, (first.peer,), promise, kept=False, reads=first.awake)


def _holders(layout: Layout) -> tuple[PeerId, ...]:
    return tuple(peer for peer in sorted(layout.counts) for _ in range(layout.counts[peer]))


def lesser_promises(promise: Promise) -> list[Promise]:
    """`promise`, and what is left of it where it cannot be kept, the most first."""
    parts = [promise, Promise(1, promise.house), Promise(promise.machines), Promise(1)]
    return list(dict.fromkeys(parts))


@lru_cache(maxsize=256)
def needed_for(machines: tuple[tuple[str, float], ...], promise: Promise) -> int | None:
    """k for a household: the one that stores fewest bytes among those that read READS of the time; None if the promise
    cannot be kept at all.

    Args:
        machines: (site, how awake) of each, sorted.
        promise: what must be survived.
    """
    offers = [
        Offer(PeerId(number.to_bytes(32, "big")), awake=awake, site=site)
        for number, (site, awake) in enumerate(machines)
    ]
    found = []
    for needed in range(1, DATA_SHARDS_MOST + 1):
        layout = cheapest_layout(needed, promise, offers)
        if layout is not None:
            poor = layout.reads < READS
            found.append((poor, layout.total / needed, needed))
    return min(found)[2] if found else None


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A part of a promise that cannot be kept on the machines at hand.

    Attributes:
        part: "any 2 machines", "any one house".
        because: what is there.
        wanted: what would make it possible.
    """

    part: str
    because: str
    wanted: str


def shortfalls(offers: Sequence[Offer], promise: Promise) -> list[Shortfall]:
    """Which parts of `promise` cannot be kept, and what would make it possible; [] if all can."""
    found = []
    count, sites = len(offers), sorted({offer.site for offer in offers})
    if count <= promise.machines:
        part = "any one machine" if promise.machines == 1 else f"any {promise.machines} machines"
        more = promise.machines + 1 - count
        there = "no machine takes" if not count else "only one machine takes" if count == 1 else f"only {count} take"
        wanted = "one more machine with room" if more == 1 else f"{more} more machines with room"
        found.append(Shortfall(part, f"{there} shards now", wanted))
    if promise.house and len(sites) < 2:
        there = f"all machines that take shards now stand at one site ({sites[0]})" if sites else "there is none"
        found.append(Shortfall("any one house", there, "a machine with room at a second site"))
    return found


def extend_stripe(
    needed: int,
    held: Mapping[PeerId, Sequence[int]],
    offers: Sequence[Offer],
    promise: Promise,
    *,
    sites: Sites = NO_SITES,
    avoid: Collection[int] = (),
) -> list[tuple[PeerId, int]]:
    """Which shards to add, and where, so that a stripe that lost its way keeps its promise after all.

    Adding parity rows (or missing data rows) to what is placed beats coding anew: nothing that is placed is wasted. The
    cheapest layout that the promise allows is completed; where it allows none, the machine that holds fewest gets the
    next shard, until the promise holds or the mother code has no more rows.

    Args:
        needed: k; 1 means copies.
        held: indices already receipted, per machine.
        offers: machines that can take a shard now, best first.
        promise: what must be survived.
        sites: where machines stand, also those that offer nothing.
        avoid: rows to make only when no other are left: somebody silent may bring them back.

    Returns:
        (machine, index) in the order to be placed; [] when the promise already holds or nothing can be added. It may
        fall short of the promise, also because these machines cannot keep it: the caller checks `health_with`.
    """
    places = {**sites, **{offer.peer: offer.site for offer in offers}}
    there = {peer for peer in held if held[peer]} | {offer.peer for offer in offers}
    promise = _within_reach(promise, there, places)
    if not offers or stripe_health(needed, held, places).keeps(promise):
        return []
    if added := _completed(needed, held, offers, promise, places, avoid):
        return added
    return _one_by_one(needed, held, offers, promise, places, avoid)


def _within_reach(promise: Promise, machines: Collection[PeerId], sites: Sites) -> Promise:
    """As much of a promise as any spread over these machines could keep."""
    houses = {sites.get(peer, "") for peer in machines}
    for lesser in lesser_promises(promise):
        if len(machines) > lesser.machines and (len(houses) > 1 or not lesser.house):
            return lesser
    return Promise.ANY_1


def _completed(
    needed: int,
    held: Mapping[PeerId, Sequence[int]],
    offers: Sequence[Offer],
    promise: Promise,
    sites: Sites,
    avoid: Collection[int],
) -> list[tuple[PeerId, int]]:
    """What the cheapest layout lacks; [] if there is none, or rows that lie twice make it less than it seems."""
    alone = _distinct(held)
    counted = {peer: len(indices) for peer, indices in alone.items()}
    layout = cheapest_layout(needed, promise, offers, held=counted, sites=sites)
    if layout is None:
        return []
    spare: list[int] = []
    for peer in sorted(alone):
        spare += sorted(alone[peer])[max(1, layout.counts.get(peer, 0)) :]
    taken = {index for indices in held.values() for index in indices}
    free = [index for index in range(needed + MOTHER_PARITY) if index not in taken]
    free.sort(key=lambda index: (index in avoid, index))
    rows = (spare if needed > 1 else []) + free
    added: list[tuple[PeerId, int]] = []
    for offer in offers:
        mine = set(held.get(offer.peer, ()))
        for _ in range(layout.counts.get(offer.peer, 0) - counted.get(offer.peer, 0)):
            row = next((index for index in rows if index not in mine), None)
            if row is None:
                return []
            rows.remove(row)
            mine.add(row)
            added.append((offer.peer, row))
    return added if health_with(needed, held, added, sites).keeps(promise) else []


def _distinct(held: Mapping[PeerId, Sequence[int]]) -> dict[PeerId, list[int]]:
    """Every index on one machine only: of several that have it, on the one that holds fewest."""
    owner: dict[int, PeerId] = {}
    for peer in sorted(held, key=lambda each: (len(held[each]), each)):
        for index in held[peer]:
            owner.setdefault(index, peer)
    alone: dict[PeerId, list[int]] = {}
    for index, peer in sorted(owner.items()):
        alone.setdefault(peer, []).append(index)
    return alone


def _one_by_one(
    needed: int,
    held: Mapping[PeerId, Sequence[int]],
    offers: Sequence[Offer],
    promise: Promise,
    sites: Sites,
    avoid: Collection[int],
) -> list[tuple[PeerId, int]]:
    """One shard after the other to whom holds fewest, and of these to the house that holds fewest."""
    counts: dict[PeerId, list[int]] = {peer: sorted(indices) for peer, indices in sorted(held.items())}
    taken = {index for indices in counts.values() for index in indices}
    free = [index for index in range(needed + MOTHER_PARITY) if index not in taken]
    free.sort(key=lambda index: index in avoid)
    room = {offer.peer: offer.room for offer in offers}
    order = {offer.peer: number for number, offer in enumerate(offers)}
    added: list[tuple[PeerId, int]] = []

    def fullness(peer: PeerId) -> tuple[int, int, int]:
        house = 0
        if promise.house:
            house = sum(len(indices) for each, indices in counts.items() if sites.get(each, "") == sites.get(peer, ""))
        return (house, len(counts.get(peer, ())), order[peer])

    while free and not stripe_health(needed, counts, sites).keeps(promise):
        open_to = [peer for peer in order if room[peer] > 0 and len(counts.get(peer, ())) < needed]
        if not open_to:
            break
        peer = min(open_to, key=fullness)
        mine = counts.setdefault(peer, [])
        index = _crowded_index(counts) if not mine and needed > 1 else None
        if index is None:
            index = free.pop(0)
        mine.append(index)
        room[peer] -= 1
        added.append((peer, index))
    return added


def _crowded_index(counts: Mapping[PeerId, Sequence[int]]) -> int | None:
    """A shard that lies beside others on the fullest machine and nowhere else: a copy of it elsewhere can later
    relieve that machine, a new row could not."""
    holders: dict[int, int] = {}
    for indices in counts.values():
        for index in indices:
            holders[index] = holders.get(index, 0) + 1
    fullest = max(sorted(counts), key=lambda peer: sum(holders[index] == 1 for index in counts[peer]))
    alone = [index for index in counts[fullest] if holders[index] == 1]
    return alone[-1] if len(alone) > 1 else None


def surplus(
    needed: int, held: Mapping[PeerId, Sequence[int]], peer: PeerId, promise: Promise, sites: Sites = NO_SITES
) -> list[int]:
    """Which shards `peer` holds beyond one while another machine has them too, and the promise holds without them."""
    counts = {each: set(indices) for each, indices in held.items()}
    mine = counts.get(peer, set())
    dropped = []
    for index in sorted(mine):
        elsewhere = any(index in indices for each, indices in counts.items() if each != peer)
        if not elsewhere or len(mine) == 1:
            continue
        mine.discard(index)
        if stripe_health(needed, counts, sites).keeps(promise):
            dropped.append(index)
        else:
            mine.add(index)
    return dropped


def health_with(
    needed: int,
    held: Mapping[PeerId, Sequence[int]],
    added: Sequence[tuple[PeerId, int]],
    sites: Sites = NO_SITES,
) -> StripeHealth:
    """What the stripe survives once `added` is placed too."""
    together = {peer: list(indices) for peer, indices in held.items()}
    for peer, index in added:
        together.setdefault(peer, []).append(index)
    return stripe_health(needed, together, sites)
