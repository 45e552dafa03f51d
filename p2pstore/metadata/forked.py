"""Saying that two histories were signed under one name: an operation like any other.

Two copies of one installation that ran at once have written different operations under the same dots. From where they
part neither branch counts, on every machine alike; whoever holds a branch writes it anew under names of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from p2pstore.ids import incarnation, peer_id
from p2pstore.metadata.vector import SEQUENCE_MAX, Writer
from p2pstore.packing import Fields


@dataclass(frozen=True, slots=True)
class Forked:
    """A writer's history has two branches.

    Attributes:
        writer: whose.
        upto: the last operation that both have; what follows does not count under its old dots.
        settled: hash of the first commit of a branch that has been written anew; None where the fork is only stated.
    """

    writer: Writer
    upto: int
    settled: bytes | None


def forked_fields(forked: Forked) -> list[Any]:
    """`forked` as a msgpack array (docs/formats/commit.md)."""
    return [*forked.writer, forked.upto, forked.settled]


def forked_from_fields(fields: Fields) -> Forked:
    """Reads what `forked_fields` wrote. Raises Malformed."""
    writer = Writer(peer_id(fields.raw(32)), incarnation(fields.raw(8)))
    return Forked(writer, fields.integer(0, SEQUENCE_MAX), fields.optional_raw(32))
