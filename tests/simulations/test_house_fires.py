"""Houses burn: a sample; `python -m simulations.house_fire` burns all of them."""

from __future__ import annotations

import pytest

from p2pstore.placement.promise import Promise
from simulations.catalogue import CATALOGUE
from simulations.house_fire import burn, promised


def test_every_place_of_every_household_of_several_houses_burns_once() -> None:
    houses = {name: {each.site for each in machines} for name, machines in CATALOGUE.items()}
    assert len(CATALOGUE) >= 12
    assert sorted(promised()) == sorted(
        (name, site) for name, sites in houses.items() if len(sites) > 1 for site in sites
    )


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("two PCs in two houses", "home"),
        ("a lone PC at the cabin", "home"),
        ("three houses", "parents"),
        ("a family and the parents", "home"),
    ],
)
def test_what_is_left_of_a_household_that_promised_a_house_reads_everything_back(name: str, site: str) -> None:
    burnt = burn(name, site)
    assert burnt.files > 0
    assert burnt.wrong == ()


def test_a_fire_takes_what_promised_to_survive_a_machine_only() -> None:
    assert burn("two and two", "home", promise=Promise.ANY_1).wrong
