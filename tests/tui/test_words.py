"""What the screens say, and what they remember."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.tui.fake_backend import NOW, TRANSFERS, FakeHousehold
from tui import words
from tui.model import LOG_LINES_MAX, Model, Standing
from tui.widgets.preview import decode_image, half_blocks, text_lines
from tui.widgets.status import headline


@given(st.integers(0, 10**17))
def test_a_size_has_at_most_five_characters(count: int) -> None:
    assert len(words.size(count)) <= 5


@given(st.binary(max_size=40).filter(lambda name: b"/" not in name), st.binary(max_size=40))
def test_a_name_is_printable_and_no_two_look_the_same(one: bytes, other: bytes) -> None:
    assert all(character.isprintable() or character == "\u200d" for character in words.shown(one))
    assert (words.shown(one) == words.shown(other)) == (one == other)


@given(st.integers(1, 60), st.floats(0, 1), st.floats(0, 1))
def test_a_bar_is_full_only_when_all_is_safe(width: int, safe: float, sent: float) -> None:
    bar = words.bar(width, safe, max(safe, sent), words.UNICODE)
    assert len(bar) == width
    assert (bar == words.UNICODE.full * width) == (int(width * safe) == width)


@given(st.text(max_size=60), st.integers(0, 30))
def test_what_is_clipped_fits(text: str, width: int) -> None:
    assert cell_len(words.clip(text, width, words.UNICODE)) <= width


def model(state: str = "thin", **overview: Any) -> Model:
    household = FakeHousehold(state=state)
    made = Model(Standing("live", NOW))
    made.take({"topic": "overview", "seq": 0, "snapshot": {**household.overview, **overview}}, NOW)
    made.take({"topic": "transfers", "seq": 0, "snapshot": {"transfers": TRANSFERS}}, NOW)
    return made


@given(st.sampled_from(["safe", "thin", "risk", "lost", "unknown"]), st.integers(40, 200))
def test_the_headline_always_has_the_verdict_and_fits(state: str, width: int) -> None:
    for glyphs in (words.UNICODE, words.ASCII):
        line = headline(model(state), NOW, width, glyphs).plain
        assert state.upper() in line
        assert cell_len(line) <= width


def test_a_verdict_that_is_too_old_is_unknown_and_never_green() -> None:
    made = model("safe")
    made.standing = Standing("gone", NOW)
    assert made.verdict(NOW + 60).state == "safe"
    assert made.verdict(NOW + 60).age_s == 60
    assert made.verdict(NOW + words.UNKNOWN_AFTER_S + 1).state == "unknown"


def test_a_state_that_this_version_does_not_know_is_unknown() -> None:
    assert model(verdict={"state": "splendid", "sentence": "!"}).verdict(NOW).state == "unknown"


def test_the_log_is_bounded_and_a_line_said_twice_is_one() -> None:
    made = model()
    lines = [{"number": n, "at": NOW, "level": "info", "text": str(n)} for n in range(LOG_LINES_MAX + 50)]
    made.take({"topic": "log", "seq": 1, "delta": {"lines": lines}}, NOW)
    made.take({"topic": "log", "seq": 2, "delta": {"lines": lines[-5:]}}, NOW)
    assert len(made.log) == LOG_LINES_MAX


def test_rates_are_what_transfers_gained_in_the_time_between() -> None:
    made = model()
    made.measure(NOW)
    moved = [{**one, "bytes_sent": one["bytes_sent"] + 5_000_000} for one in TRANSFERS]
    made.take({"topic": "transfers", "seq": 1, "delta": {"transfers": moved}}, NOW)
    made.measure(NOW + 2.0)
    assert (made.up, made.down) == (5_000_000, 2_500_000)


@given(st.binary(max_size=300))
def test_whatever_is_previewed_is_an_image_a_text_or_neither(data: bytes) -> None:
    lines = text_lines(data)
    assert lines is None or all(character.isprintable() for line in lines for character in line)
    try:
        width, height, pixels = decode_image(data)
    except ValueError:
        return
    assert len(pixels) == width * height * 3


@given(st.integers(1, 60), st.integers(1, 60), st.integers(2, 100), st.integers(1, 50))
def test_half_blocks_fit_their_place(width: int, height: int, columns: int, rows: int) -> None:
    lines = half_blocks((width, height, bytes(width * height * 3)), columns, rows)
    assert 1 <= len(lines) <= max(1, rows)
    assert all(line.cell_length <= columns for line in lines)
