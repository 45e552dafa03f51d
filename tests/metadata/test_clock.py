"""The hybrid clock: always forward, never led astray."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.metadata.clock import AHEAD_MS_MAX, HLC_MAX, hlc_ms, observe, tick

timestamps = st.integers(0, HLC_MAX - 1)
walls = st.integers(-(2**60), 2**60)


@given(timestamps, walls)
def test_ticks_forward_whatever_the_wall_clock_says(last: int, wall_ms: int) -> None:
    assert last < tick(last, wall_ms) <= HLC_MAX


@given(timestamps, timestamps, walls)
def test_a_remote_time_never_takes_it_far_beyond_the_wall_clock(last: int, remote: int, wall_ms: int) -> None:
    seen = observe(last, remote, wall_ms)
    assert seen in (last, remote)
    assert seen >= last
    if seen != last:
        assert hlc_ms(seen) <= wall_ms + AHEAD_MS_MAX


def test_shows_the_wall_clock_when_nothing_happened() -> None:
    assert hlc_ms(tick(0, 1_700_000_000_000)) == 1_700_000_000_000
    assert observe(5 << 16, (AHEAD_MS_MAX + 11) << 16, 10) == 5 << 16
    assert observe(5 << 16, (AHEAD_MS_MAX + 10) << 16, 10) == (AHEAD_MS_MAX + 10) << 16
