"""Hands shards over in as few requests as the moment asks for.

While two requests to a machine are under way, what comes for it meanwhile waits and goes in one request. On an idle
line every shard goes at once and alone; on a busy one a request, a group commit and a signature serve many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import PeerId
from p2pstore.limits import SHARD_BATCH_BYTES, SHARDS_PER_REQUEST_MAX
from p2pstore.packing import Buffer
from p2pstore.pipeline.shard import ShardHeader

REQUESTS_AT_ONCE: Final = 2
"""To one machine: one on the way while the other is being synced to its disk."""


@dataclass(eq=False, slots=True)
class Parcel:
    """One shard on its way.

    Attributes:
        header: what it is.
        header_bytes: the same as it travels.
        payload: its bytes; not to change until it is settled.
        for_repair: it replaces a lost one.
        error: why it was not stored, once it is settled.
    """

    header: ShardHeader
    header_bytes: bytes
    payload: Buffer
    for_repair: bool
    error: P2PStoreError | None = None
    settled: trio.Event = field(default_factory=trio.Event)

    def settle(self, error: P2PStoreError | None) -> None:
        """It was stored, or was not."""
        self.error = error
        self.settled.set()


Deliver = Callable[[PeerId, Sequence[Parcel]], Awaitable[None]]
"""Hands parcels to a machine and settles each of them; raises P2PStoreError if all of them failed alike."""


class ShardOutbox:
    """Queues by machine. `run` sends; without it, nothing leaves."""

    def __init__(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._waiting: dict[PeerId, deque[Parcel]] = {}
        self._under_way: dict[PeerId, int] = {}
        self._nursery: trio.Nursery | None = None

    @property
    def runs(self) -> bool:
        """Whether somebody sends."""
        return self._nursery is not None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Send until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self._nursery = None

    async def send(self, holder: PeerId, parcel: Parcel) -> None:
        """Hand a shard over. Raises what it met; cancelled, a shard that has not left does not leave any more."""
        queue = self._waiting.setdefault(holder, deque())
        queue.append(parcel)
        self._start(holder)
        try:
            await parcel.settled.wait()
        except trio.Cancelled:
            if parcel in queue:
                queue.remove(parcel)
            raise
        if parcel.error is not None:
            raise parcel.error

    def _start(self, holder: PeerId) -> None:
        queue = self._waiting[holder]
        while queue and self._nursery is not None and self._under_way.get(holder, 0) < REQUESTS_AT_ONCE:
            batch = [queue.popleft()]
            size = len(batch[0].payload)
            while queue and len(batch) < SHARDS_PER_REQUEST_MAX and size + len(queue[0].payload) <= SHARD_BATCH_BYTES:
                batch.append(queue.popleft())
                size += len(batch[-1].payload)
            self._under_way[holder] = self._under_way.get(holder, 0) + 1
            self._nursery.start_soon(self._send, holder, batch)

    async def _send(self, holder: PeerId, batch: list[Parcel]) -> None:
        try:
            await self._deliver(holder, batch)
        except P2PStoreError as error:
            for parcel in batch:
                if not parcel.settled.is_set():
                    parcel.settle(error)
        finally:
            self._under_way[holder] -= 1
            self._start(holder)
