"""How fast the ledger writes, applies and answers, and what it weighs.

    python -m benchmarks.metadata callers     500 callers, each adding one file after the other
    python -m benchmarks.metadata import      100,000 files in drafts of 100, then listings and another peer's apply
    python -m benchmarks.metadata             both
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from blake3 import blake3

from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.ids import ChunkId, EncodingId, GenerationId, ManifestId
from p2pstore.keys.identity import Identity, verify
from p2pstore.ledger.drafts import Draft, Put
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.operations import ManifestPage, MetadataKeys, StripeStatement
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Inline, Kind, ManifestRef

CALLERS = 500
FILES_PER_CALLER = 20
IMPORT_FILES = int(os.environ.get("FILES", "100000"))

RNG = random.Random(1)
KEYS = MetadataKeys(GenerationId(bytes(16)), bytes(32))
IDENTITY = Identity.generate(RNG)


async def open_ledger(folder: str) -> Ledger:
    """A ledger on the real disk."""
    return await Ledger.open(
        RealDisk(folder),
        ThreadWorkers(),
        RealClock(),
        signer=IDENTITY,
        verify=verify,
        public_of=lambda _: IDENTITY.public,
        keys_of=lambda _: KEYS,
        current_keys=lambda: KEYS,
        rng=RNG,
    )


def small(folder: str, name: str) -> Draft:
    """A file that lies inline."""
    data = name.encode() * 8
    return Put((b"import", folder.encode(), name.encode()), Kind.FILE, Inline(data), len(data), 0, 0o644)


def large(folder: str, name: str) -> list[Draft]:
    """A file of one chunk: a stripe statement, a manifest page, the version."""
    digest = blake3(f"{folder}/{name}".encode()).digest()
    manifest = ManifestId(digest)
    return [
        StripeStatement(EncodingId(digest), ChunkId(digest), 4, 2**21, 2**19, "any-2"),
        ManifestPage(manifest, 0, 1, digest + bytes(20)),
        Put(
            (b"import", folder.encode(), name.encode()),
            Kind.FILE,
            ManifestRef(manifest, KEYS.generation),
            2**21,
            0,
            0o644,
        ),
    ]


async def callers(folder: str) -> None:
    """Group commit under many callers."""
    ledger = await open_ledger(folder)

    async def caller(number: int) -> None:
        for turn in range(FILES_PER_CALLER):
            await ledger.commit([small(f"{number % 50}", f"{number} {turn}")])

    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        await ledger.commit([small("warm", "up")])
        start, cpu = time.perf_counter(), time.process_time()
        async with trio.open_nursery() as all_callers:
            for number in range(CALLERS):
                all_callers.start_soon(caller, number)
        took, cpu = time.perf_counter() - start, time.process_time() - cpu
        files = CALLERS * FILES_PER_CALLER
        print(f"{CALLERS} callers: {files / took:,.0f} files/s ({cpu / files * 1e6:.0f} us CPU each)")
        start = time.perf_counter()
        for turn in range(20):
            await ledger.commit([small("alone", f"{turn}")])
        print(f"one caller: {(time.perf_counter() - start) / 20 * 1e3:.1f} ms a commit")
        nursery.cancel_scope.cancel()
    await ledger.close()


def folder_bytes(folder: str) -> int:
    """Bytes of the files in `folder`."""
    return sum(path.stat().st_size for path in Path(folder).iterdir())


async def importing(folder: str) -> None:
    """A large tree in, its listings, and a second ledger that takes all of it."""
    ledger = await open_ledger(folder)
    async with trio.open_nursery() as nursery:
        await nursery.start(ledger.run)
        start = time.perf_counter()
        batch: list[Draft] = []
        for number in range(IMPORT_FILES):
            batch.extend(large(f"{number // 500:05}", f"IMG_{number:06}.jpg"))
            if len(batch) >= 300:
                await ledger.commit(batch)
                batch = []
        await ledger.commit(batch)
        took = time.perf_counter() - start
        size = folder_bytes(folder)
        print(
            f"import: {IMPORT_FILES / took:,.0f} files/s of one chunk (three operations each),"
            f" {size / IMPORT_FILES:.0f} B on disk each"
        )
        await timed("list 500 of a folder", 20, lambda: ledger.list_folder((b"import", b"00050")))
        await timed("resolve a path", 200, lambda: ledger.resolve((b"import", b"00050", b"IMG_025017.jpg")))
        await timed("put one more", 20, lambda: ledger.commit([small("00050", f"{time.perf_counter_ns()}")]))
        with tempfile.TemporaryDirectory() as other_folder:
            other = await open_ledger(other_folder)
            await nursery.start(other.run)
            sent, start = 0, time.perf_counter()
            while not (vector := other.vector()).covers_all(ledger.vector()):
                wanted = await ledger.commits_after(vector, 192 * 1024)
                sent += sum(len(raw) for raw in wanted.commits)
                await other.apply(wanted.commits)
            took = time.perf_counter() - start
            print(f"another peer takes it: {IMPORT_FILES / took:,.0f} files/s, {sent / IMPORT_FILES:.0f} B each")
            start = time.perf_counter()
            assert not (await ledger.commits_after(other.vector(), 10**6)).commits
            assert Vector.decode(vector.encode()) == vector
            print(f"nothing new: {(time.perf_counter() - start) * 1e3:.1f} ms")
            nursery.cancel_scope.cancel()
            await other.close()
    await ledger.close()


async def timed(what: str, times: int, call: Callable[[], Awaitable[object]]) -> None:
    """Print the mean time of a call."""
    start = time.perf_counter()
    for _ in range(times):
        await call()
    print(f"{what}: {(time.perf_counter() - start) / times * 1e3:.2f} ms")


def main() -> None:
    """Run what the command line names, or both."""
    wanted = sys.argv[1:] or ["callers", "import"]
    for name, benchmark in (("callers", callers), ("import", importing)):
        if name in wanted:
            with tempfile.TemporaryDirectory() as folder:
                trio.run(benchmark, folder)


if __name__ == "__main__":
    main()
