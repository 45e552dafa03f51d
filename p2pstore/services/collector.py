"""A reader's part of garbage collection: looks for stripes that nothing refers to, proposes them, signs what others do.

```
look at all that our durable state refers to > sign or spare what others condemned > condemn what we found twice
```

Nothing here deletes: that is each holder's own, once all have signed (services/quarantine.py). See
docs/protocols/collection.md.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import EncodingId, ManifestId, PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.reference_search import DedupeKeyOf, Search
from p2pstore.limits import CONDEMNED_STRIPES_MAX, GARBAGE_REMEMBERED_MAX
from p2pstore.metadata.collection import Condemned, CondemnedList, OpenIntent
from p2pstore.seams.clock import Clock

PAGE_STRIPES: Final = 500
"""Stripes looked at in one job of the ledger: about 15 ms."""

SEARCH_REST: Final = 2.0
"""A search for references pauses twice as long as it worked: a third of one core, while nobody waits for it."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often things are done; the simulation is in a hurry.

    Attributes:
        first_after_s: after the start: links come up and metadata is exchanged first.
        every_s: between two looks when nothing calls for one.
        answer_after_s: a list that has come is answered after so long, so that lists that come together are answered
            together.
        settle_s: a stripe without a reference is condemned when it still has none after so long. Who is still storing
            it would spare it anyway: this only saves words.
    """

    first_after_s: float = 900.0
    every_s: float = 6 * 3600.0
    answer_after_s: float = 60.0
    settle_s: float = 3600.0


@dataclass(frozen=True, slots=True)
class Garbage:
    """What a look found.

    Attributes:
        stripes: without a reference, on no open list, as far as this machine knows.
        bytes: of their shards, on all machines.
        why_not: why nothing is collected now; "" if nothing stands in the way.
    """

    stripes: int
    bytes: int
    why_not: str


class Collector:
    """Looks and signs. `run` it."""

    def __init__(
        self,
        *,
        me: PeerId,
        clock: Clock,
        rng: Random,
        ledger: Ledger,
        running: Collection[EncodingId],
        readers: Callable[[], Sequence[PeerId]],
        dedupe_key_of: DedupeKeyOf,
        blocked: Callable[[Sequence[OpenIntent]], str],
        pace: Pace | None = None,
    ) -> None:
        """Collaborators:

        Args:
            me: this machine.
            clock: its running time.
            rng: salts.
            ledger: what it knows.
            running: stripes of its own uploads under way.
            readers: who must sign, we among them if we can read.
            dedupe_key_of: checks manifests.
            blocked: why nothing may be signed now; "" if nothing stands in the way.
            pace: how often.
        """
        self._me = me
        self._clock = clock
        self._rng = rng
        self._ledger = ledger
        self._running = running
        self._readers = readers
        self._dedupe_key_of = dedupe_key_of
        self._blocked = blocked
        self.pace = pace or Pace()
        self._found_at_s: dict[EncodingId, float] = {}
        self._turn = trio.Lock()
        self._wanted = trio.Event()
        self.failure = ""
        """Why the last look came to nothing."""

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look now and then, and when somebody condemns something, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_lists)
            wait_s = self.pace.first_after_s
            while True:
                with self._clock.move_on_after(wait_s):
                    await self._wanted.wait()
                    await self._clock.sleep(self.pace.answer_after_s)
                self._wanted = trio.Event()
                wait_s = self.pace.every_s
                try:
                    await self.look()
                except P2PStoreError as error:
                    self.failure = str(error)
                if self._found_at_s:
                    wait_s = min(wait_s, self.pace.settle_s)

    def hurry(self) -> None:
        """Look soon."""
        self._wanted.set()

    async def _watch_lists(self) -> None:
        """Wake up for a list that we have not signed."""
        with self._ledger.subscribe() as news:
            async for change in news:
                if change.remote and any(self._me not in each.consents for each in await self._ledger.open_lists()):
                    self._wanted.set()

    async def look(self, *, settle_s: float | None = None) -> Garbage:
        """Sign what can be signed, then condemn what was found before and still has no reference.

        Args:
            settle_s: another Pace.settle_s, for a person who knows that nothing is being stored.

        Raises:
            Unavailable: this machine cannot tell what it refers to, or its disk is full or away.
        """
        async with self._turn:
            readers = self._readers()
            lists = await self._ledger.open_lists()
            intents = await self._ledger.open_intents()
            if self._me not in readers:
                return Garbage(0, 0, "this machine cannot read the tree, so it has no say")
            why_not = self._blocked(intents)
            async with self._search() as search:
                await self._answer(search, lists, readers, intents, may_sign=not why_not)
                found = await self._find(search, lists, readers, intents)
                if not why_not:
                    await self._condemn(found, self.pace.settle_s if settle_s is None else settle_s)
            self.failure = ""
            return Garbage(len(found), await self._bytes(found), why_not)

    async def survey(self) -> Garbage:
        """What a look would find; changes nothing. Raises as `look`."""
        async with self._turn:
            readers = self._readers()
            if self._me not in readers:
                return Garbage(0, 0, "this machine cannot read the tree, so it has no say")
            lists = await self._ledger.open_lists()
            intents = await self._ledger.open_intents()
            async with self._search() as search:
                found = await self._find(search, lists, readers, intents)
            return Garbage(len(found), await self._bytes(found), self._blocked(intents))

    async def _bytes(self, encodings: Sequence[EncodingId]) -> int:
        size = 0
        for start in range(0, len(encodings), PAGE_STRIPES):
            size += await self._ledger.bytes_held(encodings[start : start + PAGE_STRIPES])
        return size

    # --- looking --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _search(self) -> AsyncIterator[Search]:
        """All that our durable state refers to, kept up to date until the block ends."""
        search = await self._ledger.begin_search(self._rng.randbytes(32), self._dedupe_key_of)
        try:
            after: ManifestId | None = None
            while True:
                began_s = self._clock.now_s()
                after = await self._ledger.search_on(search, after)
                if after is None:
                    break
                await self._clock.sleep((self._clock.now_s() - began_s) * SEARCH_REST)
            yield search
        finally:
            with trio.CancelScope(shield=True):
                await self._ledger.end_search(search)

    async def _answer(
        self,
        search: Search,
        lists: Sequence[CondemnedList],
        readers: Sequence[PeerId],
        intents: Sequence[OpenIntent],
        *,
        may_sign: bool,
    ) -> None:
        """Sign lists; of those signed before, spare what something refers to by now."""
        for each in lists:
            signed = self._me in each.consents
            if not signed:
                if not may_sign or not each.unspared_by(readers):
                    continue
                if intents and await self._ledger.unstated(each.condemned.encodings):
                    continue  # it may be on its way to a commit: whoever stores it says when that is over
            await self._ledger.consent(search, each, self._running, signed=signed)

    async def _find(
        self,
        search: Search,
        lists: Sequence[CondemnedList],
        readers: Sequence[PeerId],
        intents: Sequence[OpenIntent],
    ) -> list[EncodingId]:
        """Stripes without a reference that no open list names already."""
        named = {encoding for each in lists for encoding in each.unspared_by(readers)}
        found: list[EncodingId] = []
        after: EncodingId | None = None
        while len(found) < GARBAGE_REMEMBERED_MAX and (
            page := await self._ledger.known_encodings(after, PAGE_STRIPES)
        ):
            began_s = self._clock.now_s()
            after = page[-1]
            free = [
                each
                for each in await self._ledger.unreferenced(search, page)
                if each not in named and each not in self._running
            ]
            if intents and free:
                free = sorted(set(free).difference(await self._ledger.unstated(free)))
            found += free
            await self._clock.sleep((self._clock.now_s() - began_s) * SEARCH_REST)
        return found

    async def _condemn(self, found: Sequence[EncodingId], settle_s: float) -> None:
        """Propose what was there at an earlier look too."""
        now_s = self._clock.now_s()
        self._found_at_s = {each: self._found_at_s.get(each, now_s) for each in found}
        settled = sorted(each for each, at_s in self._found_at_s.items() if now_s - at_s >= settle_s)
        for start in range(0, len(settled), CONDEMNED_STRIPES_MAX):
            page = settled[start : start + CONDEMNED_STRIPES_MAX]
            await self._ledger.commit([Condemned(tuple(page))])
            for each in page:
                del self._found_at_s[each]
        if settled:
            self._wanted.set()  # and sign them ourselves, like everybody


def blocking(
    intents: Sequence[OpenIntent],
    lapsed: Collection[PeerId],
    members: Collection[PeerId],
    name_of: Callable[[PeerId], str],
) -> str:
    """Why nothing may be collected: a member that was given up waiting for has uploads which nobody can ask about."""
    for each in intents:
        if each.author in lapsed and each.author in members:
            return f"{name_of(each.author)} was storing files when it was last heard, and has not been heard for long"
    return ""
