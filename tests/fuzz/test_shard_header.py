"""Shard headers from strangers: parsed, or Malformed."""

from __future__ import annotations

from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.pipeline.shard import SHARD_HEADER_BYTES, format_header, parse_header
from tests.pipeline.test_shard import COPY, headers


def parses_or_is_malformed(raw: bytes) -> None:
    try:
        header = parse_header(raw)
    except Malformed:
        return
    assert format_header(header) == raw
    assert header.shard_length > 0


@given(st.one_of(st.binary(max_size=200), st.binary(min_size=SHARD_HEADER_BYTES, max_size=SHARD_HEADER_BYTES)))
def test_any_bytes(raw: bytes) -> None:
    parses_or_is_malformed(raw)


@given(st.binary(min_size=128 - 20, max_size=128 - 20))
def test_any_fields_under_a_good_checksum(rest: bytes) -> None:
    fields = format_header(COPY)[:20] + rest
    parses_or_is_malformed(fields + blake3(fields).digest())


@given(headers(), st.lists(st.tuples(st.integers(0, 127), st.integers(0, 255)), max_size=4), st.booleans())
def test_changed_headers(header: object, changes: list[tuple[int, int]], fixed: bool) -> None:
    raw = bytearray(format_header(header))  # type: ignore[arg-type]
    for place, value in changes:
        raw[place] = value
    if fixed:
        raw[128:] = blake3(raw[:128]).digest()
    parses_or_is_malformed(bytes(raw))
