"""Whatever a stranger sends to the recovery door, or answers to its question, is an answer or a fault of its own."""

from __future__ import annotations

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import PeerId
from p2pstore.keys.household import HouseholdKeys
from p2pstore.protocols.recovery_door import Doorkeeper, answer, ask, read_answer
from tests.fuzz.mutation import mutated

KEYS = HouseholdKeys.derive(bytes(range(32)))
KEEPER = Doorkeeper(PeerId(bytes(32)), bytes(range(32)))
QUESTION = ask(KEYS.recovery_curve_public, random.Random(1))
ANSWER = answer(QUESTION.frame, KEYS.recovery_curve_public, KEEPER, random.Random(2))


@given(st.one_of(st.binary(max_size=300), mutated([QUESTION.frame, ANSWER])))
def test_a_question_is_answered_or_refused(frame: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        assert frame == QUESTION.frame or not answer(frame, KEYS.recovery_curve_public, KEEPER, random.Random(3))


@given(st.one_of(st.binary(max_size=300), mutated([QUESTION.frame, ANSWER])))
def test_an_answer_names_the_keeper_or_is_refused(frame: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        assert read_answer(QUESTION, frame, KEYS.recovery_curve_secret) == KEEPER
