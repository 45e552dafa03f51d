"""The routing table: exact, bounded, and fond of those who answer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from kademlia.node import Node

from dht.contacts import Contact, contact_of
from dht.limits import REPLACEMENTS_PER_BUCKET_MAX
from dht.table import Table

IDS = st.binary(min_size=32, max_size=32)


def contact(node_id: bytes, host: str = "10.0.0.1", port: int = 1) -> Contact:
    return contact_of(node_id, (host, port))


def fill(table: Table, node_ids: list[bytes], now_s: float = 0.0) -> None:
    for port, node_id in enumerate(node_ids, 1):
        table.heard(contact(node_id, port=port), rtt_s=None, now_s=now_s)


@given(IDS, st.lists(IDS, max_size=80, unique=True), IDS, st.integers(1, 30))
def test_the_nearest_are_exactly_the_nearest_of_those_in_it(
    own: bytes, others: list[bytes], target: bytes, count: int
) -> None:
    table = Table(own, size=4, now_s=0.0)
    fill(table, others)
    wanted = int.from_bytes(target)
    everybody = sorted((entry.long_id for entry in table.entries()), key=lambda long_id: long_id ^ wanted)
    assert [entry.long_id for entry in table.nearest(wanted, count)] == everybody[:count]
    assert [node.long_id for node in table.find_neighbors(Node(target), count)] == [
        long_id for long_id in everybody if long_id != wanted
    ][:count]


@given(IDS, st.lists(IDS, min_size=1, max_size=80, unique=True))
def test_our_k_nearest_are_always_known(own: bytes, others: list[bytes]) -> None:
    table = Table(own, size=4, now_s=0.0)
    others = [node_id for node_id in others if node_id != own]
    fill(table, others)
    mine = int.from_bytes(own)
    nearest = sorted((int.from_bytes(node_id) for node_id in others), key=lambda long_id: long_id ^ mine)[:4]
    assert [entry.long_id for entry in table.nearest(mine, 4)] == nearest


def test_buckets_tile_the_whole_space_and_hold_no_more_than_k_and_a_reserve() -> None:
    table = Table(bytes(32), size=4, now_s=0.0)
    fill(table, [number.to_bytes(2) + bytes(30) for number in range(1, 2000)])
    assert table.buckets[0].range[0] == 0
    assert table.buckets[-1].range[1] == 2**256 - 1
    for lower, upper in zip(table.buckets, table.buckets[1:], strict=False):
        assert lower.range[1] + 1 == upper.range[0]
    for bucket in table.buckets:
        assert len(bucket) <= 4
        assert len(bucket.replacement_nodes) <= REPLACEMENTS_PER_BUCKET_MAX


def test_after_two_failures_one_of_the_reserve_takes_the_place() -> None:
    table = Table(bytes(32), size=2, now_s=0.0)
    far = [bytes([255, number]) + bytes(30) for number in range(3)]
    near = [bytes([0, number]) + bytes(30) for number in range(1, 3)]
    fill(table, near + far)
    assert contact(far[2], port=5).id in table.buckets[-1].replacement_nodes
    assert not table.failed(contact(far[0], port=3))
    assert table.failed(contact(far[0], port=3))
    assert sorted(table.buckets[-1].nodes) == far[1:]


def test_an_answer_clears_failures() -> None:
    table = Table(bytes(32), size=2, now_s=0.0)
    somebody = contact(bytes([1]) * 32)
    table.heard(somebody, rtt_s=0.1, now_s=0.0)
    for now_s in range(5):
        assert not table.failed(somebody)
        table.heard(somebody, rtt_s=0.1, now_s=float(now_s))


def test_a_failure_at_an_old_address_is_not_held_against_the_new_one() -> None:
    table = Table(bytes(32), size=2, now_s=0.0)
    table.heard(contact(bytes([1]) * 32, host="10.0.0.2"), rtt_s=0.1, now_s=0.0)
    for _ in range(3):
        assert not table.failed(contact(bytes([1]) * 32, host="10.0.0.1"))
    assert len(table) == 1


def test_one_address_does_not_fill_a_bucket() -> None:
    table = Table(bytes(32), size=20, now_s=0.0)
    for number in range(1, 20):
        table.heard(contact(bytes([number]) * 32), rtt_s=None, now_s=0.0)
    assert [entry.id for entry in table.entries()] == [bytes([19]) * 32]


def test_a_bucket_is_lonely_until_something_is_looked_up_in_it() -> None:
    table = Table(bytes(32), size=2, now_s=0.0)
    fill(table, [bytes([number]) + bytes(31) for number in (1, 2, 130, 140)])
    assert len(table.lonely_buckets(10.0)) == len(table.buckets)
    table.touch(2**255, 20.0)
    assert [bucket.range[1] for bucket in table.buckets if bucket not in table.lonely_buckets(10.0)] == [2**256 - 1]
