"""The codec of the local API."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.control.faults import Fault
from p2pstore.control.frames import (
    Cancel,
    Data,
    Decoder,
    End,
    Failed,
    Hello,
    Item,
    Message,
    Request,
    Result,
    Want,
    encode,
)
from p2pstore.errors import Malformed, Misuse
from p2pstore.limits import CONTROL_API_FRAME_BYTES_MAX, CONTROL_API_PIECE_BYTES

VECTORS = Path(__file__).parent.parent / "vectors" / "control.json"

EXAMPLES: dict[str, Message] = {
    "hello": Hello(1, 1, "0.1.0", 4242),
    "request": Request(1, "ls", {"path": b"/Photos/caf\xe9", "all": False}),
    "result": Result(1, {"files": 3, "rate": 1.5}),
    "failed": Failed(2, Fault("not-found", "there is nothing at '/x'", "", ("p2pstore ls '/'",), 4)),
    "item": Item(3, {"entries": [{"name": b"a\nb", "size": 5}]}),
    "data": Data(4, b"\x00\xff"),
    "end": End(4),
    "want": Want(4, 1),
    "cancel": Cancel(3),
}

ids = st.integers(0, 2**53)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
messages = st.one_of(
    st.builds(Hello, st.integers(0, 2**16), st.integers(0, 2**16), st.text(max_size=200), st.integers(0, 2**31)),
    st.builds(Request, ids, st.text(min_size=1, max_size=64), st.dictionaries(st.text(max_size=8), values, max_size=4)),
    st.builds(Result, ids, values),
    st.builds(
        Failed,
        ids,
        st.builds(Fault, st.text(), st.text(), st.text(), st.lists(st.text()).map(tuple), st.integers(0, 255)),
    ),
    st.builds(Item, ids, values),
    st.builds(Data, ids, st.binary(max_size=300)),
    st.builds(End, ids),
    st.builds(Want, ids, st.integers(0, 8)),
    st.builds(Cancel, ids),
)


@given(st.lists(messages, max_size=5), st.lists(st.integers(0, 400), max_size=12))
def test_messages_come_back_however_the_stream_is_cut(sent: list[Message], cuts: list[int]) -> None:
    stream = b"".join(encode(message) for message in sent)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    decoder = Decoder()
    heard = [m for start, end in pairwise(edges) for m in decoder.feed(stream[start:end])]
    assert heard == sent
    assert [type(m) for m in heard] == [type(m) for m in sent]
    assert decoder.pending_bytes == 0


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_frames_are_what_they_were(name: str) -> None:
    frozen: dict[str, str] = json.loads(VECTORS.read_text())
    assert encode(EXAMPLES[name]).hex() == frozen[name]
    assert Decoder().feed(bytes.fromhex(frozen[name])) == [EXAMPLES[name]]


def test_a_frame_longer_than_a_mebibyte_is_neither_made_nor_awaited() -> None:
    with pytest.raises(Misuse):
        encode(Result(1, bytes(CONTROL_API_FRAME_BYTES_MAX)))
    with pytest.raises(Malformed):
        Decoder().feed((CONTROL_API_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))


def test_an_empty_frame_is_refused() -> None:
    with pytest.raises(Malformed):
        Decoder().feed(bytes(4))


def test_keys_of_a_newer_version_are_passed_over() -> None:
    from p2pstore.packing import pack

    body = pack({"id": 7, "ok": 1, "spent_ms": 3})
    assert Decoder().feed(len(body).to_bytes(4, "big") + body) == [Result(7, 1)]


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        {"id": 1},
        {"id": -1, "ok": 1},
        {"id": True, "ok": 1},
        {"id": 2**53 + 1, "ok": 1},
        {"id": 1, "op": ""},
        {"id": 1, "op": "x" * 65},
        {"id": 1, "op": "ls", "args": []},
        {"id": 1, "err": {"code": 4}},
        {"id": 1, "err": {"exit": 256}},
        {"id": 1, "err": {"fix": "p2pstore up"}},
        {"id": 1, "data": "text"},
        {"id": 1, "data": bytes(CONTROL_API_PIECE_BYTES + 1)},
        {"id": 1, "want": 9},
        {"hello": {}},
        {"cancel": "1"},
    ],
)
def test_what_is_no_message_is_refused(value: Any) -> None:
    from p2pstore.packing import pack

    body = pack(value)
    with pytest.raises(Malformed):
        Decoder().feed(len(body).to_bytes(4, "big") + body)
