"""A plan from a seed: a random household, a random subset of the kinds of fault, each with an intensity of its own.

Few kinds at once find more than all kinds always: what one fault hides, another run without it shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Final

from p2pstore.placement.promise import household_promise
from simulations.machine import Fitting
from simulations.randomness import derived
from simulations.schedule import Fault, Plan, Work

Builder = Callable[[float], list["Fault"]]

NAMES: Final = ("nas", "desktop", "laptop-anna", "laptop-ben", "pi", "tower", "laptop-cleo", "attic", "studio", "spare")
STEADINESS: Final = ("always-on", "desktop", "laptop", "laptop", "always-on", "desktop", "laptop", "desktop")

LIVENESS_IN: Final = 4
"""One run in so many is a liveness run: faults that heal in the end never show what a permanent one does."""

NO_CORE: Final = frozenset({"hostile", "leave", "swap"})
"""Kinds that would take a machine out of a core that the promise says is enough."""

START_S: Final = 30.0
"""No fault comes earlier: the household needs its folders."""


def household(count: int) -> tuple[Fitting, ...]:
    """A household of so many machines: two sites, mixed steadiness."""
    return tuple(
        Fitting(
            name=NAMES[number] if number < len(NAMES) else f"machine-{number}",
            site="cabin" if number % 4 == 3 else "home",
            steadiness=STEADINESS[number % len(STEADINESS)],
        )
        for number in range(count)
    )


def swarm_plan(seed: int, *, peers: int = 0, load_s: float = 1200.0) -> Plan:
    """The plan of a seed.

    Args:
        seed: decides everything.
        peers: how many machines; 0 for 3 to 7 by the seed.
        load_s: how long faults happen.
    """
    rng = derived(seed, "swarm")
    count = peers or rng.choice((3, 4, 5, 5, 6, 7))
    fittings = household(count)
    liveness = seed % LIVENESS_IN == LIVENESS_IN - 1
    menu = _menu(rng, count, load_s)
    chosen = [kind for kind in sorted(menu) if rng.random() < 0.35] or [rng.choice(sorted(menu))]
    faults: list[Fault] = []
    for kind in chosen:
        times = 1 + int(rng.expovariate(0.5))
        if liveness and kind in NO_CORE:
            continue
        for _ in range(min(times, 8)):
            faults += menu[kind](rng.uniform(START_S, load_s * 0.9))
    if any(fault.kind == "join" for fault in faults):
        fittings += (replace(household(count + 1)[-1], joins_later=True),)
    core: tuple[int, ...] = ()
    if liveness:
        lost = household_promise(count).machines
        core = tuple(sorted(rng.sample(range(count), count - lost)))
    work = Work(think_s=rng.choice((15.0, 30.0, 60.0)), names=rng.choice((6, 12, 24)), large=rng.choice((0, 0, 60)))
    return Plan("swarm", seed, fittings, work, load_s, 900.0, tuple(sorted(faults, key=_when)), core)


def _when(fault: Fault) -> tuple[float, str]:
    return fault.at_s, fault.kind


def _menu(rng: Random, count: int, load_s: float) -> dict[str, Builder]:
    """For each kind, what makes faults of it that begin at a time."""

    def anyone() -> int:
        return rng.randrange(count)

    def length(most_s: float) -> float:
        return round(10 * float((most_s / 10) ** rng.random()), 1)

    def plain(kind: str, most_s: float, amounts: tuple[float, ...] = (0.0,), parts: tuple[str, ...] = ("",)) -> Builder:
        def build(at_s: float) -> list[Fault]:
            amount, what = rng.choice(amounts), rng.choice(parts)
            return [Fault(round(at_s, 1), kind, anyone(), -1, length(most_s), amount, what)]

        return build

    def cut(at_s: float) -> list[Fault]:
        a, b = rng.sample(range(count), 2)
        return [Fault(round(at_s, 1), "cut", a, b, length(600))]

    def swap(at_s: float) -> list[Fault]:
        a, b = rng.sample(range(count), 2)
        return [Fault(round(at_s, 1), "swap", a, b, length(120))]

    def torn(at_s: float) -> list[Fault]:
        steps = round(200 ** rng.random())
        return [Fault(round(at_s, 1), "torn", anyone(), -1, 300.0, steps, rng.choice(("ledger", "store")))]

    def partition(at_s: float) -> list[Fault]:
        return [Fault(round(at_s, 1), "partition", -1, -1, length(600), rng.randrange(1, count))]

    def together(at_s: float) -> list[Fault]:
        """The mains of the house fail: all at once, and most of them again soon."""
        return [
            Fault(round(at_s + rng.uniform(0, 0.05), 3), "crash", number, -1, length(120)) for number in range(count)
        ]

    return {
        "crash": plain("crash", 300),
        "kill": plain("kill", 120),
        "stop": plain("stop", 300),
        "torn": torn,
        "mains": together,
        "wipe": plain("wipe", 120, parts=("ledger", "store", "both")),
        "rollback": plain("rollback", load_s / 2, parts=("ledger", "both", "database")),
        "suspend": plain("suspend", 900),
        "stall": plain("stall", 300),
        "isolate": plain("isolate", 600),
        "partition": partition,
        "cut": cut,
        "swap": swap,
        "join": lambda at_s: [Fault(round(at_s, 1), "join", count, -1, 300.0)],
        "leave": plain("leave", 300),
        "nat": plain("nat", 900),
        "swizzle": lambda at_s: [Fault(round(at_s, 1), "swizzle", -1, -1, length(600))],
        "misdirect": plain("misdirect", 10, amounts=(1.0, 3.0)),
        "hostile": plain("hostile", 600),
        "flap": plain("flap", 300, amounts=(1.0, 5.0, 20.0)),
        "slow": plain("slow", 300, amounts=(0.3, 1.5)),
        "loss": plain("loss", 300, amounts=(0.02, 0.1, 0.3)),
        "full": plain("full", 300, amounts=(0.0, 10_000.0, 300_000.0), parts=("ledger", "store")),
        "slow-disk": plain("slow-disk", 300),
        "stuck-disk": plain("stuck-disk", 60),
        "rot": plain("rot", 10, amounts=(1.0, 3.0), parts=("packs", "index")),
        "skew": plain("skew", 600, amounts=(-3600.0, -5.0, 5.0, 3600.0, 86400.0 * 400)),
        "year-2000": plain("year-2000", 600),
    }
