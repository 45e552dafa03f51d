"""What can be asked of a ledger: each question is one worker job on the database, between two transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import trio

from p2pstore.errors import PathFault
from p2pstore.ids import ROOT_ENTRY, ChunkId, Dot, EncodingId, EntryId, ManifestId, PeerId
from p2pstore.ledger import brake, collection, holdings, marks, promises, reference_search, references, retention
from p2pstore.ledger.brake import MassChange
from p2pstore.ledger.branches import Head, Link, StatedFork
from p2pstore.ledger.conflicts import Conflict, ConflictPage, Place
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.frozen import FrozenChange
from p2pstore.ledger.history import Numbered, Position, TrashPage
from p2pstore.ledger.holdings import Holder, StorePosition
from p2pstore.ledger.log import Chain, LogEntry
from p2pstore.ledger.marks import MadeSnapshot
from p2pstore.ledger.mending import Health
from p2pstore.ledger.reference_search import DedupeKeyOf, Search
from p2pstore.ledger.retention import HistorySize
from p2pstore.ledger.search import Hits, Query
from p2pstore.ledger.store import Fork, Store
from p2pstore.ledger.tree_view import Listing, Past
from p2pstore.metadata.clock import hlc_at, hlc_at_end_of
from p2pstore.metadata.collection import CondemnedList, OpenIntent
from p2pstore.metadata.fingerprint import Block, DotRange
from p2pstore.metadata.operations import StripeStatement
from p2pstore.metadata.retention import Retention
from p2pstore.metadata.tree import Item
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import Held, Kind, ManifestRef
from p2pstore.seams.workers import Workers

LIST_PAGE: Final = 1000
"""Names read in one job: about 30 ms."""

_QUESTION_COST_S: Final = 200e-6
"""CPU time of a question, for the simulation."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CommitBatch:
    """Commits for somebody who lacks them.

    Attributes:
        commits: raw, in an order in which they can be applied.
        more: whether there are more than fitted.
        reaches: the writers of these commits and their last sequence numbers.
    """

    commits: tuple[bytes, ...]
    more: bool
    reaches: Vector


class Walk:
    """`async for path, item in ledger.walk(path)`: everything below a path, folders before what is in them.

    Reads one page at a time; what changes meanwhile may be seen or not.
    """

    def __init__(self, ledger: Questions, start: Path, page: int, at: Vector | None = None) -> None:
        self._ledger = ledger
        self._at = at
        self._page = page
        self._ready: list[tuple[Path, Item]] = []
        self._stack: list[tuple[Path, tuple[EntryId, ...], bytes | None]] = []
        self._start: Path | None = start

    def __aiter__(self) -> Walk:
        return self

    async def __anext__(self) -> tuple[Path, Item]:
        if self._start is not None:
            start, self._start = self._start, None
            item = await self._ledger.resolve(start, at=self._at)
            if item is None:
                raise PathFault("not-found", start)
            if item.kind is not Kind.FOLDER:
                raise PathFault("not-a-folder", start)
            self._stack.append((start, item.entries, None))
        while not self._ready:
            if not self._stack:
                raise StopAsyncIteration
            folder, entries, after = self._stack.pop()
            listing = await self._ledger.children(entries, after=after, limit=self._page, at=self._at)
            if listing.after is not None:
                self._stack.append((folder, entries, listing.after))
            self._ready = [((*folder, item.name), item) for item in reversed(listing.items)]
        path, item = self._ready.pop()
        if item.kind is Kind.FOLDER:
            self._stack.append((path, item.entries, None))
        return path, item


class Questions:
    """The reading half of a ledger."""

    def __init__(self, workers: Workers, store: Store) -> None:
        self._workers = workers
        self._store = store
        self._turn = trio.Lock()

    async def _read(self, question: Callable[..., T], *args: Any) -> T:
        async with self._turn:
            return await self._workers.run(lambda: question(*args), cost_s=_QUESTION_COST_S)

    # --- the log ------------------------------------------------------------------------------------------------------

    async def commits_after(self, vector: Vector, bytes_max: int) -> CommitBatch:
        """Commits that `vector` lacks, at most `bytes_max` bytes, but at least one if there is any."""
        commits, more, reaches = await self._read(self._store.commits_after, vector, bytes_max)
        return CommitBatch(tuple(commits), more, reaches)

    async def forks(self) -> list[Fork]:
        """Writers that signed two histories, with evidence."""
        return await self._read(self._store.forks)

    # --- its soundness ------------------------------------------------------------------------------------------------

    async def health(self) -> Health:
        """What was found wrong with this ledger, ever, and what is missing now."""
        return await self._read(self._store.mending.health)

    async def missing(self) -> list[DotRange]:
        """Operations that this ledger knows it has lost."""
        return await self._read(self._store.live.missing)

    async def live_sums(self) -> tuple[Vector, bytes]:
        """The vector, and the buckets of its fingerprint, of one moment."""
        return await self._read(lambda: (self._store.writers.vector(), self._store.live.sums))

    async def live_blocks(self, buckets: Sequence[int]) -> dict[Block, int]:
        """What is live in some buckets."""
        return await self._read(self._store.live.blocks, buckets)

    async def commits_of(self, ranges: Sequence[DotRange], bytes_max: int) -> tuple[list[bytes], bool]:
        """Commits that hold some operations, in the order of their application; whether more are left."""
        return await self._read(self._store.mending.commits_of, ranges, bytes_max)

    # --- the tree -------------------------------------------------------------------------------------------------

    async def resolve(self, path: Path, *, at: Vector | None = None) -> Item | None:
        """What is at `path`, or was at a cut; None for nothing."""
        return await self._read(lambda: self._store.view_at(at).resolve(path))

    async def list_folder(self, path: Path, *, after: bytes | None = None, limit: int = LIST_PAGE) -> Listing:
        """A page of the folder at `path`, sorted by name. Raises PathFault."""

        def listing() -> Listing:
            item = self._store.view.resolve(path)
            if item is None:
                raise PathFault("not-found", path)
            if item.kind is not Kind.FOLDER:
                raise PathFault("not-a-folder", path)
            return self._store.view.children(item.entries, after, limit)

        return await self._read(listing)

    async def children(
        self,
        entries: Sequence[EntryId],
        *,
        after: bytes | None = None,
        limit: int = LIST_PAGE,
        at: Vector | None = None,
    ) -> Listing:
        """A page of the folder made of `entries` (`Item.entries`), now or at a cut (`Item.at`)."""
        return await self._read(lambda: self._store.view_at(at).children(entries, after, limit))

    async def folder_window(self, path: Path, *, offset: int, limit: int) -> tuple[int, tuple[Item, ...]]:
        """How many names the folder at `path` has, and the items of up to `limit` of them from number `offset` on: for
        whoever shows a part of a long list. Raises PathFault."""

        def window() -> tuple[int, tuple[Item, ...]]:
            view = self._store.view
            item = view.resolve(path)
            if item is None:
                raise PathFault("not-found", path)
            if item.kind is not Kind.FOLDER:
                raise PathFault("not-a-folder", path)
            count = view.name_count(item.entries)
            if offset >= count:
                return count, ()
            after = view.name_at(item.entries, offset - 1) if offset else None
            return count, view.children(item.entries, after, limit).items

        return await self._read(window)

    async def place_in_folder(self, path: Path, name: bytes) -> int:
        """How many names of the folder at `path` come before `name`. Raises PathFault."""

        def place() -> int:
            item = self._store.view.resolve(path)
            if item is None or item.kind is not Kind.FOLDER:
                raise PathFault("not-found" if item is None else "not-a-folder", path)
            return self._store.view.names_before(item.entries, name)

        return await self._read(place)

    async def children_named(
        self, entries: Sequence[EntryId], names: Sequence[bytes], *, at: Vector | None = None
    ) -> list[Item | None]:
        """What is shown under each of some names in the folder made of `entries`, now or at a cut."""

        def work() -> list[Item | None]:
            view = self._store.view_at(at)
            return [view.child(entries, name) for name in names]

        return await self._read(work)

    def walk(self, path: Path = (), *, page: int = LIST_PAGE, at: Vector | None = None) -> Walk:
        """Everything below `path`, now or at a cut. Raises PathFault at the first step."""
        return Walk(self, path, page, at)

    async def history(self, entry: EntryId) -> list[Past]:
        """Every version of `entry` that is still known, newest first."""
        return await self._read(self._store.view.history, entry)

    async def trash(self, *, before: tuple[int, EntryId] | None = None, limit: int = LIST_PAGE) -> list[Held]:
        """Tombstones, latest first; the next page is before (hlc, entry) of the last."""
        return await self._read(self._store.view.trash, before, limit)

    # --- history ------------------------------------------------------------------------------------------------------

    async def cut_at(self, ms: int) -> Vector:
        """Everything whose author's clock said at most `ms` milliseconds since 1970."""
        return await self._read(self._store.past.cut_at, hlc_at_end_of(ms))

    async def versions_of(self, path: Path, *, skip: int = 0, limit: int = LIST_PAGE) -> tuple[list[Numbered], int]:
        """Versions that a path had, newest first, and how many there are."""
        return await self._read(lambda: self._store.past.versions_of(path, skip=skip, limit=limit))

    async def shown_path(self, entry: EntryId) -> tuple[Path, Item] | None:
        """Where an entry is shown now; None if it is not."""
        return await self._read(self._store.past.shown_path, entry)

    async def trash_page(
        self, *, before: tuple[int, EntryId] | None = None, limit: int = LIST_PAGE, everything: bool = False
    ) -> TrashPage:
        """A page of the trash, latest first; what went with its folder only if `everything`."""
        return await self._read(lambda: self._store.past.trash(before, limit, everything=everything))

    async def buried_at(self, path: Path) -> Held | None:
        """The tombstone of what was removed last from a path; None if nothing was."""

        def work() -> Held | None:
            entry = self._store.past.buried_at(path)
            return None if entry is None else self._store.past.tombstone(entry)

        return await self._read(work)

    async def removed_with(
        self, folder: Held, *, after: Position | None = None, limit: int = LIST_PAGE
    ) -> tuple[list[Held], Position | None]:
        """A page of what lay in a removed folder and went with it, and where the next page begins."""
        return await self._read(self._store.past.removed_with, folder, after, limit)

    async def search(self, query: Query, *, before: int | None = None, limit: int = LIST_PAGE) -> Hits:
        """A page of what `query` finds, the latest changed first."""
        return await self._read(self._store.search.page, query, before, limit)

    async def conflicts(self, *, after: Place | None = None, limit: int = LIST_PAGE) -> ConflictPage:
        """A page of the names that have conflict copies."""
        return await self._read(self._store.conflicts.page, after, limit)

    async def conflict_around(self, path: Path) -> tuple[Item, Conflict | None] | None:
        """What is at a path, and the conflict that it is in; None if nothing is there."""
        return await self._read(self._store.conflicts.around, path)

    async def log_page(
        self,
        *,
        before: tuple[int, int] | None = None,
        since_ms: int = 0,
        author: PeerId | None = None,
        limit: int = LIST_PAGE,
    ) -> tuple[list[LogEntry], tuple[int, int] | None]:
        """Commits, the latest first, and what to ask the next page with."""
        return await self._read(self._store.log.page, before, hlc_at(since_ms), author, limit)

    async def log_after(self, number: int, *, author: PeerId | None = None, limit: int = LIST_PAGE) -> list[LogEntry]:
        """Commits applied after number `number`, in that order."""
        return await self._read(self._store.log.after, number, author, limit)

    async def log_end(self) -> int:
        """The number of the commit applied last."""
        return await self._read(self._store.log.last_number)

    async def chains(self) -> list[Chain]:
        """Every writer of whom commits are here, and how far."""
        return await self._read(self._store.log.chains)

    async def raw_commits(self, slot: int, after: int, limit: int) -> list[bytes]:
        """A writer's commits that begin after sequence number `after`, in order."""
        return await self._read(self._store.log.raw_commits, slot, after, limit)

    async def snapshots(self) -> list[MadeSnapshot]:
        """Every snapshot, the latest first."""
        return await self._read(marks.live_snapshots, self._store.database, self._store.writers)

    async def tags_of(self, entry: EntryId) -> list[str]:
        """The tags on an entry, sorted."""
        return await self._read(marks.tags_of, self._store.database, entry)

    async def all_tags(self) -> list[tuple[str, int]]:
        """Every tag in use, and on how many entries."""
        return await self._read(marks.all_tags, self._store.database)

    # --- removed machines -----------------------------------------------------------------------------------------

    async def heads(self) -> list[Head]:
        """Where the chain of every writer ends here."""
        return await self._read(self._store.branches.heads)

    async def differing(self, heads: Sequence[Head]) -> list[Head]:
        """Those of somebody's `heads` that do not lie on our chains, though these reach as far."""
        return await self._read(lambda: [head for head in heads if self._store.branches.differs(head)])

    async def links(self, writer: Writer, before: int, limit: int = LIST_PAGE) -> list[Link]:
        """Our commits of `writer` that begin before operation `before`, the latest first."""
        return await self._read(self._store.branches.links, writer, before, limit)

    async def link_at(self, writer: Writer, first: int) -> Link | None:
        """Our commit of `writer` that begins with operation `first`."""
        return await self._read(self._store.branches.link_at, writer, first)

    async def raw_commit_at(self, writer: Writer, first: int) -> bytes | None:
        """The same, as it was signed."""
        return await self._read(self._store.branches.raw_at, writer, first)

    async def stated_forks(self) -> list[StatedFork]:
        """The same with when it was said, the latest first."""
        return await self._read(self._store.branches.stated)

    async def forked_writers(self) -> dict[Writer, int]:
        """Writers that are known to have two histories, and the last operation that both have."""
        return await self._read(self._store.branches.limits)

    async def frozen_counts(self) -> dict[PeerId, int]:
        """How many versions that removed machines wrote beyond their cut are frozen here."""
        return await self._read(self._store.frozen.counts)

    async def frozen_changes(self, author: PeerId, limit: int = LIST_PAGE) -> list[FrozenChange]:
        """What a removed machine wrote beyond its cut, in its order."""
        return await self._read(self._store.frozen.changes, author, self._store.past, limit)

    # --- what history is kept -----------------------------------------------------------------------------------------

    async def retention_rules(self) -> list[tuple[Path, Retention]]:
        """Every rule in force and where it is, sorted by path; a file's or folder's that is not shown any more too."""

        def work() -> list[tuple[Path, Retention]]:
            rules = retention.all_rules(self._store.database)
            return sorted((self._store.past.place_of(entry), rule) for entry, rule in rules.items())

        return await self._read(work)

    async def history_size(self) -> HistorySize:
        """How much lies in the history and the trash."""
        return await self._read(retention.history_size, self._store.database)

    async def referenced_manifests(
        self, *, after: ManifestId | None = None, limit: int = LIST_PAGE
    ) -> list[ManifestRef]:
        """A page of what the tree, the history, the trash and the snapshots of this machine refer to, sorted."""
        return await self._read(references.referenced_manifests, self._store.database, after, limit)

    async def are_referenced(self, manifests: Sequence[ManifestId]) -> frozenset[ManifestId]:
        """Those of `manifests` that the tree, the history, the trash or a snapshot refers to."""
        return await self._read(references.are_referenced, self._store.database, manifests)

    # --- mass changes -------------------------------------------------------------------------------------------------

    async def last_commit(self) -> int:
        """The number of the commit that came last."""
        return await self._read(brake.last_commit, self._store.database)

    async def mass_changes(self, after: int, allowed: Mapping[PeerId, int]) -> list[MassChange]:
        """Mass changes to which something belongs that came after a commit; of each machine later than `allowed`."""
        database, writers = self._store.database, self._store.writers
        found: list[MassChange] = []
        for author, (since, upto) in (await self._read(brake.authors_since, database, writers, after)).items():
            found += await self._read(
                brake.mass_changes, database, writers, author, since, upto, allowed.get(author, 0)
            )
        return found

    async def left_as_it_is(self, change: MassChange) -> int:
        """How many entries are still as a mass change left them."""
        return await self._read(brake.left_as_it_is, self._store.database, self._store.writers, change)

    # --- promises -----------------------------------------------------------------------------------------------------

    async def folder_promises(self) -> list[tuple[Path, str]]:
        """Every folder that says what it promises, and its word, sorted by path; only folders that are shown."""

        def work() -> list[tuple[Path, str]]:
            found = []
            for entry, word in promises.all_promises(self._store.database).items():
                shown = ((), None) if entry == ROOT_ENTRY else self._store.past.shown_path(entry)
                if shown is not None:
                    found.append((shown[0], word))
            return sorted(found)

        return await self._read(work)

    async def promise_word_at(self, path: Path) -> str | None:
        """What holds for what lies at `path` (a folder's, there or not); None where nobody said anything."""
        return await self._read(promises.promise_at, self._store.database, self._store.view, path)

    # --- manifests, stripes, inventories --------------------------------------------------------------------------

    async def manifest(self, manifest: ManifestId) -> bytes | None:
        """A manifest's encoding; None if it is not (wholly) known. Raises Corrupt."""
        return await self._read(holdings.manifest, self._store.database, manifest)

    async def stripes_for(self, chunks: Sequence[ChunkId]) -> dict[ChunkId, list[StripeStatement]]:
        """What was stated of each chunk's stripes; [] for a chunk nobody stated anything of."""
        return await self._read(holdings.stripes_for, self._store.database, chunks)

    async def stripes_of(self, encodings: Sequence[EncodingId]) -> dict[EncodingId, list[StripeStatement]]:
        """The same by encoding."""
        return await self._read(holdings.stripes_of, self._store.database, encodings)

    async def stripes_after(self, after: EncodingId | None, limit: int) -> list[StripeStatement]:
        """All stripes, a page at a time, for whoever computes the verdict or repairs."""
        return await self._read(holdings.stripes_after, self._store.database, after, limit)

    async def holders(self, encoding: EncodingId) -> list[Holder]:
        """Who says to hold shards of a stripe, by index."""
        return (await self.holders_of([encoding]))[encoding]

    async def holders_of(self, encodings: Sequence[EncodingId]) -> dict[EncodingId, list[Holder]]:
        """The same for many stripes in one job."""
        return await self._read(holdings.holders, self._store.database, encodings)

    async def held_shards(
        self, peer: PeerId, *, after: tuple[EncodingId, int] | None = None, limit: int = LIST_PAGE
    ) -> list[tuple[EncodingId, int, int]]:
        """What `peer` says to hold, a page at a time."""
        return await self._read(holdings.held_shards, self._store.database, peer, after, limit)

    async def store_positions(self, peer: PeerId | None = None) -> list[StorePosition]:
        """Known stores of one peer or of all, with counts: what `peer` holds in total."""
        return await self._read(holdings.positions, self._store.database, peer)

    async def held_by(self, peer: PeerId) -> tuple[int, int]:
        """(shards, payload bytes) that `peer` says to hold."""
        known = await self.store_positions(peer)
        return sum(position.shards for position in known), sum(position.bytes for position in known)

    # --- garbage collection -------------------------------------------------------------------------------------------

    async def begin_search(self, salt: bytes, dedupe_key_of: DedupeKeyOf) -> Search:
        """Begin to look for all that the durable state here refers to. Raises Incomplete: it cannot be told."""
        return await self._read(self._store.begin_search, salt, dedupe_key_of)

    async def search_on(self, search: Search, after: ManifestId | None) -> ManifestId | None:
        """The next contents; where to go on, None at the end. Raises Incomplete."""
        return await self._read(reference_search.add_contents, self._store.database, search, after)

    async def end_search(self, search: Search) -> None:
        """It is needed no more."""
        await self._read(self._store.end_search, search)

    async def unreferenced(self, search: Search, encodings: Sequence[EncodingId]) -> list[EncodingId]:
        """Those that nothing refers to, by a search that has come to its end. Raises Incomplete."""
        return await self._read(self._store.unreferenced, search, encodings)

    async def unstated(self, encodings: Sequence[EncodingId]) -> list[EncodingId]:
        """Those that no statement names."""
        return await self._read(reference_search.unstated, self._store.database, encodings)

    async def known_encodings(self, after: EncodingId | None, limit: int) -> list[EncodingId]:
        """Stripes of which somebody says to hold a shard, a page at a time."""
        return await self._read(reference_search.known_encodings, self._store.database, after, limit)

    async def bytes_held(self, encodings: Sequence[EncodingId]) -> int:
        """Payload bytes that all machines say to hold of some stripes."""
        return await self._read(reference_search.held_bytes, self._store.database, encodings)

    async def stripe_count(self) -> int:
        """About how many stripes are known."""
        return await self._read(lambda: int(self._store.database.execute("SELECT count(*) FROM stripes")[0][0]))

    async def bytes_by_holder(self, chunks: Sequence[ChunkId]) -> dict[PeerId, int]:
        """Payload bytes that each machine says to hold of some chunks, in all their stripes."""
        return await self._read(holdings.bytes_by_holder, self._store.database, chunks)

    async def open_lists(self) -> list[CondemnedList]:
        """Condemned lists that this machine is not done with."""
        return await self._read(collection.open_lists, self._store.database, self._store.writers)

    async def open_intents(self) -> list[OpenIntent]:
        """Uploads that were begun somewhere and have not ended, the oldest first."""
        return await self._read(collection.open_intents, self._store.database, self._store.writers)

    async def lists_naming(self, encodings: Sequence[EncodingId]) -> dict[EncodingId, list[Dot]]:
        """Every list that ever named one of some stripes."""
        return await self._read(collection.lists_naming, self._store.database, self._store.writers, encodings)

    async def announced(self, encoding: EncodingId) -> list[Holder]:
        """Who says to hold shards of a stripe, by index; nobody if it is treated as absent."""

        def work() -> list[Holder]:
            if collection.forsaken(self._store.database, [encoding]):
                return []
            return holdings.holders(self._store.database, [encoding])[encoding]

        return await self._read(work)

    # --- roster statements and settings -------------------------------------------------------------------------------

    async def statements(self) -> list[bytes]:
        """Every roster statement kept, sorted by id."""

        def work() -> list[bytes]:
            return [row[0] for row in self._store.database.execute("SELECT raw FROM statements ORDER BY id")]

        return await self._read(work)

    async def setting(self, name: str) -> bytes | None:
        """A small value kept under a name of its owner's, e.g. "collector.position"."""
        return await self._read(self._store.setting, name)
