"""Tells linked peers which shards this machine's stores hold, and keeps what they tell in the ledger.

Inventories have one writer each, so there is nothing to merge: a counter per store says who knows how much. Changes
are gathered until they pause and pushed; everything missed is pulled when a link comes up.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from p2pstore.errors import DiskAsleep, PeerFault, Unavailable
from p2pstore.ids import PeerId, ShardId, StoreId
from p2pstore.ledger.holdings import Holding
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import INVENTORY_CHANGES_MAX
from p2pstore.protocols import sync
from p2pstore.protocols.sync import HeldShard, StoreChanges, StoreMark
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network

GATHER_S: Final = 1.0
GATHER_MOST_S: Final = 10.0
"""Changes are told when none has come for the first, or after the second. Each message costs its reader a millisecond
and a ledger commit, and every machine tells every other: told twice a second, that was a third of what an upload cost
its holders (docs/measurements.md). Nobody waits for it: uploads know their receipts, readers ask holders."""

REFRESH_S: Final = 6 * 3600.0
"""A link that stays up for weeks is asked so often, so that the time of proof stays fresh (it counts for 35 days)."""

EPOCH_REPLACED: Final = b"replaced"
"""The epoch of a store whose disk another one has taken the place of. No other epoch is of 8 bytes."""

RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0
REQUEST_TIMEOUT_S: Final = 30.0


class StoreChange(Protocol):
    """How one shard stands since a value of its store's counter; `storage.entries.Change` is one."""

    @property
    def counter(self) -> int:
        """Rises with every change."""
        ...

    @property
    def shard(self) -> ShardId:
        """Whose."""
        ...

    @property
    def held(self) -> bool:
        """Whether it is held intact."""
        ...

    @property
    def payload_bytes(self) -> int:
        """Length of its payload."""
        ...


class LocalStore(Protocol):
    """A store of this machine; `storage.store.ShardStore` is one."""

    @property
    def store(self) -> StoreId:
        """Its public name."""
        ...

    @property
    def epoch(self) -> bytes:
        """While this stays the same, counters continue."""
        ...

    async def changes_since(self, counter: int, limit: int) -> Sequence[StoreChange]:
        """Changes after `counter`, oldest first, at most `limit`. Raises DiskAsleep."""
        ...

    async def wait_change(self) -> None:
        """Return after the next change."""
        ...


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was read from the stores last: all linked peers know equally much most of the time, and ask alike.

    Attributes:
        changed: set when a store has changed since.
        epochs: of all stores then.
        known: the question.
        changes: the answer.
    """

    changed: trio.Event
    epochs: dict[StoreId, bytes]
    known: dict[StoreId, StoreMark]
    changes: list[StoreChanges]


class InventorySync:
    """The inventories' half of metadata sync; `MetadataSync` runs it."""

    def __init__(
        self,
        *,
        me: PeerId,
        ledger: Ledger,
        network: Network,
        clock: Clock,
        rng: random.Random,
        stores: Callable[[], Sequence[LocalStore]],
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._network = network
        self._clock = clock
        self._rng = rng
        self._stores = stores
        self._changed = trio.Event()
        self._marks: dict[PeerId, dict[StoreId, StoreMark]] = {}
        self._last: _Answer | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep our own holdings in our own ledger, and note when a store changes, until cancelled."""
        async with trio.open_nursery() as nursery:
            for store in self._stores():
                nursery.start_soon(self._watch, store)
            task_status.started()
            pause_s = RETRY_FIRST_S
            while True:
                changed = self._changed
                try:
                    await self._absorb_own()
                    pause_s = RETRY_FIRST_S
                except Unavailable:
                    await self._clock.sleep(pause_s)  # a full disk, a store that sleeps: later again
                    pause_s = min(RETRY_MAX_S, 2 * pause_s)
                    continue
                await changed.wait()
                await self._pause()

    async def _watch(self, store: LocalStore) -> None:
        while True:
            await store.wait_change()
            self._changed.set()
            self._changed = trio.Event()

    async def _pause(self) -> None:
        """Return when nothing has changed for a while, or after `GATHER_MOST_S`."""
        ends_s = self._clock.now_s() + GATHER_MOST_S
        while True:
            changed = self._changed
            await self._clock.sleep(GATHER_S)
            if not changed.is_set() or self._clock.now_s() >= ends_s:
                return

    async def _absorb_own(self) -> None:
        more = True
        while more:
            known = {mark.store: mark for mark in await self._known_of(self._me)}
            stores = await self._changes(known)
            for changes in stores:
                await self._take_in(self._me, changes)
            more = any(changes.more and changes.changes for changes in stores)

    # --- changes --------------------------------------------------------------------------------------------------

    async def _known_of(self, peer: PeerId) -> list[StoreMark]:
        """How much of a peer's stores the ledger knows."""
        return [
            StoreMark(position.store, position.epoch, position.counter)
            for position in await self._ledger.store_positions(peer)
        ]

    async def _changes(self, known: dict[StoreId, StoreMark]) -> list[StoreChanges]:
        """What our stores have that somebody who knows `known` lacks, as much as fits a message, by store."""
        epochs = {store.store: store.epoch for store in self._stores()}
        last = self._last
        if last is not None and not last.changed.is_set() and (last.epochs, last.known) == (epochs, known):
            return last.changes
        changed = self._changed
        found = await self._read_changes(known)
        if len(found) == len(epochs):  # else a disk sleeps, and may wake at any time
            self._last = _Answer(changed, epochs, dict(known), found)
        return found

    async def _read_changes(self, known: dict[StoreId, StoreMark]) -> list[StoreChanges]:
        found = []
        left = INVENTORY_CHANGES_MAX
        for store in sorted(self._stores(), key=lambda each: each.store):
            mark, epoch = known.get(store.store), store.epoch
            after = mark.counter if mark is not None and mark.epoch == epoch else 0
            try:
                changes = await store.changes_since(after, left) if left else []
            except DiskAsleep:
                continue  # away, not gone: what was told stays true
            upto = changes[-1].counter if changes else after
            held = tuple(
                HeldShard(each.shard.encoding, each.shard.index, each.payload_bytes if each.held else 0, each.held)
                for each in changes
            )
            found.append(StoreChanges(store.store, epoch, after, upto, len(changes) == left, held))
            left -= len(changes)
        return found + self._replaced(known)

    def _replaced(self, known: dict[StoreId, StoreMark]) -> list[StoreChanges]:
        """Stores that somebody takes for ours and that no longer are: their disk was replaced. A new epoch starts from
        nothing, so what was known of them is forgotten; should the disk come back, it tells everything anew."""
        ours = {store.store for store in self._stores()}
        return [
            StoreChanges(mark.store, EPOCH_REPLACED, 0, 0, False, ())
            for _, mark in sorted(known.items())
            if mark.store not in ours and mark.epoch != EPOCH_REPLACED
        ]

    async def _take_in(self, peer: PeerId, changes: StoreChanges) -> None:
        await self._ledger.put_holdings(
            peer,
            changes.store,
            epoch=changes.epoch,
            after=changes.after,
            upto=changes.upto,
            changes=[Holding(each.encoding, each.index, each.payload_bytes, each.held) for each in changes.changes],
        )

    # --- one linked peer ------------------------------------------------------------------------------------------

    async def serve(self, peer: PeerId) -> None:
        """Pull what the peer holds, then push what changes here, until cancelled."""
        pause_s = RETRY_FIRST_S
        while True:
            try:
                await self._pull(peer)
                pause_s = RETRY_FIRST_S
                with self._clock.move_on_after(REFRESH_S):
                    await self._push_changes(peer)
            except (Unavailable, PeerFault):
                await self._clock.sleep(pause_s * (1 + self._rng.random() / 4))
                pause_s = min(RETRY_MAX_S, 2 * pause_s)

    async def _pull(self, peer: PeerId) -> None:
        more = True
        while more:
            known = await self._known_of(peer)
            request = sync.marks_message(sync.INVENTORY_PULL, known)
            reply = await self._network.request(peer, request, timeout_s=REQUEST_TIMEOUT_S)
            stores = sync.read_inventory(reply)
            for changes in stores:
                await self._take_in(peer, changes)
            more = any(changes.more and changes.changes for changes in stores)

    async def _push_changes(self, peer: PeerId) -> None:
        while True:
            changed = self._changed
            while True:
                marks = self._marks.get(peer, {})
                news = [each for each in await self._changes(marks) if each.changes]
                if not news or not marks.keys() >= {each.store for each in news}:
                    break  # nothing new; or the peer has not said yet what it knows, and will pull
                request = sync.inventory_message(sync.INVENTORY_PUSH, news)
                reply = await self._network.request(peer, request, timeout_s=REQUEST_TIMEOUT_S)
                told = {mark.store: mark for mark in sync.read_marks(reply)}
                self._marks[peer] = told
                if not any(each.store in told and told[each.store].counter >= each.upto for each in news):
                    break  # it does not take them: it will pull
            await changed.wait()
            await self._pause()

    # --- the other side -------------------------------------------------------------------------------------------

    async def handle(self, peer: PeerId, message: Message) -> Message:
        """Answer a pull or a push. Raises Malformed."""
        if message.kind == sync.INVENTORY_PULL:
            known = {mark.store: mark for mark in sync.read_marks(message)}
            found = await self._changes(known)
            self._marks[peer] = {
                each.store: StoreMark(each.store, each.epoch, each.upto) for each in found
            }
            return sync.inventory_message(sync.INVENTORY_PULL, found)
        for changes in sync.read_inventory(message):
            await self._take_in(peer, changes)
        return sync.marks_message(sync.INVENTORY_PUSH, await self._known_of(peer))
