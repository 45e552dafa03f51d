"""A shard and the header that says what it is, so that a disk full of shards needs no index. docs/formats/shard.md."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import ChunkId, EncodingId, ShardId
from p2pstore.limits import CODE_LENGTH_MAX, DATA_SHARDS_MAX, MOTHER_PARITY, SEALED_BYTES_MAX
from p2pstore.packing import Buffer
from p2pstore.pipeline.erasure.code import Code, shard_length
from p2pstore.pipeline.sealing import SEALED_BYTES_MIN

FORMAT_VERSION: Final = 1
MAGIC: Final = b"p2pshard"

_FIELDS: Final = struct.Struct(">8sBBBBII12s32s32s32s")
_CHECKSUM_BYTES: Final = 32

SHARD_HEADER_BYTES: Final = _FIELDS.size + _CHECKSUM_BYTES
"""160."""

_ENCODING_CONTEXT: Final = "p2pstore 2026-11 encoding id v1"
_ENCODING: Final = struct.Struct(">BBI32s")
_UNUSED: Final = bytes(12)


@dataclass(frozen=True, slots=True)
class ShardHeader:
    """What a shard says of itself.

    Attributes:
        encoding: names the stripe.
        chunk: names the plain bytes.
        code: how the stripe's shards are made.
        needed: k, 1 for copies.
        index: which row: below k data, from k on parity; of copies, the how-manieth.
        sealed_length: bytes of the sealed chunk; what the data shards hold beyond is zeros.
        payload_hash: BLAKE3 of the payload.
    """

    encoding: EncodingId
    chunk: ChunkId
    code: Code
    needed: int
    index: int
    sealed_length: int
    payload_hash: bytes

    @property
    def shard_id(self) -> ShardId:
        """Which row of which stripe."""
        return ShardId(self.encoding, self.index)

    @property
    def shard_length(self) -> int:
        """Bytes of the payload."""
        return shard_length(self.sealed_length, code=self.code, needed=self.needed)

    def is_of_stripe(self, other: ShardHeader) -> bool:
        """Whether both are rows of one stripe and say the same of it."""
        return (
            self.encoding == other.encoding
            and self.chunk == other.chunk
            and self.code == other.code
            and self.needed == other.needed
            and self.sealed_length == other.sealed_length
        )


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """A header and a payload that fits it; made by `open_shard`, which checks."""

    header: ShardHeader
    payload: Buffer


def encoding_name(
    chunk: ChunkId, *, code: Code, needed: int, sealed_length: int, data_hashes: Sequence[bytes]
) -> EncodingId:
    """The id of a stripe: a hash of how it was coded and of the sealed chunk.

    The sealed chunk enters as the payload hashes of its k data shards, which headers need anyway: hashing it once more
    as a whole would make encoding slower by a quarter and prove nothing more.
    """
    assert len(data_hashes) == needed
    head = _ENCODING.pack(code, needed, sealed_length, chunk)
    return EncodingId(blake3(head + b"".join(data_hashes), derive_key_context=_ENCODING_CONTEXT).digest())


def payload_hash(payload: Buffer) -> bytes:
    """BLAKE3 of a payload, 32 bytes."""
    return blake3(payload).digest()


def format_header(header: ShardHeader) -> bytes:
    """The header's SHARD_HEADER_BYTES bytes."""
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        header.code,
        header.needed,
        header.index,
        header.sealed_length,
        header.shard_length,
        _UNUSED,
        header.encoding,
        header.chunk,
        header.payload_hash,
    )
    return fields + blake3(fields).digest()


def parse_header(raw: Buffer) -> ShardHeader:
    """The header in `raw`, exactly SHARD_HEADER_BYTES long.

    Raises:
        Malformed: anything else, a broken checksum among it. A header that parses formats to the same bytes.
    """
    if len(raw) != SHARD_HEADER_BYTES:
        raise Malformed(f"shard header: wanted {SHARD_HEADER_BYTES} bytes, found {len(raw)}")
    fields = bytes(raw[: _FIELDS.size])
    magic, version, code, needed, index, sealed, length, unused, encoding, chunk, hashed = _FIELDS.unpack(fields)
    if magic != MAGIC:
        raise Malformed("shard header: not one")
    if version != FORMAT_VERSION:
        raise Malformed(f"shard header: format version {version}, this build reads {FORMAT_VERSION}")
    if blake3(fields).digest() != bytes(raw[_FIELDS.size :]):
        raise Malformed("shard header: its checksum does not fit")
    if code not in (Code.COPIES, Code.MOTHER) or unused != _UNUSED:
        raise Malformed("shard header: a code that this build does not know")
    if not SEALED_BYTES_MIN <= sealed <= SEALED_BYTES_MAX:
        raise Malformed("shard header: a sealed chunk beyond the limits")
    header = ShardHeader(EncodingId(encoding), ChunkId(chunk), Code(code), needed, index, sealed, hashed)
    if not 1 <= needed <= (1 if header.code is Code.COPIES else DATA_SHARDS_MAX):
        raise Malformed("shard header: k out of range")
    if index >= indices_end(header.code, needed) or length != header.shard_length:
        raise Malformed("shard header: an index or length that the code does not have")
    return header


def indices_end(code: Code, needed: int) -> int:
    """One more than the largest index of a stripe."""
    return CODE_LENGTH_MAX if code is Code.COPIES else needed + MOTHER_PARITY


def verify_payload(header: ShardHeader, payload: Buffer) -> None:
    """Raises Malformed if the payload's length is wrong, Forged if its hash is."""
    if len(payload) != header.shard_length:
        raise Malformed(f"shard: {len(payload)} bytes, its header says {header.shard_length}")
    if payload_hash(payload) != header.payload_hash:
        raise Forged("shard: its bytes are not those that its header names")


def open_shard(header: Buffer, payload: Buffer) -> Shard:
    """A shard from outside: parsed and verified.

    Raises:
        Malformed: the header does not parse, or the payload's length is wrong.
        Forged: the payload is not the one that the header names.
    """
    parsed = parse_header(header)
    verify_payload(parsed, payload)
    return Shard(parsed, payload)
