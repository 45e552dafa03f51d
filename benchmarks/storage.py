"""Speed of a store on a real disk, beside what the same disk gives to plain writes of the same bytes in the same run.

    python benchmarks/storage.py [--folder FOLDER] [--mib 384] [--rounds 5]

Plain writes are appends of the same pieces to one file: once with an fdatasync per 32 MiB (about what a group commit of
a busy store is), once with a single one at the end. Rounds alternate, so that all see the same disk; medians are shown.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from blake3 import blake3

from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.ids import EncodingId, ShardId
from p2pstore.limits import KIB, MIB
from p2pstore.storage.store import ShardStore

GROUP_BYTES = 32 * MIB
UPLOADS = 128
"""Puts under way at once: as many shards of 500 KiB as the queue of a busy store takes."""


def plain_writes(folder: Path, pieces: list[bytes], count: int, group_bytes: int) -> float:
    """Seconds to append `count` pieces to one file, with an fdatasync after each `group_bytes` and at the end."""
    path = folder / "plain"
    started_s = time.perf_counter()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    unsynced = 0
    for number in range(count):
        unsynced += os.write(descriptor, pieces[number % len(pieces)])
        if unsynced >= group_bytes:
            os.fdatasync(descriptor)
            unsynced = 0
    os.fdatasync(descriptor)
    took_s = time.perf_counter() - started_s
    os.close(descriptor)
    path.unlink()
    return took_s


async def in_parallel(count: int, job: Callable[[int], Awaitable[None]]) -> float:
    """Seconds to run job(0) to job(count - 1), UPLOADS at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await job(number)

    started_s = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for _ in range(UPLOADS):
            nursery.start_soon(work)
    return time.perf_counter() - started_s


def shard_id(number: int) -> ShardId:
    return ShardId(EncodingId(blake3(number.to_bytes(8, "big")).digest()), number % 9)


async def store_run(folder: Path, pieces: list[bytes], count: int) -> dict[str, float]:
    """Seconds to put, read and look up `count` shards in a fresh store below `folder`."""
    root = folder / "store"
    root.mkdir()
    disk, workers = RealDisk(root), ThreadWorkers()
    rng = random.SystemRandom()
    await ShardStore.create(disk, workers, rng=rng)
    store = await ShardStore.open(disk, workers, RealClock(), rng=rng, given_bytes=2**40)
    hashes = [blake3(piece).digest() for piece in pieces]
    header = bytes(150)
    took: dict[str, float] = {}

    async def put(number: int) -> None:
        which = number % len(pieces)
        await store.put(shard_id(number), header, pieces[which], payload_hash=hashes[which])

    async def get(number: int) -> None:
        await store.get(shard_id(number))

    async with trio.open_nursery() as nursery:
        await nursery.start(store.run)
        took["put"] = await in_parallel(count, put)
        took["get"] = await in_parallel(count, get)
        nursery.cancel_scope.cancel()
    started_s = time.perf_counter()
    report = await store.rebuild_index()
    took["rebuild"] = time.perf_counter() - started_s
    assert report.adopted == count
    await store.close()
    shutil.rmtree(root)
    return took


def measure(folder: Path, piece_bytes: int, total_bytes: int, rounds: int) -> None:
    pieces = [random.Random(number).randbytes(piece_bytes) for number in range(64)]
    count = total_bytes // piece_bytes
    figures: dict[str, list[float]] = {}
    for _ in range(rounds):
        figures.setdefault("plain, sync each 32 MiB", []).append(plain_writes(folder, pieces, count, GROUP_BYTES))
        for name, took_s in trio.run(store_run, folder, pieces, count).items():
            figures.setdefault(name, []).append(took_s)
        figures.setdefault("plain, one sync", []).append(plain_writes(folder, pieces, count, 2**62))
    plain_s = statistics.median(figures["plain, sync each 32 MiB"])
    print(f"{count} shards of {piece_bytes / KIB:g} KiB, median (best) of {rounds}")
    for name, seconds in figures.items():
        median_s, best_s = statistics.median(seconds), min(seconds)
        total_mb = count * piece_bytes / 1e6
        print(
            f"  {name:24} {total_mb / median_s:8.0f} MB/s ({total_mb / best_s:.0f})"
            f" {count / median_s:9.0f} shards/s   {plain_s / median_s:5.0%} of plain"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: the system's temporary folder")
    parser.add_argument("--mib", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), 500 * KIB, arguments.mib * MIB, arguments.rounds)
        measure(Path(folder), 2 * KIB, min(arguments.mib, 32) * MIB, arguments.rounds)


if __name__ == "__main__":
    main()
