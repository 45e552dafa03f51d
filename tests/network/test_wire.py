"""Message frames: every value survives, every bound is kept, the bytes are the documented ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Busy, Forged, Malformed, Misuse, NoSpace, P2PStoreError, Refused, TimedOut
from p2pstore.limits import CONTROL_MESSAGE_BYTES_MAX, HEADER_BYTES_MAX
from p2pstore.packing import pack
from p2pstore.protocols import wire
from p2pstore.seams.network import Message, Plane

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wire-1.json").read_text())

ids = st.integers(1, wire.ID_MOST)
kinds = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,3}", fullmatch=True)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
args = st.dictionaries(st.text(max_size=12), plain, max_size=5)
frames: st.SearchStrategy[wire.Frame] = st.one_of(
    st.builds(lambda least, more: wire.Hello(least, least + more), st.integers(1, 99), st.integers(0, 99)),
    st.builds(
        wire.Request, ids, st.integers(0, wire.EXPIRES_MS_MOST), st.builds(Message, kinds, args, st.binary(max_size=50))
    ),
    st.builds(wire.Reply, ids, st.builds(Message, st.just(""), args, st.binary(max_size=50))),
    st.builds(wire.Refusal, ids, kinds, st.text(max_size=200)),
    st.builds(wire.Received, ids),
)


def payload_of(frame: wire.Frame) -> bytes:
    return bytes(frame.message.payload) if isinstance(frame, wire.Request | wire.Reply) else b""


def frame_of(vector: dict[str, object]) -> wire.Frame:
    fields = dict(vector["fields"])  # type: ignore[call-overload]
    kind = getattr(wire, str(vector["frame"]))
    if "message" in fields:
        message = fields["message"]
        values = {key: bytes.fromhex(value) if key == "id" else value for key, value in message["args"].items()}
        fields["message"] = Message(message["kind"], values)
    made: wire.Frame = kind(**fields)
    return made


@given(frames)
def test_every_frame_comes_back_equal(frame: wire.Frame) -> None:
    assert wire.decode(wire.encode(frame), payload_of(frame)) == frame


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["frame"])
def test_frozen_headers_are_read_and_written_byte_for_byte(vector: dict[str, object]) -> None:
    header = bytes.fromhex(str(vector["header"]))
    assert wire.encode(frame_of(vector), version=1) == header
    assert wire.decode(header) == frame_of(vector)


def test_a_frame_of_an_unknown_kind_can_still_be_answered() -> None:
    assert wire.decode(pack((1, 77, 5, "whatever", {"new": 1}))) == wire.Unknown(5)


@pytest.mark.parametrize(
    "header",
    [
        pack((0, 0, 1, 1)),
        pack((wire.VERSION_MOST + 1, 1, 1, 1, "ping", {})),
        pack((1, 0, 2, 1)),
        pack((1, 0, 0, 1)),
        pack((1, 0, 1, 1, 1)),
        pack((1, 1, 0, 1, "ping", {})),
        pack((1, 1, 2**63, 1, "ping", {})),
        pack((1, 1, 1, -1, "ping", {})),
        pack((1, 1, 1, 1, "Ping", {})),
        pack((1, 1, 1, 1, "ping\n", {})),
        pack((1, 1, 1, 1, "", {})),
        pack((1, 1, 1, 1, "p" * 65, {})),
        pack((1, 1, 1, 1, "ping", [])),
        pack((1, 1, 1, 1, "ping", {b"key": 1})),
        pack((1, 1, 1, 1, "ping", {}, 1)),
        pack((1, 1, True, 1, "ping", {})),
        pack((1, 3, 1, "No Code", "")),
        pack((1, 3, 1, "full", "x" * 201)),
        pack((1, 256, 1)),
        pack({"version": 1}),
        pack((1,)),
        b"",
        b"\xc1",
        pack((1, 4, 1)) + b"\x00",
        pack((1, 1, 1, 1, "ping", {"x": "y" * HEADER_BYTES_MAX})),
    ],
)
def test_what_is_out_of_shape_or_bounds_is_malformed(header: bytes) -> None:
    with pytest.raises(Malformed):
        wire.decode(header)


@pytest.mark.parametrize("frame", [wire.Hello(), wire.Refusal(1, "full"), wire.Received(1)])
def test_a_payload_where_none_belongs_is_malformed(frame: wire.Frame) -> None:
    with pytest.raises(Malformed):
        wire.decode(wire.encode(frame), b"x")


def test_the_plane_bounds_the_payload() -> None:
    header = wire.encode(wire.Request(1, 1, Message("put")))
    payload = bytes(CONTROL_MESSAGE_BYTES_MAX + 1)
    assert wire.decode(header, payload, plane=Plane.BULK)
    with pytest.raises(Malformed):
        wire.decode(header, payload, plane=Plane.CONTROL)
    with pytest.raises(Misuse):
        wire.check_payload(payload, Plane.CONTROL)
    assert wire.check_payload(memoryview(bytes(80)).cast("Q"), Plane.CONTROL) == 80


@pytest.mark.parametrize("message", [Message("No"), Message("a", {"x": {1, 2}}), Message("a", {"x": 2**64})])
def test_a_message_that_cannot_be_written_is_misuse(message: Message) -> None:
    with pytest.raises(Misuse):
        wire.encode(wire.Request(1, 1, message))


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NoSpace("/disk/of/anna"), "full", ""),
        (Busy("later"), "busy", ""),
        (Malformed("three bytes"), "malformed", "three bytes"),
        (Forged("signature"), "forged", "signature"),
        (Refused("not-found"), "not-found", ""),
        (Refused("not-found", "shard 3"), "not-found", "shard 3"),
        (Refused("Not a code", "shard 3"), "failed", "shard 3"),
        (P2PStoreError("/home/anna"), "failed", ""),
    ],
)
def test_errors_have_codes_and_only_those_about_the_requesters_bytes_have_text(
    error: P2PStoreError, code: str, text: str
) -> None:
    assert wire.refusal(9, error) == wire.Refusal(9, code, text)
    assert wire.decode(wire.encode(wire.refusal(9, error))) == wire.Refusal(9, code, text)


def test_refusals_become_the_errors_of_the_seam() -> None:
    assert type(wire.refusal_error(wire.Refusal(1, "busy"))) is Busy
    assert type(wire.refusal_error(wire.Refusal(1, "expired"))) is TimedOut
    refused = wire.refusal_error(wire.Refusal(1, "full", "85 %"))
    assert isinstance(refused, Refused)
    assert refused.code == "full"
