"""The lookup machine: whom it asks, when it ends, whom it names."""

from __future__ import annotations

from random import Random

from dht.contacts import Contact, contact_of
from dht.lookup import Lookup

TARGET = bytes(32)


def contact(number: int) -> Contact:
    return contact_of(number.to_bytes(32), ("10.0.0.1", number))


def numbers(contacts: list[Contact]) -> list[int]:
    return [found.long_id for found in contacts]


def test_asks_the_nearest_first_and_three_at_once() -> None:
    lookup = Lookup(TARGET, [contact(number) for number in (9, 4, 7, 2)], width=20, parallel=3)
    assert numbers(lookup.next_asks()) == [2, 4, 7]
    assert lookup.next_asks() == []
    lookup.answered(contact(4), [contact(1)])
    assert numbers(lookup.next_asks()) == [1]


def test_a_late_one_holds_nobody_up_and_still_counts_when_it_comes() -> None:
    lookup = Lookup(TARGET, [contact(number) for number in (1, 2, 3, 4)], width=2, parallel=2)
    assert numbers(lookup.next_asks()) == [1, 2]
    lookup.late(contact(1))
    assert lookup.next_asks() == [], "the two nearest are both asked"
    lookup.answered(contact(2), [contact(5)])
    over_before = lookup.is_over
    lookup.answered(contact(1), [])
    assert (over_before, lookup.is_over) == (False, True)
    assert numbers(lookup.result(5)) == [1, 2]


def test_one_that_fails_makes_room_for_the_next() -> None:
    lookup = Lookup(TARGET, [contact(number) for number in (1, 2, 3)], width=2, parallel=2)
    lookup.next_asks()
    lookup.failed(contact(1))
    assert numbers(lookup.next_asks()) == [3]
    lookup.answered(contact(2), [contact(1)])
    assert lookup.next_asks() == [], "what failed does not come back by hearsay"
    lookup.answered(contact(3), [])
    assert lookup.is_over
    assert numbers(lookup.result(20)) == [2, 3]


def test_over_at_once_with_nobody_to_ask() -> None:
    lookup = Lookup(TARGET, [], width=20, parallel=3)
    assert lookup.next_asks() == []
    assert lookup.is_over
    assert lookup.result(20) == []


def test_knows_when_it_saw_everybody() -> None:
    for width, is_cut, everybody in ((3, False, True), (2, False, False), (3, True, False)):
        lookup = Lookup(TARGET, [contact(1), contact(2)], width=width, parallel=3)
        for asked in lookup.next_asks():
            lookup.answered(asked, [], is_cut=is_cut)
        assert lookup.is_over
        assert lookup.saw_everybody == everybody


def test_counts_rounds_along_the_longest_chain() -> None:
    lookup = Lookup(TARGET, [contact(8)], width=20, parallel=3)
    for asked, told in ((8, 4), (4, 2), (2, 1)):
        assert numbers(lookup.next_asks()) == [asked]
        lookup.answered(contact(asked), [contact(told)])
    assert numbers(lookup.next_asks()) == [1]
    assert lookup.rounds == 4


def test_finds_the_nearest_in_a_random_net_whatever_the_order_of_answers() -> None:
    rng = Random(3)
    everybody = [contact_of(rng.randbytes(32), ("10.0.0.1", port)) for port in range(1, 400)]
    by_distance = sorted(everybody, key=lambda node: node.long_id)

    def around(node: Contact) -> list[Contact]:
        return sorted(everybody, key=lambda other: other.long_id ^ node.long_id)[1:21]

    near = {node: around(node) for node in everybody}
    for _ in range(20):
        lookup = Lookup(TARGET, rng.sample(everybody, 3), width=20, parallel=3)
        under_way: list[Contact] = []
        while True:
            under_way += lookup.next_asks()
            if lookup.is_over:
                break
            node = under_way.pop(rng.randrange(len(under_way)))
            told = sorted([*near[node], *rng.sample(everybody, 60)], key=lambda other: other.long_id)[:20]
            lookup.answered(node, told)
        assert lookup.result(10) == by_distance[:10]
