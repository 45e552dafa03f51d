"""Garbage collection by positive consent: what members say of stripes that nobody needs, and what follows from it.

An intent goes before an upload's shards and ends by its author's word or removal, never by age. A condemned list names
stripes; a consent is one member's signature under it, but for the stripes that it spares. What follows is decided here,
the same way on every machine. docs/protocols/collection.md.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from blake3 import blake3

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, EncodingId, PeerId, encoding_id, incarnation, peer_id
from p2pstore.limits import CONDEMNED_STRIPES_MAX
from p2pstore.metadata.vector import SEQUENCE_MAX
from p2pstore.packing import Fields

_LIST_CONTEXT: Final = b"p2pstore condemned list v1\x00"


@dataclass(frozen=True, slots=True)
class Intent:
    """Uploads of its author are under way, or are no more.

    Attributes:
        id: 16 random bytes, the same at the beginning and at the end.
        begun: they begin; false ends them.
    """

    id: bytes
    begun: bool


@dataclass(frozen=True)
class Condemned:
    """Stripes that its author finds no reference to. Its name is the dot of its operation.

    Attributes:
        encodings: 1 to CONDEMNED_STRIPES_MAX of them, rising.
    """

    encodings: tuple[EncodingId, ...]

    @cached_property
    def hash(self) -> bytes:
        """16 bytes that a consent names beside the dot: a fork may give one dot to two lists."""
        return blake3(_LIST_CONTEXT + b"".join(self.encodings)).digest(16)


@dataclass(frozen=True, slots=True)
class Consent:
    """Its author's durable state refers to nothing on a list but what it spares, and it treats the rest as absent. A
    later one by the same author adds to what is spared, and takes nothing back.

    Attributes:
        name: the dot of the list.
        hash: of the list.
        spared: positions in the list, rising.
    """

    name: Dot
    hash: bytes
    spared: tuple[int, ...]


CollectionBody = Intent | Condemned | Consent


def collection_fields(body: CollectionBody) -> list[Any]:
    """`body` as a msgpack array (docs/formats/commit.md)."""
    match body:
        case Intent():
            return [body.id, body.begun]
        case Condemned():
            return [b"".join(body.encodings)]
        case Consent():
            return [*body.name, body.hash, list(body.spared)]


def intent_from_fields(fields: Fields) -> Intent:
    """Reads what `collection_fields` wrote of an intent. Raises Malformed."""
    return Intent(fields.raw(16), fields.truth())


def condemned_from_fields(fields: Fields) -> Condemned:
    """Reads what `collection_fields` wrote of a list. Raises Malformed."""
    joined = fields.raw(most=32 * CONDEMNED_STRIPES_MAX)
    if not joined or len(joined) % 32:
        raise Malformed("condemned list: empty or cut off")
    encodings = tuple(encoding_id(joined[start : start + 32]) for start in range(0, len(joined), 32))
    if sorted(set(encodings)) != list(encodings):
        raise Malformed("condemned list: out of order")
    return Condemned(encodings)


def consent_from_fields(fields: Fields) -> Consent:
    """Reads what `collection_fields` wrote of a consent. Raises Malformed."""
    name = Dot(peer_id(fields.raw(32)), incarnation(fields.raw(8)), fields.integer(1, SEQUENCE_MAX))
    list_hash = fields.raw(16)
    spared = fields.array(most=CONDEMNED_STRIPES_MAX)
    if any(type(each) is not int or not 0 <= each < CONDEMNED_STRIPES_MAX for each in spared):
        raise Malformed("consent: a position that no list has")
    if sorted(set(spared)) != spared:
        raise Malformed("consent: out of order")
    return Consent(name, list_hash, tuple(spared))


@dataclass(frozen=True, slots=True)
class CondemnedList:
    """A list and all that was said of it, as far as it is known here.

    Attributes:
        name: the dot of its operation.
        hlc: when its author wrote it, for people.
        condemned: the stripes.
        consents: by author, the first consent to exactly this list.
        spared: by author, positions.
    """

    name: Dot
    hlc: int
    condemned: Condemned
    consents: Mapping[PeerId, Dot]
    spared: Mapping[PeerId, frozenset[int]]

    def waits_for(self, readers: Collection[PeerId]) -> list[PeerId]:
        """Those of `readers` that have not signed, sorted."""
        return sorted(set(readers).difference(self.consents))

    def condemned_by(self, readers: Collection[PeerId]) -> tuple[EncodingId, ...]:
        """The stripes that all `readers` have signed away; nothing while one is missing, or if there are none."""
        if not readers or self.waits_for(readers):
            return ()
        return self.unspared_by(readers)

    def unspared_by(self, readers: Collection[PeerId]) -> tuple[EncodingId, ...]:
        """The stripes that none of `readers` spares, whoever has signed."""
        kept = frozenset().union(*(self.spared.get(reader, frozenset()) for reader in readers))
        return tuple(each for number, each in enumerate(self.condemned.encodings) if number not in kept)


@dataclass(frozen=True, slots=True)
class OpenIntent:
    """An intent that has not ended.

    Attributes:
        author: whose uploads.
        id: its name.
        hlc: when it began, for people.
    """

    author: PeerId
    id: bytes
    hlc: int

