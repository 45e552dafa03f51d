"""Where a file is cut: FastCDC, seeded by the household's dedupe key."""

from __future__ import annotations

from typing import Final

from blake3 import blake3
from pyfastcdc import FastCDC

from p2pstore.limits import CHUNK_BYTES_CUT, CHUNK_BYTES_MAX, CHUNK_BYTES_MIN
from p2pstore.packing import Buffer

_SEED_CONTEXT: Final = "p2pstore 2026-11 chunking seed v1"

_SEED_BITS: Final = 63
"""pyfastcdc doubles the seed and keeps it in 64 bits: one bit more raises OverflowError."""


def cut_lengths(buffer: Buffer, *, dedupe_key: bytes, final: bool) -> list[int]:
    """The lengths of all chunks that are decided at the start of `buffer`; nothing is copied.

    The answer does not depend on how a file was windowed: a caller that keeps the undecided rest, appends more of the
    file and asks again gets the cuts that one call over the whole file gives. A window of at least CHUNK_BYTES_MAX
    always decides a chunk; the undecided rest is scanned again, so four times that wastes little.

    Args:
        buffer: A file from a chunk's beginning on.
        dedupe_key: 32 bytes; another household cuts elsewhere, so that lengths do not fingerprint known files.
        final: The file ends where the buffer ends.

    Returns:
        Lengths from 1 to CHUNK_BYTES_MAX. They sum to the whole buffer if `final`, else to at most that.
    """
    if not len(buffer):
        return []
    chunker = FastCDC(  # not safe to share between threads; making one takes 13 µs
        CHUNK_BYTES_CUT, min_size=CHUNK_BYTES_MIN, max_size=CHUNK_BYTES_MAX, seed=_seed(dedupe_key)
    )
    lengths: list[int] = []
    left = len(buffer)
    for chunk in chunker.cut_buf(buffer):
        length = int(chunk.length)
        # A cut before the end of the buffer was found in the bytes, one at its end only if the chunk is full.
        if length == left and length < CHUNK_BYTES_MAX and not final:
            break
        lengths.append(length)
        left -= length
    return lengths


def _seed(dedupe_key: bytes) -> int:
    digest = blake3(dedupe_key, derive_key_context=_SEED_CONTEXT).digest(length=8)
    return int.from_bytes(digest, "big") >> (64 - _SEED_BITS) | 1  # zero would mean the public table
