"""The household secret, its words, and what is derived from it."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import NetworkId
from p2pstore.keys.household import (
    HouseholdKeys,
    RecoveryKit,
    WordsDoNotMatch,
    WrongWordCount,
    new_secret,
    positions_to_ask,
    secret_of,
    words_of,
)
from p2pstore.keys.words import WrongWord, word_list

SECRET = bytes(range(32))


@given(st.binary(min_size=32, max_size=32))
def test_words_and_secret_are_one(secret: bytes) -> None:
    assert secret_of(" ".join(words_of(secret))) == secret


def test_the_words_are_those_of_bip_39() -> None:
    assert words_of(bytes(32)) == ("abandon",) * 23 + ("art",)
    assert words_of(b"\x7f" * 32)[:3] == ("legal", "winner", "thank")
    assert words_of(b"\xff" * 32) == ("zoo",) * 23 + ("vote",)


@pytest.mark.parametrize(
    "typed",
    [
        " ".join(words_of(SECRET)).upper(),
        "\n".join(f"{number}. {word}," for number, word in enumerate(words_of(SECRET), 1)),
        "  ".join(word[:4] for word in words_of(SECRET)),
        "\t".join(words_of(SECRET)) + "\n\n",
    ],
)
def test_case_numbers_commas_and_short_forms_do_not_matter(typed: str) -> None:
    assert secret_of(typed) == SECRET


def test_a_mistyped_word_is_named_with_the_nearest() -> None:
    words = list(words_of(SECRET))
    words[6] = "garlik"
    with pytest.raises(WrongWord) as caught:
        secret_of(" ".join(words))
    assert (caught.value.position, caught.value.word, caught.value.suggestion) == (7, "garlik", "garlic")


def test_a_missing_word_is_counted() -> None:
    with pytest.raises(WrongWordCount) as caught:
        secret_of(" ".join(words_of(SECRET)[:-1]))
    assert caught.value.found == 23
    with pytest.raises(WrongWordCount):
        secret_of("")


def test_two_words_that_changed_places_do_not_match() -> None:
    words = list(words_of(SECRET))
    words[0], words[1] = words[1], words[0]
    with pytest.raises(WordsDoNotMatch):
        secret_of(" ".join(words))


@given(st.text(max_size=300))
def test_whatever_is_typed_gives_a_secret_or_a_named_mistake(typed: str) -> None:
    with contextlib.suppress(WrongWordCount, WrongWord, WordsDoNotMatch):
        secret_of(typed)


def test_four_letters_tell_the_words_apart() -> None:
    assert len({word[:4] for word in word_list()}) == 2048


def test_the_derived_keys_differ_from_each_other_and_from_the_secret() -> None:
    keys = HouseholdKeys.derive(SECRET)
    secrets = {SECRET, keys.root_secret, keys.recovery_secret, keys.recovery_curve_secret}
    publics = {keys.public, keys.recovery_public, keys.recovery_curve_public}
    assert len(secrets) == 4
    assert len(publics) == 3
    assert HouseholdKeys.derive(SECRET) == keys
    assert all(repr(secret) not in repr(keys) for secret in secrets)


def test_a_person_is_asked_different_words_in_rising_order() -> None:
    asked = positions_to_ask(random.Random(5))
    assert len(set(asked)) == 3
    assert list(asked) == sorted(asked)
    assert all(1 <= position <= 24 for position in asked)


def test_the_printed_page_holds_all_words_and_fits_the_paper() -> None:
    kit = RecoveryKit("The Bakers", 1_790_000_000.0, NetworkId(bytes.fromhex("0a1b2c3d") + bytes(28)), words_of(SECRET))
    page = kit.page()
    for number, word in enumerate(kit.words, 1):
        assert f"{number:2}. {word}" in page
    assert "The Bakers" in page
    assert "2026-09-21" in page
    assert "0a1b2c3d" in page
    assert max(len(line) for line in page.splitlines()) <= 72
    assert len(page.splitlines()) <= 60
    assert kit.words[0] not in repr(kit)


def test_the_qr_code_is_drawn_for_terminal_and_paper() -> None:
    kit = RecoveryKit("The Bakers", 0.0, NetworkId(bytes(32)), words_of(new_secret(random.Random(1))))
    drawn = kit.qr_terminal().splitlines()
    assert len(drawn) > 15
    assert len(drawn[0]) <= 60
    assert kit.qr_svg().lstrip().startswith("<?xml")
    assert "<svg" in kit.qr_svg()
