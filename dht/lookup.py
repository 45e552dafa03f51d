"""One lookup: whom to ask next, when it is over, who answered. A machine without network and without time.

At most alpha questions are under way that are not late; a late one no longer holds up the others. It is over when the
nearest `width` contacts that have not failed have all answered.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable

from kademlia.node import Node, NodeHeap

from dht.contacts import Contact
from dht.limits import LOOKUP_CANDIDATES_MAX


class Shortlist(NodeHeap):  # type: ignore[misc]
    """kademlia's NodeHeap kept sorted (a sorted list is a heap), with membership by hash instead of a scan."""

    heap: list[tuple[int, Contact]]
    maxsize: int

    def __init__(self, target: Node, width: int) -> None:
        super().__init__(target, width)
        self._known: set[bytes] = set()

    def __contains__(self, node: Contact) -> bool:
        return node.id in self._known

    def push(self, nodes: Iterable[Contact]) -> None:
        """Add the ones that never were in it."""
        for node in nodes:
            if node.id not in self._known and len(self._known) < LOOKUP_CANDIDATES_MAX:
                self._known.add(node.id)
                insort(self.heap, (node.long_id ^ self.node.long_id, node))

    def drop(self, node: Contact) -> None:
        """Take `node` out for good: it stays known, so hearsay does not bring it back."""
        self.heap = [pair for pair in self.heap if pair[1].id != node.id]

    def nearest(self) -> list[Contact]:
        """The `width` nearest that are still in it."""
        return [node for _, node in self.heap[: self.maxsize]]


class Lookup:
    """The state of one lookup.

    Attributes:
        width: how many nearest must have answered.
        rounds: length of the longest chain of contacts, each of which was learned from the one before and asked.
        asked: how many were asked.
    """

    __slots__ = (
        "_answered", "_depth", "_parallel", "_saw_cut", "_shortlist", "_stopped", "_under_way",
        "asked", "rounds", "target", "width",
    )  # fmt: skip

    def __init__(self, target: bytes, seeds: Iterable[Contact], *, width: int, parallel: int) -> None:
        self.target = Node(target)
        self.width = width
        self._shortlist = Shortlist(self.target, width)
        self._parallel = parallel
        self._answered: set[bytes] = set()
        self._under_way: dict[bytes, bool] = {}  # id -> late
        self._depth: dict[bytes, int] = {}
        self._stopped = False
        self._saw_cut = False
        self.rounds = 0
        self.asked = 0
        self._push(seeds, depth=1)

    def _push(self, contacts: Iterable[Contact], *, depth: int) -> None:
        for contact in contacts:
            self._depth.setdefault(contact.id, depth)
            self._shortlist.push((contact,))

    def knows(self, contact: Contact) -> bool:
        """Whether `contact` was heard of before, so that telling of it again adds nothing."""
        return contact in self._shortlist

    def next_asks(self) -> list[Contact]:
        """Whom to ask now; they count as asked."""
        if self._stopped:
            return []
        free = self._parallel - sum(not late for late in self._under_way.values())
        asks: list[Contact] = []
        if free <= 0:
            return asks
        for contact in self._shortlist.nearest():
            if contact.id in self._answered or contact.id in self._under_way:
                continue
            asks.append(contact)
            self._under_way[contact.id] = False
            self.asked += 1
            self.rounds = max(self.rounds, self._depth[contact.id])
            if len(asks) == free:
                break
        return asks

    def answered(self, contact: Contact, closer: Iterable[Contact], *, is_cut: bool = True) -> None:
        """`contact` answered and told of others; `is_cut`: it may know more than it could tell."""
        self._under_way.pop(contact.id, None)
        self._saw_cut |= is_cut
        self._answered.add(contact.id)
        self._push(closer, depth=self._depth.get(contact.id, 0) + 1)

    def late(self, contact: Contact) -> None:
        """`contact` has not answered in time; it may still."""
        if contact.id in self._under_way:
            self._under_way[contact.id] = True

    def failed(self, contact: Contact) -> None:
        """`contact` will not answer."""
        self._under_way.pop(contact.id, None)
        self._shortlist.drop(contact)

    def stop(self) -> None:
        """Enough was found."""
        self._stopped = True

    @property
    def is_over(self) -> bool:
        """Whether nobody is left whose answer could matter (ask `next_asks` first)."""
        return self._stopped or all(contact.id in self._answered for contact in self._shortlist.nearest())

    @property
    def saw_everybody(self) -> bool:
        """Whether, once it is over, everybody asked told of all it knew, and fewer than `width` answered: then these
        are all there are. (That few answered is not enough: the dead among the nearest may have crowded out others.)
        """
        return not self._stopped and not self._saw_cut and len(self._shortlist.heap) < self._shortlist.maxsize

    def result(self, count: int) -> list[Contact]:
        """The nearest that answered, nearest first."""
        return [contact for _, contact in self._shortlist.heap if contact.id in self._answered][:count]
