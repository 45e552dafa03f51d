"""Whatever claims to be a statement, a card, a key file or a generation gives a value, Malformed or Forged."""

from __future__ import annotations

import contextlib
import random
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.keys.generation import Generation
from p2pstore.keys.keyfile import KeyFile, PassphraseNeeded
from p2pstore.metadata.roster_codec import _sealed, make_card, make_removal, make_update, read_card, read_statement
from p2pstore.metadata.roster_statements import Endpoints, Fact, Kind
from tests.fuzz.mutation import mutated
from tests.keys.household import Household


@cache
def _home() -> Household:
    home = Household()
    home.enrolled("nas", role="storage")
    nas = home.machine("nas")
    where = Endpoints(("10.0.0.1:7000",), ("[fe80::1]:7001",))
    home.learn(
        make_update(nas, home.network, subject=nas.peer_id, about=Fact.ENDPOINTS, sequence=1, value=where),
        make_removal(home.first, home.network, subject=nas.peer_id, kept=home.roster.statement_ids(), cut=b"cut"),
        home.certificate("nas", by="first"),
    )
    return home


STATEMENTS = _home().roster.statements()
CARD = make_card(_home().first, _home().network)
KEYS = KeyFile(_home().first, _home().keyring).encode(rng=random.Random(1))

values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-1, 2**54), st.floats(), st.text(max_size=5), st.binary(max_size=70)
    ),
    lambda inner: st.lists(inner, max_size=6),
    max_leaves=12,
)


@given(st.one_of(st.binary(max_size=200), mutated(STATEMENTS)))
def test_any_statement_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        assert read_statement(data, _home().network).data == data


@given(st.sampled_from(list(Kind)), st.lists(values, max_size=8))
def test_a_member_that_signs_nonsense_is_refused(kind: Kind, body: list[Any]) -> None:
    data = _sealed(_home().first, _home().network, kind, body)
    with contextlib.suppress(Malformed, Forged):
        read_statement(data, _home().network)


@given(st.lists(st.one_of(st.binary(max_size=60), mutated(STATEMENTS)), max_size=6))
def test_a_roster_takes_any_company(statements: list[bytes]) -> None:
    roster = _home().roster.with_statements(statements)
    assert roster.network_id == _home().network
    assert _home().first.peer_id in {each.peer_id for each in roster.members()}


@given(st.one_of(st.binary(max_size=120), mutated([CARD])))
def test_any_card_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        read_card(data, _home().network)


@given(st.one_of(st.binary(max_size=120), mutated([KEYS])))
def test_any_key_file_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed, Forged, PassphraseNeeded):
        KeyFile.decode(data)


@given(st.one_of(st.binary(max_size=120), mutated([each.encode() for each in _home().keyring.generations])))
def test_any_generation_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        Generation.decode(data)
