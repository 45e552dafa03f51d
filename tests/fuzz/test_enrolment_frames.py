"""Whatever a stranger sends gives a value or Malformed; whatever a confirmed partner seals, too."""

from __future__ import annotations

import contextlib
import random
from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed, PeerFault
from p2pstore.keys.identity import Identity
from p2pstore.protocols.enrolment import FrameCame, OpenInvitation
from p2pstore.protocols.enrolment_frames import (
    Frame,
    FrameKind,
    InviterIntroduction,
    NewcomerIntroduction,
    encode_bundle,
    encode_done,
    pieces_of,
    read_bundle,
    read_done,
    read_piece,
    refused_frame,
)
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.protocols.joining import Joining
from tests.fuzz.mutation import mutated
from tests.keys.household import Household, profile

CODE = InviteCode.parse("7-guitar-sunset")
FRAMES = [
    Frame(FrameKind.HELLO, b"A" + bytes(32), nameplate=7).encode(),
    Frame(FrameKind.ANSWER, b"B" + bytes(32)).encode(),
    Frame(FrameKind.CONFIRM, bytes(32)).encode(),
    Frame(FrameKind.SEALED, bytes(100)).encode(),
    refused_frame("busy"),
]
INSIDE = [
    encode_done(),
    *pieces_of(bytes(5000)),
    encode_bundle(bytes(32), [b"one", b"two"]),
    InviterIntroduction(bytes(32), bytes(32), bytes(64), Household().network, "member").encode(),
    NewcomerIntroduction(bytes(32), bytes(32), bytes(64), bytes(32), b"card", profile("laptop")).encode(),
]


@given(st.one_of(st.binary(max_size=200), mutated(FRAMES)))
def test_any_frame_is_read_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        assert Frame.decode(Frame.decode(data).encode()) == Frame.decode(data)


@given(st.one_of(st.binary(max_size=200), mutated(INSIDE)))
def test_whatever_is_sealed_is_read_or_malformed(plain: bytes) -> None:
    for read in (read_done, read_piece, read_bundle, InviterIntroduction.decode, NewcomerIntroduction.decode):
        with contextlib.suppress(Malformed):
            read(plain)


@cache
def _home() -> Household:
    return Household()


@given(st.lists(st.tuples(st.integers(1, 3), st.one_of(st.binary(max_size=60), mutated(FRAMES))), max_size=8))
def test_no_sequence_of_frames_breaks_the_inviter(frames: list[tuple[int, bytes]]) -> None:
    machine = OpenInvitation(
        CODE,
        role="member",
        identity=_home().first,
        network=_home().network,
        name=None,
        ends_at=600.0,
        rng=random.Random(1),
    )
    for session, frame in frames:
        machine.handle(FrameCame(session, frame), 0.0)


@given(st.lists(st.one_of(st.binary(max_size=60), mutated(FRAMES)), max_size=4))
def test_no_sequence_of_frames_breaks_the_newcomer(frames: list[bytes]) -> None:
    rng = random.Random(1)
    machine = Joining(CODE, identity=Identity.generate(rng), wishes=profile("laptop"), rng=rng, now=0.0)
    machine.start()
    with contextlib.suppress(PeerFault):
        for frame in frames:
            machine.handle(frame, 0.0)
