"""Fixed values for tests and frozen vectors of commits."""

from __future__ import annotations

import random

from p2pstore.ids import ROOT_ENTRY, ChunkId, Dot, EncodingId, EntryId, GenerationId, Incarnation, ManifestId
from p2pstore.keys.identity import Identity
from p2pstore.metadata.commits import Commit, make_commit
from p2pstore.metadata.operations import (
    ManifestPage,
    MetadataKeys,
    StripeStatement,
    encode_stripe,
    seal_operation,
)
from p2pstore.metadata.vector import Writer
from p2pstore.metadata.version import Inline, Kind, ManifestRef, Version

IDENTITY = Identity(bytes(range(32)), bytes(range(32, 64)))
KEYS = MetadataKeys(GenerationId(bytes(range(16))), bytes(range(100, 132)))
WRITER = Writer(IDENTITY.peer_id, Incarnation(b"incarn.1"))
OTHER = Writer(Identity.generate(random.Random(2)).peer_id, Incarnation(b"incarn.2"))

FILE = Version(
    EntryId(b"entry of a file."), ROOT_ENTRY, b"n\xffme.txt", Kind.FILE, Inline(b"small"), 5, -1_000_000_001, 0o640
)
LARGE = Version(
    EntryId(b"entry of a large"),
    EntryId(b"entry of folder."),
    b"large",
    Kind.FILE,
    ManifestRef(ManifestId(b"m" * 32), KEYS.generation),
    2**40,
    1_700_000_000_000_000_000,
    0o4755,
    former_parent=ROOT_ENTRY,
)
PAGE = ManifestPage(ManifestId(b"m" * 32), 0, 2, b"a part of a manifest")
STRIPE = StripeStatement(EncodingId(b"e" * 32), ChunkId(b"c" * 32), 4, 2_097_216, 524_352, "any-2")
SUPERSEDED = (Dot(*WRITER, 1), Dot(*OTHER, 9))


def sample_operations(first: int) -> list[bytes]:
    """One of each kind, sealed for the dots from `first` on."""
    return [
        seal_operation(FILE, Dot(*WRITER, first), KEYS, SUPERSEDED if first > 1 else ()),
        seal_operation(PAGE, Dot(*WRITER, first + 1), KEYS),
        encode_stripe(STRIPE),
        seal_operation(LARGE, Dot(*WRITER, first + 3), KEYS),
    ]


def sample_commit(first: int, previous: bytes) -> Commit:
    """A commit of those."""
    return make_commit(
        IDENTITY,
        WRITER,
        first,
        sample_operations(first),
        generation=KEYS.generation,
        hlc=1_700_000_000_000 << 16 | 3,
        previous=previous,
        named=[(OTHER, 9)] if first > 1 else [],
    )
