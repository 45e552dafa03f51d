"""A chunk under lock."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed, MissingKey
from p2pstore.ids import ChunkId, GenerationId
from p2pstore.limits import CHUNK_BYTES_MAX, KIB, SEALED_BYTES_MAX
from p2pstore.pipeline import sealing
from p2pstore.pipeline.padding import padded_length
from p2pstore.pipeline.sealing import SEAL_BYTES, SEALED_BYTES_MIN, SealingKeys, chunk_name, seal, unseal
from tests.pipeline.samples import noise, text, vectors

KEYS = SealingKeys(GenerationId(bytes(range(16))), bytes(range(32)), bytes(range(100, 132)))
NONCE = slice(24, 36)


def always(keys: SealingKeys) -> Callable[[GenerationId], SealingKeys]:
    return lambda _: keys


def ours(generation: GenerationId) -> SealingKeys | None:
    return KEYS if generation == KEYS.generation else None


PLAIN = st.one_of(
    st.binary(min_size=1, max_size=6000),
    st.integers(1, 200 * KIB).map(noise),
    st.integers(1, 200 * KIB).map(text),
)


@given(PLAIN, st.sampled_from([None, -3, 1, 5]))
def test_what_was_sealed_opens(plain: bytes, compression: int | None) -> None:
    chunk, sealed = seal(plain, KEYS, compression=compression)
    assert unseal([sealed], ours, expect=chunk) == plain
    assert chunk == chunk_name(plain, KEYS.dedupe)


@given(PLAIN, st.lists(st.integers(0, 250_000), max_size=6))
def test_opens_however_it_was_cut(plain: bytes, places: list[int]) -> None:
    chunk, sealed = seal(plain, KEYS)
    cuts = [0, *sorted(min(place, len(sealed)) for place in places), len(sealed)]
    pieces = [sealed[begin:end] for begin, end in pairwise(cuts)]
    assert unseal(pieces, ours, expect=chunk) == plain


def test_a_retry_gives_the_same_bytes() -> None:
    plain = text(70_000)
    assert seal(plain, KEYS) == seal(bytearray(plain), KEYS)


def test_other_bytes_have_another_nonce() -> None:
    nonces = {seal(noise(5000, str(number)), KEYS)[1][NONCE] for number in range(200)}
    assert len(nonces) == 200


def test_the_same_bytes_compressed_otherwise_have_another_nonce() -> None:
    plain = text(100_000)
    sealed = {compression: seal(plain, KEYS, compression=compression)[1] for compression in (None, 1, 9, -5)}
    stored_alike = {each[NONCE]: each for each in sealed.values()}
    assert len(stored_alike) == len(set(sealed.values()))


def test_each_chunk_has_its_own_key() -> None:
    # Two chunks with one key and one nonce would show the difference of their bytes; the lengths are equal here, so
    # the first eight plain bytes are, and under one key stream their cipher would be as well.
    a, b = (seal(noise(5000, seed), KEYS)[1] for seed in "ab")
    assert a[36:44] != b[36:44]


def test_equal_chunks_have_one_name_inside_a_household_only() -> None:
    theirs = dataclasses.replace(KEYS, dedupe=bytes(32))
    assert chunk_name(b"same", KEYS.dedupe) == chunk_name(bytearray(b"same"), KEYS.dedupe)
    assert chunk_name(b"same", KEYS.dedupe) != chunk_name(b"same", theirs.dedupe)


@settings(max_examples=40)
@given(st.integers(0, 5000), st.integers(0, 7))
def test_any_changed_bit_is_found(place: int, bit: int) -> None:
    chunk, sealed = seal(noise(4900), KEYS)
    damaged = bytearray(sealed)
    damaged[place % len(sealed)] ^= 1 << bit
    with pytest.raises((Forged, Malformed, MissingKey)):
        unseal([damaged], ours, expect=chunk)


def test_does_not_open_under_another_name() -> None:
    _, sealed = seal(b"a", KEYS)
    with pytest.raises(Forged):
        unseal([sealed], ours, expect=ChunkId(bytes(32)))


def test_a_member_that_seals_rubbish_under_a_good_name_is_found_out() -> None:
    wanted = chunk_name(b"good", KEYS.dedupe)
    lying = dataclasses.replace(sealing.draft(b"evil", KEYS), chunk=wanted)
    sealed = bytearray(lying.sealed_length)
    sealing.seal_into(lying, memoryview(sealed))
    with pytest.raises(Forged, match="other bytes"):
        unseal([sealed], ours, expect=wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"plain_length": 4},
        {"plain_length": CHUNK_BYTES_MAX + 1},
        {"plain_length": 0},
        {"compression": sealing.STORED_ZSTD},
    ],
)
def test_a_member_that_seals_nonsense_is_found_out(wrong: dict[str, int]) -> None:
    lying = dataclasses.replace(sealing.draft(b"evil!", KEYS), **wrong)  # type: ignore[arg-type]
    sealed = bytearray(lying.sealed_length)
    sealing.seal_into(lying, memoryview(sealed))
    with pytest.raises(Malformed):
        unseal([sealed], ours, expect=lying.chunk)


def test_a_generation_that_the_reader_lacks_is_named() -> None:
    chunk, sealed = seal(b"a", KEYS)
    with pytest.raises(MissingKey) as caught:
        unseal([sealed], lambda _: None, expect=chunk)
    assert caught.value.generation == KEYS.generation


@given(st.integers(1, 200 * KIB))
def test_a_sealed_length_says_little(length: int) -> None:
    _, sealed = seal(noise(length), KEYS)
    assert len(sealed) == padded_length(length + 8) + SEAL_BYTES >= SEALED_BYTES_MIN


def test_the_longest_chunk_stays_within_the_limit() -> None:
    assert sealing.draft(noise(CHUNK_BYTES_MAX), KEYS).sealed_length <= SEALED_BYTES_MAX


@pytest.mark.parametrize("plain", [b"", bytes(CHUNK_BYTES_MAX + 1)])
def test_a_chunk_beyond_the_limits_is_not_sealed(plain: bytes) -> None:
    with pytest.raises(ValueError, match="a chunk of"):
        seal(plain, KEYS)


def test_bytes_that_do_not_shrink_are_stored_as_they_are() -> None:
    assert sealing.draft(noise(5000), KEYS).compression == sealing.STORED_PLAIN
    assert sealing.draft(b"tiny", KEYS).compression == sealing.STORED_PLAIN
    assert sealing.draft(text(50_000), KEYS).compression == sealing.STORED_ZSTD


def test_keys_do_not_show_in_a_traceback() -> None:
    assert KEYS.content.hex() not in repr(KEYS)
    assert repr(KEYS.content) not in repr(KEYS)


@given(st.binary(max_size=80), st.integers(0, 100), st.booleans())
def test_rubbish_is_malformed_or_forged(begin: bytes, extra: int, like_ours: bool) -> None:
    if like_ours:
        begin = seal(b"a", KEYS)[1][:24] + begin
    with pytest.raises((Malformed, Forged, MissingKey)):
        unseal([begin, bytes(SEALED_BYTES_MIN - len(begin) + extra)], ours, expect=ChunkId(bytes(32)))


@given(st.binary(max_size=200))
def test_too_short_is_malformed(rubbish: bytes) -> None:
    with pytest.raises(Malformed):
        unseal([rubbish], ours, expect=ChunkId(bytes(32)))


def test_sealed_chunks_are_as_frozen() -> None:
    for vector in vectors("sealing"):
        frozen = SealingKeys(
            GenerationId(bytes.fromhex(vector["generation"])),
            bytes.fromhex(vector["content"]),
            bytes.fromhex(vector["dedupe"]),
        )
        plain = bytes.fromhex(vector["plain"])
        sealed = bytes.fromhex(vector["sealed"])
        chunk = ChunkId(bytes.fromhex(vector["chunk"]))
        assert unseal([sealed], always(frozen), expect=chunk) == plain
        if vector["compression"] is None:  # what zstd writes may change with its version; that it reads must not
            assert seal(plain, frozen, compression=None) == (chunk, sealed)
