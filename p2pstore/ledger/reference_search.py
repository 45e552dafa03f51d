"""What this machine's durable state refers to (ledger/references.py), down to its chunks.

The chunks go into a Bloom filter: it may take a stripe for referred to that is not (one in a thousand; another one the
next time), never the other way round. 16 bits a chunk are 10 MB for 10 TB of files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from p2pstore.errors import Forged, Malformed, Unavailable
from p2pstore.ids import ChunkId, EncodingId, GenerationId, ManifestId
from p2pstore.ledger import holdings
from p2pstore.ledger.references import referenced_manifests
from p2pstore.metadata.commits import decode_commit
from p2pstore.metadata.operations import StripeStatement, readable_operations
from p2pstore.metadata.version import ManifestRef
from p2pstore.pipeline.manifest import Manifest, Page, open_manifest
from p2pstore.seams.disk import Database

PAGE_CONTENTS: Final = 200
"""Contents read in one job: about 10 ms."""

WATCHED_MAX: Final = 100_000
"""Versions that may come while a search is under way; beyond it the search begins anew."""

_BITS_PER_CHUNK: Final = 16
_BITS_MIN: Final = 1 << 16
_HASHES: Final = 6


DedupeKeyOf = Callable[[GenerationId], bytes | None]
"""The dedupe key of a generation: manifests are checked against it, so that a forged one hides no reference."""


class Incomplete(Unavailable):
    """This machine cannot tell what its own state refers to: a key or a manifest is missing."""


class References:
    """Chunks that something refers to.

    Args:
        chunk_count: about how many there are.
        salt: 32 bytes; another one errs about other chunks.
    """

    def __init__(self, chunk_count: int, salt: bytes) -> None:
        self._size = max(_BITS_MIN, chunk_count * _BITS_PER_CHUNK)
        self._bits = bytearray(self._size // 8 + 1)
        self._salt = salt
        self.encodings: set[EncodingId] = set()
        """Stripes that are named by evidence which cannot be followed to a chunk: commits beyond a fork."""

    @property
    def size_bytes(self) -> int:
        """What it takes of memory."""
        return len(self._bits)

    def _places(self, chunk: ChunkId) -> list[int]:
        digest = blake3(chunk, key=self._salt).digest(8 * _HASHES)
        return [int.from_bytes(digest[at : at + 8]) % self._size for at in range(0, 8 * _HASHES, 8)]

    def add(self, chunk: ChunkId) -> None:
        """Something refers to `chunk`."""
        for place in self._places(chunk):
            self._bits[place >> 3] |= 1 << (place & 7)

    def may_have(self, chunk: ChunkId) -> bool:
        """False only if nothing refers to `chunk`."""
        return all(self._bits[place >> 3] & (1 << (place & 7)) for place in self._places(chunk))


@dataclass(slots=True)
class Search:
    """A search for references, under way or ended.

    Attributes:
        found: what it has found so far.
        dedupe_key_of: checks manifests.
        watch: what versions refer to that came since it began and are not in `found` yet.
    """

    found: References
    dedupe_key_of: DedupeKeyOf
    watch: list[ManifestRef] = field(default_factory=list)

    def fold(self, database: Database) -> None:
        """Add what has come meanwhile. Raises Incomplete."""
        if len(self.watch) > WATCHED_MAX:
            raise Incomplete("too much changes at the moment")
        add_manifests(database, self.found, self.watch, self.dedupe_key_of)
        self.watch.clear()


def begin(database: Database, salt: bytes) -> References:
    """An empty set, large enough for what is known here, with what forks hold.

    Raises:
        Incomplete: some commits are still sealed to this machine, or damage has cost it operations.
    """
    if database.execute("SELECT 1 FROM missing LIMIT 1"):
        raise Incomplete("operations that damage has cost this machine")
    if database.execute("SELECT 1 FROM unopened LIMIT 1"):
        raise Incomplete("commits that this machine has no key for")
    [(count,)] = database.execute("SELECT count(*) FROM stripes")
    found = References(count, salt)
    for (raw,) in database.execute("SELECT raw FROM forks ORDER BY id"):
        commit = decode_commit(raw)
        for _, body in readable_operations(commit.operations, commit.writer):
            if isinstance(body, StripeStatement):
                found.encodings.add(body.encoding)
    return found


def add_contents(database: Database, search: Search, after: ManifestId | None) -> ManifestId | None:
    """Add the next contents that versions refer to; where to go on, None at the end. Raises Incomplete."""
    contents = referenced_manifests(database, after, PAGE_CONTENTS)
    add_manifests(database, search.found, contents, search.dedupe_key_of)
    return contents[-1].manifest if contents else None


def add_manifests(
    database: Database, found: References, manifests: Iterable[ManifestRef], dedupe_key_of: DedupeKeyOf
) -> None:
    """Add the chunks of manifests, pages of long ones too. Raises Incomplete."""
    todo = [(each.manifest, each.generation) for each in manifests]
    while todo:
        wanted, generation = todo.pop()
        manifest = _opened(database, wanted, dedupe_key_of(generation))
        if isinstance(manifest, Page):
            for part in manifest.parts:
                found.add(part.id)
        else:
            todo.extend((part.id, generation) for part in manifest.parts)


def _opened(database: Database, wanted: ManifestId, dedupe_key: bytes | None) -> Manifest:
    data = holdings.manifest(database, wanted)
    if data is None or dedupe_key is None:
        raise Incomplete(f"manifest {wanted.hex()} is not known here")
    try:
        return open_manifest(data, dedupe_key, expect=wanted)
    except (Malformed, Forged) as error:
        raise Incomplete(f"manifest {wanted.hex()} cannot be read") from error


def unreferenced(database: Database, found: References, encodings: Iterable[EncodingId]) -> list[EncodingId]:
    """Those of `encodings` that nothing refers to, by every chunk that anybody ever stated them to be of."""
    free = []
    for encoding in encodings:
        if encoding in found.encodings:
            continue
        rows = database.execute("SELECT DISTINCT chunk FROM stripes WHERE encoding = ?", (encoding,))
        if not any(found.may_have(ChunkId(chunk)) for (chunk,) in rows):
            free.append(encoding)
    return free


def unstated(database: Database, encodings: Iterable[EncodingId]) -> list[EncodingId]:
    """Those of `encodings` that no statement names: what an upload left that never came to its commit, or not yet."""
    return [
        encoding
        for encoding in encodings
        if not database.execute("SELECT 1 FROM stripes WHERE encoding = ? LIMIT 1", (encoding,))
    ]


def known_encodings(database: Database, after: EncodingId | None, limit: int) -> list[EncodingId]:
    """Stripes of which somebody says to hold a shard, sorted, from behind `after` on."""
    rows = database.execute(
        "SELECT DISTINCT encoding FROM holdings WHERE encoding > ? ORDER BY encoding LIMIT ?", (after or b"", limit)
    )
    return [EncodingId(encoding) for (encoding,) in rows]


def held_bytes(database: Database, encodings: Iterable[EncodingId]) -> int:
    """Payload bytes that all machines say to hold of these stripes."""
    return sum(
        database.execute("SELECT ifnull(sum(payload_bytes), 0) FROM holdings WHERE encoding = ?", (encoding,))[0][0]
        for encoding in encodings
    )
