"""A bound on bytes in flight: whoever wants more waits, in the order of asking."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class ByteBudget:
    """So many bytes may be held at once.

    A request larger than the whole budget is let through alone rather than never.
    """

    def __init__(self, bytes_max: int) -> None:
        self._max = bytes_max
        self._held = 0
        self._waiting: deque[tuple[int, trio.Event]] = deque()

    @property
    def held(self) -> int:
        """Bytes held now."""
        return self._held

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        """Hold `size` bytes for the length of the block."""
        await self.take(size)
        try:
            yield
        finally:
            self.give_back(size)

    async def take(self, size: int) -> None:
        """Wait for `size` bytes and take them; cancelled, nothing is taken."""
        size = min(size, self._max)
        if not self._waiting and self._held + size <= self._max:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._held += size
            return
        turn = trio.Event()
        self._waiting.append((size, turn))
        try:
            await turn.wait()
        except BaseException:
            if turn.is_set():
                self.give_back(size)
            else:
                self._waiting.remove((size, turn))
                self._let_in()
            raise

    def give_back(self, size: int) -> None:
        """Return what was taken."""
        self._held -= min(size, self._max)
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._held + self._waiting[0][0] <= self._max:
            size, turn = self._waiting.popleft()
            self._held += size
            turn.set()
