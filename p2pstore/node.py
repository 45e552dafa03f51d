"""The node: one machine's services, built from seams and settings. No logic lives here.

```
             importer  exporter        what a person asks for
            uploader    downloader     the sentence, both ways
             placing > shards < ...    stripes on machines
 membership  metadata_sync  liveness   who, what, when
             ledger   store            this machine's disks
             network  dht              the others
```
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from dht import Datagrams, Dht
from p2pstore.errors import Forged, Refused
from p2pstore.ids import Dot, EncodingId, GenerationId, PeerId, peer_id
from p2pstore.keys.generation import Keyring
from p2pstore.keys.identity import Identity, peer_id_of, verify
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import MIB
from p2pstore.metadata.collection import OpenIntent
from p2pstore.metadata.roster import Roster
from p2pstore.placement.promise import Promise, household_promise, promise_of_words
from p2pstore.protocols.wire import UNKNOWN_KIND
from p2pstore.seams.clock import Clock
from p2pstore.seams.disk import Disk
from p2pstore.seams.folder_events import FolderEvents
from p2pstore.seams.local_files import LocalFiles
from p2pstore.seams.network import Listen, Message, PeerNetwork
from p2pstore.seams.workers import Workers
from p2pstore.services import auditor as audit_service
from p2pstore.services import departure as departure_service
from p2pstore.services import forks as fork_service
from p2pstore.services import history_keeper as history_service
from p2pstore.services import liveness as liveness_service
from p2pstore.services import shards as shard_service
from p2pstore.services.auditor import Auditor
from p2pstore.services.brake import Brake
from p2pstore.services.budget import ByteBudget
from p2pstore.services.catalog import Catalog, Nearby, Receipts
from p2pstore.services.chunk_lists import ChunkLists
from p2pstore.services.collector import Collector, blocking
from p2pstore.services.departure import Departure
from p2pstore.services.download import Downloader
from p2pstore.services.exporter import Exporter
from p2pstore.services.forks import Forks
from p2pstore.services.history_keeper import HistoryKeeper
from p2pstore.services.importer import Importer
from p2pstore.services.liveness import Condition, Liveness, condition_of
from p2pstore.services.membership import Membership
from p2pstore.services.mender import Mender
from p2pstore.services.metadata_sync import MetadataSync
from p2pstore.services.outlooks import Outlooks
from p2pstore.services.owed import OwedStripes
from p2pstore.services.placer import Placer
from p2pstore.services.placing import Placing
from p2pstore.services.promiser import Promiser
from p2pstore.services.quarantine import Quarantine, QuarantineBook
from p2pstore.services.recovery_door import ReadOnly
from p2pstore.services.repair_work import RepairWork
from p2pstore.services.repairer import Repairer
from p2pstore.services.restore_drill import RestoreDrill
from p2pstore.services.scrubber import Scrubber
from p2pstore.services.self_check import SelfCheck
from p2pstore.services.shards import ShardClient, ShardServer
from p2pstore.services.silences import Silences
from p2pstore.services.surveyor import Surveyor
from p2pstore.services.transfers import Transfers
from p2pstore.services.upload import Uploader
from p2pstore.services.uploads import Uploads
from p2pstore.services.usage import Usage
from p2pstore.services.verdict import VerdictService
from p2pstore.services.watch_store import WatchStore
from p2pstore.services.watched_folder import Means
from p2pstore.services.watched_folders import WatchedFolders
from p2pstore.storage.store import ShardStore

UPLOAD_BYTES: Final = 64 * MIB
"""Bytes of all uploads in flight, plain and coded: enough to keep two cores and six machines busy, and within the
250 MiB that a daemon may take (docs/measurements.md)."""

DOWNLOAD_BYTES: Final = 64 * MIB
"""The same for downloads."""

DRILL_BYTES: Final = 32 * MIB
"""The same for test restores; nobody waits for them."""


INTENT_PATIENCE_S: Final = 2.0
"""An upload waits so long for another machine to have heard of it: its author must sign every condemned list anyway."""


@dataclass(frozen=True, slots=True)
class Seams:
    """What a node stands on: real in the daemon, simulated in simulations.

    Attributes:
        clock: this machine's time.
        rng: this machine's randomness.
        cpu: workers for coding and hashing.
        io: workers for disks and databases.
        ledger_disk: the folder of the metadata database.
        store_disk: the folder of shards.
        files: the file system that people put from and get to.
        folder_events: news of folders in it.
        make_network: the network, given whom to admit and where peers are.
        datagrams: the DHT's socket.
    """

    clock: Clock
    rng: random.Random
    cpu: Workers
    io: Workers
    ledger_disk: Disk
    store_disk: Disk
    files: LocalFiles
    folder_events: FolderEvents
    make_network: Callable[[Membership], PeerNetwork]
    datagrams: Datagrams


class Node:
    """One machine's services. Made by `open`; does nothing until `run`."""

    def __init__(
        self,
        seams: Seams,
        membership: Membership,
        ledger: Ledger,
        store: ShardStore,
        owed: OwedStripes,
        book: QuarantineBook,
    ) -> None:
        """Not called from outside; see `open`."""
        me = membership.me
        self.seams = seams
        self.membership = membership
        self.ledger = ledger
        self.store = store
        self.network = seams.make_network(membership)
        self.dht = Dht(
            own_id=me,
            public=membership.identity.public,
            keys=membership.datagram_keys()[:4],
            datagrams=seams.datagrams,
            clock=seams.clock,
            rng=seams.rng,
            sign=membership.identity.sign,
            verify=_verifies,
            id_of=peer_id_of,
            holders=self._hints,
            admits=lambda identity: membership.is_member(PeerId(identity)),
        )
        self.liveness = Liveness(
            me=me,
            network=self.network,
            clock=seams.clock,
            others=membership.others,
            own_condition=self.own_condition,
        )
        self.metadata_sync = MetadataSync(
            me=me,
            ledger=ledger,
            network=self.network,
            roster=membership,
            clock=seams.clock,
            rng=seams.rng,
            stores=lambda: (store,),
            generations=membership.metadata_generations,
            may_hear=membership.is_member,  # who has left, or holds the paper key, asks and is told nothing unasked
        )
        self.brake = Brake(ledger=ledger, clock=seams.clock)
        self.self_check = SelfCheck(ledger=ledger, clock=seams.clock)
        self.quarantine = Quarantine(
            me=me,
            clock=seams.clock,
            ledger=ledger,
            store=store,
            book=book,
            readers=self.readers,
            met=lambda dot: bool(self.metadata_sync.receipted(dot, [dot.author])),
            blocked=self._collection_blocked,
        )
        self.shard_server = ShardServer(
            me=me,
            network_id=membership.network_id,
            store=store,
            sign=membership.identity.sign,
            clock=seams.clock,
            leaves=lambda: me in membership.leaving(),
            taken_again=self.quarantine.taken_again,
        )
        self.shards = ShardClient(
            me=me,
            network_id=membership.network_id,
            network=self.network,
            server=self.shard_server,
            public_of=membership.public_of,
            verify=verify,
            lists_naming=ledger.lists_naming,
        )
        self.read_only = ReadOnly(
            shards=self.shard_server.handle,
            metadata=lambda message: self.metadata_sync.handle(membership.recovery_peer, message),
            condition=lambda: self.own_condition().encode(),
        )
        receipts = Receipts(seams.clock)
        self.catalog = Catalog(me=me, ledger=ledger, store=store, receipts=receipts)
        self.nearby = nearby = Nearby(
            me=me,
            clock=seams.clock,
            liveness=self.liveness,
            own_condition=self.own_condition,
            find_node=self._find_node,
            member=membership.member,
            leaving=membership.leaving,
        )
        self.placing = Placing(
            me=me,
            shards=self.shards,
            liveness=self.liveness,
            candidates=nearby,
            known_holders=self.catalog.announced,
            receipted=receipts.note,
            move_on_after=seams.clock.move_on_after,
            sites=membership.sites,
            leaving=membership.leaving,
        )
        self.downloader = Downloader(
            me=me,
            workers=seams.cpu,
            clock=seams.clock,
            shards=self.shards,
            liveness=self.liveness,
            budget=ByteBudget(DOWNLOAD_BYTES),
            stripes_of=self.catalog.stripes_of_chunk,
            keys_of=membership.sealing_keys_of,
        )
        self.placer = Placer(
            me=me,
            clock=seams.clock,
            owed=owed,
            stripe_of=self.catalog.stripe,
            placing=self.placing,
            downloader=self.downloader,
            liveness=self.liveness,
            drop_here=store.drop,
            sites=membership.sites,
            stays=membership.stays,
        )
        self.uploader = Uploader(
            workers=seams.cpu,
            placing=self.placing,
            budget=ByteBudget(UPLOAD_BYTES),
            keys=membership.sealing_keys,
            machines_at_hand=nearby.machines_at_hand,
        )
        self.uploads = Uploads(
            me=me, ledger=ledger, clock=seams.clock, rng=seams.rng, spread=self._spread_intent
        )
        self.collector = Collector(
            me=me,
            clock=seams.clock,
            rng=seams.rng,
            ledger=ledger,
            running=self.uploads.running,
            readers=self.readers,
            dedupe_key_of=self._dedupe_key_of,
            blocked=self._collection_blocked,
        )
        self.importer = Importer(
            files=seams.files,
            workers=seams.io,
            ledger=ledger,
            uploader=self.uploader,
            promise=self.promise_at,
            debts=self.placer,
            uploads=self.uploads,
        )
        self.exporter = Exporter(
            files=seams.files,
            workers=seams.io,
            tree=ledger,
            downloader=self.downloader,
            keys_of=membership.sealing_keys_of,
        )
        self.chunk_lists = ChunkLists(membership=membership, ledger=ledger, exporter=self.exporter)
        self.usage = Usage(ledger=ledger, chunk_lists=self.chunk_lists, rng=seams.rng)
        self.promiser = Promiser(
            membership=membership,
            ledger=ledger,
            catalog=self.catalog,
            chunk_lists=self.chunk_lists,
            liveness=self.liveness,
            clock=seams.clock,
            debts=self.placer,
        )
        self.transfers = Transfers(seams.clock)
        self.watched = WatchedFolders(
            Means(
                store=WatchStore(seams.ledger_disk, seams.io),
                files=seams.files,
                events=seams.folder_events,
                importer=self.importer,
                tree=ledger,
                transfers=self.transfers,
                clock=seams.clock,
                workers=seams.io,
                scans=trio.Lock(),
                can_write=lambda: (
                    membership.myself is not None
                    and membership.myself.role != "storage"
                    and not membership.myself.leaves
                ),
            )
        )
        self.silences = Silences(
            clock=seams.clock, ledger=ledger, liveness=self.liveness, membership=membership
        )
        self.surveyor = Surveyor(
            me=me,
            ledger=ledger,
            store=store,
            silences=self.silences,
            liveness=self.liveness,
            shards=self.shards,
            sites=membership.sites,
        )
        work = RepairWork(seams.clock)
        self.mender = Mender(
            membership=membership,
            ledger=ledger,
            store=store,
            shards=self.shards,
            downloader=self.downloader,
            clock=seams.clock,
            work=work,
        )
        self.repairer = Repairer(
            membership=membership,
            ledger=ledger,
            silences=self.silences,
            liveness=self.liveness,
            surveyor=self.surveyor,
            placing=self.placing,
            downloader=self.downloader,
            mender=self.mender,
            work=work,
            clock=seams.clock,
        )
        self.verdicts = VerdictService(
            membership=membership,
            ledger=ledger,
            catalog=self.catalog,
            liveness=self.liveness,
            silences=self.silences,
            clock=seams.clock,
            brake=self.brake,
        )
        self.scrubber = Scrubber(
            store=store, ledger=ledger, clock=seams.clock, damage_found=self.mender.hurry
        )
        self.forks = Forks(
            ledger=ledger,
            network=self.network,
            clock=seams.clock,
            rng=seams.rng,
            public_of=membership.public_of,
            verify=verify,
            can_write=lambda: membership.current_metadata_keys() is not None,
            may_hear=membership.is_member,
        )
        self.history_keeper = HistoryKeeper(
            ledger=ledger,
            network=self.network,
            clock=seams.clock,
            others=membership.others,
            answering=self.liveness.answering,
            braked=self.brake.look,
        )
        self.outlooks = Outlooks(
            membership=membership,
            ledger=ledger,
            verdicts=self.verdicts,
            liveness=self.liveness,
            chunk_lists=self.chunk_lists,
        )
        self.restore_drill = RestoreDrill(
            ledger=ledger,
            exporter=Exporter(
                files=seams.files,
                workers=seams.io,
                tree=ledger,
                downloader=Downloader(
                    me=me,
                    workers=seams.cpu,
                    clock=seams.clock,
                    shards=self.shards,
                    liveness=self.liveness,
                    budget=ByteBudget(DRILL_BYTES),
                    stripes_of=self.catalog.stripes_elsewhere,
                    keys_of=membership.sealing_keys_of,
                ),
                keys_of=membership.sealing_keys_of,
            ),
            clock=seams.clock,
            rng=seams.rng,
            can_read=lambda: membership.myself is not None and membership.myself.role != "storage",
        )
        self.auditor = Auditor(
            membership=membership,
            ledger=ledger,
            store=store,
            catalog=self.catalog,
            network=self.network,
            downloader=self.downloader,
            liveness=self.liveness,
            clock=seams.clock,
            rng=seams.rng,
        )
        self.departure = Departure(
            membership=membership,
            network_id=membership.network_id,
            ledger=ledger,
            store=store,
            network=self.network,
            liveness=self.liveness,
            silences=self.silences,
            surveyor=self.surveyor,
            nearby=nearby,
            clock=seams.clock,
            verify=verify,
            busy=self._busy,
            last_put_s=lambda: self.shard_server.last_put_s,
        )
        self._owed = owed
        self._book = book

    @classmethod
    async def open(
        cls,
        seams: Seams,
        *,
        identity: Identity,
        keyring: Keyring,
        roster: Roster,
        given_bytes: int,
        save_keyring: Callable[[Keyring], Awaitable[None]],
        machine: bytes = b"",
    ) -> Node:
        """Open the ledger and the store, and build the services on them.

        Args:
            seams: what it stands on.
            identity: this machine's keys.
            keyring: the household's keys, as far as this machine has them.
            roster: who belongs to the household, as last known.
            given_bytes: how much of the disk shards may take.
            save_keyring: makes a new keyring durable.
            machine: what names this machine, if anything does.

        Raises:
            DiskAsleep: the store's disk is away.
            Busy: another process has the ledger or the store open.
        """
        membership = Membership(
            identity=identity,
            keyring=keyring,
            roster=roster,
            clock=seams.clock,
            rng=seams.rng,
            save_keyring=save_keyring,
        )
        ledger = await Ledger.open(
            seams.ledger_disk,
            seams.io,
            seams.clock,
            signer=identity,
            verify=verify,
            public_of=membership.public_of,
            keys_of=membership.metadata_keys_of,
            current_keys=membership.current_metadata_keys,
            peer_name=membership.name_of,
            rng=seams.rng,
            machine=machine,
        )
        store = await ShardStore.open(
            seams.store_disk, seams.io, seams.clock, rng=seams.rng, given_bytes=given_bytes
        )
        owed = await OwedStripes.open(seams.ledger_disk, seams.io)
        book = await QuarantineBook.open(seams.ledger_disk, seams.io)
        return cls(seams, membership, ledger, store, owed, book)

    async def run(
        self, listen: Listen | None, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run every service until cancelled; started when requests of others are served."""
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self.ledger.run)
                await nursery.start(self.store.run)
                await self.membership.attach(self.ledger)
                await self.quarantine.load()
                self.network.on_link_change = self._link_changed
                self.network.keep_linked(self.membership.others())
                await nursery.start(lambda task_status: self.network.run(
                    self._handle, listen=listen, task_status=task_status
                ))
                await nursery.start(self.dht.run)
                await nursery.start(self.silences.run)
                await nursery.start(self.shards.run)
                await nursery.start(self.watched.run)
                for service in (
                    self.membership.run,
                    self.liveness.run,
                    self.metadata_sync.run,
                    self.self_check.run,
                    self.placer.run,
                    self.mender.run,
                    self.repairer.run,
                    self.scrubber.run,
                    self.restore_drill.run,
                    self.promiser.run,
                    self.brake.run,
                    self.history_keeper.run,
                    self.departure.run,
                    self.auditor.run,
                    self.forks.run,
                    self.uploads.run,
                    self.collector.run,
                    self.quarantine.run,
                    self._follow_roster,
                ):
                    nursery.start_soon(service)
                task_status.started()
        finally:
            with trio.CancelScope(shield=True):
                await self.watched.close()
                await self._owed.close()
                await self._book.close()
                await self.store.close()
                await self.ledger.close()

    async def _handle(self, peer: PeerId, message: Message) -> Message:
        """Give a peer's request to the service that serves its kind."""
        if peer == self.membership.recovery_peer:
            return await self.read_only.handle(message)
        if message.kind in departure_service.KINDS:
            return await self.departure.handle(peer, message)
        if not self.membership.is_member(peer):
            raise Refused("removed")
        if message.kind in audit_service.KINDS:
            return await self.auditor.handle(message)
        if message.kind in shard_service.KINDS:
            return await self.shard_server.handle(message)
        if message.kind in liveness_service.KINDS:
            return await self.liveness.handle(peer, message)
        if message.kind in fork_service.KINDS:
            return await self.forks.handle(message)
        if message.kind in history_service.KINDS:
            return await self.history_keeper.handle()
        reply = await self.metadata_sync.handle(peer, message)
        if reply is None:
            raise Refused(UNKNOWN_KIND, message.kind)
        return reply

    async def _follow_roster(self) -> None:
        """Keep links, datagram keys and the DHT in step with who belongs to the household."""
        linked: set[PeerId] = set()
        while True:
            changed = self.membership.changed
            others = self.membership.others()
            self.network.keep_linked(others)
            for gone in sorted(linked.difference(others)):
                self.network.drop(gone)
            linked = set(others)
            if keys := self.membership.datagram_keys()[:4]:
                self.dht.replace_keys(keys)
            addresses = [
                _numeric(address)
                for member in self.membership.roster.members()
                if member.peer_id != self.membership.me
                for address in member.endpoints.datagram
            ]
            await self.dht.bootstrap([address for address in addresses if address is not None])
            if (me := self.membership.myself) is not None and me.endpoints.control:
                await self.dht.publish(me.endpoints.control)
            await changed.wait()

    def _link_changed(self, peer: PeerId, up: bool) -> None:
        if peer == self.membership.recovery_peer:
            return  # it asks, and is told nothing unasked
        self.liveness.ask_soon()
        self.metadata_sync.link_changed(peer, up)
        self.forks.link_changed(peer, up)

    def _busy(self) -> str:
        """What this machine still does for others to see; "" for nothing."""
        if self.transfers.running():
            return "waits for transfers to end"
        return "waits for what is owed to others" if self.placer.owed_count else ""

    def readers(self) -> list[PeerId]:
        """Members that can read the tree: nothing is collected without the signature of each."""
        return sorted(each.peer_id for each in self.membership.roster.members() if each.role != "storage")

    def _collection_blocked(self, intents: Sequence[OpenIntent]) -> str:
        if self.brake.on:
            return "the brake is on: p2pstore brake"
        members = [each.peer_id for each in self.membership.roster.members()]
        return blocking(intents, (), members, self.membership.name_of)

    def _dedupe_key_of(self, generation: GenerationId) -> bytes | None:
        keys = self.membership.sealing_keys_of(generation)
        return None if keys is None else keys.dedupe

    async def _spread_intent(self, upto: Dot) -> None:
        """Wait until another machine has it, if one answers."""
        if others := self.liveness.answering():
            await self.metadata_sync.spread(upto, others, enough=bool, timeout_s=INTENT_PATIENCE_S)

    def promise(self) -> Promise:
        """What a folder promises of which nobody said anything."""
        return household_promise(len(self.membership.roster.members()))

    async def promise_at(self, folder: Path) -> Promise:
        """What holds for what lies in a folder, or would if there were one."""
        word = await self.ledger.promise_word_at(folder)
        return self.promise() if word is None else promise_of_words([word])

    def own_condition(self) -> Condition:
        """What this machine tells others of its disk."""
        return condition_of(self.store.usage())

    def _hints(self, key: bytes) -> list[bytes]:
        return [bytes([index]) for index in self.shard_server.hints(EncodingId(key))]

    async def _find_node(self, key: bytes, count: int) -> Sequence[PeerId]:
        return [peer_id(contact.id) for contact in await self.dht.find_node(key, count)]


def _verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        verify(public, signature, message)
    except Forged:
        return False
    return True


def _numeric(address: str) -> tuple[str, int] | None:
    """(host, port) of an address with a numeric host; None for any other, which the DHT has no use for."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return None
    return (host, int(port)) if port.isdigit() and 0 < int(port) < 2**16 else None
