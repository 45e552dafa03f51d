"""Whatever bytes come: commits, operations, vectors and sync messages parse, or raise Malformed or Forged."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import Dot
from p2pstore.keys.identity import verify
from p2pstore.metadata.commits import NO_COMMIT, check_commit, decode_commit
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation, seal_operation
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import version_from_fields
from p2pstore.packing import Fields, pack, unpack
from p2pstore.protocols import sync
from p2pstore.seams.network import Message
from tests.metadata.samples import IDENTITY, KEYS, OTHER, WRITER, sample_commit, sample_operations

VALID = [
    sample_commit(1, NO_COMMIT).encode(),
    sample_commit(5, b"p" * 32).encode(),
    *sample_operations(5),
    Vector({WRITER: 3, OTHER: 9}).encode(),
    pack([1, [[b"s" * 16, b"epoch", 3, 9, False, [[b"e" * 32, 3, 1000], [b"e" * 32, 4, None]]]]]),
    pack([1, [[b"s" * 16, b"epoch", 7]]]),
    pack([1, [b"statement"], [b"i" * 16]]),
    pack([b"commit", b"commit"]),
]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Valid bytes with a few of them changed, cut out or put in."""
    data = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        match draw(st.integers(0, 2)):
            case 0:
                data[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            case 1:
                del data[at : at + draw(st.integers(1, 40))]
            case _:
                data[at:at] = draw(st.binary(max_size=8))
    return bytes(data)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=12),
    max_leaves=30,
)
arbitrary = st.one_of(st.binary(max_size=300), mutated(), values.map(pack))


def _read_commit(data: bytes) -> None:
    commit = decode_commit(data)
    assert decode_commit(commit.encode()) == commit
    check_commit(commit, IDENTITY.public, verify)


def _read_operation(data: bytes) -> None:
    operation = decode_operation(data, WRITER)
    if isinstance(operation, SealedOperation):
        open_operation(operation, Dot(*WRITER, 5), KEYS)


def _read_version(data: bytes) -> None:
    version_from_fields(Fields(unpack(data, bytes_max=1000), "version"))


READERS: list[Callable[[bytes], object]] = [
    _read_commit,
    _read_operation,
    _read_version,
    Vector.decode,
    lambda data: sync.read_commits(Message("x", payload=data)),
    lambda data: sync.read_statements(Message("x", payload=data)),
    lambda data: sync.read_marks(Message("x", payload=data)),
    lambda data: sync.read_inventory(Message("x", payload=data)),
]


@given(arbitrary)
def test_bytes_become_values_or_refusals(data: bytes) -> None:
    for read in READERS:
        with suppress(Malformed, Forged):
            read(data)


@given(st.dictionaries(st.sampled_from(["v", "r", "more"]), values))
def test_arguments_become_values_or_refusals(args: dict[str, object]) -> None:
    for read in (sync.read_roots, sync.read_commits):
        with suppress(Malformed, Forged):
            read(Message("x", args))


@given(st.binary(max_size=400))
def test_bodies_that_a_member_sealed_become_values_or_refusals(plain: bytes) -> None:
    """A hostile member can seal what it likes."""
    from p2pstore.metadata import operations

    body = operations._LENGTH.pack(len(plain)) + plain
    padded = body + bytes(operations.operation_padded_length(len(body)) - len(body))
    good = decode_operation(seal_operation_of(), WRITER)
    assert isinstance(good, SealedOperation)
    cipher, _ = operations._cipher(KEYS.metadata, WRITER)
    associated = operations._associated(Dot(*WRITER, 5), good.tag, [])
    box = cipher.encrypt(good.nonce, padded, associated)
    with suppress(Malformed):
        open_operation(SealedOperation(good.tag, (), good.nonce, box), Dot(*WRITER, 5), KEYS)


def seal_operation_of() -> bytes:
    """Any sealed operation without superseded dots."""
    from tests.metadata.samples import FILE

    return seal_operation(FILE, Dot(*WRITER, 5), KEYS)
