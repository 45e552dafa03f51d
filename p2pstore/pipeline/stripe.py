"""The sentence for one chunk, both ways: plain bytes to shards, shards to plain bytes, shards to other shards.

Each function is one worker job: a chunk's whole work in one hop, on code that releases the interpreter lock.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from p2pstore.errors import Forged, Malformed, TooFewShards
from p2pstore.ids import ChunkId, EncodingId, GenerationId, ShardId
from p2pstore.limits import COPIES_BELOW_BYTES, DATA_SHARDS_MAX
from p2pstore.packing import Buffer
from p2pstore.pipeline.arena import Arena, room
from p2pstore.pipeline.compression import DEFAULT_LEVEL
from p2pstore.pipeline.erasure.code import Code, encode_parity, rebuild_rows, shard_length
from p2pstore.pipeline.erasure.kernels import Kernel
from p2pstore.pipeline.erasure.salvage import find_liars
from p2pstore.pipeline.sealing import KeysByGeneration, SealingKeys, draft, seal_into, unseal
from p2pstore.pipeline.shard import (
    Shard,
    ShardHeader,
    encoding_name,
    format_header,
    indices_end,
    payload_hash,
)


@dataclass(frozen=True, slots=True, eq=False)
class EncodedShard:
    """A shard ready to be sent: `header` and `payload` go out one after the other.

    Attributes:
        parsed: the header's fields.
        header: its SHARD_HEADER_BYTES bytes.
        payload: a view into the arena it was encoded in.
    """

    parsed: ShardHeader
    header: bytes
    payload: memoryview

    @property
    def index(self) -> int:
        """Which row of the stripe."""
        return self.parsed.index


@dataclass(frozen=True, slots=True, eq=False)
class EncodedChunk:
    """A chunk as a stripe of shards.

    Attributes:
        chunk: names the plain bytes.
        encoding: names the stripe.
        generation: names the keys it is sealed with.
        code: copies or rows.
        needed: k; 1 for copies.
        plain_length, sealed_length, shard_length: bytes of the chunk, sealed, and of each payload.
        shards: in the order of their indices: k data shards, then parity; or copies that share one payload.
    """

    chunk: ChunkId
    encoding: EncodingId
    generation: GenerationId
    code: Code
    needed: int
    plain_length: int
    sealed_length: int
    shard_length: int
    shards: tuple[EncodedShard, ...]

    def shard_id(self, index: int) -> ShardId:
        """The name of one of its shards."""
        return ShardId(self.encoding, index)


def encode_chunk(
    plain: Buffer,
    keys: SealingKeys,
    *,
    needed: int,
    total: int,
    copies: int | None = None,
    compression: int | None = DEFAULT_LEVEL,
    arena: Arena | None = None,
    kernel: Kernel | None = None,
) -> EncodedChunk:
    """Seal and code one chunk.

    Args:
        plain: The chunk, 1 to CHUNK_BYTES_MAX bytes.
        keys: The generation to seal with.
        needed: k. With 1, all shards are copies.
        total: n, k to k + 32 (with k = 1: to 255).
        copies: How many copies to make of a chunk whose seal is under COPIES_BELOW_BYTES; by default as many as may
            be lost of the shards, and one.
        compression: A zstd level, or None for never.
        arena: Where the shards lie: their payloads are good until it is used again. A fresh one by default.
        kernel: For tests.

    Raises:
        ValueError: k, n or the chunk's length is out of range.
    """
    if not 1 <= needed <= min(total, DATA_SHARDS_MAX):
        raise ValueError(f"no code has k = {needed} and n = {total}")
    chunk = draft(plain, keys, compression=compression)
    sealed_length = chunk.sealed_length
    small = sealed_length < COPIES_BELOW_BYTES
    if small:
        total = copies if copies is not None else total - needed + 1
    code, needed = (Code.COPIES, 1) if small or needed == 1 else (Code.MOTHER, needed)
    if not needed <= total <= indices_end(code, needed):
        raise ValueError(f"no code has k = {needed} and n = {total}")

    length = shard_length(sealed_length, code=code, needed=needed)
    rows = 1 if code is Code.COPIES else total
    block = room(arena, rows * length)
    views = [block[row * length : (row + 1) * length] for row in range(rows)]
    seal_into(chunk, block)
    block[sealed_length : needed * length] = bytes(needed * length - sealed_length)
    if code is Code.MOTHER:
        encode_parity(views[:needed], {row: views[row] for row in range(needed, total)}, kernel=kernel)
    hashes = [payload_hash(view) for view in views]
    encoding = encoding_name(
        chunk.chunk, code=code, needed=needed, sealed_length=sealed_length, data_hashes=hashes[:needed]
    )
    shards = []
    for index in range(total):
        row = 0 if code is Code.COPIES else index
        header = ShardHeader(encoding, chunk.chunk, code, needed, index, sealed_length, hashes[row])
        shards.append(EncodedShard(header, format_header(header), views[row]))
    return EncodedChunk(
        chunk=chunk.chunk,
        encoding=encoding,
        generation=keys.generation,
        code=code,
        needed=needed,
        plain_length=len(plain),
        sealed_length=sealed_length,
        shard_length=length,
        shards=tuple(shards),
    )


def encode_more(
    chunk: EncodedChunk, indices: Iterable[int], *, arena: Arena | None = None, kernel: Kernel | None = None
) -> tuple[EncodedShard, ...]:
    """Further shards of a chunk whose first k still lie in their arena; the others are untouched.

    Args:
        chunk: As `encode_chunk` returned it.
        indices: Usually parity (k to k + 31); of copies any below 255.
        arena: Where the new payloads lie; not the one that holds the chunk. A fresh one by default.
        kernel: For tests.

    Raises:
        ValueError: an index that the code does not have.
    """
    data = [shard.payload for shard in chunk.shards[: chunk.needed]]
    return _made(chunk.shards[0].parsed, data, indices, arena, kernel)


def decode_chunk(
    shards: Iterable[Shard],
    keys: KeysByGeneration,
    *,
    expect: ChunkId,
    arena: Arena | None = None,
    kernel: Kernel | None = None,
) -> memoryview:
    """The plain bytes of a chunk, proven to be those that `expect` names. No matrix is used if no data shard lacks.

    Args:
        shards: At least k of one stripe, in any order; more do not help, except that of copies each is tried.
        keys: Finds the keys of the generation that the sealed chunk names.
        expect: The chunk's id.
        arena: Where the plain bytes lie, good until it is used again; not one that holds the shards. A fresh buffer by
            default, which costs a fifth more in page faults.
        kernel: For tests.

    Returns:
        A read-only view.

    Raises:
        TooFewShards: fewer than k distinct ones.
        Malformed: shards of different stripes, or a sealed chunk that makes no sense.
        Forged: shards of another chunk; two shards that claim one index; or a seal that does not verify. The last
            means that a holder lies with a right hash: `lying_shards` tells which.
        MissingKey: sealed with a generation that `keys` does not have.
    """
    header, payloads = _of_one_stripe(shards)
    if header.chunk != expect:
        raise Forged("shards of another chunk than the one asked for")
    if header.code is Code.COPIES:
        return _first_good_copy(payloads, keys, expect, arena)
    data = _data_rows(payloads, header, kernel)
    return unseal(_without_tail(data, header.sealed_length), keys, expect=expect, arena=arena)


def rebuild_shards(
    shards: Iterable[Shard], *, wanted: Iterable[int], arena: Arena | None = None, kernel: Kernel | None = None
) -> tuple[EncodedShard, ...]:
    """Shards of a stripe made anew from any k others, without keys.

    What was decoded must be what the encoding id names before anything is made of it: a repair never spreads a lie.

    Args:
        shards: At least k of one stripe.
        wanted: The indices to make; the result has them in order, once each.
        arena: Where the payloads lie. A fresh one by default.
        kernel: For tests.

    Raises:
        TooFewShards: fewer than k distinct ones.
        Malformed: shards of different stripes.
        Forged: the shards decode to something else than the encoding id names.
        ValueError: an index that the code does not have.
    """
    header, payloads = _of_one_stripe(shards)
    candidates = (
        [[payloads[index]] for index in sorted(payloads)]
        if header.code is Code.COPIES
        else [_data_rows(payloads, header, kernel)]
    )
    for data in candidates:
        if _encoding_of(header, data) == header.encoding:
            return _made(header, data, wanted, arena, kernel)
    raise Forged("shards that decode to something else than their encoding id names")


def lying_shards(shards: Iterable[Shard]) -> list[int]:
    """Which shards of a stripe contradict the others though each fits its own hash; sorted, empty if all agree.

    For the reader whose chunk would not open, and the rebuilder whose stripe is not what its id names: fetch two more
    shards than k, ask this, and go on without those it names.

    Raises:
        TooFewShards: not k + 2 distinct ones (3 copies).
        Malformed: shards of different stripes.
        Forged: two shards that claim one index.
        Corrupt: more lie than can be located with these.
    """
    header, payloads = _of_one_stripe(shards)
    return find_liars(payloads, code=header.code, needed=header.needed)


class _PerThread(threading.local):
    """Where one thread puts the data rows that it had to compute, for the length of one call."""

    def __init__(self) -> None:
        self.arena = Arena()


_here = _PerThread()


def _of_one_stripe(shards: Iterable[Shard]) -> tuple[ShardHeader, dict[int, Buffer]]:
    by_index: dict[int, Shard] = {}
    header: ShardHeader | None = None
    for shard in shards:
        header = header or shard.header
        if not shard.header.is_of_stripe(header):
            raise Malformed("shards of different stripes do not mix")
        known = by_index.setdefault(shard.header.index, shard)
        if known.header.payload_hash != shard.header.payload_hash:
            raise Forged(f"two different shards claim index {shard.header.index}")
    if header is None:
        raise TooFewShards(1, 0)
    if len(by_index) < header.needed:
        raise TooFewShards(header.needed, len(by_index))
    return header, {index: shard.payload for index, shard in by_index.items()}


def _data_rows(payloads: Mapping[int, Buffer], header: ShardHeader, kernel: Kernel | None) -> list[Buffer]:
    """The k data shards in order; what lacks is computed into this thread's buffer."""
    missing = [index for index in range(header.needed) if index not in payloads]
    if missing:
        length = header.shard_length
        block = _here.arena.take(len(missing) * length)
        computed = {index: block[row * length : (row + 1) * length] for row, index in enumerate(missing)}
        rebuild_rows(payloads, computed, needed=header.needed, kernel=kernel)
        payloads = {**payloads, **computed}
    return [payloads[index] for index in range(header.needed)]


def _without_tail(data: list[Buffer], sealed_length: int) -> list[Buffer]:
    """The data shards less the zeros after the sealed chunk."""
    pieces: list[Buffer] = []
    left = sealed_length
    for row in data:
        pieces.append(memoryview(row)[:left])
        left = max(0, left - len(row))
    return pieces


def _first_good_copy(
    payloads: Mapping[int, Buffer], keys: KeysByGeneration, expect: ChunkId, arena: Arena | None
) -> memoryview:
    fault: Malformed | Forged | None = None
    for index in sorted(payloads):
        try:
            return unseal([payloads[index]], keys, expect=expect, arena=arena)
        except (Malformed, Forged) as error:
            fault = error
    assert fault is not None
    raise fault


def _encoding_of(header: ShardHeader, data: list[Buffer]) -> EncodingId:
    return encoding_name(
        header.chunk,
        code=header.code,
        needed=header.needed,
        sealed_length=header.sealed_length,
        data_hashes=[payload_hash(row) for row in data],
    )


def _made(
    header: ShardHeader, data: Sequence[Buffer], wanted: Iterable[int], arena: Arena | None, kernel: Kernel | None
) -> tuple[EncodedShard, ...]:
    """Shards of the stripe of `header` from its k data rows."""
    indices = sorted(set(wanted))
    if indices and not 0 <= indices[0] <= indices[-1] < indices_end(header.code, header.needed):
        raise ValueError(f"a stripe with k = {header.needed} has no shards {indices}")
    length = header.shard_length
    rows = min(len(indices), 1) if header.code is Code.COPIES else len(indices)
    block = room(arena, rows * length)
    views = [block[row * length : (row + 1) * length] for row in range(rows)]
    if header.code is Code.COPIES:
        for view in views:
            view[:] = data[0]
        views *= len(indices)
    else:
        by_index = dict(zip(indices, views, strict=True))
        for index in indices:
            if index < header.needed:
                by_index[index][:] = data[index]
        parity = {index: view for index, view in by_index.items() if index >= header.needed}
        if parity:
            encode_parity(data, parity, kernel=kernel)
    made = []
    for index, view in zip(indices, views, strict=True):
        own = replace(header, index=index, payload_hash=payload_hash(view))
        made.append(EncodedShard(own, format_header(own), view))
    return tuple(made)
