"""Puts files: walks what a person named, stores contents, commits versions, and says how safe it all is.

```
walk > small ones inline, large ones through the uploader > one commit for many > spread the commit > wait for the level
```

A file has an entry only once its whole content is durable. Interrupted before that, it leaves none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Final, Protocol

import trio

from p2pstore.errors import Misuse, P2PStoreError
from p2pstore.ids import Dot, EncodingId, GenerationId
from p2pstore.ledger.drafts import Committed, Draft, MakeFolder, Path, Put, Spare
from p2pstore.limits import INLINE_BYTES_MAX
from p2pstore.metadata.operations import ManifestPage, StripeStatement
from p2pstore.metadata.version import Inline, Kind, LinkTarget, ManifestRef
from p2pstore.pipeline.manifest import ChunkOfFile, encode_whole
from p2pstore.placement.levels import Level
from p2pstore.placement.promise import Promise
from p2pstore.seams.local_files import LocalEntry, LocalFiles, OpenSource, Unreadable
from p2pstore.seams.workers import Workers
from p2pstore.services.transfers import Failed, Transfer
from p2pstore.services.upload import ByteSource, ChangedWhileRead, LiveSource, StoredContent, Uploader
from p2pstore.services.uploads import Uploads

BATCH_ENTRIES: Final = 256
"""Entries walked, read and committed in one go: a worker hop and a group commit are shared by so many."""

FILES_AT_ONCE: Final = 64
"""Files whose contents are under way together; the byte budget bounds them more tightly when they are large."""

READS_BEFORE_GIVING_UP: Final = 3
"""A file that changed each of so many times while it was read is refused."""


Found = LocalEntry | Unreadable


class Cannot(Misuse):
    """Something that is there and cannot be stored: a socket, a file without read permission."""


class Commits(Protocol):
    """The ledger, as far as puts need it."""

    async def commit(self, drafts: Sequence[Draft]) -> Committed:
        """Make drafts durable here. Raises PathFault, NoKeyToWrite."""
        ...


class Debts(Protocol):
    """Who goes on placing what does not keep its promise yet; `services.placer.Placer` is one."""

    async def note_debt(self, encodings: Sequence[EncodingId]) -> None:
        """These stripes are owed from their commit on; durable on return."""
        ...

    def owe(self, encodings: Sequence[EncodingId]) -> None:
        """They are committed now."""
        ...


@dataclass(frozen=True, slots=True)
class Origin:
    """One thing to be stored.

    Attributes:
        local: absolute local path.
        target: where it belongs in the store; () for "its contents go into the root".
    """

    local: bytes
    target: Path


@dataclass(slots=True)
class PutOutcome:
    """What became of a put.

    Attributes:
        upto: the last operation of it; who has seen that has seen all of it.
        owed: stripes that did not keep their promise when they were committed.
        on_stored: is told of each thing that is committed, with its operation (None if none was needed).
        promise: the union of what the folders promise that something was put into.
    """

    upto: Dot | None = None
    owed: set[EncodingId] = field(default_factory=set)
    promise: Promise = Promise.ANY_1
    on_stored: Callable[[LocalEntry, Dot | None], None] | None = None

    def stored(self, entry: LocalEntry, dot: Dot | None) -> None:
        """Note one thing."""
        if self.on_stored is not None:
            self.on_stored(entry, dot)

    def committed(self, committed: Committed) -> None:
        """Note a commit."""
        if committed.upto is not None and (self.upto is None or committed.upto.sequence > self.upto.sequence):
            self.upto = committed.upto


class Importer:
    """Puts files into the tree."""

    def __init__(
        self,
        *,
        files: LocalFiles,
        workers: Workers,
        ledger: Commits,
        uploader: Uploader,
        promise: Callable[[Path], Awaitable[Promise]],
        debts: Debts,
        uploads: Uploads,
    ) -> None:
        self._uploads = uploads
        self._files = files
        self._workers = workers
        self._ledger = ledger
        self._uploader = uploader
        self._promise = promise
        self._debts = debts
        self._at_once = trio.CapacityLimiter(FILES_AT_ONCE)

    async def put_all(self, origins: Sequence[Origin], level: Level, transfer: Transfer) -> PutOutcome:
        """Store all of `origins`. What fails is listed in `transfer.failed`; the rest goes on."""
        outcome = PutOutcome()
        found = chain.from_iterable(self._files.walk(origin.local, origin.target) for origin in origins)
        await self.put_found(found, level, transfer, outcome)
        return outcome

    async def put_found(
        self, found: Iterable[Found], level: Level, transfer: Transfer, outcome: PutOutcome
    ) -> None:
        """Store what was found on the disk. `found` may look while it is gone through, in a worker job."""
        send, receive = trio.open_memory_channel[LocalEntry](2 * BATCH_ENTRIES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._walk, iter(found), send, transfer, outcome)
            async for entry in receive:
                turn = object()
                await self._at_once.acquire_on_behalf_of(turn)
                nursery.start_soon(self._put_large, entry, level, transfer, outcome, turn)

    async def _walk(
        self,
        entries: Iterator[Found],
        large: trio.MemorySendChannel[LocalEntry],
        transfer: Transfer,
        outcome: PutOutcome,
    ) -> None:
        """Commit folders, links and small files in batches; pass large files on."""
        async with large:
            while batch := await self._workers.run(self._read_batch, entries, cost_s=0.005):
                await self._put_batch(batch, large, transfer, outcome)
        transfer.phase = "sending"

    def _read_batch(self, entries: Iterator[Found]) -> list[tuple[Found, bytes | None]]:
        """The next entries and, of small files, their bytes. A worker job."""
        batch: list[tuple[Found, bytes | None]] = []
        for entry in islice(entries, BATCH_ENTRIES):
            data = None
            if isinstance(entry, LocalEntry) and entry.kind == "file" and entry.size <= INLINE_BYTES_MAX:
                try:
                    data = self._files.read_small(entry.path, INLINE_BYTES_MAX)
                except OSError as error:
                    batch.append((Unreadable(entry.path, error.strerror or str(error)), None))
                    continue
            batch.append((entry, data))
        return batch

    async def _put_batch(
        self,
        batch: Sequence[tuple[Found, bytes | None]],
        large: trio.MemorySendChannel[LocalEntry],
        transfer: Transfer,
        outcome: PutOutcome,
    ) -> None:
        drafts: list[tuple[LocalEntry, int, Draft]] = []
        later: list[LocalEntry] = []
        for entry, data in batch:
            if isinstance(entry, Unreadable):
                transfer.failed.append(Failed(entry.path, Cannot(entry.why)))
            elif entry.kind == "folder":
                if entry.names:
                    drafts.append(
                        (entry, 0, MakeFolder(entry.names, mode=entry.mode, mtime_ns=entry.mtime_ns, update=True))
                    )
            elif entry.kind == "link":
                transfer.files_total += 1
                link = LinkTarget(entry.target or b"")
                drafts.append((entry, 0, Put(entry.names, Kind.LINK, link, 0, entry.mtime_ns, entry.mode)))
            elif data is not None:
                transfer.files_total += 1
                transfer.bytes_total += len(data)
                put = Put(entry.names, Kind.FILE, Inline(data), len(data), entry.mtime_ns, entry.mode)
                drafts.append((entry, len(data), put))
            else:
                transfer.files_total += 1
                transfer.bytes_total += entry.size
                later.append(entry)
        await self._commit_batch(drafts, transfer, outcome)
        for entry in later:
            await large.send(entry)

    async def _commit_batch(
        self, drafts: Sequence[tuple[LocalEntry, int, Draft]], transfer: Transfer, outcome: PutOutcome
    ) -> None:
        """One commit for all; if the ledger refuses one of them, one by one, so that only that one fails."""
        if not drafts:
            return
        for folder in sorted({entry.names[:-1] for entry, _, _ in drafts}):
            outcome.promise |= await self._promise(folder)
        try:
            committed = await self._ledger.commit([draft for _, _, draft in drafts])
        except P2PStoreError as error:
            if len(drafts) == 1:
                transfer.failed.append(Failed(drafts[0][0].path, error))
                return
            for each in drafts:
                await self._commit_batch([each], transfer, outcome)
            return
        outcome.committed(committed)
        for (entry, size, _), became in zip(drafts, committed.outcomes, strict=True):
            outcome.stored(entry, became.dot)
            if entry.kind != "folder":
                transfer.files_done += 1
                transfer.read(size)
                transfer.placed(size)
                transfer.current = entry.path

    async def _put_large(
        self, entry: LocalEntry, level: Level, transfer: Transfer, outcome: PutOutcome, turn: object
    ) -> None:
        transfer.current = entry.path
        try:
            for attempt in range(READS_BEFORE_GIVING_UP):
                try:
                    await self._put_file(entry, level, transfer, outcome)
                except ChangedWhileRead:
                    if attempt == READS_BEFORE_GIVING_UP - 1:
                        raise
                else:
                    transfer.files_done += 1
                    break
        except (P2PStoreError, OSError) as error:
            transfer.failed.append(Failed(entry.path, error))
        finally:
            self._at_once.release_on_behalf_of(turn)

    async def _put_file(self, entry: LocalEntry, level: Level, transfer: Transfer, outcome: PutOutcome) -> None:
        source: OpenSource = await self._workers.run(self._files.open_source, entry.path)
        try:
            now = await self._workers.run(self._files.describe, entry.path, entry.names)
            if isinstance(now, Unreadable):
                raise ChangedWhileRead
            dot = await self.put_source(
                source, now.names, level, transfer, outcome, mtime_ns=now.mtime_ns, mode=now.mode
            )
            outcome.stored(entry, dot)
        finally:
            source.close()

    async def put_source(
        self,
        source: ByteSource,
        path: Path,
        level: Level,
        transfer: Transfer,
        outcome: PutOutcome,
        *,
        mtime_ns: int,
        mode: int,
        exclusive: bool = False,
    ) -> Dot | None:
        """Store one content, then commit its version; both are noted in `outcome`. Returns the version's operation.
        With `exclusive`, only if nothing has that path, which is known for sure when it is committed.

        Raises:
            ChangedWhileRead, NotPlaced, PathFault: nothing was committed.
        """
        expected = () if exclusive else None
        if isinstance(source, LiveSource):
            await source.gather(INLINE_BYTES_MAX + 1)
        begun = _Begun(source, await self._workers.run(_first_bytes, source))
        if begun.is_all:
            if not await self._workers.run(source.unchanged):
                raise ChangedWhileRead
            data = begun.first
            outcome.promise |= await self._promise(path[:-1])
            inline = Put(path, Kind.FILE, Inline(data), len(data), mtime_ns, mode, expected=expected)
            committed = await self._ledger.commit([inline])
            outcome.committed(committed)
            transfer.read(len(data))
            transfer.placed(len(data))
            return committed.outcomes[-1].dot
        promise = await self._promise(path[:-1])
        outcome.promise |= promise
        async with self._uploads.begin() as upload:
            content = await self._uploader.store(
                begun, promise, transfer, here=level is Level.HERE, note=upload.note
            )
            drafts, reference = content_drafts(content, promise)
            spare = Spare(tuple(sorted({chunk.stripe.encoding for chunk in content.chunks})))
            put = Put(path, Kind.FILE, reference, content.size, mtime_ns, mode, expected=expected)
            owed = sorted({chunk.stripe.encoding for chunk in content.chunks if not chunk.stripe.safe})
            if owed:
                await self._debts.note_debt(owed)
            committed = await self._ledger.commit([*drafts, spare, put])
        outcome.committed(committed)
        if owed:
            self._debts.owe(owed)
            outcome.owed.update(owed)
        return committed.outcomes[-1].dot


def _first_bytes(source: ByteSource) -> bytes:
    buffer = bytearray(INLINE_BYTES_MAX + 1)
    return bytes(buffer[: source.read_into(memoryview(buffer))])


class _Begun:
    """A source whose first bytes were read already, to see whether there are more."""

    def __init__(self, source: ByteSource, first: bytes) -> None:
        self.first = first
        self.is_all = len(first) <= INLINE_BYTES_MAX
        self.size_hint = source.size_hint
        self._source = source
        self._left = memoryview(first)

    def read_into(self, buffer: memoryview) -> int:
        """First what was read, then what follows."""
        count = min(len(self._left), len(buffer))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count + self._source.read_into(buffer[count:])

    async def gather(self, count: int) -> None:
        """As the source does."""
        if isinstance(self._source, LiveSource):
            await self._source.gather(count - len(self._left))

    def unchanged(self) -> bool:
        """As the source says."""
        return self._source.unchanged()


def content_drafts(
    content: StoredContent, promise: Promise
) -> tuple[list[ManifestPage | StripeStatement], ManifestRef]:
    """The stripe statements and manifest pages of a stored content, and what its version refers to."""
    chunks = (ChunkOfFile(chunk.chunk, chunk.length) for chunk in content.chunks)
    pages = encode_whole(chunks, content.generation, content.dedupe_key)
    statements = {
        chunk.stripe.encoding: StripeStatement(
            encoding=chunk.stripe.encoding,
            chunk=chunk.chunk,
            needed=chunk.stripe.needed,
            sealed_length=chunk.stripe.sealed_length,
            shard_length=chunk.stripe.shard_length,
            promise=promise.value,
        )
        for chunk in content.chunks
    }
    manifest_pages = [ManifestPage(page.id, 0, 1, page.data) for page in pages]
    generation: GenerationId = content.generation
    return [*statements.values(), *manifest_pages], ManifestRef(pages[-1].id, generation)
