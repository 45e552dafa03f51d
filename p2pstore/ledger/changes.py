"""News of the ledger for whoever wants it: coalesced, bounded, never in anybody's way."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import trio

from p2pstore.ids import EncodingId, EntryId

FOLDERS_MAX: Final = 256
"""Folders that one piece of news names; beyond it, "many": whoever shows a listing reads it again anyway."""

LOST_MAX: Final = 4096
"""Stripes that one piece of news names as having lost a shard; beyond it, "many"."""


@dataclass(frozen=True, slots=True)
class Change:
    """What changed since the subscriber last looked.

    Attributes:
        own: we committed something.
        remote: something by others was applied.
        holdings: somebody's inventory changed.
        statements: the roster's statements changed.
        folders: folders whose listing may differ; None for more than FOLDERS_MAX.
        lost: stripes of which an inventory lost a shard; None for more than LOST_MAX.
    """

    own: bool = False
    remote: bool = False
    holdings: bool = False
    statements: bool = False
    folders: frozenset[EntryId] | None = frozenset()
    lost: frozenset[EncodingId] | None = frozenset()

    def join(self, other: Change) -> Change:
        """Both at once."""
        folders: frozenset[EntryId] | None = None
        if self.folders is not None and other.folders is not None:
            folders = self.folders | other.folders
            if len(folders) > FOLDERS_MAX:
                folders = None
        lost: frozenset[EncodingId] | None = None
        if self.lost is not None and other.lost is not None:
            lost = self.lost | other.lost
            if len(lost) > LOST_MAX:
                lost = None
        return Change(
            self.own or other.own,
            self.remote or other.remote,
            self.holdings or other.holdings,
            self.statements or other.statements,
            folders,
            lost,
        )


class Subscription:
    """`with ledger.subscribe() as news: async for change in news: ...`; ends with its block."""

    def __init__(self, subscribers: list[Subscription]) -> None:
        self._subscribers = subscribers
        self._pending: Change | None = None
        self._news = trio.Event()

    def __enter__(self) -> Self:
        self._subscribers.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._subscribers.remove(self)

    def tell(self, change: Change) -> None:
        """Something changed."""
        self._pending = change if self._pending is None else self._pending.join(change)
        self._news.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Change:
        """Wait for news and take all of it."""
        await self._news.wait()
        self._news = trio.Event()
        change, self._pending = self._pending, None
        assert change is not None
        return change
