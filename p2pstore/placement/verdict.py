"""The verdict: one word for how safe everything is, decided by the worst stripe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from p2pstore.placement.promise import Promise, StripeHealth

PROVEN_WITHIN_S: Final = 35 * 86400.0
"""A holder's word about a shard counts for so long: a scrub a month, and some days for the machine to wake."""

GRACE_S: Final[Mapping[str, float]] = {"always-on": 24 * 3600.0, "desktop": 72 * 3600.0, "laptop": 7 * 86400.0}
"""How long a machine may be silent before its shards count as gone (DESIGN 11)."""


class State(Enum):
    """From best to worst; `UNKNOWN` is none of them."""

    SAFE = "safe"
    THIN = "thin"
    RISK = "risk"
    LOST = "lost"
    UNKNOWN = "unknown"


ORDER: Final = (State.SAFE, State.THIN, State.RISK, State.LOST)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person is told.

    Attributes:
        state: the word.
        sentence: what it means, for somebody who knows nothing of shards.
        counts: stripes in each state.
        computed_at_s: on the monotonic clock.
        promised: the worst state of the stripes that owe each promise that was stated.
    """

    state: State
    sentence: str
    counts: Mapping[str, int]
    computed_at_s: float
    promised: Mapping[Promise, State] = field(default_factory=dict)

    def folder_state(self, promise: Promise) -> State:
        """The worst state of what owes at least `promise`: never better than that of a folder that promises it."""
        states = [state for each, state in self.promised.items() if each.covers(promise)]
        return max(states, key=ORDER.index, default=State.SAFE)


def stripe_state(health: StripeHealth, promise: Promise) -> State:
    """Where one stripe stands on the ladder."""
    if not health.readable:
        return State.LOST
    if health.keeps(promise):
        return State.SAFE
    return State.THIN if health.survives >= 1 else State.RISK


def sentence_of(state: State, *, counts: Mapping[str, int], promise: Promise | None, machines: int) -> str:
    """The sentence for a state, once there is anything stored.

    Args:
        state: the worst piece's.
        counts: pieces by state.
        promise: what every piece promises; None where folders promise different things.
        machines: members.
    """
    total = sum(counts.values())
    if total == 0:
        return "Nothing large is stored yet." if machines > 1 else "This is the only machine: all it has exists once."
    match state:
        case State.SAFE:
            if promise is None:
                return "Everything survives what its folder promises."
            return f"Everything survives the loss of {promise.failures}."
        case State.THIN:
            than = "what their folders promise" if promise is None else promise.failures
            return f"Everything is readable; {counts['thin']:,} of {total:,} pieces survive fewer failures than {than}."
        case State.RISK:
            if machines == 1:
                return "This is the only machine: if its disk dies, everything is gone."
            return f"Everything is readable, but {counts['risk']:,} of {total:,} pieces survive no further failure."
        case State.LOST:
            return f"{counts['lost']:,} of {total:,} pieces cannot be read from the machines that count now."
        case State.UNKNOWN:
            return "No other machine has been heard for 15 minutes: this machine cannot know."
