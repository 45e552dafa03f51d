"""Whatever arrives at the beacon's port gives a value, Malformed or Forged."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import PeerId
from p2pstore.protocols.beacon import Answer, Presence, Question, SealedPresence, read_beacon
from tests.fuzz.mutation import mutated

KEY = bytes(32)
SEEDS = [
    Presence(PeerId(bytes(32)), 7000, ("10.0.0.1:7000",)).seal(KEY, random.Random(1)),
    Question(bytes(16), bytes(8)).encode(),
    Answer(bytes(16), bytes(8), bytes(8), 7002).encode(),
]


@given(st.one_of(st.binary(max_size=600), mutated(SEEDS)))
def test_any_datagram_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        heard = read_beacon(data)
        if isinstance(heard, SealedPresence):
            heard.open([KEY, bytes(31) + b"\x01"])


@given(st.binary(max_size=254))
def test_whatever_a_member_seals_is_read_or_refused(plain: bytes) -> None:
    from p2pstore.protocols.beacon import PLAIN_BYTES, _read_presence

    with contextlib.suppress(Malformed):
        _read_presence((len(plain).to_bytes(2, "big") + plain).ljust(PLAIN_BYTES, b"\0"))
