"""A small household of ledgers in memory, for tests: identities, keys, simulated disks and clocks."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio
from blake3 import blake3

from p2pstore.ids import Dot, GenerationId, PeerId
from p2pstore.keys.identity import Identity, verify
from p2pstore.ledger.drafts import Committed, Draft, MakeFolder, Put
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.operations import MetadataKeys
from p2pstore.metadata.version import Inline, Kind
from simulations.clock import SimulatedClock
from simulations.disk import SimulatedDisk
from simulations.workers import InlineWorkers


def path(text: str) -> tuple[bytes, ...]:
    """ "a/b" as a path."""
    return tuple(part.encode() for part in text.split("/") if part)


def put(where: str, data: bytes = b"x", **options: object) -> Put:
    """A small file."""
    return Put(path(where), Kind.FILE, Inline(data), len(data), 1_700_000_000_000_000_000, 0o644, **options)  # type: ignore[arg-type]


def mkdir(where: str) -> MakeFolder:
    """A folder."""
    return MakeFolder(path(where))


def keys_numbered(number: int) -> MetadataKeys:
    """The metadata keys of the `number`-th generation."""
    secret = blake3(b"metadata %d" % number).digest()
    return MetadataKeys(GenerationId(blake3(secret).digest(16)), secret)


@dataclass
class Machine:
    """One peer and what it stands on."""

    identity: Identity
    disk: SimulatedDisk
    clock: SimulatedClock
    rng: random.Random
    publics: dict[PeerId, bytes]
    keys: dict[GenerationId, MetadataKeys] = field(default_factory=dict)
    current: MetadataKeys | None = None
    name: str = ""
    names: dict[PeerId, str] = field(default_factory=dict)
    machine: bytes = b""

    @property
    def peer_id(self) -> PeerId:
        return self.identity.peer_id

    async def open(self) -> Ledger:
        return await Ledger.open(
            self.disk,
            InlineWorkers(self.clock, self.disk),
            self.clock,
            signer=self.identity,
            verify=verify,
            public_of=self.publics.get,
            keys_of=self.keys.get,
            current_keys=lambda: self.current,
            peer_name=lambda peer: self.names.get(peer, "?"),
            rng=self.rng,
            machine=self.machine,
        )

    @asynccontextmanager
    async def ledger(self) -> AsyncIterator[Ledger]:
        """The ledger, running; closed at the end of the block."""
        opened = await self.open()
        async with trio.open_nursery() as nursery:
            await nursery.start(opened.run)
            yield opened
            nursery.cancel_scope.cancel()
        await opened.close()


def household(count: int, *, blind: Sequence[int] = (), seed: int = 1) -> list[Machine]:
    """`count` machines that know each other; those numbered in `blind` have no keys."""
    rng = random.Random(seed)
    identities = [Identity.generate(rng) for _ in range(count)]
    publics = {identity.peer_id: identity.public for identity in identities}
    names = {identity.peer_id: f"machine {number}" for number, identity in enumerate(identities)}
    keys = keys_numbered(1)
    return [
        Machine(
            identity,
            SimulatedDisk(random.Random(seed * 1000 + number)),
            SimulatedClock(),
            random.Random(seed * 2000 + number),
            publics,
            {} if number in blind else {keys.generation: keys},
            None if number in blind else keys,
            names[identity.peer_id],
            names,
        )
        for number, identity in enumerate(identities)
    ]


@asynccontextmanager
async def ledgers(machines: Sequence[Machine]) -> AsyncIterator[list[Ledger]]:
    """All their ledgers, running."""
    opened = [await machine.open() for machine in machines]
    async with trio.open_nursery() as nursery:
        for ledger in opened:
            await nursery.start(ledger.run)
        yield opened
        nursery.cancel_scope.cancel()
    for ledger in opened:
        await ledger.close()


async def pull(target: Ledger, source: Ledger, *, bytes_max: int = 200_000) -> None:
    """All that `source` has goes to `target`."""
    while True:
        batch = await source.commits_after(target.wanted_vector(), bytes_max)
        before = target.vector()
        await target.apply(batch.commits)
        if not batch.more or target.vector() == before:
            return


async def sync_all(opened: Sequence[Ledger]) -> None:
    """Everybody has everything."""
    for target in opened:
        for source in opened:
            if source is not target:
                await pull(target, source)
    for target in opened:
        await pull(target, opened[-1])


async def tree(ledger: Ledger) -> dict[str, bytes | None]:
    """Every path shown, with a file's bytes, None for a folder."""
    found: dict[str, bytes | None] = {}
    async for where, item in ledger.walk():
        content = item.content
        text = b"/".join(where).decode(errors="backslashreplace")
        assert text not in found, "one name, two items"
        found[text] = content.data if isinstance(content, Inline) else None
    return found


async def do(ledger: Ledger, *drafts: Draft) -> Committed:
    """Commit `drafts` together."""
    return await ledger.commit(drafts)


def upto(committed: Committed | None) -> Dot:
    """The last dot; there must be one."""
    assert committed is not None
    assert committed.upto is not None
    return committed.upto
