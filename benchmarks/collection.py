"""How long a look for garbage takes, and what it remembers: the search for all that a ledger refers to.

    python -m benchmarks.collection           20,000 files of 20 chunks each (FILES, CHUNKS)
"""

from __future__ import annotations

import os
import random
import tempfile
import time

import trio

from benchmarks.metadata import open_ledger
from p2pstore.ids import ChunkId, EncodingId, GenerationId, ManifestId
from p2pstore.ledger.drafts import Draft, Put
from p2pstore.metadata.collection import Condemned
from p2pstore.metadata.operations import ManifestPage, StripeStatement
from p2pstore.metadata.version import Kind, ManifestRef
from p2pstore.pipeline.manifest import ChunkOfFile, encode_whole

FILES = int(os.environ.get("FILES", "20000"))
CHUNKS = int(os.environ.get("CHUNKS", "20"))
BATCH = 40
LIST = 1000
GENERATION = GenerationId(bytes(16))
DEDUPE = bytes(range(32))
RNG = random.Random(1)


def file_drafts(number: int) -> list[Draft]:
    """A file of CHUNKS chunks, each in a stripe of its own."""
    chunks = [ChunkId(RNG.randbytes(32)) for _ in range(CHUNKS)]
    pages = encode_whole((ChunkOfFile(chunk, 2**21) for chunk in chunks), GENERATION, DEDUPE)
    stripes = [StripeStatement(EncodingId(chunk), chunk, 4, 2**21 + 64, 2**19 + 64, "any-2") for chunk in chunks]
    content = ManifestRef(ManifestId(pages[-1].id), GENERATION)
    name = b"file-%06d" % number
    put = Put((b"files", name), Kind.FILE, content, CHUNKS * 2**21, 0, 0o644)
    return [*stripes, *(ManifestPage(page.id, 0, 1, page.data) for page in pages), put]


async def main() -> None:
    """Fill a ledger, then look."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = await open_ledger(folder)
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            for first in range(0, FILES, BATCH):
                drafts = [each for number in range(first, min(FILES, first + BATCH)) for each in file_drafts(number)]
                await ledger.commit(drafts)
            began_s, cpu_s = time.perf_counter(), time.process_time()
            search = await ledger.begin_search(bytes(32), lambda _: DEDUPE)
            after = None
            while (after := await ledger.search_on(search, after)) is not None:
                pass
            took_s, cpu_s = time.perf_counter() - began_s, time.process_time() - cpu_s
            count = FILES * CHUNKS
            print(f"search: {took_s:.2f} s, {cpu_s:.2f} s of CPU for {FILES:,} contents of {count:,} chunks")
            print(f"  {cpu_s / count * 1e6:.1f} µs a chunk; filter {search.found.size_bytes / 2**20:.2f} MiB")
            others = [EncodingId(RNG.randbytes(32)) for _ in range(LIST)]
            errors = sum(search.found.may_have(ChunkId(each)) for each in others)
            print(f"taken for referred to by mistake: {errors} of {LIST:,}")
            await ledger.commit([Condemned(tuple(sorted(others)))])
            (condemned,) = await ledger.open_lists()
            began_s = time.perf_counter()
            await ledger.consent(search, condemned, (), signed=False)
            print(f"sign a list of {LIST:,}: {(time.perf_counter() - began_s) * 1000:.0f} ms, durable")
            await ledger.end_search(search)
            nursery.cancel_scope.cancel()
        await ledger.close()


if __name__ == "__main__":
    trio.run(main)
