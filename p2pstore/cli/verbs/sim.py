"""sim: the whole household in virtual time, on this machine, without a daemon."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb, VerbGroup
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault

if TYPE_CHECKING:
    from simulations.schedule import Plan

_PEERS = click.option("--peers", type=click.IntRange(min=2, max=30), help="Machines [the scenario's own number].")
_PACE = click.option(
    "--pace", type=click.FloatRange(min=1, max=60), help="Upkeep goes so many times slower [the scenario's own]."
)
_HTML = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write the report there, with plots over time."
)
_CHECK = click.option("--check-determinism", is_flag=True, help="Run twice, and name the first event that differs.")


@click.group(cls=VerbGroup)
def sim() -> None:
    """Try a household's bad days in virtual time.

    Real code on simulated machines: hours pass in seconds, disks fail, houses burn, and every byte is compared.
    """


@sim.command(cls=Verb)
@click.argument("scenario")
@_PEERS
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another story.")
@click.option("--days", type=click.FloatRange(min=0.002, max=400), help="Virtual days [the scenario's own length].")
@_PACE
@_HTML
@click.option("--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the plan there, for replay.")
@_CHECK
@click.pass_obj
def run(
    session: Session,
    *,
    scenario: str,
    peers: int | None,
    seed: int,
    days: float | None,
    pace: float | None,
    html: Path | None,
    save: Path | None,
    check_determinism: bool,
) -> int:
    """Run one scenario.

    SCENARIO is family-year, churn, house-fire, two-houses, mass-loss, full-disks, clock-chaos, new-disk,
    hostile-member, rolling-upgrade or swarm.
    """
    from simulations.scenarios import DAY_S, SCENARIOS
    from simulations.swarm import swarm_plan

    if scenario == "swarm":
        plan = swarm_plan(seed, peers=peers or 0, **({"load_s": days * DAY_S} if days else {}))
    elif scenario in SCENARIOS:
        plan = SCENARIOS[scenario].plan(scenario, seed=seed, peers=peers or 0, days=days or 0.0, pace=pace or 0.0)
    else:
        known = ", ".join([*SCENARIOS, "swarm"])
        raise Failure(Fault("no-scenario", f"there is no scenario {scenario!r}", f"known: {known}", (), exits.USAGE))
    if save is not None:
        save.write_text(plan.encode(), "utf-8")
    again = f"p2pstore sim run {scenario} --seed {seed}"
    again += f" --peers {peers}" if peers else ""
    again += f" --days {days:g}" if days else ""
    again += f" --pace {pace:g}" if pace else ""
    return _run(session, plan, again, check_determinism, html)


@sim.command(cls=Verb)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_HTML
@_CHECK
@click.pass_obj
def replay(session: Session, *, file: Path, html: Path | None, check_determinism: bool) -> int:
    """Run a plan that was saved or shrunk."""
    from simulations.schedule import Plan

    return _run(session, Plan.decode(file.read_text("utf-8")), f"p2pstore sim replay {file}", check_determinism, html)


def _run(session: Session, plan: Plan, again: str, check_determinism: bool, html: Path | None) -> int:
    from simulations.determinism import check_determinism as check
    from simulations.page import page
    from simulations.report import report
    from simulations.run import run_plan

    result = run_plan(plan)
    summary: dict[str, Any] = {**result.summary(), "replay": again, "deterministic": None}
    lines = [report(result, replay=again)]
    if html is not None:
        html.write_text(page(result, replay=again), "utf-8")
    same = True
    if check_determinism:
        divergence = check(plan)
        same = divergence is None
        summary["deterministic"] = same
        if divergence is None:
            lines.append("  the same, event by event, in another process with another hash seed")
        else:
            lines.append(f"  NOT DETERMINISTIC: event {divergence.event} is")
            lines.append(f"    here   {divergence.here}")
            lines.append(f"    there  {divergence.there}")
    session.show(summary, lines)
    return exits.DONE if result.held and same else exits.FAILED


@sim.command(cls=Verb)
@click.option("--seeds", type=click.IntRange(min=1), default=20, show_default=True, help="How many.")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="The first of them.")
@click.option("--jobs", type=click.IntRange(min=1, max=64), default=1, show_default=True, help="Processes.")
@_PEERS
@click.option("--minutes", type=click.FloatRange(min=2), default=20.0, show_default=True, help="Virtual, with faults.")
@click.pass_obj
def swarm(session: Session, *, seeds: int, first: int, jobs: int, peers: int | None, minutes: float) -> int:
    """Run many seeds, each with faults of its own."""
    from simulations.many import run_seeds

    summaries = []
    failed = []
    for result in run_seeds(first, seeds, jobs=jobs, peers=peers or 0, load_s=minutes * 60):
        summaries.append(result.summary())
        seed = result.plan.seed
        session.note(f"seed {seed}: {'held' if result.held else 'VIOLATED ' + result.signature}")
        if not result.held:
            failed.append(seed)
    lines = [f"{seeds} seeds, {len(failed)} failed"]
    lines += [f"  p2pstore sim run swarm --seed {seed} --days {minutes / 1440:g}" for seed in failed]
    session.show({"seeds": seeds, "failed": failed, "runs": summaries}, lines)
    return exits.FAILED if failed else exits.DONE


@sim.command(cls=Verb)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The small plan [FILE.small].")
@click.option("--runs", type=click.IntRange(min=1), default=60, show_default=True, help="Tries at most.")
@click.pass_obj
def shrink(session: Session, *, file: Path, output: Path | None, runs: int) -> int:
    """Make a failing plan as small as it fails in the same way."""
    from simulations.schedule import Plan
    from simulations.shrink import shrink as make_small

    plan = Plan.decode(file.read_text("utf-8"))
    small = make_small(plan, runs_max=runs, tell=session.note)
    target = output or file.with_name(file.name + ".small")
    target.write_text(small.encode(), "utf-8")
    lines = [f"{len(plan.faults)} faults became {len(small.faults)}: {target}"]
    lines += [f"  {fault}" for fault in small.faults]
    session.show({"before": len(plan.faults), "after": len(small.faults), "file": str(target)}, lines)
    return exits.DONE


@sim.command(cls=Verb)
@click.option("--nodes", type=click.IntRange(min=2, max=20_000), default=1000, show_default=True, help="How many.")
@click.option("--lookups", type=click.IntRange(min=1), default=50, show_default=True, help="Random keys.")
@click.option("--dead", type=click.FloatRange(min=0, max=0.9), default=0.0, show_default=True, help="Share that died.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another network.")
@click.pass_obj
def dht(session: Session, *, nodes: int, lookups: int, dead: float, seed: int) -> int:
    """See how the DHT finds its way among many nodes."""
    from simulations.dht_figures import dht_figures

    figures = dht_figures(nodes, lookups=lookups, seed=seed, dead_share=dead)
    lines = [
        f"{nodes:,} nodes, {lookups} lookups, {dead:.0%} of the nodes dead",
        f"  found      {figures['found_share']:.1%} of the 20 nearest",
        f"  took       {figures['lookup_s_median']:.2f} s (median), {figures['lookup_s_worst']:.2f} s (worst)",
        f"  datagrams  {figures['datagrams_per_lookup']:.0f} a lookup, upkeep of everybody included",
    ]
    session.show({"seed": seed, "figures": figures}, lines)
    return exits.DONE


@sim.command("what-if", cls=Verb)
@click.argument("file", metavar="HOUSEHOLD.toml", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def what_if(session: Session, *, file: Path) -> int:
    """See what a household would be good for, before you buy it.

    How much fits, what may fail, what repair costs, how likely a loss is, and what one more disk or site would change.
    The file: p2pstore help what-if. Exit code 6 when the promise cannot be kept.
    """
    from p2pstore.cli.household_file import read_household
    from p2pstore.cli.prospects import lines_of, result_of
    from p2pstore.placement.prospect import prospect

    household = read_household(file)
    found = prospect(household)
    code = exits.DONE if found.kept and found.fits else exits.TOO_FEW_MACHINES
    result = {**result_of(household, found), "exit": code}
    session.show(result, lines_of(result, plain=session.plain))
    return code
