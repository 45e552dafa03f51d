"""The hybrid logical clock: 48 bits of milliseconds, 16 bits of counter. It only chooses which version keeps a name."""

from __future__ import annotations

from typing import Final

COUNTER_BITS: Final = 16

WALL_MS_MAX: Final = 2**47 - 1
"""The year 6429; a clock beyond it counts as this, so that a timestamp fits SQLite's signed 64 bits."""

HLC_MAX: Final = 2**63 - 1

AHEAD_MS_MAX: Final = 5 * 60 * 1000
"""A remote time further ahead than this is taken as a wrong clock: its operation counts, its time does not advance
ours (facts/simulation.md, 2.3)."""


def _wall_hlc(wall_ms: int) -> int:
    return min(max(wall_ms, 0), WALL_MS_MAX) << COUNTER_BITS


def tick(last: int, wall_ms: int) -> int:
    """The next local timestamp: greater than `last`, and not before the wall clock.

    Args:
        last: the greatest timestamp that this ledger gave out or observed.
        wall_ms: milliseconds since 1970 as this machine believes.
    """
    return min(max(last + 1, _wall_hlc(wall_ms)), HLC_MAX)


def observe(last: int, remote: int, wall_ms: int) -> int:
    """`last` after a remote timestamp was seen; unchanged if that is more than AHEAD_MS_MAX ahead of the wall clock."""
    return max(last, remote) if remote <= _wall_hlc(wall_ms + AHEAD_MS_MAX) else last


def hlc_at(ms: int) -> int:
    """The first timestamp of a millisecond."""
    return _wall_hlc(ms)


def hlc_at_end_of(ms: int) -> int:
    """The last timestamp of a millisecond."""
    return _wall_hlc(ms) | ((1 << COUNTER_BITS) - 1)


def hlc_ms(hlc: int) -> int:
    """Milliseconds since 1970 of a timestamp."""
    return hlc >> COUNTER_BITS
