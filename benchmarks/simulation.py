"""How fast virtual time passes: `python -m benchmarks.simulation [idle|day|seeds|dht]`."""

from __future__ import annotations

import resource
import sys
from time import process_time

from simulations.dht_figures import dht_figures
from simulations.run import run_plan
from simulations.schedule import Plan, Work
from simulations.swarm import household, swarm_plan

QUIET = Work(think_s=1e9)


def idle() -> None:
    """Six nodes that do nothing for an hour."""
    _tell("six idle nodes, one hour", Plan("idle", 1, household(6), QUIET, 3600.0))


def day() -> None:
    """Six nodes and their people for a day."""
    _tell("six nodes, a day, 200 deeds a person", Plan("day", 1, household(6), Work(think_s=432.0), 86_400.0))


def _tell(what: str, plan: Plan) -> None:
    result = run_plan(plan)
    figures = result.figures
    cpu_s, virtual_s = figures["cpu_s"], figures["virtual_s"]
    deliveries = figures["messages"] + figures["datagrams"]
    print(
        f"{what}: {virtual_s:.0f} virtual s in {cpu_s:.1f} CPU s = {virtual_s / cpu_s:.0f} x;"
        f" {deliveries / cpu_s:,.0f} deliveries a CPU second; idle"
        f" {figures.get('idle_bytes_per_minute_per_peer', 0) / 1000:.1f} kB a minute and machine;"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB; {'held' if result.held else 'VIOLATED'}"
    )


def seeds() -> None:
    """Twelve seeds of the swarm, 5 minutes with faults each."""
    began_s = process_time()
    bad = [seed for seed in range(12) if not run_plan(swarm_plan(seed, load_s=300.0)).held]
    cpu_s = process_time() - began_s
    print(f"12 seeds of 5 minutes: {cpu_s / 12:.1f} CPU s each, {12 * 3600 / cpu_s:.0f} a core and hour; bad: {bad}")


def dht() -> None:
    """A thousand DHT nodes."""
    print(dht_figures(1000))


BENCHMARKS = {"idle": idle, "day": day, "seeds": seeds, "dht": dht}

if __name__ == "__main__":
    for name in sys.argv[1:] or ["idle", "seeds", "dht"]:
        BENCHMARKS[name]()
