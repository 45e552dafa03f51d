"""Raises promises: what lies below a folder that promises more than its pieces were stated to owe gets new statements.

```
a folder's promise was set, something was moved or restored below one > walk what lies below > pieces that owe less
    > state what they owe now (every machine learns it) > owe them: the placer adds parity until it holds
```

A statement is never taken back: a piece owes the union of all that was stated of it, and a lower promise drops nothing.
Whoever changed something looks at once; the others look too, and act only when the first has not for a long time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import trio

from p2pstore.errors import Corrupt, P2PStoreError
from p2pstore.ids import ChunkId, EncodingId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.operations import StripeStatement
from p2pstore.metadata.version import Kind, ManifestRef
from p2pstore.placement.promise import Promise, promise_of_words
from p2pstore.seams.clock import Clock
from p2pstore.services.catalog import Catalog
from p2pstore.services.chunk_lists import ChunkLists
from p2pstore.services.importer import Debts
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership

LOOK_AFTER_S: Final = 2.0
"""News come in bursts: one look for all."""

REST: Final = 20.0
"""It rests so many times as long as it looked: five percent."""

LOOK_EVERY_S: Final = 3600.0
"""Below folders with a promise of their own everything is looked at once an hour if anything has changed: what somebody
moved there whose machine then went to sleep is found so."""

TURN_S: Final = 900.0
"""How long the others leave the raising to the machine on which somebody asked for it, and then to each other."""

BATCH: Final = 256
"""Statements of one commit."""


@dataclass(frozen=True, slots=True)
class Raising:
    """How far the pieces below one folder are.

    Attributes:
        path: the folder.
        promise: what it promises.
        behind: pieces that were stated to owe less; None while nobody has looked yet.
        unknown: files whose list of pieces has not arrived here.
    """

    path: Path
    promise: Promise
    behind: int | None
    unknown: int = 0


class Promiser:
    """Keeps statements in step with what folders promise. `run` it; `hurry` when somebody waits for it."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        catalog: Catalog,
        chunk_lists: ChunkLists,
        liveness: Liveness,
        clock: Clock,
        debts: Debts,
    ) -> None:
        self._membership = membership
        self._ledger = ledger
        self._catalog = catalog
        self._chunk_lists = chunk_lists
        self._liveness = liveness
        self._clock = clock
        self._debts = debts
        self._bell = trio.Event()
        self._mine = True  # what somebody asked for before this daemon was stopped is gone on with
        self._rules: dict[Path, Promise] = {}
        self._looked: dict[Path, Raising] = {}
        self._looked_at_s = -LOOK_EVERY_S
        self._behind_since_s: float | None = None
        self._changed = True
        self._took_s = 0.0

    async def raisings(self) -> list[Raising]:
        """Every folder with a promise of its own, and how far it is; sorted by path."""
        rules = await self._read_rules()
        found = []
        for path, promise in sorted(rules.items()):
            known = self._looked.get(path)
            is_news = known is None or known.promise != promise
            found.append(Raising(path, promise, None) if is_news or known is None else known)
        return found

    def hurry(self) -> None:
        """Somebody asked on this machine: look now, and act."""
        self._mine = True
        self._bell.set()

    async def run(self) -> None:
        """Look for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            while True:
                self._bell = trio.Event()
                wait_s = LOOK_EVERY_S
                try:
                    wait_s = await self._step()
                except P2PStoreError:
                    wait_s = TURN_S  # the ledger's disk, or a machine without keys: later again
                with self._clock.move_on_after(wait_s):
                    await self._bell.wait()
                await self._clock.sleep(max(LOOK_AFTER_S, REST * self._took_s))

    async def _watch(self) -> None:
        with self._ledger.subscribe() as news:
            async for change in news:
                if not (change.own or change.remote):
                    continue
                self._changed = True
                try:
                    rules = await self._read_rules()
                except P2PStoreError:  # a damaged row, before peers have given it back: the next look reads them again
                    continue
                if rules and change.own and change.folders != frozenset():
                    self._mine = True  # something was put, moved or brought back here, perhaps below one of them
                if rules != self._rules or self._mine:
                    self._bell.set()

    async def _read_rules(self) -> dict[Path, Promise]:
        rules: dict[Path, Promise] = {}
        for path, word in await self._ledger.folder_promises():
            rules[path] = rules.get(path, Promise.ANY_1) | promise_of_words([word])
        return rules

    async def _step(self) -> float:
        """Look if there is reason to, act if it is our turn; seconds until there is something to do again."""
        rules = await self._read_rules()
        now_s = self._clock.now_s()
        due = self._changed and now_s - self._looked_at_s >= LOOK_EVERY_S
        if not rules or not (self._mine or due or rules != self._rules or self._behind_since_s is not None):
            self._rules = rules
            return LOOK_EVERY_S
        self._rules, self._changed, self._looked_at_s = rules, False, now_s
        acts = self._mine or self._is_our_turn(now_s)
        self._mine = False
        behind = 0
        for path in sorted(rules):
            self._looked[path] = looked = await self._look_below(path, rules, acts=acts)
            behind += (looked.behind or 0) + looked.unknown
        self._took_s = self._clock.now_s() - now_s
        if not behind:
            self._behind_since_s = None
            return LOOK_EVERY_S
        if self._behind_since_s is None:
            self._behind_since_s = now_s
        return TURN_S / 15

    def _is_our_turn(self, now_s: float) -> bool:
        if self._behind_since_s is None:
            return False
        order = sorted([self._membership.me, *self._liveness.answering()])
        return now_s - self._behind_since_s > TURN_S * (1 + order.index(self._membership.me))

    async def _look_below(self, top: Path, rules: dict[Path, Promise], *, acts: bool) -> Raising:
        """Look at every file for which `top` is the nearest folder with a promise; state what is missing if `acts`."""
        promise = rules[top]
        behind = unknown = 0
        drafts: dict[EncodingId, StripeStatement] = {}
        async for reference in self._files(top, rules):
            try:
                chunks = [chunk async for chunk in self._chunk_lists.chunks_of(reference)]
            except Corrupt:
                unknown += 1
                continue
            for chunk, stated in (await self._standing(chunks)).items():
                if _owes(stated, promise):
                    continue
                behind += 1
                if acts and (statement := await self._raised(chunk, stated, promise)) is not None:
                    drafts[statement.encoding] = statement
            if len(drafts) >= BATCH:
                await self._state(drafts)
                behind, drafts = behind - len(drafts), {}
        await self._state(drafts)
        return Raising(top, promise, max(0, behind - len(drafts)), unknown)

    async def _files(self, top: Path, rules: dict[Path, Promise]) -> AsyncIterator[ManifestRef]:
        async for path, item in self._ledger.walk(top):
            if item.kind is Kind.FOLDER or not isinstance(item.content, ManifestRef):
                continue
            nearest = next(path[:depth] for depth in range(len(path) - 1, -1, -1) if path[:depth] in rules)
            if nearest == top:
                yield item.content

    async def _standing(self, chunks: Sequence[ChunkId]) -> dict[ChunkId, list[StripeStatement]]:
        """What was stated of each chunk's stripes, those left out that this machine has signed away: what they owed,
        nobody keeps any more."""
        stated = await self._ledger.stripes_for(chunks)
        encodings = {each.encoding for statements in stated.values() for each in statements}
        stands = await self._ledger.stripes_of(sorted(encodings))
        return {chunk: [each for each in found if stands[each.encoding]] for chunk, found in stated.items()}

    async def _raised(
        self, chunk: ChunkId, stated: Sequence[StripeStatement], promise: Promise
    ) -> StripeStatement | None:
        """What to state of the stripe of a chunk that most is left of."""
        standing = {each.encoding for each in stated}
        stripes = [each for each in await self._catalog.stripes_of_chunk(chunk) if each.encoding in standing]
        if not stripes:
            return None
        own = [each for each in stated if each.encoding == stripes[0].encoding]
        owed = promise | promise_of_words(each.promise for each in own)
        return replace(own[0], promise=owed.value)

    async def _state(self, drafts: dict[EncodingId, StripeStatement]) -> None:
        """Durable, and known to all; then the placer goes on, also after a stop between the two."""
        if drafts:
            await self._debts.note_debt(sorted(drafts))
            await self._ledger.commit([drafts[encoding] for encoding in sorted(drafts)])
            self._debts.owe(sorted(drafts))


def _owes(stated: Sequence[StripeStatement], promise: Promise) -> bool:
    """Whether one stripe of a chunk was stated to owe all of `promise`."""
    words: dict[EncodingId, list[str]] = {}
    for each in stated:
        words.setdefault(each.encoding, []).append(each.promise)
    return any(promise_of_words(each).covers(promise) for each in words.values())
