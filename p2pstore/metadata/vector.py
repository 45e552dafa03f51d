"""Version vectors: how far one ledger has seen each writer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from blake3 import blake3

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, Incarnation, PeerId, incarnation, peer_id
from p2pstore.limits import VECTOR_BYTES_MAX, WRITERS_MAX
from p2pstore.packing import Buffer, Fields, pack, unpack

SEQUENCE_MAX: Final = 2**53
"""Sequence numbers end here: exact in every language's number; at 2,000 a second, 142,000 years."""

VECTOR_VERSION: Final = 1


class Writer(NamedTuple):
    """One life of one peer's ledger: what a sequence of operations belongs to."""

    author: PeerId
    incarnation: Incarnation


def writer_of(dot: Dot) -> Writer:
    """Whose sequence `dot` stands in."""
    return Writer(dot.author, dot.incarnation)


@dataclass(frozen=True, slots=True)
class Vector:
    """For each writer the last sequence number up to which everything was seen; writers never seen are absent."""

    entries: Mapping[Writer, int] = field(default_factory=dict)

    def __getitem__(self, writer: Writer) -> int:
        return self.entries.get(writer, 0)

    def covers(self, dot: Dot) -> bool:
        """Whether the operation `dot` was seen."""
        return self[writer_of(dot)] >= dot.sequence

    def covers_all(self, other: Vector) -> bool:
        """Whether everything that `other` has seen was seen."""
        return all(self[writer] >= sequence for writer, sequence in other.entries.items())

    def join(self, other: Vector) -> Vector:
        """What either has seen."""
        merged = dict(self.entries)
        for writer, sequence in other.entries.items():
            if merged.get(writer, 0) < sequence:
                merged[writer] = sequence
        return Vector(merged)

    def with_entries(self, changed: Iterable[tuple[Writer, int]]) -> Vector:
        """The same with some entries set; 0 removes one."""
        merged = dict(self.entries)
        for writer, sequence in changed:
            if sequence:
                merged[writer] = sequence
            else:
                merged.pop(writer, None)
        return Vector(merged)

    def sorted_entries(self) -> list[tuple[Writer, int]]:
        """The entries in the one order in which they are encoded."""
        return sorted(self.entries.items())

    def root(self) -> bytes:
        """16 bytes that are equal exactly when two vectors are."""
        return blake3(self.encode(), derive_key_context="p2pstore vector root 1").digest(16)

    def encode(self) -> bytes:
        """msgpack [1, [[author, incarnation, sequence], ...]] in rising order of writers."""
        return pack([VECTOR_VERSION, [[*writer, sequence] for writer, sequence in self.sorted_entries()]])

    @staticmethod
    def decode(data: Buffer) -> Vector:
        """The inverse of `encode`. Raises Malformed, also for a second entry of one writer or another order."""
        fields = Fields(unpack(data, bytes_max=VECTOR_BYTES_MAX), "vector", version=VECTOR_VERSION)
        entries = named_entries(fields.array(most=WRITERS_MAX), "vector")
        fields.end()
        return Vector(dict(entries))


def named_entries(values: list[object], what: str) -> tuple[tuple[Writer, int], ...]:
    """Decoded [author, incarnation, sequence] arrays, typed. Raises Malformed unless they rise strictly by writer."""
    entries: list[tuple[Writer, int]] = []
    for value in values:
        fields = Fields(value, what)
        writer = Writer(peer_id(fields.raw(32)), incarnation(fields.raw(8)))
        entries.append((writer, fields.integer(1, SEQUENCE_MAX)))
        fields.end()
        if len(entries) > 1 and entries[-2][0] >= writer:
            raise Malformed(f"{what}: entries out of order")
    return tuple(entries)
