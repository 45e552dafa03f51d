"""How much fits under each promise in each household of the catalogue, against bounds and a fixed wide profile.

Usage: python -m benchmarks.capacity

Bound: what is left of all disks after the worst promised failure; no layout of any width stores more. Fixed: 4 + 2
shards on six machines, one each (the six with most space first), as systems with one profile do; where fewer machines
are left, nothing more is stored.
"""

from __future__ import annotations

from dataclasses import replace

from p2pstore.ids import PeerId
from p2pstore.placement.capacity import bound, usable
from p2pstore.placement.promise import PROMISES, Promise, failure_sets
from p2pstore.placement.ranking import Candidate, awake_share
from simulations.catalogue import CATALOGUE, GB, Owned

STEPS = 400


def candidates_of(machines: tuple[Owned, ...]) -> list[Candidate]:
    """The machines of a household, empty."""
    return [
        Candidate(
            PeerId(bytes([number + 1]) * 32),
            each.gigabytes * GB,
            awake_share(each.steadiness),
            each.site,
            each.gigabytes * GB,
        )
        for number, each in enumerate(machines)
    ]


def fixed(candidates: list[Candidate], promise: Promise, *, needed: int = 4, total: int = 6) -> int:
    """What 4 + 2, one shard a machine, holds; 0 where such a stripe does not keep the promise."""
    free = list(candidates)
    stored, piece = 0, sum(each.free_bytes for each in candidates) // 4000
    while True:
        free.sort(key=lambda each: (-each.free_bytes, each.peer))
        chosen = [each for each in free if each.free_bytes >= piece // needed][:total]
        peers = [each.peer for each in chosen]
        sites = {each.peer: each.site for each in chosen}
        worst = max((len(failed) for failed in failure_sets(peers, promise, sites)), default=total)
        if len(chosen) < total or total - worst < needed:
            return stored
        share = piece // needed
        free = [replace(each, free_bytes=each.free_bytes - share) if each in chosen else each for each in free]
        stored += piece


def main() -> None:
    """Print the table."""
    print("| household | promise | usable GB | of the bound | bytes stored per byte | readable 99 % | fixed 4 + 2 |")
    print("|---|---|---|---|---|---|---|")
    for name, machines in CATALOGUE.items():
        candidates = candidates_of(machines)
        for promise in PROMISES:
            most = bound(candidates, promise)
            if not most:
                continue
            found = usable(candidates, promise, steps=STEPS)
            print(
                f"| {name} | {promise.value} | {found.bytes // GB:,} | {100 * found.bytes / most:.1f} %"
                f" | {found.stored_bytes / found.bytes:.2f} | {100 * found.readable_bytes / found.bytes:.0f} %"
                f" | {fixed(candidates, promise) // GB:,} |"
            )


if __name__ == "__main__":
    main()
