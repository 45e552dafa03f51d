"""Whatever bytes come, decoding a message gives a frame or Malformed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.packing import pack
from p2pstore.protocols import wire
from p2pstore.seams.network import Plane
from tests.network.test_wire import frames, plain


def take(header: bytes, payload: bytes) -> None:
    for plane in Plane:
        try:
            frame = wire.decode(header, payload, plane=plane)
        except Malformed:
            continue
        assert isinstance(frame, wire.Frame)


@given(st.binary(max_size=300), st.binary(max_size=3))
def test_any_bytes(header: bytes, payload: bytes) -> None:
    take(header, payload)


@given(frames, st.data())
def test_a_valid_frame_with_bytes_changed_cut_or_added(frame: wire.Frame, data: st.DataObject) -> None:
    header = bytearray(wire.encode(frame))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(header)))
        header[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    take(bytes(header), data.draw(st.sampled_from([b"", b"x"])))


@given(st.lists(plain, max_size=7))
def test_any_array(values: list[object]) -> None:
    take(pack([1, *values]), b"")
