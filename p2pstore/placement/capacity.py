"""How much fits under a promise: the household is filled stripe by stripe, as uploads would fill it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from p2pstore.ids import PeerId
from p2pstore.placement.layout import READS
from p2pstore.placement.planner import StripePlan, plan_stripe
from p2pstore.placement.promise import Promise, Sites, failure_sets
from p2pstore.placement.ranking import Candidate, awake_share, offers_of

STEPS: Final = 200
"""A piece is this part of what is free: the answer is within 1 %, in some tenths of a second."""

_COARSE_STEPS: Final = STEPS // 4
"""For comparing many households, where 4 % do not matter."""

_DREGS: Final = 200
"""A disk is full when this part of it is left."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """What fits.

    Attributes:
        bytes: of people's data, until no further piece could be stored so that the promise holds.
        readable_bytes: of these, what can be read 99 % of the time.
        stored_bytes: what that takes on disks.
    """

    bytes: int
    readable_bytes: int
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of what fits; all of it is spread in the same way.

    Attributes:
        plan: how.
        bytes: of people's data.
        stored: what that takes on each machine.
    """

    plan: StripePlan
    bytes: int
    stored: Mapping[PeerId, int]


def fill(
    candidates: Sequence[Candidate], promise: Promise, *, steps: int = STEPS, bytes_max: int | None = None
) -> Iterator[Piece]:
    """Fill the free space of `candidates` under `promise`, in pieces that become finer as it is used up, until no
    further piece could be stored so that the promise holds, or `bytes_max` are."""
    machines = {each.peer: each for each in candidates if each.free_bytes > 0}
    dregs = {each.peer: max(1, each.free_bytes // _DREGS) for each in candidates}
    number = finer = total = 0
    while machines and (bytes_max is None or total < bytes_max):
        number += 1
        offers = offers_of(number.to_bytes(8, "big"), machines.values(), shard_bytes=1)
        plan = plan_stripe(offers, promise)
        if not plan.kept:
            return
        size = max(1, (sum(each.free_bytes for each in machines.values()) // steps) >> finer)
        if bytes_max is not None:
            size = min(size, bytes_max - total)
        counts = {peer: plan.holders.count(peer) for peer in sorted(set(plan.holders))}
        wanted = {peer: max(1, round(size * count / plan.needed)) for peer, count in counts.items()}
        if any(machines[peer].free_bytes < part for peer, part in wanted.items()):
            finer += 1
            continue
        finer = 0
        for peer, part in wanted.items():
            machines[peer] = replace(machines[peer], free_bytes=machines[peer].free_bytes - part)
            if machines[peer].free_bytes < dregs[peer]:
                del machines[peer]
        total += size
        yield Piece(plan, size, wanted)


def usable(candidates: Sequence[Candidate], promise: Promise, *, steps: int = STEPS) -> Capacity:
    """How much fits when the free space of `candidates` is filled under `promise`."""
    total = readable = stored = 0
    for piece in fill(candidates, promise, steps=steps):
        total += piece.bytes
        stored += sum(piece.stored.values())
        readable += piece.bytes if piece.plan.reads >= READS else 0
    return Capacity(total, readable, stored)


def best_place(candidates: Sequence[Candidate], promise: Promise, size: int) -> PeerId:
    """The machine in which one more disk of `size` bytes adds most; tried on each, coarsely."""
    fits = {
        each.peer: usable(with_disk(candidates, each.peer, size), promise, steps=_COARSE_STEPS).bytes
        for each in candidates
    }
    return max(sorted(fits), key=lambda peer: fits[peer])


def bound(candidates: Sequence[Candidate], promise: Promise) -> int:
    """More than this no layout of any width could store: what is left of all disks after the worst promised failure."""
    sites: Sites = {each.peer: each.site for each in candidates}
    free = {each.peer: each.free_bytes for each in candidates}
    left = (
        sum(size for peer, size in free.items() if peer not in failed)
        for failed in failure_sets(list(free), promise, sites)
    )
    return min(left, default=0)


def with_disk(candidates: Sequence[Candidate], peer: PeerId, size: int) -> list[Candidate]:
    """The same with one more disk of `size` bytes in one machine."""
    return [
        replace(each, free_bytes=each.free_bytes + size, given_bytes=max(each.given_bytes, each.free_bytes) + size)
        if each.peer == peer
        else each
        for each in candidates
    ]


def with_site(candidates: Sequence[Candidate], site: str, size: int) -> list[Candidate]:
    """The same with one more machine that is always on, at a site of its own."""
    stranger = PeerId(bytes(32))
    return [*candidates, Candidate(stranger, size, awake_share("always-on"), site, size)]
