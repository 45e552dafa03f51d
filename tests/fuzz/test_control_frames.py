"""Whatever bytes a local program sends, the codec returns messages or raises Malformed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.control.frames import Decoder, encode
from p2pstore.errors import Malformed
from tests.control.test_frames import EXAMPLES, messages


def _feed(data: bytes) -> None:
    try:
        for message in Decoder().feed(data):
            encode(message)
    except Malformed:
        return


@given(st.binary(max_size=200))
def test_arbitrary_bytes(data: bytes) -> None:
    _feed(data)


@given(st.binary(max_size=200))
def test_arbitrary_bodies(body: bytes) -> None:
    _feed(len(body).to_bytes(4, "big") + body)


@given(messages, st.data())
def test_frames_with_changed_bytes(message: object, data: st.DataObject) -> None:
    frame = bytearray(encode(message))  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    _feed(bytes(frame))


@given(st.sampled_from(sorted(EXAMPLES)), st.integers(0, 80))
def test_frames_cut_short(name: str, length: int) -> None:
    _feed(encode(EXAMPLES[name])[:length])


def test_nesting_deeper_than_any_stack() -> None:
    for opener in (b"\x91", b"\x81\xa1a"):
        body = opener * 100_000 + b"\xc0"
        _feed(len(body).to_bytes(4, "big") + body)
