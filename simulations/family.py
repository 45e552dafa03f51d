"""A family's year: a NAS, a desktop, three laptops, the parents' machine far away; and what happens to them.

Laptops sleep at night and while their people are at work, the desktop is off at night. In spring the NAS's disk dies;
in summer everybody is away for two weeks; in autumn a laptop is stolen, removed and replaced. The parents' line fails
now and then, and at home the mains do.
"""

from __future__ import annotations

from random import Random
from typing import Final

from simulations.machine import Fitting
from simulations.randomness import derived
from simulations.schedule import Fault

HOUR_S: Final = 3600.0
DAY_S: Final = 86400.0

FAMILY: Final = (
    Fitting("nas", "home", "always-on", has_person=False),
    Fitting("desktop", "home", "desktop"),
    Fitting("laptop-anna", "home", "laptop"),
    Fitting("laptop-ben", "home", "laptop"),
    Fitting("laptop-cleo", "home", "laptop"),
    Fitting("parents", "parents", "always-on"),
    Fitting("laptop-new", "home", "laptop", joins_later=True),
)
NAS, DESKTOP, STOLEN, PARENTS, NEW = 0, 1, 2, 5, 6
LAPTOPS: Final = (2, 3, 4)
WORKERS: Final = (2, 3)

DISK_DIES: Final = 0.27
AWAY: Final = 0.52
THEFT: Final = 0.68
"""When in the year, as a share of it, so that a shorter run has all of them too."""


def family(count: int) -> tuple[Fitting, ...]:
    """The first `count` of them; more than there are: further machines of friends."""
    friends = tuple(
        Fitting(f"friend-{number}", f"friend-{number}", "always-on", has_person=False) for number in range(7, count)
    )
    return (FAMILY + friends)[:count]


def family_faults(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """What happens to them in so long a time."""
    rng = derived(seed, "family")
    away_s = (AWAY * load_s, AWAY * load_s + min(14 * DAY_S, 0.1 * load_s))
    theft_s = THEFT * load_s
    faults = _holidays(away_s)
    faults += _days(rng, load_s, away_s, theft_s)
    patience_s = min(5 * DAY_S, 0.1 * load_s)
    faults.append(Fault(DISK_DIES * load_s, "wipe", NAS, -1, min(2 * DAY_S, 0.05 * load_s), 0.0, "store"))
    faults.append(Fault(theft_s, "destroy", STOLEN))
    faults.append(Fault(theft_s + min(2 * DAY_S, 0.01 * load_s), "leave", STOLEN, -1, patience_s))
    faults.append(Fault(theft_s + min(5 * DAY_S, 0.02 * load_s), "join", NEW, -1, patience_s))
    chosen = [each for each in faults if each.machine < count and 60 <= each.at_s < load_s]
    return tuple(sorted(chosen, key=lambda each: (each.at_s, each.kind, each.machine)))


def _holidays(away_s: tuple[float, float]) -> list[Fault]:
    """The NAS stays on; one laptop comes along, without a line."""
    began_s, ends_s = away_s
    lasts_s = ends_s - began_s
    faults = [Fault(began_s, "suspend", laptop, -1, lasts_s) for laptop in LAPTOPS[:-1]]
    faults.append(Fault(began_s, "stop", DESKTOP, -1, lasts_s))
    faults.append(Fault(began_s, "isolate", LAPTOPS[-1], -1, lasts_s))
    return faults


def _days(rng: Random, load_s: float, away_s: tuple[float, float], theft_s: float) -> list[Fault]:
    faults: list[Fault] = []
    for day in range(int(load_s / DAY_S) + 1):
        midnight_s = day * DAY_S
        at_home = [each for each in (*LAPTOPS, NEW) if each != STOLEN or midnight_s + DAY_S < theft_s]
        sleeps: list[tuple[str, int, float, float]] = []
        for laptop in at_home:
            sleeps.append(("suspend", laptop, rng.uniform(22, 23.5), rng.uniform(30.5, 32)))
            if day % 7 < 5 and laptop in WORKERS:
                sleeps.append(("suspend", laptop, rng.uniform(8.5, 9), rng.uniform(16, 18)))
        sleeps.append(("stop", DESKTOP, rng.uniform(21.5, 23), rng.uniform(32.5, 34)))
        if rng.random() < 1 / 15:
            sleeps.append(("isolate", PARENTS, (hour := rng.uniform(0, 20)), hour + rng.uniform(0.05, 6)))
        if rng.random() < 1 / 60:
            sleeps.append(("crash", NAS, (hour := rng.uniform(0, 23)), hour + 0.2))
        for kind, machine, since, until in sleeps:
            began_s, ends_s = midnight_s + since * HOUR_S, midnight_s + until * HOUR_S
            if ends_s <= away_s[0] or began_s >= away_s[1] or machine in (NAS, PARENTS):
                faults.append(Fault(round(began_s, 1), kind, machine, -1, round(ends_s - began_s, 1)))
    return faults
