"""Packed commits come out bit by bit as they went in, or not at all."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, GenerationId
from p2pstore.keys.identity import verify
from p2pstore.metadata.commits import NO_COMMIT, check_commit, decode_commit, make_commit
from p2pstore.metadata.marks import Tag
from p2pstore.metadata.operations import MetadataKeys, encode_stripe, seal_operation
from p2pstore.metadata.packed import pack_commits, unpack_commits
from p2pstore.packing import pack, unpack
from tests.metadata.samples import FILE, IDENTITY, KEYS, LARGE, OTHER, PAGE, STRIPE, WRITER, sample_commit

FROZEN = Path(__file__).parent.parent / "vectors" / "packed_commits.hex"
OTHER_KEYS = MetadataKeys(GenerationId(b"another generat."), b"o" * 32)


def keys_of(generation: GenerationId) -> MetadataKeys | None:
    return KEYS if generation == KEYS.generation else None


def two_commits() -> list[bytes]:
    first = sample_commit(1, NO_COMMIT)
    return [first.encode(), sample_commit(5, first.hash).encode()]


def test_what_was_packed_is_what_it_was() -> None:
    raw = two_commits()
    packed, length = pack_commits(raw, keys_of, [KEYS.generation])
    assert unpack_commits(packed, length, keys_of) == raw
    length_text, kept = FROZEN.read_text().split()
    assert unpack_commits(bytes.fromhex(kept), int(length_text), keys_of) == raw
    assert len(packed) < 0.6 * sum(map(len, raw))


def test_what_is_sealed_under_other_keys_stays_sealed() -> None:
    raw = two_commits()
    packed, length = pack_commits(raw, keys_of, [OTHER_KEYS.generation])
    assert unpack_commits(packed, length, lambda _: None) == raw


def test_without_the_keys_it_is_refused() -> None:
    packed, length = pack_commits(two_commits(), keys_of, [KEYS.generation])
    with pytest.raises(Malformed):
        unpack_commits(packed, length, lambda _: None)


def test_wrong_keys_give_commits_that_nobody_signed() -> None:
    packed, length = pack_commits(two_commits(), keys_of, [KEYS.generation])
    wrong = MetadataKeys(KEYS.generation, b"w" * 32)
    raw = unpack_commits(packed, length, lambda _: wrong)
    with pytest.raises(Exception, match="signature"):
        check_commit(decode_commit(raw[0]), IDENTITY.public, verify)


@given(st.integers(0, 2**32))
def test_whatever_an_author_signed_comes_out_as_it_went_in(seed: int) -> None:
    rng = random.Random(seed)
    raw, previous, first = [], NO_COMMIT, 1
    for _ in range(rng.randrange(1, 5)):
        operations = []
        for offset in range(rng.randrange(1, 6)):
            dot = Dot(*WRITER, first + offset)
            sealed = seal_operation(rng.choice([FILE, LARGE, PAGE, Tag(FILE.entry, "red", True)]), dot, KEYS, [
                Dot(*rng.choice((WRITER, OTHER)), rng.randrange(1, 99)) for _ in range(rng.randrange(3))
            ])  # fmt: skip
            rotten = bytearray(sealed)
            rotten[rng.randrange(len(rotten))] ^= 1 << rng.randrange(8)
            elsewhere = seal_operation(FILE, Dot(*OTHER, 1), KEYS)
            operations.append(
                rng.choice([sealed, sealed, bytes(rotten), elsewhere, encode_stripe(STRIPE), pack([77, "?"]), b"\xc1"])
            )
        commit = make_commit(
            IDENTITY, WRITER, first, operations, generation=rng.choice([KEYS.generation, OTHER_KEYS.generation, None]),
            hlc=rng.randrange(2**60), previous=previous, named=[(OTHER, 9)] if rng.random() < 0.5 else [],
        )  # fmt: skip
        raw.append(commit.encode())
        previous, first = commit.hash, commit.last + 1
    packed, length = pack_commits(raw, keys_of, [KEYS.generation, OTHER_KEYS.generation])
    assert unpack_commits(packed, length, keys_of) == raw


@given(st.integers(0, 2**32))
def test_rubbish_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    packed, length = pack_commits(two_commits(), keys_of, [KEYS.generation])
    plain = packed if not length else None
    rotten = bytearray(packed)
    rotten[rng.randrange(len(rotten))] ^= 1 << rng.randrange(8)
    try:
        raw = unpack_commits(bytes(rotten), rng.choice([length, length, 0, 10, 2**40]), keys_of)
    except Malformed:
        return
    assert raw == two_commits() or any(each not in two_commits() for each in raw), plain


def test_a_body_that_is_no_version_is_refused() -> None:
    packed, length = pack_commits(two_commits(), keys_of, [KEYS.generation])
    assert length == 0 or length > len(packed)
    body = unpack(packed, bytes_max=10**6) if not length else None
    del body
    bad = pack([1, [[*WRITER, 1, KEYS.generation, 5, NO_COMMIT, [], [[pack([9, b"x"]), []]], bytes(64)]]])
    with pytest.raises(Malformed):
        unpack_commits(bad, 0, keys_of)
    with pytest.raises(Malformed):
        unpack_commits(pack([1, [[*WRITER, 5, KEYS.generation, 5, None, [], [b"x"], bytes(64)]]]), 0, keys_of)
