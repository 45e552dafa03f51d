"""The recovery door: who may ask, who may answer, who may read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from p2pstore.errors import Forged
from p2pstore.ids import PeerId
from p2pstore.keys.household import HouseholdKeys
from p2pstore.protocols.recovery_door import DOOR_FRAME_BYTES_MAX, Doorkeeper, Question, answer, ask, read_answer

KEYS = HouseholdKeys.derive(bytes(range(32)))
OTHERS = HouseholdKeys.derive(bytes(32))
KEEPER = Doorkeeper(PeerId(b"\x07" * 32), b"\x08" * 32)
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "recovery_door.json").read_text("utf-8"))


def test_who_has_the_paper_learns_who_is_there() -> None:
    question = ask(KEYS.recovery_curve_public, random.Random(1))
    reply = answer(question.frame, KEYS.recovery_curve_public, KEEPER, random.Random(2))
    assert read_answer(question, reply, KEYS.recovery_curve_secret) == KEEPER
    assert max(len(question.frame), len(reply)) <= DOOR_FRAME_BYTES_MAX


def test_a_question_about_another_household_is_not_answered() -> None:
    question = ask(OTHERS.recovery_curve_public, random.Random(1))
    with pytest.raises(Forged):
        answer(question.frame, KEYS.recovery_curve_public, KEEPER, random.Random(2))


def test_a_member_who_asks_cannot_read_the_answer_without_the_paper() -> None:
    """The genesis tells every member the public half; a recorded question can be sent again by anybody."""
    question = ask(KEYS.recovery_curve_public, random.Random(1))
    reply = answer(question.frame, KEYS.recovery_curve_public, KEEPER, random.Random(2))
    with pytest.raises(Forged):
        read_answer(question, reply, OTHERS.recovery_curve_secret)


def test_an_answer_to_an_earlier_question_is_refused() -> None:
    first, second = (ask(KEYS.recovery_curve_public, random.Random(seed)) for seed in (1, 2))
    reply = answer(first.frame, KEYS.recovery_curve_public, KEEPER, random.Random(3))
    with pytest.raises(Forged):
        read_answer(second, reply, KEYS.recovery_curve_secret)


def test_the_frames_are_as_ever() -> None:
    question = Question(bytes.fromhex(VECTORS["question"]), bytes.fromhex(VECTORS["ephemeral_secret"]))
    assert ask(KEYS.recovery_curve_public, random.Random(1)) == question
    keeper = read_answer(question, bytes.fromhex(VECTORS["answer"]), KEYS.recovery_curve_secret)
    assert keeper == Doorkeeper(PeerId(bytes.fromhex(VECTORS["peer"])), bytes.fromhex(VECTORS["curve_public"]))
    assert answer(question.frame, KEYS.recovery_curve_public, keeper, random.Random(2)).hex() == VECTORS["answer"]
