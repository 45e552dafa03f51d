"""The alarm path: two peers of equal vectors whose fingerprints differ find out in which operations. Sans-IO.

```
ranges of 256 buckets > of 16 > of 1 > the live operations of the buckets that differ > commits, both ways
```

Absence proves nothing here: what one side lacks it takes back, and nothing is dropped. The messages, all on the control
plane, are described in docs/protocols/metadata.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.errors import Malformed
from p2pstore.ids import incarnation, peer_id
from p2pstore.limits import CONTROL_MESSAGE_BYTES_MAX, RECONCILE_BLOCKS_MAX, RECONCILE_RANGES_MAX
from p2pstore.metadata.fingerprint import (
    BITS_BYTES,
    BLOCK_DOTS,
    BUCKETS,
    Block,
    DotRange,
    only_in,
    range_digest,
)
from p2pstore.metadata.vector import SEQUENCE_MAX, Vector, Writer
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.network import Message

RANGES: Final = "live.ranges"
BLOCKS: Final = "live.blocks"
FETCH: Final = "live.fetch"
KINDS: Final = frozenset({RANGES, BLOCKS, FETCH})

WIDTHS: Final = (256, 16, 1)
"""Buckets in a range, step by step: each step asks about the parts of the ranges that differ."""

BUCKETS_AT_ONCE: Final = 128
"""Buckets whose live operations are told in one message: in a tree of 10^7 entries ten blocks each, 100 KB."""

DIGEST_BYTES: Final = 16
ROOT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Ranges:
    """Ranges of buckets, of one width, and in a reply what they hold.

    Attributes:
        root: of the sender's vector: with another one nothing is compared.
        width: buckets in each.
        starts: their first buckets.
        digests: in a reply, one for each.
    """

    root: bytes
    width: int
    starts: tuple[int, ...]
    digests: tuple[bytes, ...] = ()


def ranges_message(ranges: Ranges) -> Message:
    """A "live.ranges" request or its reply."""
    body = [1, ranges.root, ranges.width, list(ranges.starts), list(ranges.digests)]
    return Message(RANGES, payload=pack(body))


def read_ranges(message: Message) -> Ranges:
    """The way back. Raises Malformed; so do its siblings below."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "ranges", version=1)
    root, width = fields.raw(ROOT_BYTES), fields.integer(1, BUCKETS)
    starts = _buckets(fields.array(most=BUCKETS))
    digests = Fields(fields.array(most=BUCKETS), "digests")
    fields.end()
    if any(start + width > BUCKETS for start in starts):
        raise Malformed("ranges: beyond the last bucket")
    return Ranges(root, width, starts, tuple(digests.raw(DIGEST_BYTES) for _ in range(digests.left)))


def _buckets(values: list[Any]) -> tuple[int, ...]:
    fields = Fields(values, "buckets")
    return tuple(fields.integer(0, BUCKETS - 1) for _ in range(fields.left))


def answer_ranges(asked: Ranges, root: bytes, sums: bytes) -> Ranges:
    """The reply of somebody with these sums; no digests if the vectors are not equal (any more)."""
    if asked.root != root:
        return Ranges(root, asked.width, ())
    digests = tuple(range_digest(sums, start, asked.width) for start in asked.starts)
    return Ranges(root, asked.width, asked.starts, digests)


def blocks_request(root: bytes, buckets: Sequence[int]) -> Message:
    """Asks what is live in some buckets."""
    return Message(BLOCKS, payload=pack([1, root, list(buckets)]))


def read_blocks_request(message: Message) -> tuple[bytes, tuple[int, ...]]:
    """The way back: root of the asker's vector, buckets."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "buckets", version=1)
    root = fields.raw(ROOT_BYTES)
    buckets = _buckets(fields.array(most=BUCKETS_AT_ONCE))
    fields.end()
    return root, buckets


def blocks_message(root: bytes, blocks: dict[Block, int]) -> Message:
    """The reply: blocks in which anything is live, and their bits."""
    rising = sorted(blocks.items())[:RECONCILE_BLOCKS_MAX]
    told = [[*block.writer, block.number, bits.to_bytes(BITS_BYTES, "big")] for block, bits in rising]
    return Message(BLOCKS, payload=pack([1, root, told]))


def read_blocks(message: Message) -> tuple[bytes, dict[Block, int]]:
    """The way back."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "blocks", version=1)
    root = fields.raw(ROOT_BYTES)
    found: dict[Block, int] = {}
    for value in fields.array(most=RECONCILE_BLOCKS_MAX):
        told = Fields(value, "block")
        writer = Writer(peer_id(told.raw(32)), incarnation(told.raw(8)))
        block = Block(writer, told.integer(0, SEQUENCE_MAX // BLOCK_DOTS))
        found[block] = int.from_bytes(told.raw(BITS_BYTES), "big")
        told.end()
    fields.end()
    return root, found


def fetch_message(ranges: Sequence[DotRange]) -> Message:
    """Asks for the commits that hold some operations; the reply is that of a pull."""
    wanted = [[*each.writer, each.first, each.last] for each in ranges[:RECONCILE_RANGES_MAX]]
    return Message(FETCH, payload=pack([1, wanted]))


def read_fetch(message: Message) -> list[DotRange]:
    """The way back."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "fetch", version=1)
    found = []
    for value in fields.array(most=RECONCILE_RANGES_MAX):
        told = Fields(value, "range")
        writer = Writer(peer_id(told.raw(32)), incarnation(told.raw(8)))
        first = told.integer(1, SEQUENCE_MAX)
        found.append(DotRange(writer, first, told.integer(first, SEQUENCE_MAX)))
        told.end()
    fields.end()
    return found


class Comparison:
    """One conversation in which the leader finds out what differs.

    Ask what `next_request` says and tell the reply, until it is None; then `lacking` and `lacked` say what differs.

    Attributes:
        moved: the other's vector is another one by now: nothing was learnt, and nothing is wrong.
        lacking: live there and not here.
        lacked: live here and not there.
    """

    def __init__(self, vector: Vector, sums: bytes) -> None:
        self.moved = False
        self.lacking: list[DotRange] = []
        self.lacked: list[DotRange] = []
        self.root = vector.root()
        self._vector = vector
        self._sums = sums
        self._step = 0
        self._starts: tuple[int, ...] = tuple(range(0, BUCKETS, WIDTHS[0]))
        self._buckets: list[int] = []

    def next_ranges(self) -> Ranges | None:
        """Ranges to ask about; None once it is known which buckets differ, or that none does."""
        if self.moved or self._step == len(WIDTHS) or not self._starts:
            return None
        return Ranges(self.root, WIDTHS[self._step], self._starts)

    def ranges_told(self, reply: Ranges) -> None:
        """The reply to `next_ranges`. Raises Malformed."""
        width = WIDTHS[self._step]
        if reply.root != self.root:
            self.moved = True
            return
        if reply.starts != self._starts or len(reply.digests) != len(self._starts) or reply.width != width:
            raise Malformed("ranges: not what was asked")
        differing = [
            start
            for start, digest in zip(self._starts, reply.digests, strict=True)
            if digest != range_digest(self._sums, start, width)
        ]
        self._step += 1
        if self._step == len(WIDTHS):
            self._buckets = differing
        else:
            part = WIDTHS[self._step]
            self._starts = tuple(at for start in differing for at in range(start, start + width, part))

    def next_buckets(self) -> list[int]:
        """Buckets whose live operations to ask for; none once all are known."""
        return [] if self.moved else self._buckets[:BUCKETS_AT_ONCE]

    def blocks_told(self, root: bytes, theirs: dict[Block, int], ours: dict[Block, int]) -> None:
        """What is live there and here in the buckets of `next_buckets`."""
        if root != self.root:
            self.moved = True
            return
        self._buckets = self._buckets[BUCKETS_AT_ONCE:]
        # what our vector does not cover is no difference: it comes in the ordinary way
        covered = [
            each._replace(last=min(each.last, self._vector[each.writer]))
            for each in only_in(theirs, ours)
            if each.first <= self._vector[each.writer]
        ]
        self.lacking.extend(covered)
        self.lacked.extend(only_in(ours, theirs))
