"""Statements of a fork: frozen bytes, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pstore.errors import Malformed
from p2pstore.metadata.forked import Forked
from p2pstore.metadata.operations import decode_operation, encode_clear
from p2pstore.packing import pack
from tests.metadata.samples import OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "forked.json"
FORKS = {"stated": Forked(OTHER, 77, None), "settled": Forked(WRITER, 0, bytes(range(32)))}


def test_a_fork_is_what_it_was() -> None:
    kept = json.loads(VECTORS.read_text())["operations"]
    assert list(kept) == list(FORKS)
    for name, forked in FORKS.items():
        assert encode_clear(forked).hex() == kept[name]
        assert decode_operation(bytes.fromhex(kept[name]), WRITER) == forked


@pytest.mark.parametrize("fields", [[*OTHER, -1, None], [*OTHER, 1, b"short"], [b"", b"", 1, None]])
def test_a_fork_that_is_none_is_refused(fields: list[object]) -> None:
    with pytest.raises(Malformed):
        decode_operation(pack([3, *fields]), WRITER)
