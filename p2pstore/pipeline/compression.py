"""Whether a chunk is worth compressing, and zstd within bounds."""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from p2pstore.errors import Malformed
from p2pstore.packing import Buffer

DEFAULT_LEVEL: Final = 1
"""zstd level 1: 0.4 GB/s per core at nine tenths of level 3's ratio (facts: codec, section 3)."""

LEVEL_MIN: Final = -7
LEVEL_MAX: Final = 19
"""Levels beyond 19 need windows that a reader on a small machine may refuse."""

_SAMPLES: Final = 4
_SAMPLE_BYTES: Final = 16 * 1024
_WORTHWHILE: Final = 0.95
"""Four samples of 16 KiB tell incompressible chunks in 16 µs; what shrinks by less than a twentieth is left alone."""


class _PerThread(threading.local):
    """Compressors of one thread: one shared by two threads crashes the process."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor()


_here = _PerThread()


def compress(plain: Buffer, *, level: int) -> bytes | None:
    """One zstd frame that states its content size; None if a probe says that it is not worth it.

    Raises:
        ValueError: the level is not from LEVEL_MIN to LEVEL_MAX.
    """
    if not LEVEL_MIN <= level <= LEVEL_MAX:
        raise ValueError(f"level {level}, allowed is {LEVEL_MIN} to {LEVEL_MAX}")
    return _compressor(level).compress(plain) if _is_worthwhile(memoryview(plain)) else None


def decompress(frame: Buffer, *, plain_length: int) -> bytes:
    """The plain bytes of a frame, never more than it was said to hold.

    Raises:
        Malformed: not one zstd frame of exactly `plain_length` bytes. Nothing of a larger size is ever allocated.
    """
    try:
        # The library allocates what the frame declares, so the declaration is checked first.
        if zstandard.frame_content_size(frame) != plain_length:
            raise Malformed("a zstd frame of another length than stated")
        plain = _here.decompressor.decompress(frame, max_output_size=plain_length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise Malformed(f"not zstd: {error}") from None
    if len(plain) != plain_length:
        raise Malformed("a zstd frame that holds less than it states")
    return plain


def _compressor(level: int) -> zstandard.ZstdCompressor:
    compressor = _here.compressors.get(level)
    if compressor is None:
        compressor = _here.compressors[level] = zstandard.ZstdCompressor(level=level, write_content_size=True)
    return compressor


def _is_worthwhile(plain: memoryview) -> bool:
    if len(plain) <= _SAMPLES * _SAMPLE_BYTES:
        return True
    probe = _compressor(DEFAULT_LEVEL)
    last = len(plain) - _SAMPLE_BYTES
    begins = [last * sample // (_SAMPLES - 1) for sample in range(_SAMPLES)]
    compressed = sum(len(probe.compress(plain[begin : begin + _SAMPLE_BYTES])) for begin in begins)
    return compressed < _WORTHWHILE * _SAMPLES * _SAMPLE_BYTES
