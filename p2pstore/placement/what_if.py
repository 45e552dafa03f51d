"""What would be left if some machines were lost now: the verdict's own arithmetic over other survivors. Pure."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from p2pstore.ids import ChunkId, EncodingId, PeerId
from p2pstore.placement.promise import NO_SITES, Promise, Sites, StripeHealth, stripe_health
from p2pstore.placement.verdict import ORDER, State, stripe_state


@dataclass(frozen=True, slots=True)
class CountedStripe:
    """A stripe as the verdict sees it.

    Attributes:
        encoding: which.
        chunk: what it holds.
        needed: k.
        shard_length: bytes of one payload.
        promise: what it owes.
        held: indices by machine; only machines that count.
        sites: where machines stand.
    """

    encoding: EncodingId
    chunk: ChunkId
    needed: int
    shard_length: int
    promise: Promise
    held: Mapping[PeerId, Sequence[int]]
    sites: Sites = field(default_factory=lambda: NO_SITES)

    def without(self, lost: Collection[PeerId]) -> CountedStripe:
        """The same after `lost` are no more."""
        left = {peer: indices for peer, indices in self.held.items() if peer not in lost}
        return replace(self, held=left)

    @property
    def health(self) -> StripeHealth:
        """What it survives."""
        return stripe_health(self.needed, self.held, self.sites)

    @property
    def state(self) -> State:
        """Its word."""
        return stripe_state(self.health, self.promise)


@dataclass(slots=True)
class Outlook:
    """How all stripes together stand; `add` each.

    Attributes:
        counts: stripes by state.
        survives: stripes by how many further failures they bear.
    """

    counts: Counter[State] = field(default_factory=Counter)
    survives: Counter[int] = field(default_factory=Counter)

    def add(self, stripe: CountedStripe) -> None:
        """Count one."""
        health = stripe.health
        self.counts[stripe_state(health, stripe.promise)] += 1
        self.survives[health.survives] += 1

    @property
    def state(self) -> State:
        """The worst decides."""
        return next((state for state in reversed(ORDER) if self.counts[state]), State.SAFE)

    @property
    def total(self) -> int:
        """All stripes."""
        return sum(self.counts.values())


class Worst:
    """The stripes that bear least, at most `count` of them that do not keep their promise."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._heap: list[tuple[int, bytes, CountedStripe]] = []

    def add(self, stripe: CountedStripe) -> None:
        """Look at one."""
        if self._count < 1 or stripe.state is State.SAFE:
            return
        line = (-stripe.health.survives, stripe.encoding, stripe)
        if len(self._heap) < self._count:
            heapq.heappush(self._heap, line)
        else:
            heapq.heappushpop(self._heap, line)

    def stripes(self) -> list[CountedStripe]:
        """The worst first."""
        return [stripe for _, _, stripe in sorted(self._heap, key=lambda line: (-line[0], line[1]))]


def sentence_without(names: Sequence[str], before: Outlook, after: Outlook) -> str:
    """What would be left without some machines, for somebody who knows nothing of shards."""
    who = " and ".join(names) if len(names) <= 2 else f"{', '.join(names[:-1])} and {names[-1]}"
    if after.total == 0:
        return f"Without {who} nothing large would be missing: nothing large is stored yet."
    lost = after.counts[State.LOST] - before.counts[State.LOST]
    if lost > 0:
        return f"Without {who}, {lost:,} of {after.total:,} pieces could not be read any more."
    if after.counts[State.LOST]:
        return f"Without {who} nothing more would be lost than is unreadable now."
    least = min(survives for survives, count in after.survives.items() if count)
    if least == 0:
        return f"Without {who} everything could still be read, but no further failure would be survived."
    more = "one more machine" if least == 1 else f"{least} more machines"
    return f"Without {who} everything could still be read, and any {more} could fail."


@dataclass(frozen=True, slots=True)
class Leaving:
    """Whether some machines can leave for good.

    Attributes:
        possible: nothing is risked, and those who stay can make up for it.
        reasons: why not; or what it costs.
    """

    possible: bool
    reasons: tuple[str, ...]


def can_leave(
    after: Outlook, *, before: Outlook, rebuilt_bytes: int, room_bytes: int, short: int, admins_left: int
) -> Leaving:
    """Whether machines can leave: until a repair has made up for them, one more failure must be borne.

    Args:
        after: how stripes stand without them.
        before: with them.
        rebuilt_bytes: what those who stay would have to make anew.
        room_bytes: what they have room for.
        short: stripes that could not keep their promise on those who stay, and do with them.
        admins_left: machines that stay and may invite and remove.
    """
    reasons = []
    if lost := after.counts[State.LOST] - before.counts[State.LOST]:
        reasons.append(f"{lost:,} of {after.total:,} pieces could not be read any more")
    if (at_risk := after.counts[State.RISK] - before.counts[State.RISK]) > 0:
        reasons.append(f"{at_risk:,} of {after.total:,} pieces would survive no further failure until repaired")
    if short:
        reasons.append(f"{short:,} pieces could not keep their promise on the machines that stay")
    if rebuilt_bytes > room_bytes:
        reasons.append(f"{rebuilt_bytes:,} bytes would have to be rebuilt, and there is room for {room_bytes:,}")
    if admins_left < 1:
        reasons.append("no machine would be left that may invite and remove others")
    if reasons:
        return Leaving(False, tuple(reasons))
    return Leaving(True, (f"{rebuilt_bytes:,} bytes would be rebuilt on those who stay",) if rebuilt_bytes else ())


def can_drain(
    *, pieces: int, rebuilt_bytes: int, room_bytes: int, short: int, lost: int, admins_left: int
) -> Leaving:
    """Whether a machine can leave once those who stay have what they need of it.

    Args:
        pieces: all stripes.
        rebuilt_bytes: what those who stay make anew.
        room_bytes: what they have room for.
        short: stripes that keep their promise now, and cannot on those who stay.
        lost: stripes that those who stay cannot take as much of as reading them needs.
        admins_left: machines that stay and may invite and remove.
    """
    reasons = []
    if lost:
        reasons.append(f"{lost:,} of {pieces:,} pieces could not be read any more: it waits as long as that is so")
    if short:
        reasons.append(f"{short:,} of {pieces:,} pieces could not keep their promise on the machines that stay")
    if rebuilt_bytes > room_bytes:
        reasons.append(f"{rebuilt_bytes:,} bytes have to be written elsewhere, and there is room for {room_bytes:,}")
    if admins_left < 1:
        reasons.append("no machine would be left that may invite and remove others: it waits as long as that is so")
    if reasons:
        return Leaving(False, tuple(reasons))
    return Leaving(True, (f"{rebuilt_bytes:,} bytes are written elsewhere first",) if rebuilt_bytes else ())
