"""Gets files: walks the tree, fetches contents, writes each beside its name and gives it the name when it is whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import trio

from p2pstore.errors import Corrupt, P2PStoreError, PathFault
from p2pstore.ids import EntryId, GenerationId, ManifestId
from p2pstore.ledger.tree_view import Listing
from p2pstore.metadata.tree import Item
from p2pstore.metadata.vector import Vector
from p2pstore.metadata.version import Inline, Kind, LinkTarget, ManifestRef
from p2pstore.pipeline.manifest import (
    ChunkOfFile,
    Page,
    Root,
    Span,
    chunks_in_range,
    open_manifest,
    open_page,
    pages_in_range,
)
from p2pstore.pipeline.sealing import KeysByGeneration
from p2pstore.seams.local_files import LocalFiles, PartFile
from p2pstore.seams.workers import Workers
from p2pstore.services.download import Downloader, WantedChunk
from p2pstore.services.transfers import Failed, Transfer

PAGE_ITEMS: Final = 500
"""Items of a folder asked of the ledger at once."""

FILES_AT_ONCE: Final = 32
"""Files fetched together."""


class Tree(Protocol):
    """The ledger, as far as gets need it."""

    async def children(
        self,
        entries: Sequence[EntryId],
        *,
        after: bytes | None = None,
        limit: int = PAGE_ITEMS,
        at: Vector | None = None,
    ) -> Listing:
        """A page of a folder, now or at a cut."""
        ...

    async def manifest(self, manifest: ManifestId) -> bytes | None:
        """The encoding of a manifest page or root, if it has arrived here."""
        ...


@dataclass(frozen=True, slots=True)
class Destination:
    """One thing to be fetched.

    Attributes:
        item: what.
        source: its path in the store, for messages.
        local: absolute local path that it gets.
    """

    item: Item
    source: bytes
    local: bytes

    def below(self, item: Item) -> Destination:
        """Something in this folder, which goes into its local folder."""
        name = b"/" + item.name
        return Destination(item, self.source.rstrip(b"/") + name, self.local.rstrip(b"/") + name)


@dataclass(slots=True)
class _Pending:
    """Folders get their mode and time last, the deepest first."""

    folders: list[Destination] = field(default_factory=list)


class Exporter:
    """Reads files out of the tree."""

    def __init__(
        self, *, files: LocalFiles, workers: Workers, tree: Tree, downloader: Downloader, keys_of: KeysByGeneration
    ) -> None:
        self._files = files
        self._workers = workers
        self._tree = tree
        self._downloader = downloader
        self._keys_of = keys_of
        self._at_once = trio.CapacityLimiter(FILES_AT_ONCE)

    async def get_all(self, wanted: Sequence[Destination], transfer: Transfer) -> None:
        """Write all of `wanted`. What fails is listed in `transfer.failed`; the rest goes on."""
        pending = _Pending()
        send, receive = trio.open_memory_channel[Destination](2 * FILES_AT_ONCE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._walk, wanted, send, transfer, pending)
            async for destination in receive:
                turn = object()
                await self._at_once.acquire_on_behalf_of(turn)
                nursery.start_soon(self._get_one, destination, transfer, turn)
        for folder in reversed(pending.folders):
            await self._workers.run(self._finish_folder, folder)

    def _finish_folder(self, folder: Destination) -> None:
        self._files.finish_folder(folder.local, mode=folder.item.mode, mtime_ns=folder.item.mtime_ns)

    async def _walk(
        self,
        wanted: Sequence[Destination],
        send: trio.MemorySendChannel[Destination],
        transfer: Transfer,
        pending: _Pending,
    ) -> None:
        async with send:
            stack = list(reversed(wanted))
            while stack:
                destination = stack.pop()
                if destination.item.kind is not Kind.FOLDER:
                    transfer.files_total += 1
                    transfer.bytes_total += destination.item.size
                    await send.send(destination)
                    continue
                try:
                    await self._workers.run(self._files.make_folder, destination.local)
                except (OSError, P2PStoreError) as error:
                    transfer.failed.append(Failed(destination.source, error))
                    continue
                pending.folders.append(destination)
                stack.extend([destination.below(item) async for item in self.items_of(destination.item)])
        transfer.phase = "sending"

    async def items_of(self, folder: Item) -> AsyncIterator[Item]:
        """Everything shown in a folder, by name."""
        after: bytes | None = None
        while True:
            listing = await self._tree.children(folder.entries, after=after, limit=PAGE_ITEMS, at=folder.at)
            for item in listing.items:
                yield item
            after = listing.after
            if after is None:
                return

    async def _get_one(self, destination: Destination, transfer: Transfer, turn: object) -> None:
        transfer.current = destination.source
        try:
            await self._write(destination, transfer)
            transfer.files_done += 1
        except (P2PStoreError, OSError) as error:
            transfer.failed.append(Failed(destination.source, error))
        finally:
            self._at_once.release_on_behalf_of(turn)

    async def _write(self, destination: Destination, transfer: Transfer) -> None:
        item = destination.item
        if isinstance(item.content, LinkTarget):
            await self._workers.run(self._files.make_link, item.content.target, destination.local)
            return
        if isinstance(item.content, Inline):
            await self._workers.run(self._write_small, destination, item.content.data)
            transfer.read(item.size)
            transfer.placed(item.size)
            return
        part = await self._workers.run(self._files.part_file, destination.local)
        try:
            offset = 0

            async def write(piece: memoryview) -> None:
                nonlocal offset
                transfer.read(len(piece))
                await self._workers.run(part.write, offset, piece)
                offset += len(piece)
                transfer.placed(len(piece))

            await self.read(item, 0, item.size, write)
            await self._workers.run(self._publish, part, item)
        finally:
            part.abandon()

    def _write_small(self, destination: Destination, data: bytes) -> None:
        part = self._files.part_file(destination.local)
        try:
            part.write(0, data)
            self._publish(part, destination.item)
        finally:
            part.abandon()

    def _publish(self, part: PartFile, item: Item) -> None:
        part.publish(size=item.size, mode=item.mode, mtime_ns=item.mtime_ns)

    async def read(
        self, item: Item, offset: int, length: int, sink: Callable[[memoryview], Awaitable[None]]
    ) -> None:
        """Give `sink` the bytes from `offset` on, at most `length` of them, in order.

        Raises:
            TooFewShards, Corrupt: at the chunk that cannot be read; everything before it was right.
            PathFault: it has no bytes.
        """
        if isinstance(item.content, Inline):
            if data := memoryview(item.content.data)[offset : offset + length]:
                await sink(data)
            return
        if not isinstance(item.content, ManifestRef):
            raise PathFault("is-a-folder" if item.kind is Kind.FOLDER else "not-a-file", (item.name,))
        await self.read_manifest(item.content, offset, length, sink)

    async def read_manifest(
        self, reference: ManifestRef, offset: int, length: int, sink: Callable[[memoryview], Awaitable[None]]
    ) -> None:
        """The same for a content by itself, whatever has become of the path it was found at.

        Raises:
            TooFewShards, Corrupt: at the chunk that cannot be read; everything before it was right.
        """
        async for page, begins in self._pages(reference, offset, length):
            spans = chunks_in_range(page, offset - begins, length)

            async def piece(number: int, plain: memoryview, spans: list[Span[ChunkOfFile]] = spans) -> None:
                span = spans[number]
                await sink(plain[span.skip : span.skip + span.take])

            await self._downloader.deliver([WantedChunk(span.part.id, span.part.length) for span in spans], piece)

    async def _pages(self, reference: ManifestRef, offset: int, length: int) -> AsyncIterator[tuple[Page, int]]:
        """The manifest pages that a range touches, each with where it begins."""
        top = await self.manifest(reference.manifest, reference.generation)
        if isinstance(top, Page):
            yield top, 0
            return
        dedupe = self._dedupe_key(reference.generation)
        for span in pages_in_range(top, offset, length):
            data = await self._manifest_bytes(span.part.id)
            yield open_page(data, dedupe, expect=span.part), span.begins

    def _dedupe_key(self, generation: GenerationId) -> bytes:
        keys = self._keys_of(generation)
        if keys is None:
            raise Corrupt("the manifest names a key generation that this machine does not have")
        return keys.dedupe

    async def _manifest_bytes(self, manifest: ManifestId) -> bytes:
        data = await self._tree.manifest(manifest)
        if data is None:
            raise Corrupt("the manifest has not arrived on this machine")
        return data

    async def manifest(self, manifest: ManifestId, generation: GenerationId) -> Page | Root:
        """A content's manifest, proven to be the one that its id names."""
        return open_manifest(await self._manifest_bytes(manifest), self._dedupe_key(generation), expect=manifest)
