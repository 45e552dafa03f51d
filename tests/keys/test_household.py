"""The household secret, its words, and what is derived from it."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.ids import NetworkId
from p2pstore.keys.household import (
    HouseholdKeys,
    RecoveryKit,
    WordsDoNotMatch,
    WrongLine,
    WrongWordCount,
    line_check,
    lines_of_page,
    new_secret,
    positions_to_ask,
    secret_of,
    words_of,
)
from p2pstore.keys.words import WrongWord, word_list

SECRET = bytes(range(32))
LINE_CHECKS = ["4776", "9479", "7066", "4964", "8169", "8157"]


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
    with contextlib.suppress(WrongLine, WrongWordCount, WrongWord, WordsDoNotMatch):
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


def paper(words: Sequence[str]) -> list[str]:
    """The six lines of words as they stand on the printed page."""
    page = RecoveryKit("The Bakers", 0.0, NetworkId(bytes(32)), tuple(words)).page()
    return [line for line in page.splitlines() if re.match(r" +\d+\. ", line)]


def test_the_lines_of_the_page_can_be_typed_as_they_stand() -> None:
    lines = paper(words_of(SECRET))
    assert len(lines) == 6
    assert secret_of("\n".join(lines)) == SECRET


def test_a_word_mistaken_for_another_is_found_in_its_line() -> None:
    lines = paper(words_of(SECRET))
    third = words_of(SECRET)[8]
    wrong = next(word for word in word_list() if word != third)
    lines[2] = lines[2].replace(third, wrong, 1)
    with pytest.raises(WrongLine) as caught:
        secret_of("\n".join(lines))
    assert caught.value.line == 3


def test_two_lines_that_changed_places_and_a_missing_word_are_found() -> None:
    lines = paper(words_of(SECRET))
    with pytest.raises(WrongLine) as caught:
        secret_of("\n".join([lines[0], lines[2], lines[1], *lines[3:]]))
    assert caught.value.line == 2
    lines[4] = re.sub(r"18\. \w+", "", lines[4])
    with pytest.raises(WrongLine) as caught:
        secret_of("\n".join(lines))
    assert (caught.value.line, caught.value.found) == (5, 3)


def test_the_whole_page_can_be_given() -> None:
    kit = RecoveryKit("The 2026 Bakers", 0.0, NetworkId(bytes(32)), words_of(SECRET), (("1. nas", "10.0.0.1:7700"),))
    assert secret_of(lines_of_page(kit.page())) == SECRET
    assert lines_of_page("1. apple, 2. pear") == "1. apple, 2. pear"


def test_the_number_of_a_line_is_frozen() -> None:
    words = words_of(SECRET)
    assert [line_check(line, words[4 * line - 4 : 4 * line]) for line in range(1, 7)] == LINE_CHECKS


def test_the_page_names_machines_and_a_browser_can_print_it() -> None:
    machines = tuple((f"machine-{number}", f"192.168.1.{number}:7700") for number in range(20))
    kit = RecoveryKit("Tom & <Ann>", 0.0, NetworkId(bytes(32)), words_of(SECRET), machines)
    assert "192.168.1.0:7700" in kit.page()
    assert len(kit.page().splitlines()) <= 60
    assert max(len(line) for line in kit.page().splitlines()) <= 72
    assert "Tom &amp; &lt;Ann&gt;" in kit.page_html()
    assert kit.page_html().count("<svg") == 1
