"""One run of a plan, from founding to the last check, and what came of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from time import process_time
from typing import Any, Final

import trio

from p2pstore.placement.levels import Level
from p2pstore.placement.promise import household_promise
from simulations.faults import Faults
from simulations.history import SAMPLES, History, keep_history, take_sample
from simulations.invariants import (
    authentic,
    capacity,
    causality,
    collection,
    convergence,
    cost,
    durability,
    honest_verdict,
    monotone,
    sound,
)
from simulations.machine import Machine
from simulations.oracle import Violation
from simulations.pace import paced
from simulations.people import People
from simulations.randomness import derived
from simulations.schedule import Plan
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import Bug, World

IDLE_S: Final = 600.0
"""How long an idle household is watched at most after it has become equal, for the cost of idling."""

OVERTIME_S: Final = 20_000.0
"""Virtual seconds for healing and checks; whoever has not ended by then waits for something that never comes."""

CORE_ACK_S: Final = 300.0
"""A healthy core stores and reads within this, whatever the others do."""

@dataclass(slots=True)
class Result:
    """What came of a run.

    Attributes:
        plan: which.
        digest: of its trace.
        violations: invariants that did not hold.
        bugs: errors that no fault explains.
        done, failed: what people did, and what was refused them, by code.
        happened: faults that took effect, by kind.
        figures: everything measured.
        history: how it went over time.
        lines: the trace itself, if it was kept.
    """

    plan: Plan
    digest: str = ""
    violations: list[Violation] = field(default_factory=list)
    bugs: list[Bug] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    figures: dict[str, float] = field(default_factory=dict)
    history: History = field(default_factory=History)
    lines: list[str] | None = None

    @property
    def held(self) -> bool:
        """Whether every invariant held and nothing unexplained happened."""
        return not self.violations and not self.bugs

    @property
    def signature(self) -> str:
        """What went wrong, such that two runs with one cause have one signature; "" if nothing did."""
        if self.violations:
            return self.violations[0].invariant
        return f"bug {self.bugs[0].what.partition(':')[0]}" if self.bugs else ""

    def summary(self) -> dict[str, Any]:
        """For --json."""
        return {
            "scenario": self.plan.name,
            "seed": self.plan.seed,
            "digest": self.digest,
            "verdict": "held" if self.held else "violated",
            "violations": [{"invariant": v.invariant, "at_s": v.at_s, "what": v.what} for v in self.violations],
            "bugs": [{"at_s": b.at_s, "machine": b.machine, "what": b.what} for b in self.bugs],
            "done": dict(sorted(self.done.items())),
            "failed": dict(sorted(self.failed.items())),
            "faults": dict(sorted(self.happened.items())),
            "history": self.history.summary(),
            "figures": {name: round(value, 3) for name, value in sorted(self.figures.items())},
        }


def run_plan(plan: Plan, *, keep_trace: bool = False) -> Result:
    """Run a plan in virtual time."""
    result = Result(plan)
    trace = Trace(keep=keep_trace)

    async def main() -> None:
        with trio.move_on_after(plan.load_s + plan.quiet_s + OVERTIME_S) as patience:
            async with trio.open_nursery() as nursery:
                await _run(plan, nursery, trace, result)
                nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            result.bugs.append(Bug(trio.current_time(), -1, f"Stuck: the run did not end in {OVERTIME_S:g} s more"))

    began_s = process_time()
    with paced(plan.pace):
        run_virtual(main, seed=plan.seed)
    result.digest = trace.digest()
    result.lines = trace.lines
    cpu_s = process_time() - began_s
    result.figures |= {"cpu_s": cpu_s, "events": trace.count}
    return result


async def _run(plan: Plan, nursery: trio.Nursery, trace: Trace, result: Result) -> None:
    world = World(plan.seed, nursery, trace=trace, pace=plan.pace)
    try:
        await _live_through(plan, world, nursery, result)
    finally:
        for machine in world.machines:
            for disk in machine.disks:
                disk.unstick()  # whoever waits for a disk cannot be cancelled


async def _live_through(plan: Plan, world: World, nursery: trio.Nursery, result: Result) -> None:
    people = People(world, plan.work)
    people.busy = False
    world.habits += [people.live_at, collection.hurry, collection.watcher(world)]
    damage_max = world_promise(plan) if plan.damage_max < 0 else plan.damage_max
    faults = Faults(world, damage_max=damage_max)
    await world.found(plan.machines)
    nursery.start_soon(capacity.watch, world)
    nursery.start_soon(partial(keep_history, world, result.history, every_s=max(5.0, plan.load_s / SAMPLES)))
    await trio.sleep(5.0)
    await people.make_folders(world.machines[0])
    people.busy = True
    with trio.move_on_after(plan.load_s):
        await faults.run(plan.faults)
        await trio.sleep_forever()
    people.busy = False
    world.trace.note("healing")
    if plan.core:
        await _check_core(plan, world, people)
    else:
        await _check_all(plan, world, result)
    take_sample(world, result.history)
    result.figures["repaired_bytes"] = world.repaired_bytes
    result.figures["lost_bytes"] = world.lost_bytes
    for machine in world.machines:
        if not machine.gone:
            await machine.stop()
    figures = result.figures
    figures["virtual_s"] = world.now_s
    figures["messages"] = world.fabric.carried_messages
    figures["datagrams"] = world.datagrams.delivered
    figures["bytes"] = world.fabric.carried_bytes
    figures["operations"] = len(world.oracle.operations)
    figures["contents"] = len(world.oracle.contents)
    result.violations, result.bugs = world.oracle.violations, world.bugs
    result.done, result.failed, result.happened = people.done, people.failed, faults.happened


def world_promise(plan: Plan) -> int:
    """How many machines of a plan's household may be lost."""
    return household_promise(sum(not each.joins_later for each in plan.machines)).machines


async def _check_all(plan: Plan, world: World, result: Result) -> None:
    """Heal, wait until all are equal, and look at everything."""
    await world.heal()
    machines = world.living()
    if not machines:
        return
    took_s = await convergence.wait_equal(world, machines, bound_s=plan.quiet_s)
    if took_s is not None:
        result.figures["equal_after_s"] = took_s
    await _idle(world, machines, result, min(IDLE_S, plan.load_s))
    machines = world.living()
    if not machines:
        return
    for machine in machines:
        world.observe(machine)
    live = await causality.check(world, machines)
    if took_s is not None:
        await convergence.check_trees(world, machines)
        result.figures["files_read"] = await durability.check(world, machines, live)
        await durability.check_promises(world, live)
        result.figures["say_safe"] = await honest_verdict.check(world, machines)
    await monotone.check(world)
    await sound.check(world, machines)
    authentic.check(world, machines)
    cost.check(world, plan)


async def _idle(world: World, machines: list[Machine], result: Result, lasts_s: float) -> None:
    """Watch the household do nothing."""
    before = world.fabric.carried_bytes
    await trio.sleep(lasts_s)
    minutes = lasts_s / 60
    result.figures["idle_bytes_per_minute_per_peer"] = (
        (world.fabric.carried_bytes - before) / minutes / max(1, len(machines))
    )


async def _check_core(plan: Plan, world: World, people: People) -> None:
    """The core is healthy from now on, everybody else stays as broken as they are: the core must get on."""
    core = [world.machines[number] for number in plan.core]
    outside = [machine.number for machine in world.machines if machine.number not in plan.core]
    kept = [(a, b) for a in outside for b in plan.core] + [(b, a) for a in outside for b in plan.core]
    await world.heal(only=plan.core)
    world.cut(kept)
    await trio.sleep(120.0)
    for machine in core:
        path = b"/core-%d.bin" % machine.number
        data = derived(plan.seed, "core", machine.number).randbytes(20_000)
        stored = False
        with trio.move_on_after(CORE_ACK_S):
            stored = await people.store(machine, path, data, Level.PLACED)
        if not stored:
            world.oracle.violate("progress", world.now_s, f"{machine}, in a healthy core, could not store")
            continue
        await trio.sleep(30.0)
        for reader in core:
            got = False
            with trio.move_on_after(CORE_ACK_S):
                got = await people.read(reader, path)
            if not got:
                world.oracle.violate("progress", world.now_s, f"{reader}, in a healthy core, could not read")

