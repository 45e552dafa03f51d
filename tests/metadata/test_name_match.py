"""Names as people look for them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.metadata.name_match import TRIGRAMS_MAX, NamePattern, folded


@pytest.mark.parametrize(
    ("terms", "name", "expected"),
    [
        (("pass",), b"My Passport.pdf", True),
        (("pass", "2024"), b"passport 2023.pdf", False),
        (("*.PDF",), b"a.pdf", True),
        (("*.pdf",), b"a.pdf.txt", False),
        (("IMG_00[12]?.jpg",), b"img_0019.jpg", True),
        (("\u00fcber",), "\u00dcBERWEISUNG".encode(), True),
        (("u\u0308ber",), "\u00fcberweisung".encode(), True),
        (("x",), b"\xff\xfe", False),
        ((), b"anything", True),
    ],
)
def test_words_are_found_anywhere_and_globs_match_the_whole(
    terms: tuple[str, ...], name: bytes, *, expected: bool
) -> None:
    assert NamePattern(terms).matcher()(name) is expected


@given(before=st.text(max_size=8), word=st.text(min_size=1, max_size=20), after=st.text(max_size=8))
def test_every_trigram_asked_for_is_in_every_name_that_matches(before: str, word: str, after: str) -> None:
    pattern = NamePattern((word,))
    trigrams = pattern.trigrams()
    assert len(trigrams) <= TRIGRAMS_MAX
    name = (before + word + after).encode("utf-8", "replace")
    if pattern.matcher()(name) and not set(word) & set("*?[]"):
        assert all(folded(trigram) in folded(name.decode("utf-8", "replace")) for trigram in trigrams)


def test_trigrams_come_from_the_letters_of_a_glob_only() -> None:
    assert NamePattern(("ab*cdef[xyz]gh",)).trigrams() == ("cde", "def")
    assert NamePattern(("a*b", "zz")).trigrams() == ()
