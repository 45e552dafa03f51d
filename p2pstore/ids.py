"""The names of things: one type for each kind of name, so that a chunk can never be asked for by a peer's name.

Each is raw bytes at run time (a `NewType` costs nothing); the functions below check a length at the door, once.
"""

from __future__ import annotations

from typing import Final, NamedTuple, NewType

from p2pstore.errors import Malformed

PeerId = NewType("PeerId", bytes)
"""BLAKE3 of a peer's Ed25519 public key, 32 bytes."""

NetworkId = NewType("NetworkId", bytes)
"""BLAKE3 of a household's genesis statement, 32 bytes."""

StoreId = NewType("StoreId", bytes)
"""Random name of one folder of shards on one disk, 16 bytes."""

Incarnation = NewType("Incarnation", bytes)
"""Random name of one life of a peer's ledger, 8 bytes."""

EntryId = NewType("EntryId", bytes)
"""Random name of a file, directory or link, 16 bytes; survives renames."""

ChunkId = NewType("ChunkId", bytes)
"""Keyed BLAKE3 of a chunk's plain bytes, 32 bytes."""

ManifestId = NewType("ManifestId", bytes)
"""Keyed BLAKE3 of a manifest's encoding, 32 bytes."""

EncodingId = NewType("EncodingId", bytes)
"""BLAKE3 of (k, code version, BLAKE3 of the sealed chunk), 32 bytes: names one stripe."""

GenerationId = NewType("GenerationId", bytes)
"""BLAKE3 of a key generation, 16 bytes."""

ROOT_ENTRY: Final = EntryId(bytes(16))
"""The directory that every path starts from."""


class ShardId(NamedTuple):
    """One row of a stripe."""

    encoding: EncodingId
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a shard


class Dot(NamedTuple):
    """The name of one operation: who, in which life, the how-manieth (from 1)."""

    author: PeerId
    incarnation: Incarnation
    sequence: int


_LENGTHS: Final = {
    "peer id": 32,
    "network id": 32,
    "store id": 16,
    "incarnation": 8,
    "entry id": 16,
    "chunk id": 32,
    "manifest id": 32,
    "encoding id": 32,
    "generation id": 16,
}


def _checked(kind: str, raw: bytes) -> bytes:
    if type(raw) is not bytes or len(raw) != _LENGTHS[kind]:
        raise Malformed(f"{kind}: wanted {_LENGTHS[kind]} bytes")
    return raw


def peer_id(raw: bytes) -> PeerId:
    """`raw` as a PeerId. Raises Malformed unless it is 32 bytes; so do its siblings below, each with its length."""
    return PeerId(_checked("peer id", raw))


def network_id(raw: bytes) -> NetworkId:
    """`raw` (32 bytes) as a NetworkId."""
    return NetworkId(_checked("network id", raw))


def store_id(raw: bytes) -> StoreId:
    """`raw` (16 bytes) as a StoreId."""
    return StoreId(_checked("store id", raw))


def incarnation(raw: bytes) -> Incarnation:
    """`raw` (8 bytes) as an Incarnation."""
    return Incarnation(_checked("incarnation", raw))


def entry_id(raw: bytes) -> EntryId:
    """`raw` (16 bytes) as an EntryId."""
    return EntryId(_checked("entry id", raw))


def chunk_id(raw: bytes) -> ChunkId:
    """`raw` (32 bytes) as a ChunkId."""
    return ChunkId(_checked("chunk id", raw))


def manifest_id(raw: bytes) -> ManifestId:
    """`raw` (32 bytes) as a ManifestId."""
    return ManifestId(_checked("manifest id", raw))


def encoding_id(raw: bytes) -> EncodingId:
    """`raw` (32 bytes) as an EncodingId."""
    return EncodingId(_checked("encoding id", raw))


def generation_id(raw: bytes) -> GenerationId:
    """`raw` (16 bytes) as a GenerationId."""
    return GenerationId(_checked("generation id", raw))


def short(raw: bytes) -> str:
    """The first eight hex digits: for people and logs, never for comparing."""
    return raw[:4].hex()
