"""Who says to hold which shards, and what is known of manifests and stripes: plain tables, no rules."""

# ruff: noqa: S608 - only this file's own column names and question marks are put into SQL

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from p2pstore.errors import Corrupt
from p2pstore.ids import ChunkId, EncodingId, ManifestId, PeerId, StoreId
from p2pstore.metadata.operations import StripeStatement
from p2pstore.seams.disk import Database


@dataclass(frozen=True, slots=True)
class Holding:
    """One line of an inventory change.

    Attributes:
        encoding: the stripe.
        index: which shard of it.
        payload_bytes: its length; 0 where `held` is false.
        held: true for a shard that came, false for one that went.
    """

    encoding: EncodingId
    index: int
    payload_bytes: int
    held: bool


@dataclass(frozen=True, slots=True)
class Holder:
    """A peer that holds a shard.

    Attributes:
        peer: who.
        index: which shard.
        proven_ms: wall-clock milliseconds when that peer last said so to us.
    """

    peer: PeerId
    index: int
    proven_ms: int


@dataclass(frozen=True, slots=True)
class StorePosition:
    """How much of one store's inventory is known here.

    Attributes:
        peer: whose store.
        store: which.
        epoch: the life of that store's counter; another one starts the inventory anew.
        counter: changes up to it are known.
        proven_ms: when the peer last said so.
        shards: how many it holds.
        bytes: their payload bytes.
    """

    peer: PeerId
    store: StoreId
    epoch: bytes
    counter: int
    proven_ms: int
    shards: int
    bytes: int


def put_holdings(
    database: Database,
    peer: PeerId,
    store: StoreId,
    *,
    epoch: bytes,
    after: int,
    upto: int,
    changes: Sequence[Holding],
    now_ms: int,
) -> bool:
    """Take in changes (after, upto] of one store. False if they do not follow what is known: pull again from there.

    A new epoch starts from nothing, whatever was known. Changes known already count as a sign of life only.
    """
    rows = database.execute("SELECT slot, epoch, counter FROM stores WHERE peer = ? AND store = ?", (peer, store))
    if not rows or rows[0][1] != epoch:
        if after != 0:
            return False
        if rows:
            database.execute("DELETE FROM holdings WHERE store = ?", (rows[0][0],))
            database.execute("DELETE FROM stores WHERE slot = ?", (rows[0][0],))
        database.execute(
            "INSERT INTO stores(peer, store, epoch, counter, proven_ms, shards, bytes) VALUES(?, ?, ?, 0, ?, 0, 0)",
            (peer, store, epoch, now_ms),
        )
        rows = database.execute("SELECT slot, epoch, counter FROM stores WHERE peer = ? AND store = ?", (peer, store))
    [(slot, _, counter)] = rows
    if after > counter:
        return False
    if upto <= counter:
        database.execute("UPDATE stores SET proven_ms = max(proven_ms, ?) WHERE slot = ?", (now_ms, slot))
        return True
    shards = size = 0
    for change in changes:
        key = (change.encoding, slot, change.index)
        old = database.execute(
            "SELECT payload_bytes FROM holdings WHERE encoding = ? AND store = ? AND shard = ?", key
        )
        if old:
            shards -= 1
            size -= old[0][0]
        if change.held:
            database.execute("INSERT OR REPLACE INTO holdings VALUES(?, ?, ?, ?)", (*key, change.payload_bytes))
            shards += 1
            size += change.payload_bytes
        elif old:
            database.execute("DELETE FROM holdings WHERE encoding = ? AND store = ? AND shard = ?", key)
    database.execute(
        "UPDATE stores SET counter = ?, proven_ms = max(proven_ms, ?), shards = shards + ?, bytes = bytes + ?"
        " WHERE slot = ?",
        (upto, now_ms, shards, size, slot),
    )
    return True


def drop_store(database: Database, peer: PeerId, store: StoreId) -> None:
    """Forget a store that its peer said is gone for good."""
    for (slot,) in database.execute("SELECT slot FROM stores WHERE peer = ? AND store = ?", (peer, store)):
        database.execute("DELETE FROM holdings WHERE store = ?", (slot,))
        database.execute("DELETE FROM stores WHERE slot = ?", (slot,))


def positions(database: Database, peer: PeerId | None = None) -> list[StorePosition]:
    """What is known of the stores of one peer, or of all, sorted."""
    rows = database.execute(
        "SELECT peer, store, epoch, counter, proven_ms, shards, bytes FROM stores"
        " WHERE ?1 IS NULL OR peer = ?1 ORDER BY peer, store",
        (peer,),
    )
    return [StorePosition(PeerId(row[0]), StoreId(row[1]), *row[2:]) for row in rows]


def holders(database: Database, encodings: Iterable[EncodingId]) -> dict[EncodingId, list[Holder]]:
    """Who holds shards of each stripe, sorted by index and peer; a shard in two stores of one peer counts once."""
    found: dict[EncodingId, list[Holder]] = {}
    for encoding in encodings:
        rows = database.execute(
            "SELECT s.peer, h.shard, max(s.proven_ms) FROM holdings h JOIN stores s ON s.slot = h.store"
            " WHERE h.encoding = ? GROUP BY s.peer, h.shard ORDER BY h.shard, s.peer",
            (encoding,),
        )
        found[encoding] = [Holder(PeerId(peer), index, proven_ms) for peer, index, proven_ms in rows]
    return found


def bytes_by_holder(database: Database, chunks: Iterable[ChunkId]) -> dict[PeerId, int]:
    """Payload bytes that each peer says to hold of some chunks, in all their stripes."""
    found: dict[PeerId, int] = {}
    for chunk in chunks:
        for peer, size in database.execute(
            "SELECT s.peer, sum(h.payload_bytes) FROM (SELECT DISTINCT encoding FROM stripes WHERE chunk = ?) e"
            " JOIN holdings h ON h.encoding = e.encoding JOIN stores s ON s.slot = h.store GROUP BY s.peer",
            (chunk,),
        ):
            found[PeerId(peer)] = found.get(PeerId(peer), 0) + size
    return found


def held_shards(
    database: Database, peer: PeerId, after: tuple[EncodingId, int] | None, limit: int
) -> list[tuple[EncodingId, int, int]]:
    """(encoding, index, payload bytes) of what `peer` holds, sorted, from behind `after` on."""
    encoding, index = after or (EncodingId(b""), -1)
    return [
        (EncodingId(row[0]), row[1], row[2])
        for row in database.execute(
            "SELECT h.encoding, h.shard, h.payload_bytes FROM holdings h JOIN stores s ON s.slot = h.store"
            " WHERE s.peer = ? AND (h.encoding, h.shard) > (?, ?) ORDER BY h.encoding, h.shard LIMIT ?",
            (peer, encoding, index, limit),
        )
    ]


def manifest(database: Database, wanted: ManifestId) -> bytes | None:
    """The data of a manifest's pages, joined; None if it is not known or a page is missing.

    Raises:
        Corrupt: its pages contradict each other about how many there are.
    """
    rows = database.execute("SELECT page, pages, data FROM manifest_pages WHERE manifest = ? ORDER BY page", (wanted,))
    if not rows:
        return None
    if len({row[1] for row in rows}) > 1:
        raise Corrupt(f"manifest {wanted.hex()}: pages of different wholes")
    if [row[0] for row in rows] != list(range(rows[0][1])):
        return None
    return b"".join(row[2] for row in rows)


_STRIPE_COLUMNS = "encoding, chunk, needed, sealed_length, shard_length, promise"


def _statement(row: Sequence[object]) -> StripeStatement:
    return StripeStatement(*row)  # type: ignore[arg-type]  # the columns are in the order of the fields


def stripes_for(database: Database, chunks: Iterable[ChunkId]) -> dict[ChunkId, list[StripeStatement]]:
    """All that was stated of each chunk's stripes, sorted; two promises for one stripe are two statements."""
    return {
        chunk: [
            _statement(row)
            for row in database.execute(
                f"SELECT DISTINCT {_STRIPE_COLUMNS} FROM stripes WHERE chunk = ? ORDER BY {_STRIPE_COLUMNS}", (chunk,)
            )
        ]
        for chunk in chunks
    }


def stripes_of(database: Database, encodings: Iterable[EncodingId]) -> dict[EncodingId, list[StripeStatement]]:
    """The same by stripe; nothing for one that is treated as absent."""
    return {
        encoding: [
            _statement(row)
            for row in database.execute(
                f"SELECT DISTINCT {_STRIPE_COLUMNS} FROM stripes WHERE encoding = ?"
                " AND NOT EXISTS (SELECT 1 FROM forsaken f WHERE f.encoding = stripes.encoding)"
                f" ORDER BY {_STRIPE_COLUMNS}",
                (encoding,),
            )
        ]
        for encoding in encodings
    }


def stripes_after(database: Database, after: EncodingId | None, limit: int) -> list[StripeStatement]:
    """Up to about `limit` statements, sorted by encoding, never parting one stripe; from behind `after` on. Those that
    are treated as absent are left out."""
    rows = database.execute(
        "SELECT DISTINCT encoding FROM stripes WHERE encoding > ?"
        " AND NOT EXISTS (SELECT 1 FROM forsaken f WHERE f.encoding = stripes.encoding) ORDER BY encoding LIMIT ?",
        (after or b"", limit),
    )
    by_encoding = stripes_of(database, [EncodingId(row[0]) for row in rows])
    return [statement for found in by_encoding.values() for statement in found]
