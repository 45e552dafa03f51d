"""The ledger's tables, their migrations, and the check at start."""

from __future__ import annotations

from typing import Final

from p2pstore.errors import DatabaseDamaged, Misuse
from p2pstore.ids import ROOT_ENTRY
from p2pstore.ledger.backfill import fill_history, fill_live
from p2pstore.metadata.tree import RECOVERED_HELD
from p2pstore.metadata.version import RECOVERED_ENTRY
from p2pstore.seams.disk import Database

_TABLES_1: Final = (
    # What is true: commits as they were signed, and how far each writer was seen. Everything that follows from these
    # (versions to foretold) can be rebuilt from them.
    """CREATE TABLE writers(slot INTEGER PRIMARY KEY, author BLOB NOT NULL, incarnation BLOB NOT NULL,
        sequence INTEGER NOT NULL, commit_hash BLOB NOT NULL, hlc INTEGER NOT NULL, frozen INTEGER NOT NULL,
        named INTEGER NOT NULL, UNIQUE(author, incarnation))""",
    """CREATE TABLE commits(id INTEGER PRIMARY KEY, slot INTEGER NOT NULL, first INTEGER NOT NULL,
        last INTEGER NOT NULL, hash BLOB NOT NULL, generation BLOB, raw BLOB NOT NULL, UNIQUE(slot, first))""",
    """CREATE TABLE forks(id INTEGER PRIMARY KEY, author BLOB NOT NULL, incarnation BLOB NOT NULL,
        first INTEGER NOT NULL, hash BLOB NOT NULL UNIQUE, raw BLOB NOT NULL, seen_ms INTEGER NOT NULL)""",
    # What follows from the operations that this peer can open.
    """CREATE TABLE versions(id INTEGER PRIMARY KEY, slot INTEGER NOT NULL, sequence INTEGER NOT NULL,
        hlc INTEGER NOT NULL, live INTEGER NOT NULL, entry BLOB NOT NULL, parent BLOB NOT NULL, name BLOB NOT NULL,
        kind INTEGER NOT NULL, content BLOB, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,
        deleted INTEGER NOT NULL, former BLOB, UNIQUE(slot, sequence))""",
    "CREATE INDEX versions_by_entry ON versions(entry)",
    """CREATE TABLE entries(entry BLOB PRIMARY KEY, version INTEGER, slot INTEGER NOT NULL, sequence INTEGER NOT NULL,
        hlc INTEGER NOT NULL, wanted BLOB NOT NULL, former BLOB, parent BLOB NOT NULL, name BLOB NOT NULL,
        kind INTEGER NOT NULL, alive INTEGER NOT NULL, shown INTEGER NOT NULL, contested INTEGER NOT NULL)
        WITHOUT ROWID""",
    "CREATE INDEX entries_by_place ON entries(parent, shown, name)",
    "CREATE INDEX entries_buried ON entries(hlc, entry) WHERE alive = 0",
    "CREATE TABLE misplaced(entry BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE foretold(slot INTEGER, sequence INTEGER, PRIMARY KEY(slot, sequence)) WITHOUT ROWID",
    """CREATE TABLE manifest_pages(manifest BLOB, page INTEGER, pages INTEGER, data BLOB, slot INTEGER,
        sequence INTEGER, PRIMARY KEY(manifest, page))""",
    """CREATE TABLE stripes(encoding BLOB, slot INTEGER, sequence INTEGER, chunk BLOB, needed INTEGER,
        sealed_length INTEGER, shard_length INTEGER, promise TEXT, PRIMARY KEY(encoding, slot, sequence))
        WITHOUT ROWID""",
    "CREATE INDEX stripes_by_chunk ON stripes(chunk)",
    """CREATE TABLE unopened(generation BLOB, commit_id INTEGER, PRIMARY KEY(generation, commit_id)) WITHOUT ROWID""",
    # What other peers say of themselves: not in the log.
    """CREATE TABLE stores(slot INTEGER PRIMARY KEY, peer BLOB NOT NULL, store BLOB NOT NULL, epoch BLOB NOT NULL,
        counter INTEGER NOT NULL, proven_ms INTEGER NOT NULL, shards INTEGER NOT NULL, bytes INTEGER NOT NULL,
        UNIQUE(peer, store))""",
    """CREATE TABLE holdings(encoding BLOB, store INTEGER, shard INTEGER, payload_bytes INTEGER,
        PRIMARY KEY(encoding, store, shard)) WITHOUT ROWID""",
    "CREATE INDEX holdings_by_store ON holdings(store)",
    "CREATE TABLE statements(id BLOB PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE settings(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
)

_TABLES_2: Final = (
    # History: which operation superseded which, so that the tree can be shown as of any cut.
    """CREATE TABLE replaced(slot INTEGER, sequence INTEGER, by_slot INTEGER, by_sequence INTEGER,
        PRIMARY KEY(slot, sequence, by_slot, by_sequence)) WITHOUT ROWID""",
    "CREATE INDEX versions_by_place ON versions(parent, name)",
    "CREATE INDEX versions_moved ON versions(former) WHERE former IS NOT NULL",
    "CREATE INDEX entries_contested ON entries(entry) WHERE contested > 0",
    "ALTER TABLE commits ADD COLUMN hlc INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX commits_by_time ON commits(hlc, id)",
    "CREATE INDEX commits_by_writer ON commits(slot, hlc)",
    # What people say of entries and moments.
    """CREATE TABLE tags(slot INTEGER NOT NULL, sequence INTEGER NOT NULL, live INTEGER NOT NULL, entry BLOB NOT NULL,
        word TEXT NOT NULL, PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
    "CREATE INDEX tags_by_entry ON tags(entry) WHERE live = 1",
    "CREATE INDEX tags_by_word ON tags(word, entry) WHERE live = 1",
    """CREATE TABLE snapshots(slot INTEGER NOT NULL, sequence INTEGER NOT NULL, live INTEGER NOT NULL,
        hlc INTEGER NOT NULL, id BLOB NOT NULL, name TEXT NOT NULL, cut BLOB NOT NULL, PRIMARY KEY(slot, sequence))
        WITHOUT ROWID""",
    # Search: the names of all versions by their trigrams (rowid is versions.id); rows are only added, and one that is
    # not the version shown any more is passed over when it is read.
    "CREATE VIRTUAL TABLE names USING fts5(name, tokenize = 'trigram', content = '', detail = 'none', columnsize = 0)",
    "CREATE INDEX versions_by_size ON versions(size) WHERE live = 1",
    "CREATE INDEX versions_by_mtime ON versions(mtime_ns) WHERE live = 1",
)

_TABLES_3: Final = (
    # How long history is kept, and what of it is due: `ended` is the clock of the first operation that superseded a
    # version, NULL while none has. `deleted` is 2 in a tombstone whose time in the trash is over.
    """CREATE TABLE retentions(slot INTEGER NOT NULL, sequence INTEGER NOT NULL, live INTEGER NOT NULL,
        entry BLOB NOT NULL, days INTEGER NOT NULL, quota INTEGER, PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
    "ALTER TABLE versions ADD COLUMN ended INTEGER",
    """UPDATE versions SET ended = coalesce((SELECT min(b.hlc) FROM replaced r JOIN versions b ON b.slot = r.by_slot
        AND b.sequence = r.by_sequence WHERE r.slot = versions.slot AND r.sequence = versions.sequence), hlc)
        WHERE live = 0""",
    "CREATE INDEX versions_ended ON versions(ended, id) WHERE ended IS NOT NULL",
    # Which contents are referred to: manifests only, [1, manifest, generation] in msgpack.
    "CREATE INDEX versions_by_manifest ON versions(content) WHERE content > x'9301' AND content < x'9302'",
)

_TABLES_4: Final = (
    # Removed machines: how far what they wrote counts, and what was adopted beyond that.
    "CREATE TABLE cuts(author BLOB PRIMARY KEY, cut BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE adoptions(slot INTEGER, sequence INTEGER, author BLOB NOT NULL, upto BLOB NOT NULL,
        PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
    """CREATE TABLE frozen(slot INTEGER, sequence INTEGER, hlc INTEGER NOT NULL, parent BLOB NOT NULL,
        name BLOB NOT NULL, kind INTEGER NOT NULL, content BLOB, size INTEGER NOT NULL, deleted INTEGER NOT NULL,
        PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
)

_TABLES_5: Final = (
    # Which operations are live, 256 of a writer in a row, and the fingerprint of that in buckets; what was mended.
    "CREATE TABLE dead(slot INTEGER, block INTEGER, bits BLOB NOT NULL, PRIMARY KEY(slot, block)) WITHOUT ROWID",
    "CREATE TABLE missing(slot INTEGER, block INTEGER, bits BLOB NOT NULL, PRIMARY KEY(slot, block)) WITHOUT ROWID",
    "CREATE TABLE fingerprint(bucket INTEGER PRIMARY KEY, sum BLOB NOT NULL)",
    "ALTER TABLE versions ADD COLUMN row_check INTEGER",
    "CREATE TABLE mended(kind TEXT PRIMARY KEY, count INTEGER NOT NULL, at_ms INTEGER NOT NULL) WITHOUT ROWID",
)

_TABLES_6: Final = (
    # Writers with two histories: the last operation that counts; `settled` is the branch that was written anew.
    """CREATE TABLE forked(slot INTEGER, sequence INTEGER, author BLOB NOT NULL, incarnation BLOB NOT NULL,
        upto INTEGER NOT NULL, settled BLOB, PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
)

_TABLES_7: Final = (
    # What folders promise to survive.
    """CREATE TABLE folder_promises(slot INTEGER NOT NULL, sequence INTEGER NOT NULL, live INTEGER NOT NULL,
        entry BLOB NOT NULL, word TEXT NOT NULL, PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
    "CREATE INDEX folder_promises_by_entry ON folder_promises(entry) WHERE live = 1",
)

_TABLES_8: Final = (
    # Garbage collection: what was said of it.
    """CREATE TABLE intents(slot INTEGER, id BLOB, hlc INTEGER NOT NULL, PRIMARY KEY(slot, id)) WITHOUT ROWID""",
    """CREATE TABLE lists(slot INTEGER, sequence INTEGER, hlc INTEGER NOT NULL, hash BLOB NOT NULL,
        PRIMARY KEY(slot, sequence)) WITHOUT ROWID""",
    """CREATE TABLE listed(encoding BLOB, slot INTEGER, sequence INTEGER, number INTEGER NOT NULL,
        PRIMARY KEY(encoding, slot, sequence)) WITHOUT ROWID""",
    "CREATE INDEX listed_by_list ON listed(slot, sequence, number)",
    """CREATE TABLE consents(slot INTEGER, sequence INTEGER, by_slot INTEGER, by_sequence INTEGER,
        PRIMARY KEY(slot, sequence, by_slot, by_sequence)) WITHOUT ROWID""",
    """CREATE TABLE spared(slot INTEGER, sequence INTEGER, number INTEGER, by_slot INTEGER,
        PRIMARY KEY(slot, sequence, number, by_slot)) WITHOUT ROWID""",
    # Ours alone: stripes that this machine treats as absent, and lists that it is done with.
    "CREATE TABLE forsaken(encoding BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE closed_lists(slot INTEGER, sequence INTEGER, PRIMARY KEY(slot, sequence)) WITHOUT ROWID",
)

_TABLES_9: Final = (
    # When a version came here, by this machine's clock: what is removed by a machine whose clock is years behind is
    # not old at once. 0 for what came before this was noted.
    "ALTER TABLE versions ADD COLUMN came INTEGER NOT NULL DEFAULT 0",
)

_MIGRATIONS: Final = (
    _TABLES_1, _TABLES_2, _TABLES_3, _TABLES_4, _TABLES_5, _TABLES_6, _TABLES_7, _TABLES_8, _TABLES_9,
)  # fmt: skip
"""Statements that lead from schema version N to N + 1. Numbers are for ever: never edited, only added to."""

SCHEMA_VERSION: Final = len(_MIGRATIONS)

_DERIVED: Final = (
    "versions", "entries", "misplaced", "foretold", "manifest_pages", "stripes", "unopened", "replaced", "tags",
    "snapshots", "retentions", "frozen", "folder_promises", "intents", "lists", "listed", "consents", "spared",
)  # fmt: skip
"""Tables that commits can be replayed into, beside `names`. So can `adoptions` and
`forked`, but what counts hangs on them."""


def prepare(database: Database) -> None:
    """Bring the schema to this build's version, checking the file first.

    Raises:
        DatabaseDamaged: the file is not sound.
        Misuse: it was written by a newer build.
    """
    database.execute("PRAGMA cache_size = -16384")  # 16 MiB: the inner pages of 10^6 entries' indexes
    database.execute("PRAGMA wal_autocheckpoint = 4000")  # 16 MiB: a checkpoint costs two more fsyncs
    version = database.execute("PRAGMA user_version")[0][0]
    if version > SCHEMA_VERSION:
        raise Misuse(f"ledger of schema version {version}, this build knows {SCHEMA_VERSION}")
    if version and (found := database.execute("PRAGMA quick_check(1)")) != [("ok",)]:
        raise DatabaseDamaged(f"ledger: {found[0][0]}")
    for number in range(version, SCHEMA_VERSION):
        with database.transaction():
            for statement in _MIGRATIONS[number]:
                database.execute(statement)
            if number == 0:
                add_standing_entries(database)
            if number == 1:
                fill_history(database)
            if number == 4:
                fill_live(database)
            database.execute(f"PRAGMA user_version = {number + 1}")


def empty_derived(database: Database) -> None:
    """Forget everything that commits can be replayed into. Inside a transaction."""
    for table in _DERIVED:
        database.execute(f"DELETE FROM {table}")  # noqa: S608 - our own table's name
    database.execute("INSERT INTO names(names) VALUES('delete-all')")
    add_standing_entries(database)


def add_standing_entries(database: Database) -> None:
    """The two folders that no operation made: the root, and the one of entries without a place."""
    insert = "INSERT OR IGNORE INTO entries VALUES(?, NULL, 0, 0, 0, ?, NULL, ?, ?, 1, ?, ?, 0)"
    database.execute(insert, (ROOT_ENTRY, b"", b"", b"", 1, 1))
    database.execute(insert, (RECOVERED_ENTRY, ROOT_ENTRY, ROOT_ENTRY, RECOVERED_HELD.version.name, 0, 0))
