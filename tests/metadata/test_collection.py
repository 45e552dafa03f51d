"""Intents, condemned lists and consents: frozen bytes, what is refused, and what follows from them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, EncodingId, PeerId
from p2pstore.metadata.collection import CollectionBody, Condemned, CondemnedList, Consent, Intent
from p2pstore.metadata.operations import decode_operation, encode_clear
from p2pstore.packing import pack
from tests.metadata.samples import OTHER, WRITER

VECTORS = Path(__file__).parent.parent / "vectors" / "collection.json"
STRIPES = tuple(EncodingId(bytes([number]) * 32) for number in range(1, 4))
LIST = Condemned(STRIPES)
BODIES: dict[str, CollectionBody] = {
    "intent_begun": Intent(b"intent-012345678", begun=True),
    "intent_ended": Intent(b"intent-012345678", begun=False),
    "condemned_list": LIST,
    "consent": Consent(Dot(*OTHER, 7), LIST.hash, ()),
    "consent_that_spares": Consent(Dot(*WRITER, 2**40), LIST.hash, (0, 2)),
}
A, B, C = (PeerId(bytes([number]) * 32) for number in range(10, 13))


def test_what_is_said_of_garbage_is_what_it_was() -> None:
    kept = json.loads(VECTORS.read_text())
    assert kept["list_hash"] == LIST.hash.hex()
    assert list(kept["operations"]) == list(BODIES)
    for name, body in BODIES.items():
        assert encode_clear(body).hex() == kept["operations"][name]
        assert decode_operation(bytes.fromhex(kept["operations"][name]), WRITER) == body


@pytest.mark.parametrize(
    "fields",
    [
        [4, b"short", True],
        [4, bytes(16), 1],
        [5, b""],
        [5, bytes(33)],
        [5, bytes(64)],
        [5, STRIPES[1] + STRIPES[0]],
        [5, bytes(32 * 1001)],
        [6, *OTHER, 0, bytes(16), []],
        [6, *OTHER, 7, bytes(15), []],
        [6, *OTHER, 7, bytes(16), [1, 0]],
        [6, *OTHER, 7, bytes(16), [1, 1]],
        [6, *OTHER, 7, bytes(16), [1000]],
        [6, *OTHER, 7, bytes(16), [], 1],
    ],
)
def test_what_is_none_of_them_is_refused(fields: list[object]) -> None:
    with pytest.raises(Malformed):
        decode_operation(pack(fields), WRITER)


def _said(consents: dict[PeerId, set[int]], spared_only: dict[PeerId, set[int]] | None = None) -> CondemnedList:
    spared = {peer: frozenset(kept) for peer, kept in {**consents, **(spared_only or {})}.items()}
    return CondemnedList(Dot(*WRITER, 1), 0, LIST, {peer: Dot(*OTHER, 1) for peer in consents}, spared)


def test_nothing_is_condemned_while_one_reader_is_missing() -> None:
    assert _said({A: set(), B: set()}).condemned_by([A, B, C]) == ()
    assert _said({A: set(), B: set()}).waits_for([A, B, C]) == [C]
    assert _said({A: set(), B: set()}).condemned_by([A, B]) == STRIPES
    assert _said({}).condemned_by([]) == ()


def test_what_one_reader_spares_all_spare_whether_it_signed_or_not() -> None:
    assert _said({A: {0}, B: set()}).condemned_by([A, B]) == STRIPES[1:]
    assert _said({A: set(), B: set()}, {C: {1}}).condemned_by([A, B]) == STRIPES, "it has no say any more"
    assert _said({A: set()}, {B: {0, 1, 2}}).unspared_by([A, B]) == ()
