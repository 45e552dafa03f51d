"""Commits on their way from member to member: operations opened, and everything compressed together.

Sealed operations do not compress, and are most of a commit. Sealing is a function of the body, so who has the keys can
take the seals off, and the receiver puts the same seals on again: what it then has are the signed commits, bit by bit,
and it believes nothing but their signatures. Byte by byte: docs/formats/commit.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, GenerationId, generation_id, incarnation, peer_id
from p2pstore.limits import COMMIT_OPERATIONS_MAX, OPERATION_BYTES_MAX, PACKED_COMMITS_MAX, PACKED_PLAIN_BYTES_MAX
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.operations import MetadataKeys, hidden_names, plain_of, seal_plain
from p2pstore.metadata.vector import SEQUENCE_MAX, Writer
from p2pstore.packing import Buffer, Fields, pack, unpack
from p2pstore.pipeline.compression import compress, decompress

PACKED_VERSION: Final = 1

LEVEL: Final = 3
"""zstd: 0.1 s CPU for 10^5 operations; level 9 saves a thirtieth more for five times the work."""

KeysOf = Callable[[GenerationId], MetadataKeys | None]


def pack_commits(commits: Iterable[bytes], keys_of: KeysOf, generations: Collection[GenerationId]) -> tuple[bytes, int]:
    """Raw commits for somebody who has the keys of `generations`; also the length before compression."""
    hashes: dict[Writer, bytes] = {}
    packed: list[list[Any]] = []
    for raw in commits:
        commit = decode_commit(raw)
        keys = None if commit.generation not in generations or commit.generation is None else keys_of(commit.generation)
        operations: list[Any] = []
        for sequence, data in enumerate(commit.operations, start=commit.first):
            found = None if keys is None else plain_of(data, Dot(*commit.writer, sequence), keys)
            operations.append(data if found is None else [*found])
        previous = None if hashes.get(commit.writer) == commit.previous else commit.previous
        hashes[commit.writer] = commit.hash
        named = [[*writer, sequence] for writer, sequence in commit.named]
        packed.append(
            [
                *commit.writer,
                commit.first,
                commit.generation,
                commit.hlc,
                previous,
                named,
                operations,
                commit.signature,
            ]
        )
    plain = pack([PACKED_VERSION, packed])
    compressed = compress(plain, level=LEVEL)
    return (plain, 0) if compressed is None else (compressed, len(plain))


def unpack_commits(data: Buffer, plain_length: int, keys_of: KeysOf) -> list[bytes]:
    """The raw commits, unchecked.

    Args:
        data: what `pack_commits` made.
        plain_length: its second value.
        keys_of: has the keys of the generations that were asked for.

    Raises:
        Malformed: something else, or sealed under keys that are not here.
    """
    if plain_length > PACKED_PLAIN_BYTES_MAX:
        raise Malformed("packed commits: too long")
    plain: Buffer = decompress(data, plain_length=plain_length) if plain_length else data
    fields = Fields(unpack(plain, bytes_max=PACKED_PLAIN_BYTES_MAX), "packed commits", version=PACKED_VERSION)
    values = fields.array(most=PACKED_COMMITS_MAX)
    fields.end()
    hashes: dict[Writer, bytes] = {}
    commits = []
    for value in values:
        fields = Fields(value, "packed commit")
        writer = Writer(peer_id(fields.raw(32)), incarnation(fields.raw(8)))
        first, generation = fields.integer(1, SEQUENCE_MAX), fields.optional_raw(16)
        hlc, previous, named = fields.anything(), fields.optional_raw(32), fields.anything()
        operations = _resealed(
            fields.array(most=COMMIT_OPERATIONS_MAX),
            writer,
            first,
            None if generation is None else keys_of(generation_id(generation)),
        )
        signature = fields.raw(64)
        fields.end()
        if previous is None and (previous := hashes.get(writer)) is None:
            raise Malformed("packed commit: of an unknown predecessor")
        raw = pack([1, *writer, first, generation, hlc, previous, named, operations, signature])
        hashes[writer] = decode_commit(raw).hash
        commits.append(raw)
    return commits


def _resealed(values: Sequence[Any], writer: Writer, first: int, keys: MetadataKeys | None) -> list[bytes]:
    operations = []
    for sequence, value in enumerate(values, start=first):
        match value:
            case bytes():
                operations.append(value)
            case [bytes(plain), list(replaced)] if keys is not None:
                names = hidden_names(unpack(plain, bytes_max=OPERATION_BYTES_MAX))
                if names is None:
                    raise Malformed("packed operation: neither a version nor a page")
                operations.append(seal_plain(names, plain, Dot(*writer, sequence), keys, replaced))
            case _:
                raise Malformed("packed operation")
    return operations
