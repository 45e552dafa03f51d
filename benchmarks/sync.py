"""What it costs to keep ledgers equal: bytes, round trips and CPU of what two peers say to each other.

    python -m benchmarks.sync join [ENTRIES]         a new machine joins a tree (100,000 entries by default)
    python -m benchmarks.sync week [ENTRIES]         a machine was away for a week of 1,000 changes
    python -m benchmarks.sync quiet                  nothing new
    python -m benchmarks.sync rounds                 gossip rounds until a change is on all of 30 peers
    python -m benchmarks.sync inventories [SHARDS]   bytes a shard on the wire and on disk (10^6 shards by default)
    python -m benchmarks.sync check [ENTRIES]        what the daily look through the ledger costs

Every message is made, encoded and read as on the wire, without a wire: the figures are payload bytes.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from blake3 import blake3

from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.ids import EncodingId, GenerationId, ManifestId, PeerId, StoreId
from p2pstore.keys.identity import Identity, verify
from p2pstore.ledger.drafts import Draft, Put
from p2pstore.ledger.holdings import Holding
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import INVENTORY_CHANGES_MAX, PACKED_BATCH_BYTES
from p2pstore.metadata.operations import MetadataKeys
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Kind, ManifestRef
from p2pstore.packing import pack
from p2pstore.protocols import sync
from p2pstore.protocols.sync import HeldShard, Roots, StoreChanges

RNG = random.Random(1)
KEYS = MetadataKeys(GenerationId(bytes(16)), bytes(32))
IDENTITY = Identity.generate(RNG)
OTHERS = [Identity.generate(RNG) for _ in range(9)]
PUBLICS = {identity.peer_id: identity.public for identity in (IDENTITY, *OTHERS)}
WORDS = [bytes(RNG.choices(b"abcdefghijklmnopqrstuvwxyz", k=RNG.randrange(3, 9))) for _ in range(2000)]


@asynccontextmanager
async def ledger(identity: Identity) -> AsyncIterator[tuple[Ledger, Path]]:
    """A ledger on the real disk, running, and its folder."""
    with tempfile.TemporaryDirectory() as folder:
        opened = await Ledger.open(
            RealDisk(folder),
            ThreadWorkers(),
            RealClock(),
            signer=identity,
            verify=verify,
            public_of=PUBLICS.get,
            keys_of=lambda _: KEYS,
            current_keys=lambda: KEYS,
            rng=random.Random(identity.peer_id),
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(opened.run)
            yield opened, Path(folder)
            nursery.cancel_scope.cancel()
        await opened.close()


def entry(number: int) -> Draft:
    """A file of one chunk or more, as a family has them: 500 in a folder, a name of two words and a number."""
    name = b"%s %s %d.jpg" % (RNG.choice(WORDS), RNG.choice(WORDS), number)
    manifest = ManifestRef(ManifestId(RNG.randbytes(32)), KEYS.generation)
    when_ns = (1_600_000_000 + RNG.randrange(10**8)) * 10**9
    return Put((b"photos", b"%05d" % (number // 500), name), Kind.FILE, manifest, RNG.randrange(2**23), when_ns, 0o644)


async def fill(target: Ledger, count: int) -> None:
    """A tree of `count` files, imported."""
    batch: list[Draft] = []
    for number in range(count):
        batch.append(entry(number))
        if len(batch) == 900:
            await target.commit(batch)
            batch = []
    if batch:
        await target.commit(batch)


async def pull(target: Ledger, source: Ledger) -> tuple[int, int, float]:
    """Messages of a member that lacks everything after its vector: bytes both ways, round trips, its CPU seconds."""
    size, trips, cpu = 0, 0, 0.0
    while True:
        request = sync.pull_message(target.wanted_vector(), [KEYS.generation])
        batch = await source.commits_after(sync.read_vector(request), PACKED_BATCH_BYTES)
        packed, length = await source.packed(batch.commits, sync.read_generations(request))
        reply = sync.packed_message(sync.PULL, packed, length, more=batch.more)
        size, trips = size + len(request.payload) + len(reply.payload), trips + 1
        cpu -= time.process_time()
        await target.apply(await target.unpacked(reply.payload, length))
        cpu += time.process_time()
        if not batch.more:
            return size, trips, cpu


def folder_bytes(folder: Path) -> int:
    """Bytes of the files in `folder`."""
    return sum(path.stat().st_size for path in folder.iterdir())


async def join(count: int) -> None:
    """A new machine takes a whole tree."""
    async with ledger(IDENTITY) as (source, _), ledger(OTHERS[0]) as (target, folder):
        await fill(source, count)
        start, both = time.perf_counter(), time.process_time()
        size, trips, cpu = await pull(target, source)
        took, both = time.perf_counter() - start, time.process_time() - both
        assert target.vector()[source.own_writer] == source.vector()[source.own_writer]
        print(
            f"join {count:,} entries: {size / 1e6:.1f} MB ({size / count:.1f} B each) in {trips} round trips,"
            f" {took:.0f} s; {cpu / count * 1e6:.0f} us CPU each, of the giver {(both - cpu) / count * 1e6:.0f} us;"
            f" {folder_bytes(folder) / count:.0f} B on disk each"
        )


async def week(count: int) -> None:
    """1,000 changes in a tree, missed; in bursts as people and programs make them."""
    async with ledger(IDENTITY) as (source, _), ledger(OTHERS[0]) as (target, _):
        await fill(source, count)
        await pull(target, source)
        for burst in (20, 5, 1):
            for number in range(0, 1000, burst):
                await source.commit([entry(RNG.randrange(count)) for _ in range(number, number + burst)])
            size, trips, cpu = await pull(target, source)
            print(
                f"a week of 1,000 changes in {count:,} entries, {burst} in a commit: {size / 1000:.1f} KB,"
                f" {trips} round trip, {cpu * 1000:.0f} ms CPU"
            )


async def quiet(_: int) -> None:
    """A round in which nothing is new."""

    message = sync.roots_message(Roots(bytes(16), bytes(16), bytes(8)))
    one = len(pack([message.kind, message.args])) + len(message.payload)
    print(f"nothing new: {2 * one} B a round, request and reply")


async def rounds(_: int) -> None:
    """A model: in each round every peer compares roots with one other, and news passes. What is pushed at once to every
    linked peer is left out: with it, a change is on all that are linked in one round."""
    counts = []
    for seed in range(2000):
        rng = random.Random(seed)
        has = {0}
        turns = 0
        while len(has) < 30:
            turns += 1
            before = set(has)
            for peer in range(30):
                other = rng.choice([each for each in range(30) if each != peer])
                if peer in before or other in before:
                    has |= {peer, other}
        counts.append(turns)
    counts.sort()
    mean, worst = sum(counts) / len(counts), counts[-len(counts) // 100]
    print(f"gossip alone (a model), 30 peers: {mean:.1f} rounds, p99 {worst}")


async def inventories(count: int) -> None:
    """A store's inventory, told in messages of changes and taken in."""
    async with ledger(IDENTITY) as (target, folder):
        peer, store = PeerId(bytes(32)), StoreId(bytes(16))
        before, wire, after = folder_bytes(folder), 0, 0
        cpu = time.process_time()
        while after < count:
            upto = min(count, after + INVENTORY_CHANGES_MAX)
            held = tuple(
                HeldShard(EncodingId(blake3(b"%d" % number).digest()), number % 7, 524_352, held=True)
                for number in range(after, upto)
            )
            changes = StoreChanges(store, bytes(8), after, upto, upto < count, held)
            message = sync.inventory_message(sync.INVENTORY_PULL, [changes])
            wire += len(message.payload)
            [told] = sync.read_inventory(message)
            holdings: Sequence[Holding] = [
                Holding(each.encoding, each.index, each.payload_bytes, each.held) for each in told.changes
            ]
            await target.put_holdings(peer, store, epoch=bytes(8), after=after, upto=upto, changes=holdings)
            after = upto
        cpu = time.process_time() - cpu
        await target.close()
        on_disk = folder_bytes(folder) - before
        print(
            f"inventory of {count:,} shards: {wire / count:.1f} B on the wire, {on_disk / count:.1f} B on disk,"
            f" {cpu / count * 1e6:.0f} us CPU each"
        )


async def check(count: int) -> None:
    """The daily look through the ledger."""
    async with ledger(IDENTITY) as (source, _):
        await fill(source, count)
        cpu = time.process_time()
        found = await source.inspect()
        cpu = time.process_time() - cpu
        assert (found.lost, found.rows) == (0, 0)
        print(f"look through {count:,} entries: {cpu:.1f} s CPU, {cpu / count * 1e6:.0f} us each")
        assert (await source.commits_after(Vector(), 1)).commits


BENCHMARKS = {
    "join": (join, 100_000),
    "week": (week, 100_000),
    "quiet": (quiet, 0),
    "rounds": (rounds, 0),
    "inventories": (inventories, 1_000_000),
    "check": (check, 100_000),
}


def main() -> None:
    """Run what the command line names, or all."""
    wanted = sys.argv[1:] or list(BENCHMARKS)
    name, numbers = wanted[0], [int(each) for each in wanted[1:] if each.isdigit()]
    for each in wanted if not numbers else [name]:
        benchmark, count = BENCHMARKS[each]
        trio.run(benchmark, numbers[0] if numbers else count)


if __name__ == "__main__":
    main()
