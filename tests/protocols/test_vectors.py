"""Frozen vectors of enrolment and beacon."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from p2pstore.ids import PeerId
from p2pstore.protocols.beacon import Answer, Presence, Question, SealedPresence, nameplate_tag, read_beacon
from p2pstore.protocols.enrolment_channel import Pake, Side
from p2pstore.protocols.enrolment_frames import Frame, FrameKind
from p2pstore.protocols.invite_code import InviteCode

FOLDER = Path(__file__).parent.parent / "vectors"
ENROLMENT: dict[str, Any] = json.loads((FOLDER / "enrolment.json").read_text("utf-8"))
BEACON: dict[str, Any] = json.loads((FOLDER / "beacon.json").read_text("utf-8"))


class _Fixed(random.Random):
    """Dice that give one throw."""

    def __init__(self, throw: bytes) -> None:
        super().__init__(0)
        self._throw = throw

    def randbytes(self, n: int) -> bytes:
        assert n == len(self._throw)
        return self._throw


@pytest.mark.parametrize("vector", ENROLMENT["frames"])
def test_frames_are_read_and_written_as_ever(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["data"])
    frame = Frame.decode(data)
    assert (frame.kind.name, frame.content.hex(), frame.nameplate, frame.refusal) == (
        vector["kind"],
        vector["content"],
        vector["nameplate"],
        vector["refusal"],
    )
    assert frame.encode() == data


def test_the_channel_is_what_it_ever_was() -> None:
    vector = ENROLMENT["channel"]
    code = InviteCode.parse(vector["code"])
    newcomer = Pake(Side.NEWCOMER, code, _Fixed(bytes.fromhex(vector["newcomer_random"])))
    inviter = Pake(Side.INVITER, code, _Fixed(bytes.fromhex(vector["inviter_random"])))
    assert newcomer.message.hex() == vector["newcomer_message"]
    assert inviter.message.hex() == vector["inviter_message"]
    one, other = newcomer.finish(inviter.message), inviter.finish(newcomer.message)
    assert one.transcript.hex() == other.transcript.hex() == vector["transcript"]
    assert one.confirmation().hex() == vector["newcomer_confirmation"]
    assert other.confirmation().hex() == vector["inviter_confirmation"]
    sealed = other.seal(b"first")
    assert sealed.hex() == vector["inviter_seals_first"]
    assert one.open(sealed) == b"first"


def test_beacons_are_read_and_written_as_ever() -> None:
    vector = BEACON["presence"]
    presence = Presence(PeerId(bytes.fromhex(vector["peer_id"])), vector["port"], tuple(vector["addresses"]))
    key, data = bytes.fromhex(vector["datagram_key"]), bytes.fromhex(vector["data"])
    assert presence.seal(key, _Fixed(bytes.fromhex(vector["salt"]))) == data
    heard = read_beacon(data)
    assert isinstance(heard, SealedPresence)
    assert heard.open([key]) == presence
    assert nameplate_tag(BEACON["nameplate"]).hex() == BEACON["tag"]
    question = Question(bytes.fromhex(BEACON["tag"]), bytes.fromhex(BEACON["nonce"]))
    answer = Answer(question.tag, question.nonce, bytes.fromhex(BEACON["instance"]), BEACON["port"])
    assert (question.encode().hex(), answer.encode().hex()) == (BEACON["question"], BEACON["answer"])
    assert (read_beacon(question.encode()), read_beacon(answer.encode())) == (question, answer)
    assert len(answer.encode()) <= len(question.encode())


def test_frame_kinds_keep_their_numbers() -> None:
    assert {kind.name: int(kind) for kind in FrameKind} == ENROLMENT["kinds"]
