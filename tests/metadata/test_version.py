"""Versions: what may stand in one, and the way to bytes and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed, Misuse
from p2pstore.ids import ROOT_ENTRY, EntryId, GenerationId, ManifestId
from p2pstore.metadata.version import (
    RECOVERED_ENTRY,
    Content,
    Inline,
    Kind,
    LinkTarget,
    ManifestRef,
    Version,
    check_name,
    version_fields,
    version_from_fields,
)
from p2pstore.packing import Fields, pack, unpack

FILE = Version(EntryId(b"e" * 16), ROOT_ENTRY, b"name", Kind.FILE, Inline(b"data"), 4, -1, 0o644)

names = st.binary(min_size=1, max_size=255).filter(
    lambda name: name not in (b".", b"..") and b"/" not in name and b"\0" not in name
)
entries = st.binary(min_size=16, max_size=16).map(EntryId)
contents: st.SearchStrategy[tuple[Kind, Content]] = st.one_of(
    st.tuples(st.just(Kind.FOLDER), st.none()),
    st.tuples(st.just(Kind.FILE), st.binary(max_size=4096).map(Inline)),
    st.tuples(
        st.just(Kind.FILE),
        st.builds(
            ManifestRef,
            st.binary(min_size=32, max_size=32).map(ManifestId),
            st.binary(min_size=16, max_size=16).map(GenerationId),
        ),
    ),
    st.tuples(st.just(Kind.LINK), st.binary(min_size=1, max_size=4096).map(LinkTarget)),
)


@st.composite
def versions(draw: st.DrawFn) -> Version:
    """Any version of an entry that can have some."""
    entry = draw(entries.filter(lambda each: each not in (ROOT_ENTRY, RECOVERED_ENTRY)))
    kind, content = draw(contents)
    return Version(
        entry,
        draw(entries.filter(lambda parent: parent != entry)),
        draw(names),
        kind,
        content,
        draw(st.integers(0, 2**63 - 1)),
        draw(st.integers(-(2**63) + 1, 2**63 - 1)),
        draw(st.integers(0, 0o7777)),
        draw(st.booleans()),
        draw(st.none() | entries),
    )


@given(versions())
def test_every_version_survives_its_encoding(version: Version) -> None:
    packed = pack(version_fields(version))
    assert version_from_fields(Fields(unpack(packed, bytes_max=10_000), "version")) == version


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"\0", b"n" * 256])
def test_refuses_names_that_no_file_can_have(name: bytes) -> None:
    with pytest.raises(Misuse):
        check_name(name)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": Kind.FOLDER},
        {"kind": Kind.LINK},
        {"content": None},
        {"content": LinkTarget(b"x")},
        {"content": Inline(bytes(4097))},
        {"kind": Kind.LINK, "content": LinkTarget(b"")},
        {"size": -1},
        {"mode": 0o10000},
        {"mtime_ns": 2**63},
    ],
)
def test_refuses_values_that_do_not_fit_together(change: dict[str, object]) -> None:
    with pytest.raises(Misuse):
        replace(FILE, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("entry", [ROOT_ENTRY, RECOVERED_ENTRY, FILE.entry])
def test_entries_that_stand_without_versions_never_get_one(entry: EntryId) -> None:
    bad = replace(FILE, entry=entry, parent=FILE.entry)
    with pytest.raises(Malformed):
        version_from_fields(Fields(version_fields(bad), "version"))
