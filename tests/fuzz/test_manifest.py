"""Manifests from strangers: decoded, or Malformed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.packing import pack
from p2pstore.pipeline.manifest import Page, decode_manifest, encode_manifest
from tests.pipeline.test_manifest import KEY, PAGES

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.binary(max_size=99), st.text())


def decodes_or_is_malformed(data: bytes) -> None:
    try:
        manifest = decode_manifest(data)
    except Malformed:
        return
    assert encode_manifest(manifest, KEY).data == data


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    decodes_or_is_malformed(data)


@given(st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=6), max_leaves=12))
def test_any_value(value: object) -> None:
    decodes_or_is_malformed(pack(value))


@given(st.integers(0, 2), st.binary(min_size=16, max_size=16), st.binary(max_size=200))
def test_any_list(kind: int, generation: bytes, body: bytes) -> None:
    decodes_or_is_malformed(pack([1, kind, generation, body]))


@given(PAGES, st.integers(0, 2**32), st.integers(0, 255), st.integers(0, 40))
def test_changed_and_shortened_manifests(page: Page, place: int, value: int, cut: int) -> None:
    data = bytearray(encode_manifest(page, KEY).data)
    data[place % len(data)] = value
    decodes_or_is_malformed(bytes(data[: len(data) - cut]))
