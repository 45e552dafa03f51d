"""Finds entries for people: kinds of files by the endings of their names, and which machine holds them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Final

from p2pstore.errors import Corrupt, Misuse
from p2pstore.ids import PeerId
from p2pstore.ledger.conflicts import ConflictPage
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.search import Hit, Query
from p2pstore.metadata.version import Content, Kind, ManifestRef
from p2pstore.services.readable import Holders, Manifests, Readability

ENDINGS: Final[Mapping[str, tuple[str, ...]]] = {
    "image": (
        ".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp", ".svg", ".raw", ".dng",
        ".cr2", ".nef", ".arw",
    ),
    "video": (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts"),
    "audio": (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wav", ".aac", ".wma", ".aiff"),
    "document": (
        ".pdf", ".txt", ".md", ".odt", ".ods", ".odp", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".rtf",
        ".csv", ".html", ".epub", ".tex", ".pages", ".numbers", ".key",
    ),
    "archive": (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".iso", ".dmg"),
}  # fmt: skip
"""What the words for `--type` mean, beside file, folder and link."""

TYPES: Final = ("file", "folder", "link", *ENDINGS)

PAGE: Final = 100


def kinds_and_endings(words: list[str]) -> tuple[tuple[Kind, ...], tuple[str, ...]]:
    """What `--type` asks for. Raises Misuse for an unknown word."""
    kinds: set[Kind] = set()
    endings: list[str] = []
    for word in words:
        if word in ENDINGS:
            kinds.add(Kind.FILE)
            endings.extend(ENDINGS[word])
        elif word in TYPES:
            kinds.add(Kind[word.upper()])
        else:
            raise Misuse(f"--type {word}: one of {', '.join(TYPES)}")
    if endings and len(kinds) + len([word for word in words if word == "file"]) > 1:
        raise Misuse("--type: either kinds (file, folder, link) or sorts of files")
    return tuple(sorted(kinds)), tuple(endings)


class Finder:
    """Answers searches, page by page."""

    def __init__(self, ledger: Ledger, manifests: Manifests, holders: Holders) -> None:
        self._ledger = ledger
        self._manifests = manifests
        self._holders = holders

    async def find(self, query: Query, *, on_machine: PeerId | None, conflict: bool) -> AsyncGenerator[list[Hit], None]:
        """Everything that `query` finds, in pages that may be empty."""
        if conflict:
            async for hits in self._contested(query):
                yield [hit for hit in hits if await self._is_on(hit.held.version.content, on_machine)]
            return
        before: int | None = None
        while True:
            page = await self._ledger.search(query, before=before, limit=PAGE)
            yield [hit for hit in page.found if await self._is_on(hit.held.version.content, on_machine)]
            before = page.before
            if before is None:
                return

    async def _contested(self, query: Query) -> AsyncIterator[list[Hit]]:
        """Names with conflict copies, as far as they match by what can be seen of them."""
        if query.tags or query.deleted:
            raise Misuse("--conflict goes with words, --type, --larger, --smaller, --since and --until")
        matches = query.pattern.matcher()
        async for page in self.conflicts():
            yield [
                Hit((*conflict.folder, item.name), item.held)
                for conflict in page.conflicts
                for item in conflict.items
                if matches(item.name) and _passes(query, item.held.version.kind, item.size, item.mtime_ns, item.name)
            ]

    async def conflicts(self) -> AsyncGenerator[ConflictPage, None]:
        """All conflicts, in pages."""
        after = None
        while True:
            page = await self._ledger.conflicts(after=after, limit=PAGE)
            yield page
            after = page.after
            if after is None:
                return

    async def _is_on(self, content: Content, peer: PeerId | None) -> bool:
        """Whether a machine says to hold something of a content; what lies in its version is everywhere."""
        if peer is None or not isinstance(content, ManifestRef):
            return True
        try:
            chunks = await Readability(self._manifests, self._ledger, self._holders).holders_by_chunk(content)
        except Corrupt:
            return False
        return chunks is not None and any(peer in peers for peers in chunks.values())


def _passes(query: Query, kind: Kind, size: int, mtime_ns: int, name: bytes) -> bool:
    ending = not query.endings or name.decode("utf-8", "replace").lower().endswith(query.endings)
    return (
        ending
        and (not query.kinds or kind in query.kinds)
        and (query.size_min is None or size >= query.size_min)
        and (query.size_max is None or size <= query.size_max)
        and (query.mtime_min_ns is None or mtime_ns >= query.mtime_min_ns)
        and (query.mtime_max_ns is None or mtime_ns <= query.mtime_max_ns)
    )
