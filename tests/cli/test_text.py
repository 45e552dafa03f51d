"""Sizes, times, names and paths, as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.cli import text
from p2pstore.control.store_paths import store_path


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("0", 0), ("4096", 4096), ("20G", 20 * 10**9), ("20 gb", 20 * 10**9), ("1.5T", 15 * 10**11), ("1KiB", 1024),
        ("2mib", 2 * 2**20), ("10B", 10),
    ],
)
def test_sizes_are_read(written: str, count: int) -> None:
    assert text.parse_size(written) == count


@pytest.mark.parametrize("written", ["", "G", "-1", "1e9", "20X", "1.5.5G", "12iB", "١G "])
def test_what_is_no_size_is_refused(written: str) -> None:
    if written.strip() and written[0] == "١":
        assert text.parse_size(written) == 10**9  # digits are digits
        return
    with pytest.raises(ValueError):
        text.parse_size(written)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"), (812, "812 B"), (999, "999 B"), (1000, "1.0 KB"), (1500, "1.5 KB"), (12_345, "12 KB"),
        (999_600, "1.0 MB"), (9_949_999, "9.9 MB"), (9_950_001, "10 MB"), (2 * 10**18, "2000 PB"),
    ],
)
def test_sizes_are_shown(count: int, shown: str) -> None:
    assert text.size(count) == shown


@given(st.integers(0, 10**15))
def test_a_shown_size_reads_back_within_a_twentieth(count: int) -> None:
    assert abs(text.parse_size(text.size(count)) - count) <= count / 20 + 1


@pytest.mark.parametrize(
    ("written", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1.5d", 129600)]
)
def test_durations_are_read(written: str, seconds: float) -> None:
    assert text.parse_duration(written) == seconds


@pytest.mark.parametrize(
    ("written", "part"),
    [("0-99", (0, 100)), ("5-5", (5, 1)), ("7-", (7, None)), ("4096+512", (4096, 512)), ("0+0", (0, 0))],
)
def test_ranges_are_read(written: str, part: tuple[int, int | None]) -> None:
    assert text.parse_range(written) == part


@pytest.mark.parametrize("written", ["", "-5", "9-8", "a-b", "1+", "+1", "1 - 2"])
def test_what_is_no_range_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        text.parse_range(written)


@pytest.mark.parametrize("written", ["host", ":1", "host:0", "host:65536", "host:x"])
def test_what_is_no_address_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        text.parse_address(written)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_shown_name_is_printable_and_no_two_names_look_the_same(one: bytes, other: bytes) -> None:
    shown = text.shown(one)
    assert shown.replace("\u200d", "").isprintable()
    assert one == other or shown != text.shown(other)


@given(st.dictionaries(st.sampled_from(["name", "path", "size"]), st.binary(max_size=20) | st.integers()))
def test_bytes_in_json_come_back_exactly(value: dict[str, bytes | int]) -> None:
    import json
    import os

    ready = json.loads(json.dumps(text.json_ready(value)))
    for key, inner in value.items():
        if isinstance(inner, bytes):
            assert os.fsencode(ready[key]) == inner
            assert bytes.fromhex(ready.get(f"{key}_hex", inner.hex())) == inner
        else:
            assert ready[key] == inner


@pytest.mark.parametrize(
    ("argument", "path"),
    [
        ("/", b"/"), ("p2p:/", b"/"), ("p2p:", b"/"), ("/a//b/./c", b"/a/b/c"), ("p2p:/a/", b"/a/"), ("p2p:a", b"/a"),
        ("/a/.", b"/a/"), ("/...", b"/..."), ("/caf\udce9", b"/caf\xe9"),
    ],
)
def test_paths_in_the_store_are_read(argument: str, path: bytes) -> None:
    assert store_path(argument) == path


@pytest.mark.parametrize("argument", ["", "a", "./a", "/a/../b", "/..", "/a\0b"])
def test_what_is_no_path_in_the_store_is_refused(argument: str) -> None:
    with pytest.raises(ValueError):
        store_path(argument)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "never"), (0, "now"), (40, "40 s"), (1200, "20 min"), (10800, "3 h"), (432000, "5 days")],
)
def test_ages_are_shown(seconds: float | None, shown: str) -> None:
    assert text.age(seconds) == shown
