"""The queue before the committer: changes wait here for the next group commit, bounded by bytes, first come first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from p2pstore.errors import Unavailable
from p2pstore.limits import GROUP_COMMIT_BYTES_MAX, STORE_QUEUE_BYTES, STORE_QUEUE_ITEM_BYTES_MIN
from p2pstore.storage.entries import Alteration
from p2pstore.storage.shelf import Outcome


@dataclass(slots=True, eq=False)
class Waiting:
    """A caller and what it wants done, all in one group commit."""

    alterations: Sequence[Alteration]
    size: int
    done: trio.Event = field(default_factory=trio.Event)
    outcomes: Sequence[Outcome] = ()


class CommitQueue:
    """Callers come in by `submit`; the one committer takes all who wait, and settles with each."""

    def __init__(self, *, bytes_max: int = STORE_QUEUE_BYTES) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._queue: deque[Waiting] = deque()
        self._door = trio.Lock()  # first come, first served: who waits for room holds it
        self._room = trio.Event()
        self._news = trio.Event()
        self._woken = False
        self._open = False

    def open(self) -> None:
        """There is a committer from now on."""
        self._open = True

    def close(self) -> None:
        """The committer is gone: who waits is told so, and nobody comes in any more."""
        self._open = False
        waiting, self._queue = self._queue, deque()
        for caller in waiting:
            self.settle(caller, [Unavailable("the store is closing")] * len(caller.alterations))
        self._room.set()

    async def submit(self, alterations: Sequence[Alteration]) -> Sequence[Outcome]:
        """Wait for room, then for the group commit that carries out `alterations`.

        A caller that is cancelled before the commit began leaves no trace; later it waits until the commit ended,
        because its buffers are being written until then.

        Raises:
            Unavailable: the committer does not run.
        """
        size = sum(max(STORE_QUEUE_ITEM_BYTES_MIN, item.queue_bytes) for item in alterations)
        async with self._door:
            while self._open and self._bytes and self._bytes + size > self._bytes_max:
                self._room = trio.Event()
                await self._room.wait()
            if not self._open:
                raise Unavailable("the store is not running")
            caller = Waiting(alterations, size)
            self._queue.append(caller)
            self._bytes += size
            self._news.set()
        try:
            await caller.done.wait()
        except trio.Cancelled:
            if caller in self._queue:
                self._queue.remove(caller)
                self._release(caller)
            else:
                with trio.CancelScope(shield=True):
                    await caller.done.wait()
            raise
        return caller.outcomes

    async def take(self) -> list[Waiting]:
        """Wait until somebody waits or `wake` is called; then those who wait, as many as fit one group commit."""
        while not (self._queue or self._woken):
            self._news = trio.Event()
            await self._news.wait()
        self._woken = False
        taken: list[Waiting] = []
        size = 0
        while self._queue and (not taken or size + self._queue[0].size <= GROUP_COMMIT_BYTES_MAX):
            taken.append(self._queue.popleft())
            size += taken[-1].size
        return taken

    def wake(self) -> None:
        """Let `take` return, with nobody if nobody waits."""
        self._woken = True
        self._news.set()

    @contextmanager
    def settling(self, callers: Sequence[Waiting]) -> Iterator[None]:
        """If the block ends by an exception, tell those of `callers` who were not told anything that it failed."""
        try:
            yield
        except BaseException:
            for caller in callers:
                if not caller.done.is_set():
                    self.settle(caller, [Unavailable("the store is closing")] * len(caller.alterations))
            raise

    def settle(self, caller: Waiting, outcomes: Sequence[Outcome]) -> None:
        """Tell a caller what became of its changes."""
        caller.outcomes = outcomes
        caller.done.set()
        self._release(caller)

    def _release(self, caller: Waiting) -> None:
        self._bytes -= caller.size
        self._room.set()
