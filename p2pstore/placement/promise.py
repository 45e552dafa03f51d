"""Promises: which failures a file must survive, and the arithmetic of whether a stripe does."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from itertools import combinations

from p2pstore.ids import PeerId


class Promise(Enum):
    """What must be survivable. The value is the word that a person types and that stripe statements carry."""

    ANY_1 = "any-1"
    ANY_2 = "any-2"

    @property
    def machines(self) -> int:
        """How many machines may fail together."""
        return {Promise.ANY_1: 1, Promise.ANY_2: 2}[self]


@dataclass(frozen=True, slots=True)
class StripeHealth:
    """What one stripe survives.

    Attributes:
        readable: k distinct shards are there.
        survives: how many machines may fail, whichever they are, and it stays readable; -1 when it is not readable now.
    """

    readable: bool
    survives: int

    def keeps(self, promise: Promise) -> bool:
        """Whether every failure that `promise` names would be survived."""
        return self.survives >= promise.machines


def household_promise(machine_count: int) -> Promise:
    """The one promise of a household: any two machines may fail from six machines on, any one below.

    Two machines keep it with a copy on each; a lone machine cannot keep it, and is told so.
    """
    return Promise.ANY_2 if machine_count >= 6 else Promise.ANY_1


def failure_sets(machines: Collection[PeerId], promise: Promise) -> Iterator[frozenset[PeerId]]:
    """Every largest set of machines that must be allowed to fail together; smaller ones are implied."""
    size = min(promise.machines, len(machines))
    for failed in combinations(sorted(machines), size):
        yield frozenset(failed)


def stripe_health(needed: int, held: Mapping[PeerId, Collection[int]]) -> StripeHealth:
    """What a stripe survives when `held` says which distinct shard indices each machine has.

    An index held by two machines counts once for as long as either is left. Copies (`needed` = 1) are the case where
    every index is as good as another.

    Exact for stripes whose indices lie on one machine each (then the worst case is losing the fullest machines), and
    for copies; otherwise every set of machines is tried, smallest first.
    """
    holders = {peer: frozenset(indices) for peer, indices in held.items() if indices}
    everything = frozenset().union(*holders.values()) if holders else frozenset()
    if len(everything) < needed:
        return StripeHealth(readable=False, survives=-1)
    if needed == 1:
        return StripeHealth(readable=True, survives=len(holders) - 1)
    if sum(len(indices) for indices in holders.values()) == len(everything):
        left = len(everything)
        for failed, count in enumerate(sorted((len(i) for i in holders.values()), reverse=True)):
            left -= count
            if left < needed:
                return StripeHealth(readable=True, survives=failed)
        return StripeHealth(readable=True, survives=len(holders))
    for size in range(1, len(holders) + 1):
        for failed_set in combinations(sorted(holders), size):
            rest = frozenset().union(*(i for peer, i in holders.items() if peer not in failed_set))
            if len(rest) < needed:
                return StripeHealth(readable=True, survives=size - 1)
    return StripeHealth(readable=True, survives=len(holders))
