"""How fast names are found among a million entries, and how large the index of names is.

    python -m benchmarks.search [ENTRIES]

Rows are written as the ledger writes them, without commits. Each query is asked with other queries between; the
first 100 hits, or all there are, are timed. On a busy machine the CPU time is the figure to trust.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from p2pstore.edges.disk import RealDisk
from p2pstore.ids import ROOT_ENTRY, EntryId, Incarnation, PeerId
from p2pstore.ledger import schema
from p2pstore.ledger.conflicts import ConflictView
from p2pstore.ledger.history import HistoryView
from p2pstore.ledger.search import Hits, Query, Search
from p2pstore.ledger.tree_view import TreeView
from p2pstore.ledger.writers import Writers
from p2pstore.metadata.name_match import NamePattern, indexed
from p2pstore.metadata.vector import Writer
from p2pstore.metadata.version import Kind
from p2pstore.packing import pack
from p2pstore.seams.disk import Database

HITS: Final = 100
ROUNDS: Final = 5
PER_FOLDER: Final = 1000
BATCH: Final = 50_000


def fill(database: Database, count: int) -> None:
    """A tree of `count` files in folders of a thousand: photos, and documents of two words and a year."""
    rng = random.Random(1)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9))) for _ in range(5000)]
    writer = Writers(database).ensure(Writer(PeerId(bytes(32)), Incarnation(b"benchmrk")))
    folder = ROOT_ENTRY
    insert_version = "INSERT INTO versions VALUES(?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, 420, 0, NULL)"
    insert_entry = "INSERT INTO entries VALUES(?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, 1, 1, 0)"
    batch: list[tuple[int, bytes, EntryId, EntryId, Kind, int, int]] = []

    def flush() -> None:
        with database.transaction():
            database.execute_many(
                insert_version,
                [
                    (n, writer.slot, n, n << 16, entry, parent, name, int(kind), _content(kind), size, mtime)
                    for n, name, entry, parent, kind, size, mtime in batch
                ],
            )
            database.execute_many(
                insert_entry,
                [
                    (entry, n, writer.slot, n, n << 16, parent, parent, name, int(kind))
                    for n, name, entry, parent, kind, _, _ in batch
                ],
            )
            database.execute_many(
                "INSERT INTO names(rowid, name) VALUES(?, ?)", [(row[0], indexed(row[1])) for row in batch]
            )
        batch.clear()

    for number in range(1, count + 1):
        entry = EntryId(rng.randbytes(16))
        if number % PER_FOLDER == 1:
            name, folder, kind, parent = b"folder %d" % number, entry, Kind.FOLDER, ROOT_ENTRY
        elif number % 2:
            name, kind, parent = b"IMG_%07d.jpg" % number, Kind.FILE, folder
        else:
            ending = rng.choice(("pdf", "txt", "odt"))
            text = f"{rng.choice(words)} {rng.choice(words)}-{rng.randint(1990, 2026)}.{ending}"
            name, kind, parent = text.encode(), Kind.FILE, folder
        size = int(rng.paretovariate(0.6) * 1000)
        batch.append((number, name, entry, parent, kind, size, rng.randrange(1_000_000_000, 1_700_000_000) * 10**9))
        if len(batch) == BATCH:
            flush()
    flush()
    with database.transaction():
        for word, every in (("tax", 10_000), ("holiday", 20)):
            tagged = "SELECT slot, sequence, entry FROM entries WHERE slot > 0 AND sequence % ? = 0"
            rows = database.execute(tagged, (every,))
            offset = count * (1 if word == "tax" else 2)
            database.execute_many(
                "INSERT INTO tags VALUES(?, ?, 1, ?, ?)", [(slot, offset + n, entry, word) for slot, n, entry in rows]
            )


def _content(kind: Kind) -> bytes | None:
    return None if kind is Kind.FOLDER else pack([0, b""])


def all_pages(search: Search, query: Query) -> int:
    """The first HITS hits, as a person waits for them."""
    found, before = 0, None
    while found < HITS:
        page: Hits = search.page(query, before, HITS - found)
        found += len(page.found)
        before = page.before
        if before is None:
            break
    return found


def all_conflicts(view: ConflictView) -> int:
    """How many there are in the whole tree."""
    found, after = 0, None
    while True:
        page = view.page(after, HITS)
        found += len(page.conflicts)
        after = page.after
        if after is None:
            return found


def main() -> None:
    """Print the table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory() as folder:
        database = RealDisk(Path(folder)).open_database("ledger.db")
        schema.prepare(database)
        database.execute("PRAGMA synchronous = OFF")  # nothing here is worth waiting for
        began = time.perf_counter()
        fill(database, count)
        print(f"{count:,} entries written in {time.perf_counter() - began:.0f} s")
        [(index_bytes,)] = database.execute("SELECT sum(length(block)) FROM names_data")
        print(f"index of names: {index_bytes / count:.1f} B an entry")
        writers = Writers(database)
        view = TreeView(database, writers, lambda _: "machine")
        past = HistoryView(database, writers, view)
        search, conflicts = Search(database, view, past), ConflictView(database, view, past)

        def named(*terms: str, **rest: object) -> Query:
            return Query(NamePattern(terms), **rest)  # type: ignore[arg-type]

        target = count // 2 + 7
        queries: dict[str, Query] = {
            "one file: img 0123457": named("img", f"{target:07d}"),
            "a word in half of all: jpg": named("jpg"),
            "two words: 1999 pdf": named("1999", "pdf"),
            "a glob: IMG_*99.jpg": named("IMG_*99.jpg"),
            "in no name: qqqqqq": named("qqqqqq"),
            "letters of all, in no name: IMG odt": named("IMG", "odt"),
            "two letters: zq": named("zq"),
            "all folders": named(kinds=(Kind.FOLDER,)),
            "larger than 1 GB": named(size_min=10**9),
            "larger than 100 kB": named(size_min=10**5),
            "one day": named(mtime_min_ns=1_600_000_000 * 10**9, mtime_max_ns=1_600_086_400 * 10**9),
            "a rare tag": named(tags=("tax",)),
            "a common tag and a word": named("2001", tags=("holiday",)),
            "removed: pdf": named("pdf", deleted=True),
        }
        asked: dict[str, Callable[[], int]] = {
            name: partial(all_pages, search, query) for name, query in queries.items()
        }
        asked["all conflicts"] = partial(all_conflicts, conflicts)
        times: dict[str, list[float]] = {name: [] for name in asked}
        cpu_times: dict[str, list[float]] = {name: [] for name in asked}
        hits = {}
        for _ in range(ROUNDS):
            for name, ask in asked.items():
                began, cpu = time.perf_counter(), time.process_time()
                hits[name] = ask()
                times[name].append((time.perf_counter() - began) * 1000)
                cpu_times[name].append((time.process_time() - cpu) * 1000)
        for name, taken in times.items():
            middle, worst = statistics.median(taken), max(taken)
            cpu = statistics.median(cpu_times[name])
            print(f"{name:36} {hits[name]:4} hits  median {middle:6.1f} ms  worst {worst:6.1f} ms  CPU {cpu:6.1f} ms")
        database.close()


if __name__ == "__main__":
    main()
