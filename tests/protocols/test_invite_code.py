"""Invite codes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.keys.words import WrongWord
from p2pstore.protocols.invite_code import InviteCode, WrongCodeShape


@given(st.randoms(use_true_random=False))
def test_a_code_is_typed_as_it_is_shown(rng: random.Random) -> None:
    code = InviteCode.generate(rng)
    assert InviteCode.parse(str(code)) == code


@pytest.mark.parametrize(
    "typed",
    ["7-guitar-sunset", " 7 Guitar  SUNSET ", "7–guitar–sunset", "7.guit.suns", "7guitar-sunset", "07-guitar-sunset"],
)
def test_a_code_is_understood_however_it_is_typed(typed: str) -> None:
    assert str(InviteCode.parse(typed)) == "7-guitar-sunset"


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "guitar-sunset",
        "7-guitar",
        "7-guitar-sunset-sun",
        "0-guitar-sunset",
        "100-guitar-sunset",
        "7-7-7",
        "٧-guitar-sunset",
        "7" * 5000,
    ],
)
def test_what_has_another_shape_is_no_code(typed: str) -> None:
    with pytest.raises(WrongCodeShape):
        InviteCode.parse(typed)


def test_a_mistyped_word_is_named_with_the_nearest() -> None:
    with pytest.raises(WrongWord) as caught:
        InviteCode.parse("7-guitar-sunste")
    assert (caught.value.position, caught.value.word, caught.value.suggestion) == (2, "sunste", "sunset")


def test_two_open_invitations_never_share_a_nameplate() -> None:
    rng = random.Random(1)
    taken = frozenset(range(1, 99))
    assert InviteCode.generate(rng, taken=taken).nameplate == 99
