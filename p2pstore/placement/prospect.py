"""What a household would be good for, before anybody buys a disk: by the functions that place, repair and judge. Pure.

```
machines > filled as uploads would > layouts > survivals, readability, repair, risk > the same with one more
```
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from p2pstore.ids import PeerId
from p2pstore.limits import STORE_ACCEPT_BELOW, STORE_REPAIR_BELOW
from p2pstore.placement.capacity import Piece, best_place, fill, usable
from p2pstore.placement.layout import READS
from p2pstore.placement.planner import (
    Shortfall,
    StripePlan,
    extend_stripe,
    health_with,
    lesser_promises,
    plan_stripe,
    shortfalls,
)
from p2pstore.placement.promise import Promise, Sites, StripeHealth, stripe_health
from p2pstore.placement.ranking import Candidate, offers_of, plain_offers
from p2pstore.placement.repair import DAY_S, RULES
from p2pstore.placement.risk import SITE_LOST_YEARLY, Hazard, Layout, Risk, yearly_risk

NEW_SITE: Final = "a new site"

ABSENCES_YEARLY: Final[Mapping[str, float]] = {"always-on": 0.0, "desktop": 1.0, "laptop": 1.0}
"""How often a year a machine of each kind is away for longer than its grace while others are at home, so that its
shards are made anew: a holiday. A judgement."""


@dataclass(frozen=True, slots=True)
class PlannedMachine:
    """A machine that a household has, or might.

    Attributes:
        name: of the machine.
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        given_bytes: what it gives.
        awake: share of the time that it is on.
        lost_yearly: chance that it is lost for good within a year.
        absences_yearly: how often it is away for longer than its grace.
    """

    name: str
    site: str
    steadiness: str
    given_bytes: int
    awake: float
    lost_yearly: float
    absences_yearly: float


@dataclass(frozen=True, slots=True)
class Household:
    """Machines and what is asked of them.

    Attributes:
        machines: in the order of the file.
        promise: what must be survived.
        stored_bytes: of people's data; None for as much as fits.
        site_lost_yearly: chance that a whole site is lost within a year, by site.
        replaced_days: until a lost machine is replaced, where the others cannot make up for it.
        rebuild_bytes_per_s: how fast what was lost is made anew.
    """

    machines: tuple[PlannedMachine, ...]
    promise: Promise
    stored_bytes: int | None
    site_lost_yearly: Mapping[str, float]
    replaced_days: float
    rebuild_bytes_per_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """What one more disk, one more site, or a promise that a house may burn makes of it.

    Attributes:
        what: "disk", "site" or "promise".
        where: the machine that gets the disk, or the site; "" where nothing is bought.
        bytes: its size; 0 where nothing is bought.
        promise: that is asked for then.
        kept: whether it can be kept.
        usable_bytes: what fits then.
        survives: how many machines may fail.
        house: whether any site may.
        risk: within a year.
    """

    what: str
    where: str
    bytes: int
    promise: Promise
    kept: bool
    usable_bytes: int
    survives: int
    house: bool
    risk: Risk


@dataclass(frozen=True, slots=True)
class Prospect:
    """What a household is good for.

    Attributes:
        kept: whether its promise can be kept.
        missing: what of the promise cannot be, and what would make it possible.
        usable_bytes: of files that fit so that the promise is kept.
        data_bytes: of files that the figures below are for.
        fits: whether all of what was to be stored does.
        stored_bytes: what those take on disks.
        plan: the first stripe's.
        survives: how many machines may fail, whichever they are; that of the stripe that bears least.
        house: whether all machines of any one site may fail.
        reads: share of the time at which a stripe can be read, of the one that can be least.
        readable_bytes: files that can be read 99 % of the time.
        rebuilt_bytes: a year, for lost machines and sites.
        absence_bytes: a year, for machines away beyond their grace.
        sent_bytes: a year, over the network, for both; at most.
        risk: within a year.
    """

    kept: bool
    missing: tuple[Shortfall, ...]
    usable_bytes: int
    data_bytes: int
    fits: bool
    stored_bytes: int
    plan: StripePlan
    survives: int
    house: bool
    reads: float
    readable_bytes: int
    rebuilt_bytes: int
    absence_bytes: int
    sent_bytes: int
    risk: Risk
    changes: tuple[Change, ...] = field(default=())


def prospect(household: Household) -> Prospect:
    """All there is to say of a household, and what one more disk or site would change."""
    ground = _Ground(household)
    promise, size = household.promise, max(each.given_bytes for each in household.machines)
    best = ground.machines[best_place(ground.candidates, promise, int(size * STORE_ACCEPT_BELOW))].name
    with_disk = tuple(
        replace(each, given_bytes=each.given_bytes + size) if each.name == best else each
        for each in household.machines
    )
    with_site = (*household.machines, PlannedMachine(NEW_SITE, NEW_SITE, "always-on", size, *_OF_A_NEW_SITE))
    tried = [("disk", best, size, with_disk, promise), ("site", NEW_SITE, size, with_site, promise)]
    if not promise.house:  # a site is of use for what must survive a house
        wider = promise | Promise.HOUSE
        if len({each.site for each in household.machines}) > 1:
            tried.append(("promise", "", 0, household.machines, wider))
        else:
            tried.append(("promise", NEW_SITE, size, with_site, wider))
    changes = []
    for what, where, more_bytes, machines, asked in tried:
        changed = replace(household, machines=machines, promise=asked, stored_bytes=ground.data_bytes)
        after = _Ground(changed).judged()
        changes.append(
            Change(
                what, where, more_bytes, asked, after.kept, after.usable_bytes, after.survives, after.house, after.risk
            )
        )
    return replace(ground.judged(), changes=tuple(changes))


_OF_A_NEW_SITE: Final = (0.99, 0.02, 0.0)
"""Awake, lost and away: a machine that is always on."""


class _Ground:
    """A household filled with its data."""

    def __init__(self, household: Household) -> None:
        self._household = household
        named = enumerate(household.machines, start=1)
        self.machines = {PeerId(number.to_bytes(32, "big")): each for number, each in named}
        self.candidates = [
            Candidate(peer, int(each.given_bytes * STORE_ACCEPT_BELOW), each.awake, each.site, each.given_bytes)
            for peer, each in self.machines.items()
        ]
        self._sites: Sites = {peer: each.site for peer, each in self.machines.items()}
        self._offers = offers_of(b"", self.candidates, shard_bytes=1)
        self._pieces = self._filled()
        self._stored = {peer: sum(piece.stored.get(peer, 0) for piece in self._pieces) for peer in self.machines}
        self.data_bytes = sum(piece.bytes for piece in self._pieces)

    def _filled(self) -> list[Piece]:
        """As uploads would: what cannot keep the promise is stored as safely as there are machines for."""
        most = self._household.stored_bytes
        for lesser in lesser_promises(self._household.promise):
            if pieces := list(fill(self.candidates, lesser, bytes_max=most)):
                return pieces
        plan = plan_stripe(self._offers, self._household.promise)
        free = next(each.free_bytes for each in self.candidates if each.peer == plan.holders[0])
        size = free if most is None else min(most, free)
        return [Piece(plan, size, {plan.holders[0]: size})]

    def judged(self) -> Prospect:
        """Everything but what a change would bring."""
        household, pieces = self._household, self._pieces
        plan = plan_stripe(self._offers, household.promise)
        healths = [self._health(piece.plan) for piece in pieces]
        hazards = self._hazards()
        rebuilt, sent = self._rebuilt([(each, each.yearly) for each in hazards])
        absences = [
            (hazard, self.machines[peer].absences_yearly)
            for hazard, peer in zip(hazards, self.machines, strict=False)
            if self._others_can(hazard.machines)
        ]
        absent, sent_for_absent = self._rebuilt(absences)
        return Prospect(
            kept=plan.kept,
            missing=tuple(shortfalls(self._offers, household.promise)),
            usable_bytes=usable(self.candidates, household.promise).bytes,
            data_bytes=self.data_bytes,
            fits=household.stored_bytes is None or self.data_bytes >= household.stored_bytes,
            stored_bytes=sum(self._stored.values()),
            plan=pieces[0].plan,
            survives=min(each.survives for each in healths),
            house=all(each.house for each in healths),
            reads=min(piece.plan.reads for piece in pieces),
            readable_bytes=sum(piece.bytes for piece in pieces if piece.plan.reads >= READS),
            rebuilt_bytes=rebuilt,
            absence_bytes=absent,
            sent_bytes=sent + sent_for_absent,
            risk=yearly_risk((_layout(piece.plan) for piece in pieces), hazards),
        )

    def _health(self, plan: StripePlan) -> StripeHealth:
        return stripe_health(plan.needed, _held(plan), self._sites)

    def _hazards(self) -> list[Hazard]:
        """One for each machine, in their order, and one for each site."""
        by_site: dict[str, set[PeerId]] = {}
        for peer, site in self._sites.items():
            by_site.setdefault(site, set()).add(peer)
        found = []
        for peer, each in self.machines.items():
            # A site that is silent as a whole may be a line that is down: that is waited out (placement/repair.py).
            alone = len(by_site) > 1 and len(by_site[each.site]) == 1
            wait_s = RULES.patience_s if alone else RULES.grace_of(each.steadiness)
            gone = frozenset([peer])
            found.append(Hazard(each.name, False, gone, each.lost_yearly, self._window_days(gone, wait_s)))
        for site in sorted(by_site):
            gone = frozenset(by_site[site])
            yearly = self._household.site_lost_yearly.get(site, SITE_LOST_YEARLY)
            found.append(Hazard(site, True, gone, yearly, self._window_days(gone, RULES.patience_s)))
        return found

    def _window_days(self, gone: frozenset[PeerId], wait_s: float) -> float:
        """From the loss of these machines until everything they had is there again."""
        wait_days = wait_s / DAY_S
        if not self._others_can(gone):
            wait_days = max(wait_days, self._household.replaced_days)
        held = sum(self._stored[peer] for peer in gone)
        return wait_days + held / self._household.rebuild_bytes_per_s / DAY_S

    def _others_can(self, gone: frozenset[PeerId]) -> bool:
        """Whether those who stay have room for what these had, and can bring a stripe back to what it keeps."""
        stay = [peer for peer in self.machines if peer not in gone]
        room = sum(int(self.machines[peer].given_bytes * STORE_REPAIR_BELOW) - self._stored[peer] for peer in stay)
        plan = self._pieces[0].plan
        if plan.keeps is None or room < sum(self._stored[peer] for peer in gone):
            return False
        held = {peer: indices for peer, indices in _held(plan).items() if peer not in gone}
        offers = plain_offers(stay, self._sites)
        added = extend_stripe(plan.needed, held, offers, plan.keeps, sites=self._sites)
        return health_with(plan.needed, held, added, self._sites).keeps(plan.keeps)

    def _rebuilt(self, events: Sequence[tuple[Hazard, float]]) -> tuple[int, int]:
        """(bytes made anew, bytes sent for it at most) a year, where each hazard takes its machines so often."""
        rebuilt = sent = 0.0
        for hazard, yearly in events:
            for piece in self._pieces:
                left = sum(peer not in hazard.machines for peer in piece.plan.holders)
                lost = sum(piece.stored.get(peer, 0) for peer in hazard.machines)
                if not lost or left < piece.plan.needed:
                    continue
                rebuilt += yearly * lost
                # Whoever rebuilds has a shard of its own, reads k - 1, and sends what it made.
                sent += yearly * (lost + piece.bytes * (piece.plan.needed - 1) / piece.plan.needed)
        return round(rebuilt), round(sent)


def _held(plan: StripePlan) -> dict[PeerId, list[int]]:
    held: dict[PeerId, list[int]] = {}
    for index, peer in enumerate(plan.holders):
        held.setdefault(peer, []).append(index)
    return held


def _layout(plan: StripePlan) -> Layout:
    return Layout(plan.needed, tuple((peer, len(indices)) for peer, indices in sorted(_held(plan).items())))
