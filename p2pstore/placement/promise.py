"""Promises: which failures a file must survive, and the arithmetic of whether a stripe does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import ClassVar, Final

from p2pstore.errors import Misuse
from p2pstore.ids import PeerId

Sites = Mapping[PeerId, str]
"""Where each machine stands. Machines that are not in it stand together at a place of which nothing is known."""

NO_SITES: Final[Sites] = MappingProxyType({})
"""Nothing is known of where machines stand: then no loss of a house is survived, as far as anybody can say."""

_WORDS: Final = {"any-1": (1, False), "any-2": (2, False), "house": (1, True)}


@dataclass(frozen=True, slots=True)
class Promise:
    """What must be survivable: a union of failure sets.

    Attributes:
        machines: so many machines may fail together, whichever they are. At least 1: a house has each of its machines
            in it, so who survives any house survives any machine.
        house: all machines of any one site may fail together.
    """

    machines: int = 1
    house: bool = False

    ANY_1: ClassVar[Promise]
    ANY_2: ClassVar[Promise]
    HOUSE: ClassVar[Promise]

    def __or__(self, other: Promise) -> Promise:
        """The union of both failure sets."""
        return Promise(max(self.machines, other.machines), self.house or other.house)

    def covers(self, other: Promise) -> bool:
        """Whether every failure that `other` names is named here too."""
        return self | other == self

    @property
    def value(self) -> str:
        """The word that a person types and that stripe statements carry."""
        if self.house:
            return "house" if self.machines == 1 else f"any-{self.machines}+house"
        return f"any-{self.machines}"

    @property
    def failures(self) -> str:
        """What may fail, for a sentence: "any one machine or any one house"."""
        machines = "any one machine" if self.machines == 1 else f"any {self.machines} machines"
        return f"{machines} or any one house" if self.house else machines


Promise.ANY_1 = Promise(1)
Promise.ANY_2 = Promise(2)
Promise.HOUSE = Promise(1, house=True)

PROMISES: Final = (Promise.ANY_1, Promise.ANY_2, Promise.HOUSE, Promise(2, house=True))
"""Every promise there is."""


def promise_of_words(words: Iterable[str]) -> Promise:
    """The union of promises as they were stated. What a newer build may have said beside counts as any-1."""
    union = Promise.ANY_1
    for word in words:
        for part in word.split("+"):
            if part in _WORDS:
                union |= Promise(*_WORDS[part])
    return union


def promise_named(text: str) -> Promise:
    """The promise that a person typed: "any-1", "house", "any-2+house". Raises Misuse."""
    parts = text.strip().lower().split("+")
    if not all(part in _WORDS for part in parts):
        raise Misuse(f"{text[:64]!r} is no promise: any-1, any-2, house, or some of them joined by +")
    return promise_of_words(parts)


@dataclass(frozen=True, slots=True)
class StripeHealth:
    """What one stripe survives.

    Attributes:
        readable: k distinct shards are there.
        survives: how many machines may fail, whichever they are, and it stays readable; -1 when it is not readable now.
        house: whether all machines of any one site may fail, and it stays readable.
    """

    readable: bool
    survives: int
    house: bool = False

    def keeps(self, promise: Promise) -> bool:
        """Whether every failure that `promise` names would be survived."""
        return self.survives >= promise.machines and (self.house or not promise.house)

    @property
    def rank(self) -> tuple[int, bool]:
        """For comparing: the more machines, then whether a house."""
        return (self.survives, self.house)


def household_promise(machine_count: int) -> Promise:
    """What a folder promises of which nobody said anything: any two machines may fail from six machines on, any one
    below.

    Two machines keep it with a copy on each; a lone machine cannot keep it, and is told so.
    """
    return Promise.ANY_2 if machine_count >= 6 else Promise.ANY_1


def failure_sets(
    machines: Collection[PeerId], promise: Promise, sites: Sites = NO_SITES
) -> Iterator[frozenset[PeerId]]:
    """Every largest set of machines that must be allowed to fail together; smaller ones are implied."""
    size = min(promise.machines, len(machines))
    for failed in combinations(sorted(machines), size):
        yield frozenset(failed)
    if promise.house:
        for site in sorted({sites.get(peer, "") for peer in machines}):
            yield frozenset(peer for peer in machines if sites.get(peer, "") == site)


def stripe_health(
    needed: int, held: Mapping[PeerId, Collection[int]], sites: Sites = NO_SITES
) -> StripeHealth:
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
    house = _survives_a_house(needed, holders, sites)
    if needed == 1:
        return StripeHealth(True, len(holders) - 1, house)
    if sum(len(indices) for indices in holders.values()) == len(everything):
        left = len(everything)
        for failed, count in enumerate(sorted((len(i) for i in holders.values()), reverse=True)):
            left -= count
            if left < needed:
                return StripeHealth(True, failed, house)
        return StripeHealth(True, len(holders), house)
    for size in range(1, len(holders) + 1):
        for failed_set in combinations(sorted(holders), size):
            rest = frozenset().union(*(i for peer, i in holders.items() if peer not in failed_set))
            if len(rest) < needed:
                return StripeHealth(True, size - 1, house)
    return StripeHealth(True, len(holders), house)


def _survives_a_house(needed: int, holders: Mapping[PeerId, frozenset[int]], sites: Sites) -> bool:
    """Whether k distinct indices lie outside each site."""
    by_site: dict[str, set[int]] = {}
    for peer, indices in holders.items():
        by_site.setdefault(sites.get(peer, ""), set()).update(indices)
    if len(by_site) < 2:
        return False
    if needed == 1:
        return True
    return all(
        len(frozenset().union(*(each for other, each in by_site.items() if other != site))) >= needed
        for site in by_site
    )
