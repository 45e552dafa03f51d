"""The table of live links."""

from __future__ import annotations

from p2pstore.limits import LINKS_PER_PEER_MAX
from p2pstore.protocols.links import Counters, Links, Removed
from p2pstore.seams.network import LinkStats, Plane
from tests.network.twins import peer_id_of

ANNA, BEN = peer_id_of("anna"), peer_id_of("ben")


def test_the_newest_link_is_used_and_the_older_one_when_it_breaks() -> None:
    links = Links()
    for link in (1, 2):
        links.add(link, ANNA, Plane.CONTROL)
    assert links.best(ANNA, Plane.CONTROL) == 2
    assert links.remove(2) == Removed(ANNA, Plane.CONTROL)
    assert links.best(ANNA, Plane.CONTROL) == 1
    assert not links.has(2)


def test_a_peer_is_linked_while_it_has_a_control_link() -> None:
    links = Links()
    links.add(1, BEN, Plane.CONTROL)
    links.add(2, ANNA, Plane.CONTROL)
    links.add(3, ANNA, Plane.BULK)
    assert links.linked() == [ANNA, BEN]
    assert links.remove(2) == Removed(ANNA, Plane.CONTROL, orphans=(3,), peer_lost=True)
    assert links.linked() == [BEN]
    assert links.remove(3) == Removed(ANNA, Plane.BULK)
    assert links.remove(3) is None


def test_the_oldest_links_of_a_peer_make_room() -> None:
    links = Links()
    for link in range(LINKS_PER_PEER_MAX):
        assert links.add(link, ANNA, Plane.BULK) == []
    assert links.add(99, ANNA, Plane.BULK) == [0]
    assert links.count(ANNA, Plane.BULK) == LINKS_PER_PEER_MAX + 1


def test_round_trips_are_smoothed() -> None:
    counters = Counters()
    counters.round_trip(0.8)
    counters.round_trip(0.0)
    counters.round_trip_s = round(counters.round_trip_s or 0, 6)
    assert counters.stats(linked=True) == LinkStats(True, 0.7, 0, 0, 0)
