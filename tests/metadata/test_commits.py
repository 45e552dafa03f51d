"""Commits: signed as a whole, chained, bound to their author."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from p2pstore.errors import Forged, Malformed
from p2pstore.keys.identity import Identity, verify
from p2pstore.metadata.commits import NO_COMMIT, check_commit, decode_commit
from p2pstore.packing import pack, unpack
from tests.metadata.samples import IDENTITY, OTHER, WRITER, sample_commit


def test_survives_its_encoding_and_verifies() -> None:
    first = sample_commit(1, NO_COMMIT)
    second = sample_commit(5, first.hash)
    for commit in (first, second):
        again = decode_commit(commit.encode())
        assert again == commit
        check_commit(again, IDENTITY.public, verify)
    assert (second.first, second.last, second.upto.sequence) == (5, 8, 8)
    assert second.named == ((OTHER, 9),)
    assert first.hash != second.hash


def test_whatever_is_changed_the_signature_fails() -> None:
    commit = sample_commit(5, b"p" * 32)
    for changed in (
        replace(commit, first=6),
        replace(commit, hlc=commit.hlc + 1),
        replace(commit, generation=None),
        replace(commit, previous=b"q" * 32),
        replace(commit, named=()),
        replace(commit, operations=commit.operations[:-1]),
        replace(commit, operations=(*commit.operations[:-1], commit.operations[0])),
        replace(commit, writer=WRITER._replace(incarnation=OTHER.incarnation)),
        replace(commit, signature=bytes(64)),
    ):
        with pytest.raises(Forged):
            check_commit(changed, IDENTITY.public, verify)
        with pytest.raises(Forged):
            check_commit(decode_commit(changed.encode()), IDENTITY.public, verify)


def test_only_the_authors_key_counts() -> None:
    stranger = Identity.generate(random.Random(7))
    with pytest.raises(Forged):
        check_commit(sample_commit(1, NO_COMMIT), stranger.public, verify)


def test_refuses_wrong_fields() -> None:
    good = unpack(sample_commit(5, b"p" * 32).encode(), bytes_max=10_000)
    wrong = [
        (0, 2),
        (1, b"short"),
        (3, 0),
        (4, b"short"),
        (5, 2**63),
        (6, NO_COMMIT),
        (7, [[*OTHER, 9], [*OTHER, 9]]),
        (7, [[*WRITER, 1]]),
        (8, []),
        (8, ["text"]),
        (8, [b"x"] * 1001),
        (9, b"short"),
    ]
    for position, value in wrong:
        bad = list(good)
        bad[position] = value
        with pytest.raises(Malformed):
            decode_commit(pack(bad))
    with pytest.raises(Malformed):
        decode_commit(pack([*good, 1]))
    with pytest.raises(Malformed):
        decode_commit(pack(good[:-1]))


def test_a_first_commit_has_no_predecessor_and_a_later_one_has() -> None:
    first = sample_commit(1, NO_COMMIT)
    for changed in (replace(first, previous=b"p" * 32), replace(first, first=2)):
        with pytest.raises(Malformed):
            decode_commit(changed.encode())
