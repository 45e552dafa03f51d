"""A holder's part of garbage collection: what everybody has signed away waits, restorable, and is purged at last.

```
all readers have signed, one of them was met since > quarantine, seven days of running time > looked at again > purged
```

Shards in quarantine stay where they are and are served to whoever asks: only this list says that they may go. Who
places or confirms a stripe that is on it takes it off, durably, before the receipt is given. The lists that count are
the ledger's; of its own a holder keeps how long it has waited, and what was taken off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import Dot, EncodingId, Incarnation, PeerId, ShardId
from p2pstore.limits import QUARANTINE_S
from p2pstore.metadata.collection import CondemnedList, OpenIntent
from p2pstore.seams.clock import Clock
from p2pstore.seams.disk import Database, Disk
from p2pstore.seams.workers import Workers

DATABASE_NAME: Final = "quarantine.db"

TICK_S: Final = 600.0
"""Quarantine is measured in days."""

PURGE_REST: Final = 1.0
"""Purging pauses as long as it worked."""


class Lists(Protocol):
    """The ledger, as far as a holder needs it."""

    async def open_lists(self) -> list[CondemnedList]:
        """Those that this machine is not done with."""
        ...

    async def open_intents(self) -> list[OpenIntent]:
        """Uploads that have not ended."""
        ...

    async def close_list(self, name: Dot) -> None:
        """This machine is done with it."""
        ...

    async def forsake(self, encodings: Sequence[EncodingId]) -> None:
        """Treat stripes as absent."""
        ...


class Shards(Protocol):
    """The store, as far as purging needs it."""

    async def shards_of(self, encoding: EncodingId) -> list[int]:
        """Which are held."""
        ...

    async def drop(self, shard: ShardId) -> None:
        """Hold one no longer."""
        ...


@dataclass(slots=True)
class Waiting:
    """One list in quarantine.

    Attributes:
        left_s: of this machine's running time, until it may be purged.
        exempt: stripes that were taken off it here.
    """

    left_s: float
    exempt: set[EncodingId]


class QuarantineBook:
    """What a holder keeps of it, in a small database beside the ledger. One thread at a time."""

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._turn = trio.Lock()

    @classmethod
    async def open(cls, disk: Disk, workers: Workers) -> QuarantineBook:
        """Open or create it in `disk`."""

        def opening() -> Database:
            database = disk.open_database(DATABASE_NAME)
            database.execute(
                "CREATE TABLE IF NOT EXISTS waiting(author BLOB, incarnation BLOB, sequence INTEGER, left_s REAL,"
                " PRIMARY KEY(author, incarnation, sequence)) WITHOUT ROWID"
            )
            database.execute(
                "CREATE TABLE IF NOT EXISTS exempt(author BLOB, incarnation BLOB, sequence INTEGER, encoding BLOB,"
                " PRIMARY KEY(author, incarnation, sequence, encoding)) WITHOUT ROWID"
            )
            return database

        return cls(await workers.run(opening), workers)

    async def read(self) -> tuple[dict[Dot, float], dict[Dot, set[EncodingId]]]:
        """Seconds left by list, and stripes taken off by list."""

        def reading() -> tuple[dict[Dot, float], dict[Dot, set[EncodingId]]]:
            left = {_dot(row): row[3] for row in self._database.execute("SELECT * FROM waiting")}
            exempt: dict[Dot, set[EncodingId]] = {}
            for row in self._database.execute("SELECT * FROM exempt"):
                exempt.setdefault(_dot(row), set()).add(EncodingId(row[3]))
            return left, exempt

        async with self._turn:
            return await self._workers.run(reading)

    async def put(self, name: Dot, left_s: float) -> None:
        """Keep how long a list has to wait."""
        await self._write([("INSERT OR REPLACE INTO waiting VALUES(?, ?, ?, ?)", (*name, left_s))])

    async def exempt(self, names: Collection[Dot], encoding: EncodingId) -> None:
        """Keep that a stripe was taken off some lists."""
        sql = "INSERT OR IGNORE INTO exempt VALUES(?, ?, ?, ?)"
        await self._write([(sql, (*name, encoding)) for name in sorted(names)])

    async def forget(self, name: Dot) -> None:
        """A list waits no more. What was taken off it stays: it may come to wait again."""
        await self._write([("DELETE FROM waiting WHERE author = ? AND incarnation = ? AND sequence = ?", tuple(name))])

    async def _write(self, statements: Sequence[tuple[str, tuple[object, ...]]]) -> None:
        def writing() -> None:
            with self._database.transaction():
                for sql, values in statements:
                    self._database.execute(sql, values)

        async with self._turn:
            await self._workers.run(writing, cost_s=0.001)

    async def close(self) -> None:
        """Let go of the file."""
        async with self._turn:
            await self._workers.run(self._database.close)


def _dot(row: Sequence[object]) -> Dot:
    author, incarnation, sequence = row[:3]
    assert isinstance(author, bytes)
    assert isinstance(incarnation, bytes)
    assert isinstance(sequence, int)
    return Dot(PeerId(author), Incarnation(incarnation), sequence)


class Quarantine:
    """Watches the lists. `run` it; `taken_again` may be asked before that."""

    def __init__(
        self,
        *,
        me: PeerId,
        clock: Clock,
        ledger: Lists,
        store: Shards,
        book: QuarantineBook,
        readers: Callable[[], Sequence[PeerId]],
        met: Callable[[Dot], bool],
        blocked: Callable[[Sequence[OpenIntent]], str],
    ) -> None:
        """Collaborators:

        Args:
            me: this machine.
            clock: its running time.
            ledger: the lists.
            store: its shards.
            book: what it keeps of its own.
            readers: who must have signed.
            met: whether the author of an operation has said to us, in this life, that it is durable there.
            blocked: why nothing may be collected now; "" if nothing stands in the way.
        """
        self._me = me
        self._clock = clock
        self._ledger = ledger
        self._store = store
        self._book = book
        self._readers = readers
        self._met = met
        self._blocked = blocked
        self._turn = trio.Lock()
        self._waiting: dict[Dot, Waiting] | None = None
        self._exempt: dict[Dot, set[EncodingId]] = {}
        self._condemned: dict[EncodingId, set[Dot]] = {}
        self.tick_s = TICK_S
        self.quarantine_s = QUARANTINE_S
        self.purged = 0
        self.failure = ""
        self.on_purge: Callable[[EncodingId], Awaitable[None]] = _nobody_watches
        """Called with each stripe that is about to be purged here; the simulation looks whether it may be."""

    # --- for those who ask ----------------------------------------------------------------------------------------

    @property
    def waiting(self) -> dict[Dot, float]:
        """Seconds of running time that each list in quarantine here has left."""
        return {name: each.left_s for name, each in (self._waiting or {}).items()}

    async def taken_again(self, encoding: EncodingId, lists: Sequence[Dot]) -> None:
        """Somebody places or confirms a stripe, knowing that these lists name it: it is off them here, durably, and off
        whatever else it waits on. Returns at once for a stripe that no list concerns."""
        if not lists and encoding not in self._condemned:
            return
        async with self._turn:
            names = {*lists, *self._condemned.get(encoding, ())}
            new = {name for name in names if encoding not in self._exempt.get(name, ())}
            if new:
                await self._book.exempt(new, encoding)
            for name in new:
                self._exempt.setdefault(name, set()).add(encoding)

    # --- the task -------------------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Take up what an earlier life kept; before anybody is served."""
        left, self._exempt = await self._book.read()
        self._waiting = {name: Waiting(left_s, self._exempt.setdefault(name, set())) for name, left_s in left.items()}

    async def run(self) -> None:
        """Wait and purge, until cancelled."""
        last_s = self._clock.now_s()
        while True:
            try:
                await self.look(passed_s=0.0)
                await self._clock.sleep(self.tick_s)
                now_s = self._clock.now_s()
                passed_s, last_s = now_s - last_s, now_s
                await self.look(passed_s=min(passed_s, 2 * self.tick_s))
                self.failure = ""
            except P2PStoreError as error:  # a disk that is full or away: the next time
                self.failure = str(error)
                await self._clock.sleep(self.tick_s)

    async def look(self, *, passed_s: float) -> None:
        """Look at every list once."""
        if self._waiting is None:
            await self.load()
        assert self._waiting is not None
        lists = {each.name: each for each in await self._ledger.open_lists()}
        readers = self._readers()
        blocked = self._blocked(await self._ledger.open_intents())
        condemned: dict[EncodingId, set[Dot]] = {}
        for name in sorted(self._waiting.keys() - lists.keys()):
            await self._book.forget(name)
            del self._waiting[name]
        due: list[CondemnedList] = []
        for name, each in sorted(lists.items()):
            encodings = each.condemned_by(readers)
            if not each.unspared_by(readers):
                await self._end(name)  # nothing is left on it
                continue
            ready = bool(encodings) and not blocked and self._was_met(each, readers)
            waiting = self._waiting.get(name)
            if not ready:
                if waiting is not None and not encodings:
                    await self._book.forget(name)  # somebody new must sign: from the start
                    del self._waiting[name]
                continue
            for encoding in encodings:
                condemned.setdefault(encoding, set()).add(name)
            if waiting is None:
                await self._book.put(name, self.quarantine_s)
                self._waiting[name] = Waiting(self.quarantine_s, self._exempt.setdefault(name, set()))
                await self._ledger.forsake([one for one in encodings if one not in self._exempt[name]])
                continue
            waiting.left_s -= passed_s
            if waiting.left_s <= 0:
                due.append(each)
            elif passed_s:
                await self._book.put(name, waiting.left_s)
        self._condemned = condemned
        for each in due:
            await self._purge(each, readers)

    def _was_met(self, each: CondemnedList, readers: Sequence[PeerId]) -> bool:
        """Whether somebody other than we has told us, in this life, of its own signature."""
        others = [reader for reader in readers if reader != self._me]
        return not others or any(self._met(each.consents[reader]) for reader in others)

    async def _purge(self, wanted: CondemnedList, readers: Sequence[PeerId]) -> None:
        encodings = wanted.condemned_by(readers)
        for encoding in encodings:
            began_s = self._clock.now_s()
            async with self._turn:  # nobody takes it again between the look and the drop
                if encoding in self._exempt.get(wanted.name, ()):
                    continue
                indices = await self._store.shards_of(encoding)
                if indices:
                    await self.on_purge(encoding)
                for index in indices:
                    await self._store.drop(ShardId(encoding, index))
                self.purged += bool(indices)
            await self._clock.sleep((self._clock.now_s() - began_s) * PURGE_REST)
        await self._end(wanted.name)

    async def _end(self, name: Dot) -> None:
        await self._ledger.close_list(name)
        assert self._waiting is not None
        if self._waiting.pop(name, None) is not None:
            await self._book.forget(name)


async def _nobody_watches(_encoding: EncodingId) -> None:
    return
