"""Runs with names that a person understands. Each is a plan made from a number of machines, a seed and a length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from p2pstore.placement.promise import household_promise
from simulations.family import family, family_faults
from simulations.machine import Fitting
from simulations.randomness import derived
from simulations.schedule import Fault, Plan, Work
from simulations.swarm import household

DAY_S: Final = 86400.0

WORK_A_DAY: Final = 400
"""Things that one person does on a day: enough to matter, few enough that a day is simulated in seconds."""

PACE_FREE: Final = 4.0
"""Upkeep that is slowed down so much at most still makes a household equal in the usual time."""

YEAR_S: Final = 365.25 * DAY_S


@dataclass(frozen=True, slots=True)
class Scenario:
    """One of them.

    Attributes:
        about: what happens, in a line.
        peers: how many machines unless told otherwise.
        days: how long unless told otherwise.
        faults: what befalls whom.
        given_bytes: what each machine gives, if it matters.
        damage_max, pace: as in Plan.
        machines: who takes part, given how many; by default an average household.
        think_s: between two things that one person does; by default as WORK_A_DAY says.
        quiet_s: as in Plan.
    """

    about: str
    faults: Callable[[int, int, float], tuple[Fault, ...]]
    peers: int = 5
    days: float = 0.05
    given_bytes: int = 1 << 30
    damage_max: int = -1
    pace: float = 1.0
    machines: Callable[[int], tuple[Fitting, ...]] = household
    think_s: float = 0.0
    quiet_s: float = 1800.0

    def plan(self, name: str, *, seed: int, peers: int = 0, days: float = 0.0, pace: float = 0.0) -> Plan:
        """The plan for a seed; 0 is the scenario's own number."""
        count, pace = peers or self.peers, pace or self.pace
        load_s = (days or self.days) * DAY_S
        machines = tuple(replace(each, given_bytes=self.given_bytes) for each in self.machines(count))
        work = Work(think_s=self.think_s or max(20.0, DAY_S / WORK_A_DAY * min(1.0, load_s / DAY_S)))
        faults = tuple(sorted(self.faults(seed, count, load_s), key=lambda fault: fault.at_s))
        quiet_s = self.quiet_s * max(1.0, pace / PACE_FREE)
        return Plan(name, seed, machines, work, load_s, quiet_s, faults, damage_max=self.damage_max, pace=pace)


def _two_sites(count: int) -> tuple[Fitting, ...]:
    return tuple(
        replace(each, site="home" if number < count // 2 else "cabin") for number, each in enumerate(household(count))
    )


def _churn(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """Machines come and go all the time, in good order and otherwise, one or two at once."""
    rng = derived(seed, "churn")
    faults = []
    at_s = 60.0
    while at_s < load_s - 60:
        kind = rng.choice(("stop", "kill", "crash", "suspend", "isolate"))
        faults.append(Fault(round(at_s, 1), kind, rng.randrange(count), -1, round(rng.uniform(20, load_s / 10), 1)))
        at_s += rng.expovariate(count / (load_s / 4))
    return tuple(faults)


def _house_fire(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """In the middle of everything a machine burns; from six machines on, two."""
    rng = derived(seed, "fire")
    burnt = rng.sample(range(count), household_promise(count).machines)
    return tuple(Fault(round(load_s / 2 + number, 1), "destroy", each) for number, each in enumerate(burnt))


def _two_houses(_seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """The line between two houses is cut for most of the time; both go on working."""
    return (Fault(round(load_s * 0.1, 1), "partition", -1, -1, round(load_s * 0.8, 1), count // 2),)


def _mass_loss(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """More machines burn than the promise names: what is left must be right, what is gone must be an error."""
    rng = derived(seed, "mass")
    burnt = rng.sample(range(count), max(1, count - 2))
    return tuple(Fault(round(load_s * 0.6 + number, 1), "destroy", each) for number, each in enumerate(burnt))


def _full_disks(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """Little is given, and disks fill up for other reasons too, in turns."""
    rng = derived(seed, "full")
    return tuple(
        Fault(
            round(rng.uniform(60, load_s * 0.8), 1),
            "full",
            rng.randrange(count),
            -1,
            round(rng.uniform(30, load_s * 0.2), 1),
            rng.choice((0.0, 20_000.0, 200_000.0)),
            rng.choice(("ledger", "store")),
        )
        for _ in range(count * 2)
    )


def _clock_chaos(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """Every clock is wrong, some by decades, and jumps."""
    rng = derived(seed, "clocks")
    faults = []
    for machine in range(count):
        for _ in range(3):
            at_s, lasts_s = round(rng.uniform(30, load_s * 0.8), 1), round(rng.uniform(60, load_s * 0.4), 1)
            kind = rng.choice(("skew", "skew", "year-2000"))
            amount = rng.choice((-YEAR_S, -3600.0, 3600.0, 3 * YEAR_S)) if kind == "skew" else 0.0
            faults.append(Fault(at_s, kind, machine, -1, lasts_s, amount))
    return tuple(faults)


def _new_disk(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """A disk dies and is replaced by an empty one; the same machine goes on."""
    machine = derived(seed, "disk").randrange(count)
    return (Fault(round(load_s / 2, 1), "wipe", machine, -1, 300.0, 0.0, "store"),)


def _hostile_member(seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """One of them forges, replays and lies from early on."""
    hostile = derived(seed, "hostile member").randrange(1, count)
    return (Fault(round(load_s * 0.1, 1), "hostile", hostile, -1, round(load_s * 0.8, 1)),)


def _rolling_upgrade(_seed: int, count: int, load_s: float) -> tuple[Fault, ...]:
    """One after the other gets a newer build; for a while both are there."""
    step_s = load_s * 0.8 / count
    return tuple(
        Fault(round(load_s * 0.1 + number * step_s, 1), "upgrade", number, -1, min(60.0, step_s / 4))
        for number in range(count)
    )


SCENARIOS: Final[dict[str, Scenario]] = {
    "churn": Scenario("machines come and go all the time, in good order and otherwise", _churn, peers=6),
    "house-fire": Scenario("as many machines burn as the promise names; nothing safe is lost", _house_fire, 6),
    "two-houses": Scenario(
        "the line between two houses is cut; both go on, and find together again", _two_houses, 6, machines=_two_sites
    ),
    "mass-loss": Scenario(
        "all but two machines burn; what is gone is an error, never wrong bytes", _mass_loss, 6, damage_max=1000
    ),
    "full-disks": Scenario("little is given, and disks fill up", _full_disks, 5, given_bytes=3_000_000),
    "clock-chaos": Scenario("every clock is wrong, some by decades, and jumps", _clock_chaos, 5),
    "new-disk": Scenario("a disk dies and an empty one takes its place", _new_disk, 5),
    "hostile-member": Scenario("a member forges, replays, and lies about shards", _hostile_member, 5),
    "rolling-upgrade": Scenario("one machine after the other gets a newer build", _rolling_upgrade, 5),
    "family-year": Scenario(
        "a year: nights, holidays, a dead disk, a stolen laptop; upkeep goes 60 times slower (--pace)",
        family_faults,
        peers=7,
        days=365.0,
        pace=60.0,
        machines=family,
        think_s=3 * 3600.0,
    ),
}
"""By name. "swarm" is one more, made by `simulations.swarm`."""
