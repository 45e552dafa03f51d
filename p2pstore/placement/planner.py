"""Compiles a promise for the machines at hand into k, n and how many shards each machine holds.

The rule is not "one shard per machine" but: no failure set that was promised to be survivable holds more than n - k
shards of a stripe (docs/decisions/0003).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from p2pstore.ids import PeerId
from p2pstore.limits import MOTHER_PARITY
from p2pstore.placement.promise import Promise, StripeHealth, stripe_health

DATA_SHARDS_MOST = 6
"""k in a household: wider stripes save little (6+3 stores 1.5 bytes a byte, 12+3 1.25) and need more machines awake."""


@dataclass(frozen=True, slots=True)
class StripePlan:
    """How one stripe is coded and spread.

    Attributes:
        needed: k.
        holders: the machines, each once per shard; shard i goes to `holders[i]`.
        promised: what was asked for.
        kept: whether this plan keeps it.
    """

    needed: int
    holders: tuple[PeerId, ...]
    promised: Promise
    kept: bool

    @property
    def total(self) -> int:
        """n."""
        return len(self.holders)


def plan_stripe(ranked: Sequence[PeerId], promise: Promise) -> StripePlan:
    """The cheapest plan that keeps `promise` on the machines at hand, or the safest one if none does.

    Args:
        ranked: machines that can take a shard now, best first, each once.
        promise: what must be survived.

    Returns:
        With r machines and f failures to survive: k = r - f data shards (at most DATA_SHARDS_MOST), one shard a
        machine; nine or more machines get 6 + 3, as a third spare shard then costs nothing extra in machines. With
        r <= f + 1 machines: a copy on each, and `kept` says whether that is enough.

    Raises:
        ValueError: no machine at all.
    """
    if not ranked:
        raise ValueError("no machine to place on")
    failures = promise.machines
    if len(ranked) <= failures + 1:
        copies = ranked[: failures + 1]
        return StripePlan(1, tuple(copies), promise, kept=len(copies) > failures)
    needed = min(len(ranked) - failures, DATA_SHARDS_MOST)
    spares = failures + 1 if failures == 2 and len(ranked) >= needed + 3 else failures
    return StripePlan(needed, tuple(ranked[: needed + spares]), promise, kept=True)


def copies_wanted(ranked: Sequence[PeerId], promise: Promise) -> tuple[PeerId, ...]:
    """Who holds a copy of a chunk too small to be worth coding: one machine more than may fail."""
    return tuple(ranked[: promise.machines + 1])


def extend_stripe(
    needed: int,
    held: Mapping[PeerId, Sequence[int]],
    ranked: Sequence[PeerId],
    promise: Promise,
    *,
    avoid: Collection[int] = (),
) -> list[tuple[PeerId, int]]:
    """Which shards to add, and where, so that a stripe that lost its way keeps its promise after all.

    Adding parity rows (or missing data rows) to what is placed beats coding anew: nothing that is placed is wasted. The
    machine that holds fewest gets the next one, until the promise holds or the mother code has no more rows.

    Args:
        needed: k; 1 means copies.
        held: indices already receipted, per machine.
        ranked: machines that can take a shard now, best first.
        promise: what must be survived.
        avoid: rows to make only when no other are left: somebody silent may bring them back.

    Returns:
        (machine, index) in the order to be placed; [] when the promise already holds or nothing can be added. It may
        fall short of the promise: the caller checks `health_with`.
    """
    counts: dict[PeerId, list[int]] = {peer: sorted(indices) for peer, indices in sorted(held.items())}
    taken = {index for indices in counts.values() for index in indices}
    free = [index for index in range(needed + MOTHER_PARITY) if index not in taken]
    free.sort(key=lambda index: index in avoid)
    added: list[tuple[PeerId, int]] = []
    while free and ranked and not stripe_health(needed, counts).keeps(promise):
        peer = min(ranked, key=lambda candidate: (len(counts.get(candidate, ())), ranked.index(candidate)))
        mine = counts.setdefault(peer, [])
        if len(mine) >= needed:
            break
        index = _crowded_index(counts) if not mine and needed > 1 else None
        if index is None:
            index = free.pop(0)
        mine.append(index)
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


def surplus(needed: int, held: Mapping[PeerId, Sequence[int]], peer: PeerId, promise: Promise) -> list[int]:
    """Which shards `peer` holds beyond one while another machine has them too, and the promise holds without them."""
    counts = {each: set(indices) for each, indices in held.items()}
    mine = counts.get(peer, set())
    dropped = []
    for index in sorted(mine):
        elsewhere = any(index in indices for each, indices in counts.items() if each != peer)
        if not elsewhere or len(mine) == 1:
            continue
        mine.discard(index)
        if stripe_health(needed, counts).keeps(promise):
            dropped.append(index)
        else:
            mine.add(index)
    return dropped


def health_with(
    needed: int, held: Mapping[PeerId, Sequence[int]], added: Sequence[tuple[PeerId, int]]
) -> StripeHealth:
    """What the stripe survives once `added` is placed too."""
    together = {peer: list(indices) for peer, indices in held.items()}
    for peer, index in added:
        together.setdefault(peer, []).append(index)
    return stripe_health(needed, together)
