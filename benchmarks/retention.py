"""What an edit leaves in a ledger, before and after its history is dropped, and how fast history is gone through.

Usage: nice python -m benchmarks.retention [FILES] [EDITS]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import trio

from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.ids import ManifestId, PeerId
from p2pstore.keys.identity import Identity, verify
from p2pstore.ledger.drafts import Put
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.retention import Position
from p2pstore.metadata.retention import DAY_MS
from p2pstore.metadata.version import Kind, ManifestRef
from tests.ledger.household import keys_numbered


def put(number: int, edit: int) -> Put:
    """A file in shards."""
    keys = keys_numbered(1)
    ref = ManifestRef(ManifestId(random.Random(number * 100_000 + edit).randbytes(32)), keys.generation)
    return Put((b"folder %d" % (number % 100), b"file %d.jpg" % number), Kind.FILE, ref, 1_000_000, edit, 0o644)


async def main(files: int, edits: int) -> None:
    """Import `files`, edit them `edits` times, drop the history."""
    identity = Identity.generate(random.Random(1))
    keys = keys_numbered(1)
    publics: dict[PeerId, bytes] = {identity.peer_id: identity.public}
    with tempfile.TemporaryDirectory() as folder:
        clock = RealClock()
        ledger = await Ledger.open(
            RealDisk(Path(folder)),
            ThreadWorkers(),
            clock,
            signer=identity,
            verify=verify,
            public_of=publics.get,
            keys_of={keys.generation: keys}.get,
            current_keys=lambda: keys,
            rng=random.Random(2),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            for edit in range(edits + 1):
                for start in range(0, files, 500):
                    await ledger.commit([put(number, edit) for number in range(start, min(start + 500, files))])
            database = ledger._store.database
            [(log,)] = database.execute("SELECT sum(length(raw)) FROM commits")
            pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            [(before,)] = database.execute(pages)
            now_ms = int(time.time() * 1000) + 31 * DAY_MS
            began_s, dropped, longest_s = time.perf_counter(), 0, 0.0
            after: Position | None = None
            while True:
                page_s = time.perf_counter()
                swept = await ledger.drop_history(now_ms, trash=False, after=after, limit=200)
                longest_s = max(longest_s, time.perf_counter() - page_s)
                dropped, after = dropped + swept.dropped, swept.after
                if after is None:
                    break
            took_s = time.perf_counter() - began_s
            [(free,)] = database.execute(
                "SELECT freelist_count * page_size FROM pragma_freelist_count(), pragma_page_size()"
            )
            operations = files * (edits + 1)
            for number in range(100):
                await ledger.commit([put(number, edits + 1)])
            [(single,)] = database.execute("SELECT sum(length(raw)) FROM commits WHERE first = last")
            print(f"{single / 100:.0f} B for an edit in a commit of its own")
            print(f"{operations:,} operations: {log / operations:.0f} B each in the log")
            print(f"database {before / 1e6:.1f} MB, {free / 1e6:.1f} MB of it free after {dropped:,} versions went")
            print(f"{dropped / took_s:,.0f} versions a second; the longest transaction of 200: {longest_s:.3f} s")
            nursery.cancel_scope.cancel()
        await ledger.close()


if __name__ == "__main__":
    trio.run(main, *(int(given) for given in (sys.argv[1:] or ["5000", "4"])))
