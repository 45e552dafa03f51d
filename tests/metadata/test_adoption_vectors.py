"""Adoptions: frozen bytes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pstore.errors import Malformed
from p2pstore.ids import Dot
from p2pstore.metadata.adoption import Adoption, adoption_from_fields
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation, seal_operation
from p2pstore.metadata.vector import Vector
from p2pstore.packing import Fields
from tests.metadata.samples import KEYS, OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "adoption.json"
ADOPTION = Adoption(OTHER.author, Vector({OTHER: 77}))


def test_an_adoption_is_what_it_was() -> None:
    kept = json.loads(VECTORS.read_text())["operation"]
    dot = Dot(*WRITER, 31)
    assert seal_operation(ADOPTION, dot, KEYS).hex() == kept
    operation = decode_operation(bytes.fromhex(kept), WRITER)
    assert isinstance(operation, SealedOperation)
    assert open_operation(operation, dot, KEYS) == ADOPTION


@pytest.mark.parametrize("upto", [b"rubbish", Vector({OTHER: 1, WRITER: 2}).encode()])
def test_an_adoption_that_is_none_is_refused(upto: bytes) -> None:
    with pytest.raises(Malformed):
        adoption_from_fields(Fields([OTHER.author, upto], "adoption"))
