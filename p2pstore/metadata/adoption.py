"""Taking in what a removed machine wrote after its removal was decided: an operation like any other.

A removal carries a cut: what its author had heard of the removed machine by then. Operations beyond it are *frozen*:
covered by vectors, shown nowhere, superseding nothing. Any member may adopt them, up to a vector that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pstore.errors import Malformed
from p2pstore.ids import PeerId, peer_id
from p2pstore.limits import SNAPSHOT_VECTOR_BYTES_MAX
from p2pstore.metadata.vector import Vector
from p2pstore.packing import Fields


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a removed machine wrote counts after all, up to a point.

    Attributes:
        author: the removed machine.
        upto: its writers' sequences up to which it counts.
    """

    author: PeerId
    upto: Vector


def adoption_fields(adoption: Adoption) -> list[Any]:
    """`adoption` as a msgpack array (docs/formats/commit.md)."""
    return [adoption.author, adoption.upto.encode()]


def adoption_from_fields(fields: Fields) -> Adoption:
    """Reads what `adoption_fields` wrote. Raises Malformed."""
    adoption = Adoption(peer_id(fields.raw(32)), Vector.decode(fields.raw(most=SNAPSHOT_VECTOR_BYTES_MAX)))
    if any(writer.author != adoption.author for writer in adoption.upto.entries):
        raise Malformed("adoption: of several machines")
    return adoption


def joined_cuts(removed: Iterable[tuple[PeerId, Iterable[bytes]]]) -> dict[PeerId, Vector]:
    """Of each removed machine what counts: all that any of its removers had heard. One removed without a cut is not
    in it: all it wrote counts."""
    cuts: dict[PeerId, Vector] = {}
    for peer, raw_cuts in removed:
        joined = Vector()
        for raw in raw_cuts:
            try:
                joined = joined.join(Vector.decode(raw))
            except Malformed:
                break  # none, or one that cannot be read: nothing is held back on no ground
        else:
            own = {writer: sequence for writer, sequence in joined.entries.items() if writer.author == peer}
            cuts[peer] = Vector(own)
    return cuts


def join_all(vectors: Iterable[tuple[PeerId, Vector]]) -> Mapping[PeerId, Vector]:
    """The join of the vectors of each peer."""
    joined: dict[PeerId, Vector] = {}
    for peer, vector in vectors:
        joined[peer] = joined.get(peer, Vector()).join(vector)
    return joined
