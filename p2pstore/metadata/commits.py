"""Commits: operations of one writer in sequence, signed once, chained to the commit before.

A commit names the vector entries that changed since its predecessor: with the chain that says all its author had seen,
and nobody applies it before having seen the same (causal delivery). Byte by byte: docs/formats/commit.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from blake3 import blake3

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import Dot, GenerationId, PeerId, generation_id, incarnation, peer_id
from p2pstore.keys.identity import in_context
from p2pstore.limits import COMMIT_OPERATIONS_MAX, CONTROL_MESSAGE_BYTES_MAX, OPERATION_BYTES_MAX, WRITERS_MAX
from p2pstore.metadata.clock import HLC_MAX
from p2pstore.metadata.vector import SEQUENCE_MAX, Writer, named_entries
from p2pstore.packing import Buffer, Fields, pack, unpack

COMMIT_VERSION: Final = 1

NO_COMMIT: Final = bytes(32)
"""Stands for the predecessor of a writer's first commit."""

_SIGNED_CONTEXT: Final = "commit"
_SIGNATURE_BYTES: Final = 64
_SEALED_BYTES_MAX: Final = OPERATION_BYTES_MAX + 32 * 1024

Verify = Callable[[bytes, bytes, bytes], None]
"""verify(public, signature, message); raises Forged."""


class Signer(Protocol):
    """The identity that commits are signed with; `p2pstore.keys.identity.Identity` is one."""

    @property
    def peer_id(self) -> PeerId:
        """Whose signature it is."""
        ...

    @property
    def public(self) -> bytes:
        """The Ed25519 public key, 32 bytes."""
        ...

    def sign(self, message: bytes, /) -> bytes:
        """The Ed25519 signature of `message`, 64 bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Commit:
    """A signed batch of operations.

    Attributes:
        writer: author and incarnation.
        first: sequence number of the first operation; the others follow.
        generation: what its sealed operations are sealed under; None if there are none.
        hlc: the author's hybrid clock; one for all its operations.
        previous: hash of the writer's commit before this, NO_COMMIT if there is none.
        named: vector entries, other writers' only, that changed since that commit, in rising order.
        operations: encoded operations, at least one.
        hash: what the next commit names as its previous; covers all but the signature.
        signature: Ed25519 over the signed header.
    """

    writer: Writer
    first: int
    generation: GenerationId | None
    hlc: int
    previous: bytes
    named: tuple[tuple[Writer, int], ...]
    operations: tuple[bytes, ...]
    hash: bytes
    signature: bytes

    @property
    def last(self) -> int:
        """Sequence number of the last operation."""
        return self.first + len(self.operations) - 1

    @property
    def upto(self) -> Dot:
        """The dot of the last operation: who has seen it has seen all of this commit."""
        return Dot(*self.writer, self.last)

    def encode(self) -> bytes:
        """The bytes that are stored and sent."""
        return pack([COMMIT_VERSION, *_head_fields(self), list(self.operations), self.signature])


def _head_fields(commit: Commit) -> list[Any]:
    named = [[*writer, sequence] for writer, sequence in commit.named]
    return [*commit.writer, commit.first, commit.generation, commit.hlc, commit.previous, named]


def _signed_message(head_fields: list[Any], operations: Sequence[bytes]) -> bytes:
    hashes = blake3(b"".join(blake3(operation).digest() for operation in operations)).digest()
    return in_context(_SIGNED_CONTEXT, pack([COMMIT_VERSION, *head_fields, len(operations), hashes]))


def make_commit(
    signer: Signer,
    writer: Writer,
    first: int,
    operations: Sequence[bytes],
    *,
    generation: GenerationId | None,
    hlc: int,
    previous: bytes,
    named: Sequence[tuple[Writer, int]],
) -> Commit:
    """A signed commit of `operations`, which were sealed for the dots from `first` on."""
    assert 0 < len(operations) <= COMMIT_OPERATIONS_MAX
    assert writer.author == signer.peer_id
    unsigned = Commit(writer, first, generation, hlc, previous, tuple(sorted(named)), tuple(operations), b"", b"")
    message = _signed_message(_head_fields(unsigned), operations)
    return Commit(
        writer,
        first,
        generation,
        hlc,
        previous,
        unsigned.named,
        unsigned.operations,
        blake3(message).digest(),
        signer.sign(message),
    )


def decode_commit(data: Buffer) -> Commit:
    """The commit in `data`, its signature unchecked, its operations unread.

    Raises:
        Malformed: anything else than one commit within the limits.
    """
    fields = Fields(unpack(data, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "commit", version=COMMIT_VERSION)
    writer = Writer(peer_id(fields.raw(32)), incarnation(fields.raw(8)))
    first = fields.integer(1, SEQUENCE_MAX)
    generation = fields.optional_raw(16)
    hlc = fields.integer(0, HLC_MAX)
    previous = fields.raw(32)
    named = named_entries(fields.array(most=WRITERS_MAX), "commit")
    operations = tuple(fields.array(most=COMMIT_OPERATIONS_MAX))
    signature = fields.raw(_SIGNATURE_BYTES)
    fields.end()
    if not operations or any(type(each) is not bytes or len(each) > _SEALED_BYTES_MAX for each in operations):
        raise Malformed("commit: operations")
    if any(named_writer == writer for named_writer, _ in named):
        raise Malformed("commit: names itself")
    if (previous == NO_COMMIT) != (first == 1):
        raise Malformed("commit: chain")
    unsigned = Commit(
        writer,
        first,
        None if generation is None else generation_id(generation),
        hlc,
        previous,
        named,
        operations,
        b"",
        signature,
    )
    digest = blake3(_signed_message(_head_fields(unsigned), operations)).digest()
    return Commit(writer, first, unsigned.generation, hlc, previous, named, operations, digest, signature)


def builds_on(data: Buffer) -> tuple[tuple[Writer, int], ...]:
    """The vector entries that a commit of our own log names, without a look at its operations. Raises Malformed."""
    values = unpack(data, bytes_max=CONTROL_MESSAGE_BYTES_MAX)
    if not isinstance(values, list) or len(values) != 10 or not isinstance(values[7], list):
        raise Malformed("commit: not an array of ten")
    return named_entries(values[7], "commit")


def check_commit(commit: Commit, public: bytes, verify: Verify) -> None:
    """Returns if the author, whose public key is `public`, signed `commit`. Raises Forged."""
    if blake3(public).digest() != commit.writer.author:
        raise Forged("commit: not this author's key")
    verify(public, commit.signature, _signed_message(_head_fields(commit), commit.operations))
