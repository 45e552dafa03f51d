"""Frozen vectors of the roster: one statement of each kind, and what they amount to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from p2pstore.ids import NetworkId
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_codec import read_card, read_statement
from p2pstore.metadata.roster_statements import Renewal, Update, network_id_of

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent.parent / "vectors" / "roster.json").read_text("utf-8"))
NETWORK = NetworkId(bytes.fromhex(VECTORS["network_id"]))


@pytest.mark.parametrize("vector", VECTORS["statements"], ids=lambda vector: vector["kind"])
def test_every_kind_of_statement_is_read_as_ever(vector: dict[str, Any]) -> None:
    statement = read_statement(bytes.fromhex(vector["data"]), NETWORK)
    assert type(statement.body).__name__ == vector["kind"]
    assert statement.id.hex() == vector["id"]
    assert statement.signer.hex() == vector["signer"]
    if vector["kind"] == "Genesis":
        assert network_id_of(statement.data) == NETWORK


@pytest.mark.parametrize("vector", VECTORS["departures"], ids=lambda vector: vector["value"])
def test_wishes_to_leave_are_read_as_ever(vector: dict[str, Any]) -> None:
    statement = read_statement(bytes.fromhex(vector["data"]), NETWORK)
    assert isinstance(statement.body, Update)
    value = statement.body.value
    found = [int(statement.body.about), value.hex() if isinstance(value, bytes) else value]
    assert found == [vector["about"], vector["value"]]


def test_a_card_is_read_as_ever() -> None:
    card = read_card(bytes.fromhex(VECTORS["card"]["data"]), NETWORK)
    assert card.public.hex() == VECTORS["card"]["public"]
    assert card.curve_public.hex() == VECTORS["card"]["curve_public"]


def test_the_set_amounts_to_what_it_ever_did() -> None:
    roster = Roster.from_statements(bytes.fromhex(each["data"]) for each in VECTORS["statements"])
    assert roster.network_id == NETWORK
    assert roster.digest.hex() == VECTORS["digest"]
    found = [[each.peer_id.hex(), each.name, each.role, each.site, each.capacity_bytes] for each in roster.members()]
    assert found == VECTORS["members"]
    assert [each.peer_id.hex() for each in roster.removed()] == VECTORS["removed"]


@pytest.mark.parametrize("vector", VECTORS["renewals"], ids=lambda vector: vector["id"])
def test_renewals_are_read_as_ever(vector: dict[str, Any]) -> None:
    statement = read_statement(bytes.fromhex(vector["data"]), NETWORK)
    assert isinstance(statement.body, Renewal)
    assert (statement.id.hex(), statement.signer.hex()) == (vector["id"], vector["signer"])
    new = statement.body.new
    for key in ("replaced", "root_public", "recovery_public", "recovery_curve_public"):
        assert getattr(new, key).hex() == vector[key]
    assert [name.hex() for name in statement.body.kept] == vector["kept"]
    assert statement.body.stated_s == vector["stated_s"]
