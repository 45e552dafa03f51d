"""A chunk under lock: named, compressed if worth it, padded, encrypted; and the way back. docs/formats/chunk.md.

Sealing is a function: the same bytes, keys and zstd give the same sealed chunk, so a retry repeats itself. Where the
bytes under the seal differ, the nonce differs.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

from p2pstore.errors import Forged, Malformed, MissingKey
from p2pstore.ids import ChunkId, GenerationId
from p2pstore.limits import CHUNK_BYTES_MAX, PADDED_BYTES_MIN, SEALED_BYTES_MAX
from p2pstore.packing import Buffer
from p2pstore.pipeline.arena import Arena, room
from p2pstore.pipeline.compression import DEFAULT_LEVEL, compress, decompress
from p2pstore.pipeline.padding import padded_length

FORMAT_VERSION: Final = 1
STORED_PLAIN: Final = 0
STORED_ZSTD: Final = 1

_PREFIX: Final = struct.Struct(">BBHI16s12s")  # version, compression, zero, padded length, generation, nonce
_LENGTHS: Final = struct.Struct(">II")  # plain length, stored length
_TAG_BYTES: Final = 16
_ZEROS: Final = bytes(1024 * 1024 + _LENGTHS.size)  # more padding than any chunk has

SEAL_BYTES: Final = _PREFIX.size + _TAG_BYTES
"""What a sealed chunk has beside its padded text: prefix and tag."""

SEALED_BYTES_MIN: Final = PADDED_BYTES_MIN + SEAL_BYTES

_CHUNK_ID_CONTEXT: Final = "p2pstore 2026-11 chunk id key v1"
_CHUNK_KEYS_CONTEXT: Final = "p2pstore 2026-11 chunk sealing keys v1"


@dataclass(frozen=True, slots=True, repr=False)
class SealingKeys:
    """What sealing and opening need of one key generation.

    Attributes:
        generation: its name, 16 bytes, written in clear into each sealed chunk.
        content: 32 bytes; every chunk's own key comes from it.
        dedupe: 32 bytes; names chunks and manifests, seeds chunking.
    """

    generation: GenerationId
    content: bytes
    dedupe: bytes

    def __post_init__(self) -> None:
        assert (len(self.generation), len(self.content), len(self.dedupe)) == (16, 32, 32)


KeysByGeneration = Callable[[GenerationId], SealingKeys | None]
"""Where a reader looks up the keys that a sealed chunk names; None for a generation it does not have."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Draft:
    """A chunk ready to be sealed: its name, and how its bytes will be stored.

    Attributes:
        chunk: keyed hash of the plain bytes, computed here and nowhere else: the nonce rests on it.
        stored: the plain bytes themselves, or their zstd frame.
        sealed_length: bytes that `seal_into` will write.
    """

    keys: SealingKeys
    chunk: ChunkId
    plain_length: int
    compression: int
    stored: Buffer
    padded_length: int

    @property
    def sealed_length(self) -> int:
        return self.padded_length + SEAL_BYTES


def chunk_name(plain: Buffer, dedupe_key: bytes) -> ChunkId:
    """The id of a chunk: BLAKE3 of its plain bytes, under a key from the dedupe key."""
    key = blake3(dedupe_key, derive_key_context=_CHUNK_ID_CONTEXT).digest()
    return ChunkId(blake3(plain, key=key).digest())


def draft(plain: Buffer, keys: SealingKeys, *, compression: int | None = DEFAULT_LEVEL) -> Draft:
    """Name a chunk and decide how it is stored.

    Args:
        plain: 1 to CHUNK_BYTES_MAX bytes.
        keys: The generation to seal with.
        compression: A zstd level, or None for never.
    """
    if not 0 < len(plain) <= CHUNK_BYTES_MAX:
        raise ValueError(f"a chunk of {len(plain)} bytes, allowed is 1 to {CHUNK_BYTES_MAX}")
    method, stored = STORED_PLAIN, plain
    padded = padded_length(_LENGTHS.size + len(plain))
    if compression is not None and (frame := compress(plain, level=compression)) is not None:
        padded_frame = padded_length(_LENGTHS.size + len(frame))
        if padded_frame < padded:  # else it would cost readers time and save no byte
            method, stored, padded = STORED_ZSTD, frame, padded_frame
    return Draft(keys, chunk_name(plain, keys.dedupe), len(plain), method, stored, padded)


def seal_into(chunk: Draft, target: memoryview) -> None:
    """Write the sealed chunk to the first `sealed_length` bytes of `target`."""
    key, nonce_key = _chunk_keys(chunk.keys.content, chunk.chunk)
    lengths = _LENGTHS.pack(chunk.plain_length, len(chunk.stored))
    blank = _PREFIX.pack(
        FORMAT_VERSION, chunk.compression, 0, chunk.padded_length, chunk.keys.generation, b""
    )
    # The nonce is a hash of everything under and around the seal. Plain bytes need not be hashed again: the chunk id,
    # on which nonce_key rests, is already a hash of them. What zstd makes of them may change with its version.
    hashed = blake3(blank + lengths, key=nonce_key)
    if chunk.compression != STORED_PLAIN:
        hashed.update(chunk.stored)
    nonce = hashed.digest(length=12)
    prefix = blank[:-12] + nonce
    target[: len(prefix)] = prefix
    cipher = Cipher(AES256(key), GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(prefix + chunk.chunk)
    place = len(prefix)
    zeros = memoryview(_ZEROS)[: chunk.padded_length - len(lengths) - len(chunk.stored)]
    for piece in (lengths, chunk.stored, zeros):  # in three pieces, so that megabytes are not first put side by side
        place += cipher.update_into(piece, target[place:])
    cipher.finalize()
    target[place : place + _TAG_BYTES] = cipher.tag


def seal(plain: Buffer, keys: SealingKeys, *, compression: int | None = DEFAULT_LEVEL) -> tuple[ChunkId, bytes]:
    """A chunk's id and its sealed bytes, for callers that want no shards of it."""
    chunk = draft(plain, keys, compression=compression)
    sealed = bytearray(chunk.sealed_length)
    seal_into(chunk, memoryview(sealed))
    return chunk.chunk, bytes(sealed)


def unseal(
    pieces: Sequence[Buffer], keys: KeysByGeneration, *, expect: ChunkId, arena: Arena | None = None
) -> memoryview:
    """The plain bytes of a sealed chunk, proven to be those that `expect` names.

    Args:
        pieces: The sealed chunk, cut anywhere.
        keys: Finds the keys of the generation that its prefix names.
        expect: Its id.
        arena: Where to open it; the result is good until it is used again. A fresh buffer by default.

    Returns:
        A read-only view.

    Raises:
        Malformed: The prefix, the lengths or the zstd frame make no sense.
        MissingKey: The reader does not have the generation.
        Forged: The seal does not verify, or the bytes are not those that the id names.
    """
    views = [memoryview(piece) for piece in pieces]
    total = sum(len(view) for view in views)
    if not SEALED_BYTES_MIN <= total <= SEALED_BYTES_MAX:
        raise Malformed(f"a sealed chunk of {total} bytes")
    prefix = b"".join(_between(views, 0, _PREFIX.size))
    version, compression, zero, padded, generation, nonce = _PREFIX.unpack(prefix)
    if version != FORMAT_VERSION:
        raise Malformed(f"sealed chunk: format version {version}, this build reads {FORMAT_VERSION}")
    if compression not in (STORED_PLAIN, STORED_ZSTD) or zero or padded != total - SEAL_BYTES:
        raise Malformed("sealed chunk: a prefix that contradicts itself")
    found = keys(GenerationId(generation))
    if found is None:
        raise MissingKey(GenerationId(generation))
    key, _ = _chunk_keys(found.content, expect)
    tag = b"".join(_between(views, _PREFIX.size + padded, total))
    cipher = Cipher(AES256(key), GCM(nonce, tag)).decryptor()
    cipher.authenticate_additional_data(prefix + expect)
    text = room(arena, padded + 16)  # update_into wants room for one block more
    place = 0
    for piece in _between(views, _PREFIX.size, _PREFIX.size + padded):
        place += cipher.update_into(piece, text[place:])
    try:
        cipher.finalize()
    except InvalidTag:
        raise Forged("a sealed chunk whose seal does not verify") from None
    plain = _opened(text[:padded], compression)
    if chunk_name(plain, found.dedupe) != expect:
        raise Forged("a sealed chunk that holds other bytes than its id names")
    return plain.toreadonly()


def _opened(text: memoryview, compression: int) -> memoryview:
    plain_length, stored_length = _LENGTHS.unpack_from(text)
    stored = text[_LENGTHS.size : _LENGTHS.size + stored_length]
    if len(stored) != stored_length or not 0 < plain_length <= CHUNK_BYTES_MAX:
        raise Malformed("sealed chunk: lengths beyond the limits")
    if compression == STORED_ZSTD:
        return memoryview(decompress(stored, plain_length=plain_length))
    if plain_length != stored_length:
        raise Malformed("sealed chunk: two lengths for bytes that are not compressed")
    return stored


def _chunk_keys(content: bytes, chunk: ChunkId) -> tuple[bytes, bytes]:
    """The chunk's own encryption key and nonce key."""
    both = blake3(content + chunk, derive_key_context=_CHUNK_KEYS_CONTEXT).digest(length=64)
    return both[:32], both[32:]


def _between(views: Sequence[memoryview], begin: int, end: int) -> Iterator[memoryview]:
    """What lies from `begin` to `end` of the views put side by side."""
    for view in views:
        if begin < len(view) and end > 0:
            yield view[max(begin, 0) : end]
        begin -= len(view)
        end -= len(view)
