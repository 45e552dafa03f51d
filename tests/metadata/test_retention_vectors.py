"""Rules on how long history is kept: frozen bytes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, EntryId
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation, seal_operation
from p2pstore.metadata.retention import FOR_EVER, Retention, retention_from_fields
from p2pstore.packing import Fields
from tests.metadata.samples import KEYS, OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "retention.json"

ENTRY = EntryId(b"entry-0123456789")
RULES: dict[str, tuple[Retention, tuple[Dot, ...]]] = {
    "ninety_days": (Retention(ENTRY, 90, None), ()),
    "for_ever_with_a_quota": (Retention(ENTRY, FOR_EVER, 10**12), (Dot(*WRITER, 7), Dot(*OTHER, 3))),
    "taken_away": (Retention(ENTRY, None, None), (Dot(*WRITER, 9),)),
}


def test_rules_are_what_they_were() -> None:
    kept = json.loads(VECTORS.read_text())["operations"]
    assert list(kept) == list(RULES)
    for sequence, (name, (rule, superseded)) in enumerate(RULES.items(), start=21):
        dot = Dot(*WRITER, sequence)
        assert seal_operation(rule, dot, KEYS, superseded).hex() == kept[name]
        operation = decode_operation(bytes.fromhex(kept[name]), WRITER)
        assert isinstance(operation, SealedOperation)
        assert open_operation(operation, dot, KEYS) == rule


@pytest.mark.parametrize(
    "fields", [[bytes(16), -1, None], [bytes(16), 36_501, None], [bytes(16), None, 5], [bytes(16), 5, -1], [b"", 5, 5]]
)
def test_a_rule_that_is_none_is_refused(fields: list[object]) -> None:
    with pytest.raises(Malformed):
        retention_from_fields(Fields(fields, "retention"))
