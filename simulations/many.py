"""Many seeds, in several processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from simulations.run import Result, run_plan
from simulations.swarm import swarm_plan


def run_seed(seed: int, *, peers: int = 0, load_s: float = 1200.0) -> Result:
    """The swarm run of one seed."""
    return run_plan(swarm_plan(seed, peers=peers, load_s=load_s))


def run_seeds(first: int, count: int, *, jobs: int = 1, peers: int = 0, load_s: float = 1200.0) -> Iterator[Result]:
    """The swarm runs of seeds `first` to `first + count - 1`, in order, `jobs` at a time."""
    seeds = range(first, first + count)
    one = partial(run_seed, peers=peers, load_s=load_s)
    if jobs <= 1:
        yield from map(one, seeds)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, seeds)
