"""Whatever is typed as a code gives a code or a named mistake."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.keys.words import WrongWord
from p2pstore.protocols.invite_code import InviteCode, WrongCodeShape


@given(
    st.one_of(
        st.text(max_size=80),
        st.from_regex(r"\d{1,4}[- .]?[a-z]{1,9}[- .]?[a-z]{1,9}", fullmatch=True),
        st.text("7guitarsunset- ", max_size=20),
    )
)
def test_anything_typed_is_a_code_or_a_named_mistake(typed: str) -> None:
    with contextlib.suppress(WrongCodeShape, WrongWord):
        code = InviteCode.parse(typed)
        assert InviteCode.parse(str(code)) == code
