"""How likely it is that something is lost within a year, and of what. Pure; an estimate, never a promise.

Hazards strike at their yearly rates, each independently of the others; what one took is made up for after its window.
Data is lost when the last of a set of hazards strikes while all others of the set are open, and too few shards are left
of some stripe. The rate of a set is the sum, over which of them is the last, of its rate times the chance that each
other one is open; the rates of all sets that lose something, and of which no part does, add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from p2pstore.ids import PeerId

YEAR_DAYS: Final = 365.25

MACHINE_LOST_YEARLY: Final[Mapping[str, float]] = {"always-on": 0.02, "desktop": 0.03, "laptop": 0.05}
"""Chance that a machine of each kind is lost for good in a year: disks of data centres die at 1.4 to 1.6 % (Backblaze,
2024 and 2025); the rest is for homes, spilt coffee, thieves and reinstallation, and is a judgement."""

SITE_LOST_YEARLY: Final = 0.01
"""Chance that all machines of a house are lost together: reported fires are 0.3 % of homes a year, burglaries that take
electronics 0.5 to 0.9 % (US)."""

AT_ONCE: Final = 3
"""Hazards that are looked at together. More than these at once count as a loss whatever they leave: for a household of
ten that is below a millionth, and it errs on the careful side."""

LEAST_SHOWN: Final = 1e-6
"""No smaller probability is stated: bugs, mistakes and lost keys, which are in no rate here, are likelier."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How stripes are spread: k, and how many distinct shards each machine has."""

    needed: int
    counts: tuple[tuple[PeerId, int], ...]


@dataclass(frozen=True, slots=True)
class Hazard:
    """Something that takes machines for good.

    Attributes:
        name: of the machine, or of the site.
        site: whether it takes a whole site.
        machines: that it takes.
        yearly: how often.
        window_days: until what it took is made up for.
    """

    name: str
    site: bool
    machines: frozenset[PeerId]
    yearly: float
    window_days: float

    @property
    def open_share(self) -> float:
        """The chance that it struck within the last window."""
        return -math.expm1(-self.yearly * self.window_days / YEAR_DAYS)


@dataclass(frozen=True, slots=True)
class Risk:
    """What may happen within a year.

    Attributes:
        probability: that anything at all is lost.
        causes: the share of each in it, the largest first.
    """

    probability: float
    causes: tuple[tuple[str, float], ...]


def yearly_risk(layouts: Iterable[Layout], hazards: Sequence[Hazard]) -> Risk:
    """The chance that a stripe of any of `layouts` becomes unreadable within a year, and why."""
    tables = sorted({(each.needed, each.counts) for each in layouts})
    spreads = [(sum(count for _, count in counts) - needed, dict(counts)) for needed, counts in tables]

    def loses(struck: Sequence[Hazard]) -> bool:
        gone = frozenset().union(*(each.machines for each in struck))
        return any(sum(counts.get(peer, 0) for peer in gone) > spare for spare, counts in spreads)

    rates: dict[str, float] = {}
    fatal: list[frozenset[int]] = []
    numbered = list(enumerate(each for each in hazards if each.yearly > 0))
    for size in range(1, AT_ONCE + 1):
        found = []
        for chosen in combinations(numbered, size):
            numbers = frozenset(number for number, _ in chosen)
            struck = [hazard for _, hazard in chosen]
            # What loses nothing new because a part of it loses already is in the rate of that part.
            if not any(part <= numbers for part in fatal) and loses(struck):
                found.append(numbers)
                cause = cause_of(struck)
                rates[cause] = rates.get(cause, 0.0) + rate_together(struck)
        fatal += found
    rates[_MANY] = _rate_of_more([hazard for number, hazard in numbered if frozenset([number]) not in fatal])
    total = sum(rates.values())
    causes = sorted(((cause, rate / total) for cause, rate in rates.items() if rate), key=lambda each: (-each[1], each))
    return Risk(-math.expm1(-total), tuple(causes))


_MANY: Final = f"more than {AT_ONCE} losses at once"


def cause_of(struck: Sequence[Hazard]) -> str:
    """What happened, in words."""
    if len(struck) == 1:
        only = struck[0]
        return f"fire, flood or burglars take all of {only.name}" if only.site else f"{only.name} is lost"
    sites = sum(each.site for each in struck)
    machines = len(struck) - sites
    parts = [f"{sites} sites" if sites > 1 else "a site"] if sites else []
    parts += [f"{machines} machines" if machines > 1 else "a machine elsewhere"] if machines else []
    return f"{' and '.join(parts)} lost, each before the others were made up for"


def rate_together(struck: Sequence[Hazard]) -> float:
    """How often a year all of them are open at the same time anew."""
    return sum(
        last.yearly * math.prod(each.open_share for each in struck if each is not last) for last in struck
    )


def _rate_of_more(hazards: Sequence[Hazard]) -> float:
    """How often a year more than AT_ONCE of them are: one strikes while AT_ONCE others are open, at most."""
    if len(hazards) <= AT_ONCE:
        return 0.0
    open_sum = sum(each.open_share for each in hazards)
    return sum(each.yearly for each in hazards) * open_sum**AT_ONCE / math.factorial(AT_ONCE)


def two_digits(value: float) -> float:
    """The value with the two digits that an estimate is good for."""
    return float(f"{value:.1e}")
