"""The sentence for one chunk, both ways."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed, MissingKey, TooFewShards
from p2pstore.ids import ChunkId, GenerationId
from p2pstore.limits import COPIES_BELOW_BYTES, KIB
from p2pstore.pipeline.arena import Arena
from p2pstore.pipeline.erasure.code import Code
from p2pstore.pipeline.erasure.kernels import usable_kernels
from p2pstore.pipeline.sealing import SealingKeys, seal
from p2pstore.pipeline.shard import Shard, format_header, open_shard, payload_hash
from p2pstore.pipeline.stripe import (
    EncodedShard,
    decode_chunk,
    encode_chunk,
    encode_more,
    lying_shards,
    rebuild_shards,
)
from tests.pipeline.samples import noise, text, vectors

KEYS = SealingKeys(GenerationId(bytes(range(16))), bytes(range(32)), bytes(range(100, 132)))
PLAIN = noise(100_000)


def ours(generation: GenerationId) -> SealingKeys | None:
    return KEYS if generation == KEYS.generation else None


def opened(shards: Iterable[EncodedShard]) -> list[Shard]:
    """The shards as a reader gets them: copies of the bytes, verified."""
    return [open_shard(shard.header, bytes(shard.payload)) for shard in shards]


def sent(shards: Iterable[EncodedShard]) -> list[tuple[bytes, bytes]]:
    return [(shard.header, bytes(shard.payload)) for shard in shards]


def forged(shard: Shard, payload: bytes) -> Shard:
    """A holder's lie with a hash that fits it."""
    header = dataclasses.replace(shard.header, payload_hash=payload_hash(payload))
    return open_shard(format_header(header), payload)


@settings(max_examples=30)
@given(st.integers(2, 24), st.integers(0, 32), st.integers(62 * KIB, 300 * KIB), st.booleans(), st.data())
def test_any_k_shards_give_the_chunk(needed: int, parity: int, length: int, is_text: bool, data: st.DataObject) -> None:
    plain = text(length) if is_text else noise(length)
    chunk = encode_chunk(plain, KEYS, needed=needed, total=needed + parity)
    shards = data.draw(st.permutations(opened(chunk.shards)))[: chunk.needed]
    assert decode_chunk(shards, ours, expect=chunk.chunk) == plain


@pytest.mark.parametrize(("needed", "total"), [(k, n) for n in (3, 5, 8) for k in range(2, n)])
def test_every_loss_pattern_reads_and_heals(needed: int, total: int) -> None:
    chunk = encode_chunk(PLAIN[: 70 * KIB], KEYS, needed=needed, total=total)
    shards = opened(chunk.shards)
    for kept in list(combinations(range(total), needed))[::3]:
        some = [shards[index] for index in kept]
        assert decode_chunk(some, ours, expect=chunk.chunk) == PLAIN[: 70 * KIB]
        lost = [index for index in range(total) if index not in kept]
        assert sent(rebuild_shards(some, wanted=lost)) == sent(chunk.shards[index] for index in lost)


def test_a_retry_gives_identical_shards_whatever_the_kernel_and_arena() -> None:
    first = encode_chunk(PLAIN, KEYS, needed=4, total=7)
    dirty = Arena()
    dirty.take(1_000_000)[:] = b"\xff" * 1_000_000
    for kernel in usable_kernels():
        again = encode_chunk(bytearray(PLAIN), KEYS, needed=4, total=7, arena=dirty, kernel=kernel)
        assert again.encoding == first.encoding
        assert sent(again.shards) == sent(first.shards)


def test_data_shards_are_the_sealed_chunk_cut_in_k() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    name, sealed = seal(PLAIN, KEYS)
    together = b"".join(bytes(shard.payload) for shard in chunk.shards[:4])
    assert (chunk.chunk, chunk.sealed_length) == (name, len(sealed))
    assert together == sealed.ljust(4 * chunk.shard_length, b"\0")


def test_another_k_is_another_encoding_of_the_same_chunk() -> None:
    three, four = (encode_chunk(PLAIN, KEYS, needed=needed, total=6) for needed in (3, 4))
    assert three.chunk == four.chunk
    assert three.encoding != four.encoding


def test_more_parity_is_the_same_encoding() -> None:
    few, many = (encode_chunk(PLAIN, KEYS, needed=4, total=total) for total in (5, 9))
    assert few.encoding == many.encoding
    assert sent(few.shards) == sent(many.shards[:5])


def test_parity_made_later_fits_the_shards_made_before() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=5)
    later = encode_more(chunk, [9, 35, 9])
    assert [shard.index for shard in later] == [9, 35]
    assert sent(later) == sent(encode_chunk(PLAIN, KEYS, needed=4, total=36).shards[index] for index in (9, 35))
    assert decode_chunk(opened((*later, *chunk.shards[3:])), ours, expect=chunk.chunk) == PLAIN


def test_parity_beyond_the_mother_code_is_refused() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=5)
    for index in (-1, 36):
        with pytest.raises(ValueError, match="no shards"):
            encode_more(chunk, [index])
        with pytest.raises(ValueError, match="no shards"):
            rebuild_shards(opened(chunk.shards), wanted=[index])


@pytest.mark.parametrize(("needed", "total"), [(0, 1), (4, 3), (2, 35), (224, 256), (1, 256)])
def test_a_code_that_does_not_exist_is_refused(needed: int, total: int) -> None:
    with pytest.raises(ValueError, match="no code"):
        encode_chunk(PLAIN, KEYS, needed=needed, total=total)


# --- copies -------------------------------------------------------------------------------------------------------


def test_a_small_sealed_chunk_becomes_copies_that_survive_as_much() -> None:
    chunk = encode_chunk(b"small", KEYS, needed=4, total=6)
    assert (chunk.code, chunk.needed, len(chunk.shards)) == (Code.COPIES, 1, 3)
    assert chunk.sealed_length == chunk.shard_length < COPIES_BELOW_BYTES
    assert chunk.shard_id(2) == opened(chunk.shards)[2].header.shard_id
    for shard in opened(chunk.shards):
        assert bytes(decode_chunk([shard], ours, expect=chunk.chunk)) == b"small"


def test_as_many_copies_as_asked_for() -> None:
    assert len(encode_chunk(b"small", KEYS, needed=4, total=6, copies=5).shards) == 5
    assert encode_chunk(PLAIN, KEYS, needed=4, total=6, copies=5).code is Code.MOTHER


def test_k_of_one_means_copies_of_any_size() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=1, total=2)
    assert chunk.code is Code.COPIES
    assert bytes(chunk.shards[0].payload) == bytes(chunk.shards[1].payload)
    assert decode_chunk(opened(chunk.shards[1:]), ours, expect=chunk.chunk) == PLAIN


def test_copies_are_made_from_any_copy() -> None:
    chunk = encode_chunk(b"small", KEYS, needed=1, total=3)
    assert sent(rebuild_shards(opened(chunk.shards[2:]), wanted=[0, 1])) == sent(chunk.shards[:2])
    assert sent(encode_more(chunk, [2])) == sent(chunk.shards[2:])


def test_a_lying_copy_does_not_spoil_a_true_one() -> None:
    chunk = encode_chunk(b"small", KEYS, needed=1, total=3)
    shards = opened(chunk.shards)
    shards[0] = forged(shards[0], noise(chunk.shard_length))
    assert bytes(decode_chunk(shards, ours, expect=chunk.chunk)) == b"small"
    assert sent(rebuild_shards(shards, wanted=[0])) == sent(chunk.shards[:1])
    with pytest.raises((Forged, Malformed)):
        decode_chunk(shards[:1], ours, expect=chunk.chunk)


# --- what must not happen -----------------------------------------------------------------------------------------


def test_encodings_never_mix() -> None:
    one = opened(encode_chunk(PLAIN, KEYS, needed=4, total=6, compression=None).shards)
    others = [
        opened(encode_chunk(PLAIN, KEYS, needed=3, total=6).shards),
        opened(encode_chunk(noise(100_000, "other"), KEYS, needed=4, total=6).shards),
        opened(encode_chunk(PLAIN, dataclasses.replace(KEYS, content=bytes(32)), needed=4, total=6).shards),
    ]
    for other in others:
        with pytest.raises(Malformed):
            decode_chunk([*one[:3], other[3]], ours, expect=one[0].header.chunk)
        with pytest.raises(Malformed):
            rebuild_shards([*one[:3], other[3]], wanted=[5])


def test_one_index_has_one_shard() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    shards = opened(chunk.shards)
    assert decode_chunk([*shards[:4], shards[0]], ours, expect=chunk.chunk) == PLAIN
    with pytest.raises(Forged, match="index"):
        decode_chunk([*shards[:4], forged(shards[0], noise(chunk.shard_length))], ours, expect=chunk.chunk)


def test_too_few_are_too_few_however_often_repeated() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    shards = opened(chunk.shards)
    for some, found in (([], 0), (shards[:3], 3), (shards[:3] * 2, 3)):
        with pytest.raises(TooFewShards) as caught:
            decode_chunk(some, ours, expect=chunk.chunk)
        assert caught.value.found == found
        with pytest.raises(TooFewShards):
            rebuild_shards(some, wanted=[0])


def test_a_lie_with_a_right_hash_is_found_by_the_seal_and_located_by_the_code() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    shards = opened(chunk.shards)
    shards[1] = forged(shards[1], noise(chunk.shard_length))
    with pytest.raises(Forged):
        decode_chunk(shards, ours, expect=chunk.chunk)
    assert lying_shards(shards) == [1]
    with pytest.raises(TooFewShards):
        lying_shards(shards[:5])
    del shards[1]
    assert decode_chunk(shards, ours, expect=chunk.chunk) == PLAIN


@pytest.mark.parametrize("liar", [0, 4])
def test_a_repair_never_spreads_a_lie(liar: int) -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    shards = opened(chunk.shards)
    shards[liar] = forged(shards[liar], noise(chunk.shard_length))
    del shards[1]
    with pytest.raises(Forged):
        rebuild_shards(shards[:4], wanted=[1])


def test_a_repair_never_relabels_a_stripe() -> None:
    shards = opened(encode_chunk(PLAIN, KEYS, needed=4, total=6).shards)
    other = ChunkId(noise(32))
    relabelled = [Shard(dataclasses.replace(shard.header, chunk=other), shard.payload) for shard in shards]
    with pytest.raises(Forged):
        rebuild_shards(relabelled, wanted=[5])


def test_another_chunk_than_asked_for_is_refused() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    with pytest.raises(Forged):
        decode_chunk(opened(chunk.shards), ours, expect=ChunkId(bytes(32)))


def test_without_the_keys_a_chunk_heals_but_does_not_open() -> None:
    chunk = encode_chunk(PLAIN, KEYS, needed=4, total=6)
    with pytest.raises(MissingKey):
        decode_chunk(opened(chunk.shards), lambda _: None, expect=chunk.chunk)
    assert sent(rebuild_shards(opened(chunk.shards[2:]), wanted=[0])) == sent(chunk.shards[:1])


def test_what_was_read_cannot_be_written_and_stays_when_others_are_read() -> None:
    a, b = (encode_chunk(noise(80_000, seed), KEYS, needed=3, total=6) for seed in "ab")
    first = decode_chunk(opened(a.shards[2:]), ours, expect=a.chunk)
    decode_chunk(opened(b.shards[2:]), ours, expect=b.chunk)
    assert first.readonly
    assert first == noise(80_000, "a")


def test_chunks_open_in_an_arena_that_is_used_again() -> None:
    arena = Arena()
    for plain in (noise(90_000), text(300_000), b"small", noise(200_000)):
        chunk = encode_chunk(plain, KEYS, needed=3, total=5)
        found = decode_chunk(opened(chunk.shards[2:]), ours, expect=chunk.chunk, arena=arena)
        assert bytes(found) == plain


def test_chunks_are_coded_on_many_threads_at_once() -> None:
    plains = [noise(90_000, str(number)) for number in range(6)] + [text(200_000, str(number)) for number in range(6)]

    def both_ways(plain: bytes) -> bool:
        chunk = encode_chunk(plain, KEYS, needed=3, total=5, arena=Arena())
        shards = opened(chunk.shards)
        healed = rebuild_shards(shards[2:], wanted=[0, 1])
        return decode_chunk(opened(healed) + shards[4:], ours, expect=chunk.chunk) == plain

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(both_ways, plains * 3))


def test_stripes_are_as_frozen() -> None:
    for vector in vectors("shard")["stripes"]:
        plain = noise(vector["plain_length"], vector["plain_seed"])
        chunk = encode_chunk(plain, KEYS, needed=vector["needed"], total=vector["total"], compression=None)
        assert chunk.chunk.hex() == vector["chunk"]
        assert chunk.encoding.hex() == vector["encoding"]
        assert [shard.header.hex() for shard in chunk.shards] == vector["headers"]
