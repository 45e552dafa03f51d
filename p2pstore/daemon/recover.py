"""Restores a household onto a fresh machine from the paper key: real seams, and `services.recovery` on them.

```
words > keys > who is at this address? > roster > keys of all generations > names, who holds what > tree and files
```

Nothing but the files stays: the ledger that is needed meanwhile lies in the given home and goes with the end. The
machine is not enrolled; `join` does that afterwards.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import trio

from p2pstore.daemon.home import Home, NotEmpty
from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.local_files import RealFiles
from p2pstore.edges.streams import dial
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Misuse, P2PStoreError, PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.keys.household import HouseholdKeys
from p2pstore.keys.identity import Identity, peer_id_of, verify
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import BULK_PORT_OFFSET, MIB, RECOVERY_PORT_OFFSET, RECOVERY_TIMEOUT_S
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import PeerEndpoint
from p2pstore.seams.workers import Workers
from p2pstore.services.budget import ByteBudget
from p2pstore.services.catalog import Catalog
from p2pstore.services.download import Downloader
from p2pstore.services.exporter import Destination, Exporter
from p2pstore.services.liveness import Condition, Liveness
from p2pstore.services.membership import Membership
from p2pstore.services.recovery import (
    Contacts,
    Fetched,
    NobodyAnswers,
    Survivors,
    ask_door,
    fetch_metadata,
    find_survivors,
    serve_nobody,
)
from p2pstore.services.shards import ShardClient
from p2pstore.services.transfers import Failed, Transfer

LEDGER_FOLDER: Final = "restoring"
DOWNLOAD_BYTES: Final = 128 * MIB
"""Bytes in flight: a machine that restores does nothing else."""

SECOND_TRIES: Final = 2
"""Rounds for files that could not be read at first: who restores has waited longer for less."""

CPU_THREADS: Final = 2
IO_THREADS: Final = 3
PROGRESS_EVERY_S: Final = 0.25


@dataclass(slots=True)
class Restored:
    """What became of a restore.

    Attributes:
        household: its name.
        network_id: in hexadecimal.
        machines: names of those that were read from.
        silent: names of those that did not answer.
        broken: names of those that stopped answering in the middle.
        generations: key generations that the paper opened.
        waiting: changes that could not be read, because what they build on is on no surviving machine.
        files: written.
        bytes: written.
        failed: what could not be written, with the reason.
        seconds: from the first question to the last byte.
    """

    household: str
    network_id: str
    machines: list[str]
    silent: list[str]
    broken: list[str]
    generations: int
    waiting: int
    files: int = 0
    bytes: int = 0
    failed: list[Failed] = field(default_factory=list)
    seconds: float = 0.0


Report = Callable[[dict[str, Any]], None]
Tell = Callable[[str], None]


def restore_household(
    home: Path,
    *,
    secret: bytes,
    at: Sequence[tuple[str, int]],
    to: Path,
    overwrite: bool,
    report: Report,
    tell: Tell,
) -> Restored:
    """Restore the whole tree of the household whose paper this is into the folder `to`. Blocks.

    Args:
        home: where the ledger lies meanwhile; no installation.
        secret: of the paper.
        at: addresses of surviving machines, as their `status` shows them; one that answers is enough.
        to: made if it is not there.
        overwrite: whether `to` may have something in it: files of the same names are replaced.
        report: called with progress, as from `get`.
        tell: called with a sentence for people when a step is done.

    Raises:
        NotEmpty, AlreadyHome: of the folders.
        WrongPaper: the words are another household's.
        NobodyAnswers: no machine could be reached.
    """
    folder = Home(home)
    folder.refuse_installation()
    to = to.absolute()
    if to.is_dir() and not overwrite and any(to.iterdir()):
        raise NotEmpty(str(to))
    to.mkdir(parents=True, exist_ok=True)
    made_home = not home.exists()
    ledger_path = folder.path / LEDGER_FOLDER
    shutil.rmtree(ledger_path, ignore_errors=True)
    ledger_path.mkdir(mode=0o700, parents=True)
    try:
        keys = HouseholdKeys.derive(secret)
        return trio.run(_restore, keys, at, ledger_path, os.fsencode(to), report, tell)
    finally:
        shutil.rmtree(ledger_path, ignore_errors=True)
        if made_home:
            folder.path.rmdir()


async def _restore(
    keys: HouseholdKeys, at: Sequence[tuple[str, int]], ledger_path: Path, to: bytes, report: Report, tell: Tell
) -> Restored:
    rng = random.SystemRandom()
    clock = RealClock()
    started_s = clock.now_s()
    contacts = Contacts(typed=await knock(keys, at, clock, rng))
    network = ZmqNetwork(
        peer_id_of(keys.recovery_curve_public),
        keys.recovery_curve_public,
        keys.recovery_curve_secret,
        clock,
        lambda _: None,
        contacts.endpoint,
        rng=rng,
    )
    outcome: list[Restored] = []
    failure: list[P2PStoreError | OSError] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(network.run, serve_nobody)
        try:
            outcome.append(await _read_all(keys, contacts, network, ledger_path, to, rng, report, tell))
        except (P2PStoreError, OSError) as error:
            failure.append(error)
        nursery.cancel_scope.cancel()
    if failure:
        raise failure[0]
    outcome[0].seconds = clock.now_s() - started_s
    return outcome[0]


async def knock(
    keys: HouseholdKeys, at: Sequence[tuple[str, int]], clock: Clock, rng: random.Random
) -> dict[PeerId, PeerEndpoint]:
    """Who is at the addresses that were typed. Raises what the last one said if none answers."""
    found: dict[PeerId, PeerEndpoint] = {}
    failure: P2PStoreError = NobodyAnswers("no address was given")
    for host, port in at:
        try:
            stream = await dial(host, port + RECOVERY_PORT_OFFSET, clock=clock, timeout_s=RECOVERY_TIMEOUT_S)
            keeper = await ask_door(stream, keys, clock=clock, rng=rng, timeout_s=RECOVERY_TIMEOUT_S)
        except (Misuse, Unavailable, PeerFault) as error:
            failure = error
            continue
        shown = f"[{host}]" if ":" in host else host
        found[keeper.peer] = PeerEndpoint(
            (f"{shown}:{port}",), (f"{shown}:{port + BULK_PORT_OFFSET}",), keeper.curve_public
        )
    if not found:
        raise failure
    return found


async def _read_all(
    keys: HouseholdKeys,
    contacts: Contacts,
    network: ZmqNetwork,
    ledger_path: Path,
    to: bytes,
    rng: random.Random,
    report: Report,
    tell: Tell,
) -> Restored:
    clock, io = RealClock(), ThreadWorkers(IO_THREADS)
    survivors = await find_survivors(network, contacts, keys)
    membership = _reader(keys, survivors, clock, rng)
    restored = _described(membership, survivors)
    total = len(survivors.roster.members())
    tell(f"{restored.household}: {len(restored.machines)} of {total} machines answer: {', '.join(restored.machines)}")
    if restored.silent:
        tell(f"silent: {', '.join(restored.silent)}")
    async with _open_ledger(ledger_path, membership, io, clock, rng) as ledger:
        fetched = await fetch_metadata(network, ledger, survivors.answering)
        _note(restored, fetched, membership)
        tell("names and keys are here; reading files")
        transfer = Transfer("get", clock.now_s())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_report, transfer, clock, report)
            await _export(membership, network, ledger, survivors, transfer, to, clock, io)
            nursery.cancel_scope.cancel()
        transfer.phase = "done"
        report(transfer.progress())
        restored.files, restored.bytes, restored.failed = transfer.files_done, transfer.bytes_safe, transfer.failed
    return restored


def _reader(keys: HouseholdKeys, survivors: Survivors, clock: Clock, rng: random.Random) -> Membership:
    """The roster and all keys, in the hands of somebody who is no member and signs nothing."""

    async def keep_nothing(_: object) -> None:
        """The keys are in memory only."""

    return Membership(
        identity=Identity.generate(rng),
        keyring=survivors.keyring(keys),
        roster=survivors.roster,
        clock=clock,
        rng=rng,
        save_keyring=keep_nothing,
    )


def _described(membership: Membership, survivors: Survivors) -> Restored:
    roster = survivors.roster
    return Restored(
        household=roster.name,
        network_id=roster.network_id.hex(),
        machines=sorted(membership.name_of(peer) for peer in survivors.answering),
        silent=sorted(membership.name_of(peer) for peer in survivors.silent),
        broken=[],
        generations=len(membership.keyring.generations),
        waiting=0,
    )


def _note(restored: Restored, fetched: Fetched, membership: Membership) -> None:
    restored.broken = sorted(membership.name_of(peer) for peer in fetched.broken)
    restored.waiting = fetched.waiting


@asynccontextmanager
async def _open_ledger(
    path: Path, membership: Membership, io: Workers, clock: Clock, rng: random.Random
) -> AsyncIterator[Ledger]:
    ledger = await Ledger.open(
        RealDisk(path),
        io,
        clock,
        signer=membership.identity,
        verify=verify,
        public_of=membership.public_of,
        keys_of=membership.metadata_keys_of,
        current_keys=lambda: None,
        peer_name=membership.name_of,
        rng=rng,
    )
    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(ledger.run)
            yield ledger
            nursery.cancel_scope.cancel()
    finally:
        await ledger.close()


async def _export(
    membership: Membership,
    network: ZmqNetwork,
    ledger: Ledger,
    survivors: Survivors,
    transfer: Transfer,
    to: bytes,
    clock: Clock,
    io: Workers,
) -> None:
    """Write the whole tree; what cannot be read is listed in `transfer`."""
    files = RealFiles()
    liveness = Liveness(
        me=membership.me,
        network=network,
        clock=clock,
        others=lambda: list(survivors.answering),
        own_condition=lambda: Condition(0, 0, 0),
    )
    downloader = Downloader(
        me=membership.me,
        workers=ThreadWorkers(CPU_THREADS),
        clock=clock,
        shards=ShardClient(
            me=membership.me,
            network_id=membership.network_id,
            network=network,
            server=None,
            public_of=membership.public_of,
            verify=verify,
        ),
        liveness=liveness,
        budget=ByteBudget(DOWNLOAD_BYTES),
        stripes_of=Catalog(me=membership.me, ledger=ledger, store=None).stripes_of_chunk,
        keys_of=membership.sealing_keys_of,
    )
    exporter = Exporter(
        files=files, workers=io, tree=ledger, downloader=downloader, keys_of=membership.sealing_keys_of
    )
    root = await ledger.resolve(())
    assert root is not None, "the root is always there"
    async with trio.open_nursery() as nursery:
        for peer in survivors.answering:
            nursery.start_soon(liveness.ask, peer)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(liveness.run)
        await exporter.get_all([Destination(root, b"/", to)], transfer)
        for _ in range(SECOND_TRIES):
            again = [failed for failed in transfer.failed if isinstance(failed.error, Unavailable)]
            if not again:
                break
            network.redial()  # a link that went bad meanwhile must not cost a file
            transfer.failed = [failed for failed in transfer.failed if failed not in again]
            await exporter.get_all(await _destinations(ledger, again, to), transfer)
        nursery.cancel_scope.cancel()


async def _destinations(ledger: Ledger, failed: Sequence[Failed], to: bytes) -> list[Destination]:
    """The same files once more."""
    found = []
    for each in failed:
        names = tuple(name for name in each.path.split(b"/") if name)
        item = await ledger.resolve(names)
        if item is not None:
            found.append(Destination(item, each.path, b"/".join((to.rstrip(b"/"), *names))))
    return found


async def _report(transfer: Transfer, clock: Clock, report: Report) -> None:
    while True:
        report(transfer.progress())
        await clock.sleep(PROGRESS_EVERY_S)
