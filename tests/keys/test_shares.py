from __future__ import annotations

import itertools
import json
import random
from pathlib import Path

import pytest

from p2pstore.errors import Misuse
from p2pstore.keys.household import new_secret
from p2pstore.keys.shares import (
    SHARE_WORDS,
    SharePage,
    TooFewShares,
    WrongShare,
    looks_like_shares,
    make_shares,
    read_shares,
    secret_of_shares,
)
from p2pstore.keys.words import WrongWord

SECRET = new_secret(random.Random(1))
SHARES = make_shares(SECRET, total=3, needed=2)


def page(number: int) -> str:
    return SharePage("Meyer", 0.0, None, SHARES[number], 3, (("nas", "10.0.0.1:7700"),)).page()


def test_any_two_of_three_give_the_secret_and_one_does_not() -> None:
    for chosen in itertools.permutations(SHARES, 2):
        assert secret_of_shares(chosen) == SECRET
    assert secret_of_shares(SHARES) == SECRET
    for one in SHARES:
        with pytest.raises(TooFewShares) as few:
            secret_of_shares([one, one])
        assert (few.value.found, few.value.needed) == (1, 2)


@pytest.mark.parametrize(("needed", "total"), [(2, 2), (3, 5), (16, 16)])
def test_other_numbers(needed: int, total: int) -> None:
    shares = make_shares(SECRET, total=total, needed=needed)
    assert [share.number for share in shares] == list(range(1, total + 1))
    assert secret_of_shares(shares[total - needed :]) == SECRET


@pytest.mark.parametrize(("needed", "total"), [(1, 3), (4, 3), (2, 17), (0, 0)])
def test_numbers_that_make_no_sense(needed: int, total: int) -> None:
    with pytest.raises(Misuse):
        make_shares(SECRET, total=total, needed=needed)


def test_shares_of_two_sets_do_not_fit_together() -> None:
    other = make_shares(SECRET, total=3, needed=2)
    if other[0].set_number != SHARES[0].set_number:
        with pytest.raises(WrongShare, match="different sets"):
            secret_of_shares([SHARES[0], other[1]])


def test_pages_are_read_whole_and_fit_a_page() -> None:
    text = page(0) + "\n\f" + page(2)
    assert looks_like_shares(text)
    assert read_shares(text) == (SHARES[0], SHARES[2])
    assert all(len(line) <= 72 for line in page(1).splitlines())
    assert len(page(1).splitlines()) <= 60


def test_typed_words_in_any_case_with_their_first_four_letters() -> None:
    typed = " ".join(word[:4].upper() for word in SHARES[1].words)
    assert looks_like_shares(typed)
    assert read_shares(typed) == (SHARES[1],)
    assert not looks_like_shares("abandon " * 24)


def test_every_slip_of_one_word_is_found() -> None:
    words = SHARES[0].words
    for at in range(SHARE_WORDS):
        slipped = [*words]
        slipped[at] = "academic" if words[at] != "academic" else "acid"
        with pytest.raises(WrongShare):
            read_shares(" ".join(slipped))
    with pytest.raises(WrongWord) as unknown:
        read_shares(" ".join(["acadimic", *words[1:]]))
    assert (unknown.value.position, unknown.value.suggestion) == (1, "academic")
    with pytest.raises(WrongShare, match="33"):
        read_shares(" ".join(words[:-1]))


def test_the_number_at_a_lines_end_names_the_line() -> None:
    lines = page(0).splitlines()
    at = next(number for number, line in enumerate(lines) if line.lstrip().startswith("7."))
    first, second = SHARES[0].words[6:8]
    lines[at] = lines[at].replace(first, "@").replace(second, first).replace("@", second)
    if first != second:
        with pytest.raises(WrongShare, match="line 3 of share 1"):
            read_shares("\n".join(lines))


def test_frozen_vectors() -> None:
    vectors = json.loads((Path(__file__).parent.parent / "vectors" / "shares.json").read_text("utf-8"))
    for each in vectors:
        shares = read_shares(" ".join(each["shares"]))
        assert [share.number for share in shares] == each["numbers"]
        assert {share.needed for share in shares} == {each["needed"]}
        assert secret_of_shares(shares).hex() == each["secret"]
        assert SharePage("Meyer", 0.0, None, shares[0], 3).page() == each["page"]
