"""Version vectors: a join-semilattice with one encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, Incarnation, PeerId
from p2pstore.metadata.vector import SEQUENCE_MAX, Vector, Writer
from p2pstore.packing import pack

writers = st.builds(
    Writer,
    st.sampled_from([PeerId(bytes([n]) * 32) for n in range(4)]),
    st.sampled_from([Incarnation(bytes([n]) * 8) for n in range(3)]),
)
vectors = st.dictionaries(writers, st.integers(1, SEQUENCE_MAX)).map(Vector)


@given(vectors, vectors, vectors)
def test_join_is_commutative_associative_and_idempotent(a: Vector, b: Vector, c: Vector) -> None:
    assert a.join(b) == b.join(a)
    assert a.join(b).join(c) == a.join(b.join(c))
    assert a.join(a) == a
    assert a.join(b).covers_all(a)
    assert a.join(b).covers_all(b)
    assert a.covers_all(b) == (a.join(b) == a)


@given(vectors, vectors)
def test_roots_are_equal_exactly_where_vectors_are(a: Vector, b: Vector) -> None:
    assert (a.root() == b.root()) == (a == b)
    assert len(a.root()) == 16


@given(vectors)
def test_survives_its_encoding(a: Vector) -> None:
    assert Vector.decode(a.encode()) == a


def test_covers_what_it_has_seen() -> None:
    writer = Writer(PeerId(b"p" * 32), Incarnation(b"i" * 8))
    vector = Vector({writer: 7})
    assert vector.covers(Dot(*writer, 7))
    assert not vector.covers(Dot(*writer, 8))
    assert not vector.covers(Dot(writer.author, Incarnation(b"j" * 8), 1))
    assert vector.with_entries([(writer, 0)]) == Vector()


def test_refuses_entries_twice_in_another_order_or_out_of_range() -> None:
    first, second = [b"a" * 32, b"i" * 8, 1], [b"b" * 32, b"i" * 8, 1]
    wrong: list[object] = [[second, first], [first, first], [[b"a" * 32, b"i" * 8, 0]], [[b"a", b"i" * 8, 1]], [[]], 7]
    for entries in wrong:
        with pytest.raises(Malformed):
            Vector.decode(pack([1, entries]))
    with pytest.raises(Malformed):
        Vector.decode(pack([2, []]))
