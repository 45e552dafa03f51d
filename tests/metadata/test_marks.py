"""Tags and snapshots, sealed: what was written once can be read for ever."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed, Misuse
from p2pstore.ids import Dot, EntryId
from p2pstore.metadata.marks import (
    Mark,
    Snapshot,
    Tag,
    mark_fields,
    snapshot_from_fields,
    snapshot_name,
    tag_from_fields,
    tag_word,
)
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation, seal_operation
from p2pstore.metadata.vector import Vector
from p2pstore.packing import Fields
from tests.metadata.samples import KEYS, OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "mark.json"

ENTRY = EntryId(b"entry-0123456789")
MARKS: dict[str, tuple[Mark, tuple[Dot, ...]]] = {
    "tag_on": (Tag(ENTRY, "steuer", present=True), ()),
    "tag_off": (Tag(ENTRY, "steuer", present=False), (Dot(*WRITER, 7), Dot(*OTHER, 3))),
    "snapshot": (Snapshot(b"snapshot-0123456", "Ostern", Vector({WRITER: 8, OTHER: 9})), ()),
    "snapshot_gone": (Snapshot(b"snapshot-0123456", "Ostern", None), (Dot(*WRITER, 9),)),
}


def test_marks_are_what_they_were() -> None:
    kept = json.loads(VECTORS.read_text())["operations"]
    assert list(kept) == list(MARKS)
    for sequence, (name, (mark, superseded)) in enumerate(MARKS.items(), start=11):
        dot = Dot(*WRITER, sequence)
        assert seal_operation(mark, dot, KEYS, superseded).hex() == kept[name]
        operation = decode_operation(bytes.fromhex(kept[name]), WRITER)
        assert isinstance(operation, SealedOperation)
        assert operation.superseded == tuple(sorted(superseded))
        assert open_operation(operation, dot, KEYS) == mark


@pytest.mark.parametrize("word", ["", "Upper", "a/b", " blank", "x" * 65, "A\u0308"])
def test_a_word_that_is_not_in_its_normal_form_is_refused(word: str) -> None:
    with pytest.raises(Malformed):
        tag_from_fields(Fields([bytes(16), word, True], "tag"))


@pytest.mark.parametrize("fields", [[bytes(16), "2026", None], [bytes(16), "x", b"rubbish"], [bytes(16), "x", 3]])
def test_a_snapshot_that_is_none_is_refused(fields: list[object]) -> None:
    with pytest.raises(Malformed):
        snapshot_from_fields(Fields(fields, "snapshot"))


@given(text=st.text(max_size=70))
def test_what_is_accepted_as_a_word_can_be_read_by_everybody(text: str) -> None:
    try:
        mark: Mark = Tag(ENTRY, tag_word(text), present=True)
    except Misuse:
        pass
    else:
        assert tag_from_fields(Fields(mark_fields(mark), "tag")) == mark
    try:
        mark = Snapshot(bytes(16), snapshot_name(text), None)
    except Misuse:
        return
    assert snapshot_from_fields(Fields(mark_fields(mark), "snapshot")) == mark


def test_a_word_that_grows_in_lower_case_is_measured_then() -> None:
    with pytest.raises(Misuse):
        tag_word("\u00df" * 64)
    assert tag_word("\u00df" * 32) == "ss" * 32


@given(fields=st.lists(st.one_of(st.binary(max_size=20), st.text(max_size=8), st.integers(), st.none(), st.booleans())))
def test_rubbish_is_refused_and_nothing_else_happens(fields: list[object]) -> None:
    for read in (tag_from_fields, snapshot_from_fields):
        with suppress(Malformed):
            read(Fields(fields, "mark"))


def test_fields_are_read_back() -> None:
    for mark, _ in MARKS.values():
        read = tag_from_fields if isinstance(mark, Tag) else snapshot_from_fields
        assert read(Fields(mark_fields(mark), "mark")) == mark
