"""Keeps this machine's metadata equal to its linked peers': commits and roster statements here, inventories beside.

Own commits are pushed the moment they are durable; every so often, and whenever a link comes up, roots are compared.
A reply to a push is a receipt: the commits are durable there. `spread` waits for such receipts.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final, Protocol

import trio

from p2pstore.errors import PeerFault, Unavailable
from p2pstore.ids import Dot, GenerationId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.questions import CommitBatch
from p2pstore.ledger.row_check import RowDamaged
from p2pstore.limits import PACKED_BATCH_BYTES, SYNC_BATCH_BYTES
from p2pstore.metadata.vector import Vector
from p2pstore.protocols import sync
from p2pstore.protocols.sync import (
    ExchangeRoots,
    ExchangeRoster,
    ExchangeVectors,
    PeerSync,
    Pull,
    Push,
    Reconcile,
    Rest,
    Roots,
    Statements,
)
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network
from p2pstore.services.inventory_sync import InventorySync, LocalStore
from p2pstore.services.reconciler import Reconciler

REQUEST_TIMEOUT_S: Final = 30.0
"""A batch of commits on a 1 Mbit/s line takes 1.6 s, applying it 0.3 s and an fsync; a busy disk may take ten times
that."""


PACK_FROM_BYTES: Final = 4096
"""Less is sent as it is: what packing saves there is not worth a thread hop on either side."""


class RosterState(Protocol):
    """The roster's statements, as far as a peer must compare them; `metadata.roster.Roster` is one."""

    @property
    def digest(self) -> bytes:
        """16 bytes, equal where the statements are."""
        ...

    def statement_ids(self) -> Sequence[bytes]:
        """The ids of all statements, sorted."""
        ...

    def missing(self, ids: Collection[bytes]) -> list[bytes]:
        """Our statements that somebody lacks who has `ids`."""
        ...


class RosterBook(Protocol):
    """Who keeps the roster; `services.membership.Membership` is one."""

    @property
    def roster(self) -> RosterState:
        """As it is now."""
        ...

    async def accept(self, statements: Iterable[bytes]) -> int:
        """Take in statements that a peer sent, after checking them; durable on return. How many were new."""
        ...


class _Linked:
    """One linked peer: what to say next, what it can open, and a bell that says to think again."""

    def __init__(self, machine: PeerSync) -> None:
        self.machine = machine
        self.keys: frozenset[GenerationId] = frozenset()
        self.bell = trio.Event()
        self.scope = trio.CancelScope()

    def ring(self) -> None:
        self.bell.set()
        self.bell = trio.Event()


class MetadataSync:
    """Mount `handle` for `KINDS`, call `link_changed` when a link comes or goes, and run `run`."""

    KINDS: Final = sync.KINDS | Reconciler.KINDS

    def __init__(
        self,
        *,
        me: PeerId,
        ledger: Ledger,
        network: Network,
        roster: RosterBook,
        clock: Clock,
        rng: random.Random,
        stores: Callable[[], Sequence[LocalStore]] = lambda: (),
        generations: Callable[[], Sequence[GenerationId]] = lambda: (),
        may_hear: Callable[[PeerId], bool] = lambda _: True,
    ) -> None:
        self._me = me
        self._generations = generations
        self._may_hear = may_hear
        self._ledger = ledger
        self._network = network
        self._roster = roster
        self._clock = clock
        self._rng = rng
        self._inventory = InventorySync(me=me, ledger=ledger, network=network, clock=clock, rng=rng, stores=stores)
        self._reconciler = Reconciler(ledger=ledger, ask=self._ask)
        self._linked: dict[PeerId, _Linked] = {}
        self._nursery: trio.Nursery | None = None
        self._durable: dict[PeerId, Vector] = {}
        self._receipt = trio.Event()

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep in step with every linked peer until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                await nursery.start(self._inventory.run)
                await nursery.start(self._spread_news)
                for peer in self._network.linked_peers():
                    self.link_changed(peer, True)
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None
                self._linked.clear()

    def link_changed(self, peer: PeerId, up: bool) -> None:
        """A peer's first link is up, or its last one down. Never waits."""
        if self._nursery is None or peer == self._me:
            return
        if not up:
            if (gone := self._linked.pop(peer, None)) is not None:
                gone.scope.cancel()
        elif peer not in self._linked and self._may_hear(peer):
            linked = _Linked(PeerSync(self._clock.now_s(), self._rng))
            self._linked[peer] = linked
            self._nursery.start_soon(self._serve, peer, linked)

    async def _spread_news(self, task_status: trio.TaskStatus[None]) -> None:
        """Wake whoever should hear of what changed here."""
        with self._ledger.subscribe() as news:
            task_status.started()
            async for change in news:
                now = self._clock.now_s()
                for _, linked in sorted(self._linked.items()):
                    if change.remote:
                        linked.machine.news_from_others(now)
                    if change.statements:
                        linked.machine.roster_changed(now)
                    if change.own or change.remote or change.statements:
                        linked.ring()

    async def _serve(self, peer: PeerId, linked: _Linked) -> None:
        """Say to one peer what there is to say, until its link is gone."""
        with linked.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._inventory.serve, peer)
                while True:
                    await self._converse(peer, linked)

    async def _converse(self, peer: PeerId, linked: _Linked) -> None:
        """One step."""
        machine, ledger = linked.machine, self._ledger
        bell, now = linked.bell, self._clock.now_s()
        step = machine.next_step(ledger.vector(), ledger.wanted_vector(), ledger.own_writer, now)
        if isinstance(step, Rest):
            with self._clock.move_on_after(step.until - now):
                await bell.wait()
            return
        try:
            await self._carry_out(peer, machine, step)
        except (Unavailable, PeerFault, RowDamaged):
            # gone, busy, talking nonsense, or a row here that peers must give back first: a pause, then from the start
            machine.failed(self._clock.now_s())

    async def _carry_out(
        self,
        peer: PeerId,
        machine: PeerSync,
        step: ExchangeRoots | ExchangeVectors | ExchangeRoster | Pull | Push | Reconcile,
    ) -> None:
        ledger = self._ledger
        match step:
            case ExchangeRoots():
                ours, sent = ledger.compared_vector(), self._roots()
                reply = await self._ask(peer, sync.roots_message(sent))
                machine.roots_told(sync.read_roots(reply), sent, ours, self._clock.now_s())
                if machine.theirs == ours:
                    self._note_durable(peer, ours)
            case ExchangeVectors():
                asking = sync.vector_message(ledger.vector(), generations=self._generations())
                reply = await self._ask(peer, asking)
                theirs = sync.read_vector(reply)
                self._note_keys(peer, reply)
                machine.vector_told(theirs, self._clock.now_s())
                await self._heard(peer, theirs)
            case ExchangeRoster():
                await self._exchange_roster(peer)
                machine.roster_exchanged(self._clock.now_s())
            case Pull(after):
                reply = await self._ask(peer, sync.pull_message(after, self._generations()))
                commits = await self._commits_in(reply)
                before = ledger.vector()
                await ledger.apply(commits)
                machine.pulled(before, ledger.vector())
            case Push(after):
                linked = self._linked.get(peer)
                keys = linked.keys if linked is not None else frozenset()
                push, batch = await self._commits_after(sync.PUSH, after, keys)
                reply = await self._ask(peer, push)
                theirs = sync.read_vector(reply)
                machine.pushed(theirs, batch.reaches)
                await self._heard(peer, theirs)
            case Reconcile():
                mended = await self._reconciler.lead(peer)
                machine.reconciled(self._clock.now_s(), mended=mended)

    def _note_keys(self, peer: PeerId, message: Message) -> None:
        """With its vector the peer says what it can open."""
        if (linked := self._linked.get(peer)) is not None:
            linked.keys = sync.read_generations(message)

    async def _commits_after(
        self, kind: str, after: Vector, keys: frozenset[GenerationId]
    ) -> tuple[Message, CommitBatch]:
        """A batch of what `after` does not cover as a message, packed for a peer that has `keys`."""
        batch = await self._ledger.commits_after(after, PACKED_BATCH_BYTES if keys else SYNC_BATCH_BYTES)
        if not keys or sum(map(len, batch.commits)) < PACK_FROM_BYTES:
            return sync.commits_message(kind, batch.commits, more=batch.more), batch
        packed, plain_length = await self._ledger.packed(batch.commits, keys)
        return sync.packed_message(kind, packed, plain_length, more=batch.more), batch

    async def _commits_in(self, message: Message) -> list[bytes]:
        """The raw commits in a message. Raises Malformed."""
        if (plain_length := sync.read_packed(message)) is None:
            return sync.read_commits(message)[0]
        return await self._ledger.unpacked(message.payload, plain_length)

    async def _ask(self, peer: PeerId, message: Message) -> Message:
        return await self._network.request(peer, message, timeout_s=REQUEST_TIMEOUT_S)

    def _roots(self) -> Roots:
        live = self._ledger.compared_fingerprint()[: sync.LIVE_BYTES]
        return Roots(self._ledger.compared_vector().root(), self._roster.roster.digest, live)

    async def _exchange_roster(self, peer: PeerId) -> None:
        """Statements we lack come, statements they lack go; a long roster takes several messages."""
        while True:
            ids = tuple(self._roster.roster.statement_ids())
            reply = await self._ask(peer, sync.statements_message(sync.ROSTER_PULL, Statements((), ids)))
            told = sync.read_statements(reply)
            accepted = await self._roster.accept(told.statements) if told.statements else 0
            if told.ids:
                known = frozenset(ids) - frozenset(told.ids)
                wanted = sync.fitting(self._roster.roster.missing(known))
                await self._ask(peer, sync.statements_message(sync.ROSTER_PUSH, Statements(wanted, ())))
            if not accepted:
                return

    # --- receipts -------------------------------------------------------------------------------------------------

    async def _heard(self, peer: PeerId, theirs: Vector) -> None:
        """The peer said what is durable there."""
        own = self._ledger.own_writer
        if theirs[own] > self._ledger.vector()[own]:
            # what it has under our name is another branch, or what we have lost: no receipt for what we write now
            self._note_durable(peer, theirs.with_entries([(own, 0)]))
        else:
            self._note_durable(peer, theirs)
        await self._ledger.heard(theirs)

    def _note_durable(self, peer: PeerId, theirs: Vector) -> None:
        if self._durable.get(peer) != theirs:
            self._durable[peer] = theirs
            self._receipt.set()
            self._receipt = trio.Event()

    def receipted(self, upto: Dot, peers: Iterable[PeerId]) -> frozenset[PeerId]:
        """Those of `peers` that said, since their link came up or before, that `upto` is durable there."""
        return frozenset(peer for peer in peers if peer in self._durable and self._durable[peer].covers(upto))

    async def spread(
        self,
        upto: Dot,
        peers: Iterable[PeerId],
        *,
        enough: Callable[[frozenset[PeerId]], bool] = lambda _: False,
        timeout_s: float,
    ) -> frozenset[PeerId]:
        """Wait until `upto`, and so all that it builds on, is durable on `peers`; those where it is.

        Returns when `enough` says so of the peers so far, when all of `peers` have it, or after `timeout_s`. The
        pushing is done by `run` in any case, also after this returned.
        """
        wanted = frozenset(peers)
        with self._clock.move_on_after(timeout_s):
            while True:
                receipt = self._receipt
                got = self.receipted(upto, wanted)
                if got == wanted or enough(got):
                    return got
                await receipt.wait()
        return self.receipted(upto, wanted)

    # --- the other side -------------------------------------------------------------------------------------------

    async def handle(self, peer: PeerId, message: Message) -> Message | None:
        """Answer a peer's request; None if its kind is not one of KINDS. Raises Malformed, Unavailable."""
        linked = self._linked.get(peer)
        match message.kind:
            case sync.ROOT:
                theirs, ours, answer = sync.read_roots(message), self._ledger.compared_vector(), self._roots()
                if linked is not None:
                    linked.machine.roots_asked(theirs, answer, ours, self._clock.now_s())
                    linked.ring()
                if theirs.vector == answer.vector:
                    self._note_durable(peer, ours)
                return sync.roots_message(answer)
            case sync.VECTOR:
                vector = sync.read_vector(message)
                if linked is not None:
                    linked.machine.vector_heard(vector)
                self._note_keys(peer, message)
                await self._heard(peer, vector)
                return sync.vector_message(self._ledger.vector(), generations=self._generations())
            case sync.PULL:
                reply, _ = await self._commits_after(
                    sync.PULL, sync.read_vector(message), sync.read_generations(message)
                )
                return reply
            case sync.PUSH:
                await self._ledger.apply(await self._commits_in(message))
                return sync.vector_message(self._ledger.receipt_vector(), sync.PUSH)
            case sync.ROSTER_PULL:
                ids = sync.read_statements(message).ids
                roster = self._roster.roster
                ours_ids = frozenset(roster.statement_ids())
                answer_part = Statements(
                    sync.fitting(roster.missing(ids)), tuple(sorted(each for each in ids if each not in ours_ids))
                )
                return sync.statements_message(sync.ROSTER_PULL, answer_part)
            case sync.ROSTER_PUSH:
                await self._roster.accept(sync.read_statements(message).statements)
                return Message(sync.ROSTER_PUSH)
            case sync.INVENTORY_PULL | sync.INVENTORY_PUSH:
                return await self._inventory.handle(peer, message)
            case _:
                return await self._reconciler.handle(message)
