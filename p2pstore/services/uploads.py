"""Uploads under way on this machine, as garbage collection must know them: an intent that all see, and every stripe.

One intent covers all uploads that overlap: it is durable here, and on another machine where one answers, before the
first shard leaves, and ends some time after the last of them. One that a death left open is ended at the next start:
what it covered was never committed, and whoever tries again asks for every shard anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Final, Protocol

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import Dot, EncodingId, PeerId
from p2pstore.ledger.drafts import Committed, Draft
from p2pstore.metadata.collection import Intent, OpenIntent
from p2pstore.seams.clock import Clock

LINGER_S: Final = 30.0
"""An intent outlives its last upload by so much: who stores one file often stores the next, and each intent is two
operations that everybody keeps."""

OLD_AFTER_S: Final = 120.0
"""What an earlier life left open is ended so long after the start: a ledger that was set back must first hear of that
from others, before it writes anything by itself."""

RETRY_S: Final = 60.0
"""After the end of an intent could not be written, on a full disk."""


class IntentLog(Protocol):
    """The ledger, as far as intents need it."""

    async def commit(self, drafts: Sequence[Draft]) -> Committed:
        """Make drafts durable."""
        ...

    async def open_intents(self) -> list[OpenIntent]:
        """Those that have not ended."""
        ...


class Upload:
    """One upload: holds on to its stripes until its version is committed, or it is given up."""

    def __init__(self, running: Counter[EncodingId]) -> None:
        self._running = running
        self._stripes: set[EncodingId] = set()

    def note(self, encoding: EncodingId) -> None:
        """A stripe of this upload, before anything is asked or done about it."""
        if encoding not in self._stripes:
            self._stripes.add(encoding)
            self._running[encoding] += 1

    def release(self) -> None:
        """It is committed, or nobody will commit it."""
        for encoding in self._stripes:
            self._running[encoding] -= 1
            if not self._running[encoding]:
                del self._running[encoding]
        self._stripes.clear()


class Uploads:
    """All of them. `run` ends intents; `begin` works without it too."""

    def __init__(
        self,
        *,
        me: PeerId,
        ledger: IntentLog,
        clock: Clock,
        rng: Random,
        spread: Callable[[Dot], Awaitable[None]],
    ) -> None:
        self._me = me
        self._ledger = ledger
        self._clock = clock
        self._rng = rng
        self._spread = spread
        self._count = 0
        self._intent: bytes | None = None
        self._covered = False
        self._turn = trio.Lock()
        self._bell = trio.Event()
        self.running: Counter[EncodingId] = Counter()
        """Stripes of uploads under way; looked up from the ledger's worker too."""

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Upload]:
        """An upload. Its intent stands when this is entered.

        Raises:
            NoSpace, Unavailable: the intent could not be written; nothing has happened.
        """
        upload = Upload(self.running)
        self._count += 1
        try:
            await self._cover()
            yield upload
        finally:
            upload.release()
            self._count -= 1
            if not self._count:
                self._bell.set()

    async def _cover(self) -> None:
        async with self._turn:
            if self._covered:
                return
            if self._intent is None:
                self._intent = self._rng.randbytes(16)
            committed = await self._ledger.commit([Intent(self._intent, begun=True)])
            if committed.upto is not None:
                await self._spread(committed.upto)
            self._covered = True

    async def run(self) -> None:
        """End what an earlier life began, and each intent a while after its last upload, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_earlier)
            while True:
                await self._bell.wait()
                self._bell = trio.Event()
                await self._clock.sleep(LINGER_S)
                while not await self._end_unless_busy():
                    await self._clock.sleep(RETRY_S)

    async def _end_earlier(self) -> None:
        await self._clock.sleep(OLD_AFTER_S)
        while not await self._end_old():
            await self._clock.sleep(RETRY_S)

    async def _end_old(self) -> bool:
        async with self._turn:
            try:
                old = [each.id for each in await self._ledger.open_intents() if each.author == self._me]
                if left := [Intent(each, begun=False) for each in old if each != self._intent]:
                    await self._ledger.commit(left)
            except P2PStoreError:
                return False
        return True

    async def _end_unless_busy(self) -> bool:
        """Whether there is nothing to end any more, or an upload that will ring again."""
        async with self._turn:
            if self._count or self._intent is None:
                return True
            try:
                await self._ledger.commit([Intent(self._intent, begun=False)])
            except P2PStoreError:
                return False
            self._intent, self._covered = None, False
        return True
