"""zstd within bounds."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.limits import MIB
from p2pstore.pipeline.compression import LEVEL_MAX, LEVEL_MIN, compress, decompress
from tests.pipeline.samples import noise, text


@given(st.binary(max_size=5000), st.integers(LEVEL_MIN, 9))
def test_what_was_compressed_comes_back(plain: bytes, level: int) -> None:
    frame = compress(plain, level=level)
    assert frame is not None
    assert decompress(frame, plain_length=len(plain)) == plain


def test_noise_is_left_alone() -> None:
    assert compress(noise(1 * MIB), level=1) is None


def test_text_is_worth_it() -> None:
    frame = compress(text(1 * MIB), level=1)
    assert frame is not None
    assert len(frame) < 100_000


@pytest.mark.parametrize("level", [LEVEL_MIN - 1, LEVEL_MAX + 1])
def test_a_level_out_of_range_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match="level"):
        compress(b"x", level=level)


def test_a_bomb_does_not_go_off() -> None:
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * MIB))
    with pytest.raises(Malformed):
        decompress(bomb, plain_length=1 * MIB)


def test_a_bomb_that_hides_its_size_does_not_go_off() -> None:
    bomb = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(64 * MIB))
    with pytest.raises(Malformed):
        decompress(bomb, plain_length=1 * MIB)


def test_a_bomb_that_lies_about_its_size_does_not_go_off() -> None:
    honest = bytearray(zstandard.ZstdCompressor().compress(bytes(64 * MIB)))
    place = honest.index((64 * MIB).to_bytes(4, "little"))
    honest[place : place + 4] = (1 * MIB).to_bytes(4, "little")
    with pytest.raises(Malformed):
        decompress(bytes(honest), plain_length=1 * MIB)


def test_two_frames_are_not_one() -> None:
    frame = compress(b"hello", level=1)
    assert frame is not None
    with pytest.raises(Malformed):
        decompress(frame + frame, plain_length=5)


@given(st.binary(max_size=300), st.integers(1, 300))
def test_rubbish_is_malformed(frame: bytes, plain_length: int) -> None:
    with contextlib.suppress(Malformed):
        assert len(decompress(frame, plain_length=plain_length)) == plain_length


def test_threads_do_not_share_a_compressor() -> None:
    plain = text(300_000)
    wanted = compress(plain, level=1)
    with ThreadPoolExecutor(4) as pool:
        assert all(found == wanted for found in pool.map(lambda _: compress(plain, level=1), range(64)))
