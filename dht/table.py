"""The routing table: kademlia's RoutingTable and KBucket, made exact, 256 bits wide and free of clocks and asyncio.

What upstream leaves out (measured in facts about kademlia 2.2.3): its neighbour search walks buckets left and right and
misses one in six of the true nearest, it reads `time.monotonic`, and it starts asyncio tasks when a bucket is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kademlia.node import Node
from kademlia.routing import KBucket, RoutingTable

from dht.contacts import Contact
from dht.limits import FAILURES_TO_EVICT, ID_BITS, REPLACEMENTS_PER_BUCKET_MAX


class Entry:
    """A contact in the table and what we know of it first hand.

    Attributes:
        contact: who and where; it answered us there.
        heard_s: when it last answered.
        rtt_s: smoothed round trip.
        failures: requests in a row without answer.
    """

    __slots__ = ("contact", "failures", "heard_s", "rtt_s")

    def __init__(self, contact: Contact, heard_s: float, rtt_s: float) -> None:
        self.contact = contact
        self.heard_s = heard_s
        self.rtt_s = rtt_s
        self.failures = 0

    @property
    def id(self) -> bytes:
        """The contact's id (KBucket files by it)."""
        return self.contact.id

    @property
    def long_id(self) -> int:
        """The contact's id as an integer (KBucket splits by it)."""
        return self.contact.long_id


class Bucket(KBucket):  # type: ignore[misc]
    """At most k entries of one id range, least recently heard first, and a few in reserve."""

    nodes: dict[bytes, Entry]
    replacement_nodes: dict[bytes, Entry]
    range: tuple[int, int]
    last_updated: float
    mask: int

    def __init__(self, low: int, high: int, size: int, now_s: float) -> None:
        super().__init__(low, high, size)
        self.nodes = {}  # a plain dict keeps the order too, at a third of an OrderedDict's memory
        self.replacement_nodes = {}
        self.max_replacement_nodes = REPLACEMENTS_PER_BUCKET_MAX
        self.last_updated = now_s
        self.mask = ~(high - low)  # keeps the bits that all ids of the block share

    def touch_last_updated(self) -> None:
        """Upstream reads a clock here; the table sets `last_updated` instead."""

    def split(self) -> tuple[Bucket, Bucket]:
        """The lower and the upper half."""
        middle = (self.range[0] + self.range[1]) // 2
        lower = Bucket(self.range[0], middle, self.ksize, self.last_updated)
        upper = Bucket(middle + 1, self.range[1], self.ksize, self.last_updated)
        for entry in [*self.nodes.values(), *self.replacement_nodes.values()]:
            (lower if entry.long_id <= middle else upper).add_node(entry)
        return lower, upper

    def add_node(self, node: Entry) -> bool:
        """File `node` as the most recently heard; False if it only found room in reserve."""
        self.replacement_nodes.pop(node.id, None)
        if self.nodes.pop(node.id, None) is not None or len(self.nodes) < self.ksize:
            self.nodes[node.id] = node
            return True
        self.replacement_nodes[node.id] = node
        if len(self.replacement_nodes) > self.max_replacement_nodes:
            del self.replacement_nodes[next(iter(self.replacement_nodes))]
        return False


class Table(RoutingTable):  # type: ignore[misc]
    """Who answered us, thick near our own id and thin far away. At most (256 - log2 k) buckets of k, and reserves."""

    buckets: list[Bucket]
    ksize: int

    def __init__(self, own_id: bytes, *, size: int, now_s: float) -> None:
        self._now_s = now_s
        super().__init__(None, size, Node(own_id))

    def flush(self) -> None:
        """Forget everybody."""
        self.buckets = [Bucket(0, 2**ID_BITS - 1, self.ksize, self._now_s)]

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self.buckets)

    def entries(self) -> Iterator[Entry]:
        """All entries, bucket by bucket."""
        for bucket in self.buckets:
            yield from bucket.nodes.values()

    def get_bucket_for(self, node: Any) -> int:
        """The index of the bucket whose range holds `node`."""
        low, high = 0, len(self.buckets) - 1
        wanted = node.long_id
        while low < high:
            middle = (low + high) // 2
            if wanted <= self.buckets[middle].range[1]:
                high = middle
            else:
                low = middle + 1
        return low

    def entry(self, contact: Contact) -> Entry | None:
        """The entry with the contact's id, whatever its address."""
        return self.buckets[self.get_bucket_for(contact)].nodes.get(contact.id)

    def has_room(self, contact: Contact) -> bool:
        """Whether `contact` would be new here and find a place, if only in reserve."""
        bucket = self.buckets[self.get_bucket_for(contact)]
        return contact.id not in bucket.replacement_nodes and (
            len(bucket.nodes) < self.ksize
            or len(bucket.replacement_nodes) < bucket.max_replacement_nodes
            or self._may_split(bucket)
        )

    def _may_split(self, bucket: Bucket) -> bool:
        """Whether nodes in this range can be among our k nearest, all of which we are to know (the paper's
        section 4.2: not only the bucket with our own id is split)."""
        if bucket.has_in_range(self.node):
            return True
        own = self.node.long_id
        distance = _block_distance(bucket, own)
        nearer = sum(len(other.nodes) for other in self.buckets if _block_distance(other, own) < distance)
        return nearer < self.ksize

    def add_contact(self, node: Entry) -> bool:
        """File an entry, splitting buckets near us as needed; False if it went to the reserve."""
        while True:
            index = self.get_bucket_for(node)
            bucket = self.buckets[index]
            if len(bucket.nodes) >= self.ksize and node.id not in bucket.nodes and self._may_split(bucket):
                self.split_bucket(index)
                continue
            return bucket.add_node(node)

    def heard(self, contact: Contact, *, rtt_s: float | None, now_s: float) -> None:
        """`contact` answered us: enter or refresh it. One address cannot fill a bucket: its former id makes room."""
        bucket = self.buckets[self.get_bucket_for(contact)]
        entry = bucket.nodes.get(contact.id) or bucket.replacement_nodes.get(contact.id)
        if entry is None:
            for former in [other for other in bucket.nodes.values() if other.contact.address == contact.address]:
                self.remove_contact(former)
            self.add_contact(Entry(contact, now_s, 0.0 if rtt_s is None else rtt_s))
            return
        entry.contact = contact
        entry.heard_s = now_s
        entry.failures = 0
        if rtt_s is not None:
            entry.rtt_s = rtt_s if entry.rtt_s == 0.0 else 0.75 * entry.rtt_s + 0.25 * rtt_s
        bucket.add_node(entry)

    def failed(self, contact: Contact) -> bool:
        """`contact` did not answer; True if that made it leave the table."""
        entry = self.entry(contact)
        if entry is None or entry.contact != contact:
            return False
        entry.failures += 1
        if entry.failures < FAILURES_TO_EVICT:
            return False
        self.remove_contact(entry)
        return True

    def nearest(self, target: int, count: int) -> list[Entry]:
        """The `count` entries nearest to `target`, nearest first, exactly.

        Buckets are aligned blocks of ids, so their distances from any target do not overlap: the blocks in order of
        distance, each sorted, is the whole order.
        """
        if len(self.buckets) == 1:
            blocks = self.buckets
        else:
            blocks = sorted(self.buckets, key=lambda bucket: (bucket.range[0] ^ target) & bucket.mask)
        found: list[Entry] = []
        for bucket in blocks:
            found += sorted(bucket.nodes.values(), key=lambda entry: entry.contact.long_id ^ target)
            if len(found) >= count:
                return found[:count]
        return found

    def find_neighbors(self, node: Any, k: int | None = None, exclude: Any = None) -> list[Contact]:
        """Upstream's question, answered exactly."""
        count = k or self.ksize
        near = [entry.contact for entry in self.nearest(node.long_id, count + 2)]
        return [contact for contact in near if contact.id != node.id and (exclude is None or contact.id != exclude.id)][
            :count
        ]

    def touch(self, target: int, now_s: float) -> None:
        """Something was looked up near `target`: its bucket needs no refresh for a while."""
        low, high = 0, len(self.buckets) - 1
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if target <= self.buckets[middle].range[1] else (middle + 1, high)
        self.buckets[low].last_updated = now_s

    def lonely_buckets(self, before_s: float = float("-inf")) -> list[Bucket]:
        """Buckets in which nothing was looked up since `before_s`."""
        return [bucket for bucket in self.buckets if bucket.last_updated < before_s]


def _block_distance(bucket: Bucket, target: int) -> int:
    return (bucket.range[0] ^ target) & bucket.mask
