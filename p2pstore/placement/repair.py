"""Whether a stripe is due for repair, who repairs it, what that adds. Pure; the verdict counts by the same functions.

```
silences > standings: who counts, who is gone > judge one stripe > due > whose turn > plan: which rows, where
```

Nothing here takes anything away: a repair only ever adds shards.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from p2pstore.ids import EncodingId, PeerId
from p2pstore.placement.planner import extend_stripe, health_with
from p2pstore.placement.promise import NO_SITES, Promise, Sites, StripeHealth, stripe_health
from p2pstore.placement.ranking import Offer
from p2pstore.placement.verdict import GRACE_S, PROVEN_WITHIN_S

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S


@dataclass(frozen=True, slots=True)
class Rules:
    """The times that decide, each with its reason.

    Attributes:
        grace_s: how long a machine may be silent before its shards are rebuilt, by steadiness (DESIGN 11; facts:
            simulation, 5.5: at these, sleep costs nothing).
        silent_after_s: who was not heard for so long is part of a common silence. Half of the shortest grace: a link
            that is down takes everybody at once, so whoever passes its grace because of it has this company.
        patience_s: how long a common silence is waited out; a person may end it earlier.
        aftermath_s: how long after a common silence, and after our own start, nobody becomes gone: when a link is back,
            its machines return one after the other, and the first must not make the second look dead.
        proven_within_s: a holder's word about its shards counts for so long.
        takeover_s: the next holder acts when the nearest has not for so long: a long queue is no reason to do its work
            twice.
        settle_s: a shard that its holder announces as lost is that holder's to rebuild for so long; and a stripe that
            was short from its birth is its uploader's.
    """

    grace_s: Mapping[str, float] = field(default_factory=lambda: dict(GRACE_S))
    silent_after_s: float = 12 * HOUR_S
    patience_s: float = 14 * DAY_S
    aftermath_s: float = HOUR_S
    proven_within_s: float = PROVEN_WITHIN_S
    takeover_s: float = 900.0
    settle_s: float = 120.0

    def grace_of(self, steadiness: str) -> float:
        """The grace of a machine; one of a kind that this build does not know is a desktop."""
        return self.grace_s.get(steadiness, self.grace_s["desktop"])


RULES: Final = Rules()


@dataclass(frozen=True, slots=True)
class Machine:
    """What the roster says of a member, as far as it matters here."""

    peer: PeerId
    site: str
    steadiness: str
    leaves: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a machine has not been heard.

    Attributes:
        answers: it answers now.
        listened_s: seconds of *our own* running time since it was last heard: neither a wrong clock nor our own sleep
            makes anybody's silence longer.
        proven_age_s: by the wall clock, since it last said which shards it holds; infinite for never.
    """

    answers: bool
    listened_s: float
    proven_age_s: float


class Standing(Enum):
    """How a member's shards are taken. The value is the word that people are shown."""

    ANSWERS = "answers"
    """They count."""
    ASLEEP = "asleep"
    """Silent, within its grace: they count."""
    OVERDUE = "overdue"
    """Silent beyond its grace by the wall clock, or its word is too old, but we have not listened for so long: the
    verdict does not count them, and nothing is rebuilt."""
    PATIENCE = "patience"
    """Past its grace, but so are others: it may be our own link. Not counted, and nothing is rebuilt."""
    GONE = "gone"
    """Past its grace: not counted, and rebuilt."""
    LEAVING = "leaving"
    """On its way out: its shards count while it is there, and are rebuilt elsewhere."""

    @property
    def counts(self) -> bool:
        """Whether the verdict counts the shards."""
        return self in (Standing.ANSWERS, Standing.ASLEEP, Standing.LEAVING)

    @property
    def stays(self) -> bool:
        """Whether repair may build on the shards: their machine is neither gone nor about to go."""
        return self not in (Standing.GONE, Standing.LEAVING)


class Cause(Enum):
    """Why shards of a stripe are missing. The value is the word that people are shown."""

    REMOVED = "removed"
    SILENT = "silent"
    LEAVING = "leaving"
    LOST = "lost"
    """Its holder says that it has it no longer, or it was never placed."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Where one stripe stands.

    Attributes:
        health: what it survives, counting those that count: what the verdict says.
        due: its promise does not hold without those who are gone.
        margin: how many further failures it bears then; -1 for none that leaves it readable.
        causes: why, sorted by word; () if it is not due.
        without: the machines that are gone or removed and announced shards of it, sorted.
    """

    health: StripeHealth
    due: bool
    margin: int
    causes: tuple[Cause, ...]
    without: tuple[PeerId, ...]


def standings(
    me: PeerId,
    machines: Sequence[Machine],
    silences: Mapping[PeerId, Silence],
    rules: Rules = RULES,
    *,
    since_common_s: float = float("inf"),
) -> dict[PeerId, Standing]:
    """How the shards of every member are taken. Who is not a member is not in it: removed machines count at once.

    Args:
        me: this machine; it counts.
        machines: the members, this one among them or not.
        silences: of the others; one that is missing was never heard in any life of ours.
        rules: the times.
        since_common_s: our running time since the last common silence, or our start.
    """
    site = next((machine.site for machine in machines if machine.peer == me), "")
    never = Silence(answers=False, listened_s=0.0, proven_age_s=float("inf"))
    others = [machine for machine in sorted(machines, key=lambda each: each.peer) if machine.peer != me]
    heard = {machine.peer: silences.get(machine.peer, never) for machine in others}
    patient = since_common_s <= rules.aftermath_s or is_common_silence(site, others, heard, rules)
    found = {me: Standing.ANSWERS}
    for machine in others:
        found[machine.peer] = _standing(heard[machine.peer], rules.grace_of(machine.steadiness), patient, rules)
    for machine in machines:
        if machine.leaves:
            found[machine.peer] = Standing.LEAVING if found[machine.peer].counts else Standing.GONE
    return found


def _standing(silence: Silence, grace_s: float, patient: bool, rules: Rules) -> Standing:
    is_proven = silence.proven_age_s <= rules.proven_within_s
    if silence.answers:
        return Standing.ANSWERS if is_proven else Standing.OVERDUE
    if silence.listened_s <= grace_s:
        return Standing.ASLEEP if is_proven and silence.proven_age_s <= grace_s else Standing.OVERDUE
    if patient and silence.listened_s <= rules.patience_s:
        return Standing.PATIENCE
    return Standing.GONE


def is_common_silence(
    site: str, others: Sequence[Machine], silences: Mapping[PeerId, Silence], rules: Rules = RULES
) -> bool:
    """Whether so many are silent together that it may be our own link: every machine of another site, or more than half
    of the others and at least two."""
    silent = {
        machine.peer
        for machine in others
        if not silences[machine.peer].answers and silences[machine.peer].listened_s > rules.silent_after_s
    }
    if len(silent) >= 2 and 2 * len(silent) > len(others):
        return True
    elsewhere: dict[str, list[PeerId]] = {}
    for machine in others:
        if machine.site != site:
            elsewhere.setdefault(machine.site, []).append(machine.peer)
    return any(silent.issuperset(peers) for peers in elsewhere.values())


def judge(
    needed: int,
    held: Mapping[PeerId, Collection[int]],
    standing: Mapping[PeerId, Standing],
    promise: Promise,
    sites: Sites = NO_SITES,
) -> Judgement:
    """Where one stripe stands.

    Args:
        needed: k; 1 means copies.
        held: which indices each machine announced, also machines that are members no longer.
        standing: see `standings`.
        promise: what the stripe must survive.
        sites: where machines stand.
    """
    counted = {peer: indices for peer, indices in held.items() if peer in standing and standing[peer].counts}
    left = staying(held, standing)
    health = stripe_health(needed, counted, sites)
    after = stripe_health(needed, left, sites)
    if after.keeps(promise):
        return Judgement(health, False, after.survives, (), ())
    without = sorted(peer for peer, indices in held.items() if indices and peer not in left)
    causes = {_cause(standing.get(peer)) for peer in without}
    if not stripe_health(needed, held, sites).keeps(promise):
        causes.add(Cause.LOST)  # it would be short even if they returned
    words = tuple(sorted(causes, key=lambda cause: cause.value))
    return Judgement(health, True, after.survives, words, tuple(without))


def _cause(standing: Standing | None) -> Cause:
    if standing is None:
        return Cause.REMOVED
    return Cause.LEAVING if standing is Standing.LEAVING else Cause.SILENT


def staying(
    held: Mapping[PeerId, Collection[int]], standing: Mapping[PeerId, Standing]
) -> dict[PeerId, Collection[int]]:
    """What is left when everybody who is gone, leaving or removed is counted out, and nobody else: what a repair builds
    on."""
    return {
        peer: indices
        for peer, indices in sorted(held.items())
        if indices and standing.get(peer, Standing.GONE).stays
    }


def repairers(
    encoding: EncodingId, held: Mapping[PeerId, Collection[int]], answering: Collection[PeerId]
) -> list[PeerId]:
    """Holders that answer, the one nearest to the stripe's id first: the first repairs, the next take over."""
    name = int.from_bytes(encoding, "big")
    there = [peer for peer, indices in held.items() if indices and peer in answering]
    return sorted(there, key=lambda peer: int.from_bytes(peer, "big") ^ name)


def turn_after_s(rank: int, judgement: Judgement, rules: Rules = RULES) -> float:
    """How long the holder of this rank waits before it repairs a stripe that it found due.

    The nearest acts at once when a machine was removed or is gone; where a shard is missing for no such reason, its
    holder or its uploader is at work, and is waited for. A stripe that bears no further failure waits a tenth as long
    for anybody.
    """
    wait_s = rank * rules.takeover_s
    if judgement.causes == (Cause.LOST,):
        wait_s += rules.settle_s
    return wait_s / 10 if judgement.margin <= 0 else wait_s


@dataclass(frozen=True, slots=True)
class RepairPlan:
    """What a repair adds.

    Attributes:
        added: (machine, index), in the order to be placed.
        health: what the stripe survives then, nobody who is gone counted.
        keeps: whether the promise holds then.
    """

    added: tuple[tuple[PeerId, int], ...]
    health: StripeHealth
    keeps: bool


def plan_repair(
    needed: int,
    held: Mapping[PeerId, Collection[int]],
    standing: Mapping[PeerId, Standing],
    offers: Sequence[Offer],
    promise: Promise,
    sites: Sites = NO_SITES,
) -> RepairPlan:
    """Which shards to add, and where; nothing unless the stripe survives more with them than without.

    Rows that somebody who is silent holds are made anew only when no other are left: should that machine return, its
    shards count beside the new ones.
    """
    left = {peer: sorted(indices) for peer, indices in staying(held, standing).items()}
    places = {**sites, **{offer.peer: offer.site for offer in offers}}
    before = stripe_health(needed, left, places)
    added = extend_stripe(needed, left, offers, promise, sites=places, avoid=rows_of_absent(held, standing))
    after = health_with(needed, left, added, places)
    if not added or after.rank <= before.rank:
        return RepairPlan((), before, before.keeps(promise))
    return RepairPlan(tuple(added), after, after.keeps(promise))


def rows_of_absent(
    held: Mapping[PeerId, Collection[int]], standing: Mapping[PeerId, Standing]
) -> frozenset[int]:
    """Indices that members who are gone hold and may bring back."""
    absent = [indices for peer, indices in held.items() if standing.get(peer) is Standing.GONE]
    return frozenset().union(*absent)
