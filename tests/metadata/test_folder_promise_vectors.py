"""What folders promise: frozen bytes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, EntryId
from p2pstore.metadata.folder_promise import FolderPromise, folder_promise_from_fields
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation, seal_operation
from p2pstore.packing import Fields
from tests.metadata.samples import KEYS, OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "folder_promise.json"

ENTRY = EntryId(b"entry-0123456789")
PROMISES: dict[str, tuple[FolderPromise, tuple[Dot, ...]]] = {
    "house": (FolderPromise(ENTRY, "house"), ()),
    "of_a_newer_build": (FolderPromise(ENTRY, "any-2+country"), (Dot(*WRITER, 7), Dot(*OTHER, 3))),
    "taken_away": (FolderPromise(ENTRY, None), (Dot(*WRITER, 9),)),
}


def test_promises_are_what_they_were() -> None:
    kept = json.loads(VECTORS.read_text())["operations"]
    assert list(kept) == list(PROMISES)
    for sequence, (name, (promise, superseded)) in enumerate(PROMISES.items(), start=31):
        dot = Dot(*WRITER, sequence)
        assert seal_operation(promise, dot, KEYS, superseded).hex() == kept[name]
        operation = decode_operation(bytes.fromhex(kept[name]), WRITER)
        assert isinstance(operation, SealedOperation)
        assert open_operation(operation, dot, KEYS) == promise


@pytest.mark.parametrize(
    "fields", [[bytes(16), ""], [bytes(16), "x" * 65], [bytes(16), "a\nb"], [bytes(16), 5], [b"", "any-1"]]
)
def test_a_promise_that_is_none_is_refused(fields: list[object]) -> None:
    with pytest.raises(Malformed):
        folder_promise_from_fields(Fields(fields, "folder promise"))
