"""Condemned lists, consents and intents in the ledger's rows."""



from __future__ import annotations

from collections.abc import Iterable, Sequence

from p2pstore.ids import Dot, EncodingId, PeerId
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.collection import CollectionBody, Condemned, CondemnedList, Consent, Intent, OpenIntent
from p2pstore.metadata.vector import writer_of
from p2pstore.seams.disk import Database


def write(database: Database, writers: Writers, slot: int, sequence: int, hlc: int, body: CollectionBody) -> None:
    """The rows that follow from one operation; once each."""
    match body:
        case Intent(name, begun):
            if begun:
                database.execute("INSERT OR IGNORE INTO intents VALUES(?, ?, ?)", (slot, name, hlc))
            else:
                author = writers.by_slot(slot).writer.author
                for mine in _slots_of(database, author):
                    database.execute("DELETE FROM intents WHERE slot = ? AND id = ?", (mine, name))
        case Condemned():
            database.execute("INSERT OR IGNORE INTO lists VALUES(?, ?, ?, ?)", (slot, sequence, hlc, body.hash))
            database.execute_many(
                "INSERT OR IGNORE INTO listed VALUES(?, ?, ?, ?)",
                [(encoding, slot, sequence, number) for number, encoding in enumerate(body.encodings)],
            )
        case Consent(name, list_hash, spared):
            state = writers.get(writer_of(name))
            if state is None:
                return
            key = (state.slot, name.sequence)
            if database.execute("SELECT hash FROM lists WHERE slot = ? AND sequence = ?", key) != [(list_hash,)]:
                return  # of another list: a fork's, or a liar's
            database.execute("INSERT OR IGNORE INTO consents VALUES(?, ?, ?, ?)", (*key, slot, sequence))
            database.execute_many(
                "INSERT OR IGNORE INTO spared VALUES(?, ?, ?, ?)", [(*key, number, slot) for number in spared]
            )
            for number in spared:
                database.execute(
                    "DELETE FROM forsaken WHERE encoding IN"
                    " (SELECT encoding FROM listed WHERE slot = ? AND sequence = ? AND number = ?)",
                    (*key, number),
                )


def stands(database: Database, writers: Writers, slot: int, sequence: int, body: CollectionBody) -> bool:
    """Whether the rows that `write` makes are there. Of an intent none need be: its end takes them away."""
    match body:
        case Intent():
            return True
        case Condemned(encodings):
            key = (slot, sequence)
            rows = database.execute("SELECT encoding FROM listed WHERE slot = ? AND sequence = ? ORDER BY number", key)
            found = database.execute("SELECT hash FROM lists WHERE slot = ? AND sequence = ?", key)
            return found == [(body.hash,)] and rows == [(encoding,) for encoding in encodings]
        case Consent(name, list_hash, spared):
            state = writers.get(writer_of(name))
            if state is None:
                return True
            key = (state.slot, name.sequence)
            if database.execute("SELECT hash FROM lists WHERE slot = ? AND sequence = ?", key) != [(list_hash,)]:
                return True
            signed = database.execute(
                "SELECT 1 FROM consents WHERE slot = ? AND sequence = ? AND by_slot = ? AND by_sequence = ?",
                (*key, slot, sequence),
            )
            kept = database.execute(
                "SELECT number FROM spared WHERE slot = ? AND sequence = ? AND by_slot = ?", (*key, slot)
            )
            return bool(signed) and {(number,) for number in spared} <= set(kept)


def clear(database: Database, slot: int, sequence: int, body: CollectionBody) -> None:
    """Take away what `write` would not write over."""
    if isinstance(body, Condemned):
        for table in ("lists", "listed"):
            database.execute(f"DELETE FROM {table} WHERE slot = ? AND sequence = ?", (slot, sequence))  # noqa: S608


def _slots_of(database: Database, author: PeerId) -> list[int]:
    return [slot for (slot,) in database.execute("SELECT slot FROM writers WHERE author = ? ORDER BY slot", (author,))]


def sparing(database: Database, writers: Writers, encodings: Iterable[EncodingId]) -> list[Consent]:
    """What to sign so that none of `encodings` stays condemned."""
    found: dict[tuple[int, int], set[int]] = {}
    for encoding in encodings:
        rows = database.execute("SELECT slot, sequence, number FROM listed WHERE encoding = ?", (encoding,))
        for slot, sequence, number in rows:
            found.setdefault((slot, sequence), set()).add(number)
    consents = []
    for (slot, sequence), numbers in sorted(found.items()):
        [(list_hash,)] = database.execute("SELECT hash FROM lists WHERE slot = ? AND sequence = ?", (slot, sequence))
        consents.append(Consent(writers.dot(slot, sequence), list_hash, tuple(sorted(numbers))))
    return consents


def open_lists(database: Database, writers: Writers) -> list[CondemnedList]:
    """Every list that this machine is not done with, by name."""
    found = []
    for slot, sequence, hlc in database.execute(
        "SELECT l.slot, l.sequence, l.hlc FROM lists l LEFT JOIN closed_lists c"
        " ON c.slot = l.slot AND c.sequence = l.sequence WHERE c.slot IS NULL"
    ):
        key = (slot, sequence)
        encodings = database.execute(
            "SELECT encoding FROM listed WHERE slot = ? AND sequence = ? ORDER BY number", key
        )
        consents: dict[PeerId, Dot] = {}
        for by_slot, by_sequence in database.execute(
            "SELECT by_slot, by_sequence FROM consents WHERE slot = ? AND sequence = ? ORDER BY by_slot, by_sequence",
            key,
        ):
            dot = writers.dot(by_slot, by_sequence)
            consents.setdefault(dot.author, dot)
        spared: dict[PeerId, set[int]] = {}
        for number, by_slot in database.execute(
            "SELECT number, by_slot FROM spared WHERE slot = ? AND sequence = ?", key
        ):
            spared.setdefault(writers.by_slot(by_slot).writer.author, set()).add(number)
        found.append(
            CondemnedList(
                writers.dot(slot, sequence),
                hlc,
                Condemned(tuple(EncodingId(encoding) for (encoding,) in encodings)),
                consents,
                {author: frozenset(numbers) for author, numbers in sorted(spared.items())},
            )
        )
    return sorted(found, key=lambda each: each.name)


def close_list(database: Database, writers: Writers, name: Dot) -> None:
    """This machine has nothing more to do with a list; a job for the writer."""
    state = writers.get(writer_of(name))
    if state is not None:
        database.execute("INSERT OR IGNORE INTO closed_lists VALUES(?, ?)", (state.slot, name.sequence))


def forsake(database: Database, encodings: Iterable[EncodingId]) -> None:
    """Treat stripes as absent from now on; a job for the writer."""
    database.execute_many("INSERT OR IGNORE INTO forsaken VALUES(?)", [(encoding,) for encoding in encodings])


def forsaken(database: Database, encodings: Sequence[EncodingId]) -> frozenset[EncodingId]:
    """Those of `encodings` that are treated as absent."""
    return frozenset(
        encoding
        for encoding in encodings
        if database.execute("SELECT 1 FROM forsaken WHERE encoding = ?", (encoding,))
    )


def lists_naming(database: Database, writers: Writers, encodings: Iterable[EncodingId]) -> dict[EncodingId, list[Dot]]:
    """For each of `encodings` that some list ever named, all those lists."""
    found: dict[EncodingId, list[Dot]] = {}
    if not database.execute("SELECT 1 FROM lists LIMIT 1"):
        return found
    for encoding in encodings:
        rows = database.execute("SELECT slot, sequence FROM listed WHERE encoding = ?", (encoding,))
        if rows:
            found[encoding] = sorted(writers.dot(slot, sequence) for slot, sequence in rows)
    return found


def open_intents(database: Database, writers: Writers) -> list[OpenIntent]:
    """Every intent that has not ended, the oldest first."""
    rows = database.execute("SELECT slot, id, hlc FROM intents ORDER BY hlc, slot, id")
    return [OpenIntent(writers.by_slot(slot).writer.author, name, hlc) for slot, name, hlc in rows]
