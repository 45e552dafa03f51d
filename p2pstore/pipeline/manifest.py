"""The list of a content's chunks, named by a keyed hash; long ones are pages under a root. docs/formats/manifest.md."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Generic, NamedTuple, TypeVar

from blake3 import blake3

from p2pstore.errors import Forged, Malformed, Misuse
from p2pstore.ids import ChunkId, GenerationId, ManifestId
from p2pstore.limits import CHUNK_BYTES_MAX, MANIFEST_BYTES_MAX, MANIFEST_CHUNKS_MAX, MANIFEST_PAGES_MAX
from p2pstore.packing import Buffer, Fields, pack, unpack

FORMAT_VERSION: Final = 1

_PAGE: Final = 0
_ROOT: Final = 1
_CHUNK: Final = struct.Struct(">32sI")  # chunk id, plain length
_PAGE_OF_ROOT: Final = struct.Struct(">32sQI")  # page id, plain length, chunks
_ID_CONTEXT: Final = "p2pstore 2026-11 manifest id key v1"


class ChunkOfFile(NamedTuple):
    """One chunk of a content.

    Attributes:
        id: names its plain bytes.
        length: its plain bytes, 1 to CHUNK_BYTES_MAX.
    """

    id: ChunkId
    length: int


class PageOfFile(NamedTuple):
    """One page of a long manifest.

    Attributes:
        id: names the page's encoding.
        length: plain bytes of its chunks.
        chunk_count: chunks on it.
    """

    id: ManifestId
    length: int
    chunk_count: int


@dataclass(frozen=True, slots=True)
class Page:
    """Up to MANIFEST_CHUNKS_MAX chunks in order: the whole of a content, or a page of it.

    Attributes:
        generation: whose dedupe key names the manifest and its chunks.
        parts: the chunks.
    """

    generation: GenerationId
    parts: tuple[ChunkOfFile, ...]

    @property
    def length(self) -> int:
        """Plain bytes of all chunks."""
        return sum(part.length for part in self.parts)


@dataclass(frozen=True, slots=True)
class Root:
    """The pages of a long manifest, in order, at least two.

    Attributes:
        generation: whose dedupe key names the root, its pages and their chunks.
        parts: the pages.
    """

    generation: GenerationId
    parts: tuple[PageOfFile, ...]

    @property
    def length(self) -> int:
        """Plain bytes of all pages."""
        return sum(part.length for part in self.parts)

    @property
    def chunk_count(self) -> int:
        """Chunks of all pages."""
        return sum(part.chunk_count for part in self.parts)


Manifest = Page | Root

Part = TypeVar("Part", ChunkOfFile, PageOfFile)


class Span(NamedTuple, Generic[Part]):
    """What a range takes of one part.

    Attributes:
        part: the chunk or page.
        begins: where the part begins in the manifest that was asked.
        skip: bytes of the part before the range.
        take: bytes of the part in the range, at least 1.
    """

    part: Part
    begins: int
    skip: int
    take: int


class EncodedManifest(NamedTuple):
    """A manifest's name and bytes."""

    id: ManifestId
    data: bytes


def manifest_name(data: Buffer, dedupe_key: bytes) -> ManifestId:
    """The id of an encoded manifest: BLAKE3 of its bytes, under a key from the dedupe key."""
    key = blake3(dedupe_key, derive_key_context=_ID_CONTEXT).digest()
    return ManifestId(blake3(data, key=key).digest())


def encode_manifest(manifest: Manifest, dedupe_key: bytes) -> EncodedManifest:
    """The one encoding of a page or root, and its id."""
    if isinstance(manifest, Page):
        kind, body = _PAGE, b"".join(_CHUNK.pack(*part) for part in manifest.parts)
    else:
        kind, body = _ROOT, b"".join(_PAGE_OF_ROOT.pack(*part) for part in manifest.parts)
    data = pack([FORMAT_VERSION, kind, manifest.generation, body])
    return EncodedManifest(manifest_name(data, dedupe_key), data)


def decode_manifest(data: Buffer) -> Manifest:
    """The page or root in `data`; whether it is the one wanted is `open_manifest`'s question.

    Raises:
        Malformed: not the encoding of a manifest, or one beyond the limits.
    """
    fields = Fields(unpack(data, bytes_max=MANIFEST_BYTES_MAX), "manifest", version=FORMAT_VERSION)
    kind = fields.integer(_PAGE, _ROOT)
    generation = GenerationId(fields.raw(16))
    body = fields.raw()
    fields.end()
    layout, most = (_CHUNK, MANIFEST_CHUNKS_MAX) if kind == _PAGE else (_PAGE_OF_ROOT, MANIFEST_PAGES_MAX)
    if len(body) % layout.size or len(body) > layout.size * most:
        raise Malformed("manifest: a list that is cut off, or too long")
    manifest: Manifest
    if kind == _PAGE:
        manifest = Page(generation, tuple(ChunkOfFile(ChunkId(name), size) for name, size in layout.iter_unpack(body)))
        if not all(0 < part.length <= CHUNK_BYTES_MAX for part in manifest.parts):
            raise Malformed("manifest: a chunk of an impossible length")
    else:
        pages = tuple(PageOfFile(ManifestId(name), size, count) for name, size, count in layout.iter_unpack(body))
        manifest = Root(generation, pages)
        if len(pages) < 2 or not all(_is_possible(page) for page in pages):
            raise Malformed("manifest: a page of an impossible length")
    if bytes(data) != pack([FORMAT_VERSION, kind, generation, body]):
        raise Malformed("manifest: not in its one encoding")
    return manifest


def open_manifest(data: Buffer, dedupe_key: bytes, *, expect: ManifestId) -> Manifest:
    """The page or root in `data`, proven to be the one that `expect` names.

    Args:
        data: its encoding.
        dedupe_key: of the generation that wrote it.
        expect: its id.

    Raises:
        Forged: it has another id.
        Malformed: it has the id, but whoever made it wrote nonsense.
    """
    if manifest_name(data, dedupe_key) != expect:
        raise Forged("a manifest that is not the one asked for")
    return decode_manifest(data)


def open_page(data: Buffer, dedupe_key: bytes, *, expect: PageOfFile) -> Page:
    """A page that a root names, proven to be it and as long as the root says. Raises as `open_manifest`."""
    page = open_manifest(data, dedupe_key, expect=expect.id)
    if not isinstance(page, Page) or page.length != expect.length or len(page.parts) != expect.chunk_count:
        raise Malformed("manifest: a page that is not as its root says")
    return page


def chunks_in_range(page: Page, offset: int, length: int) -> list[Span[ChunkOfFile]]:
    """The chunks that hold bytes `offset` to `offset + length` of a page, in order; fewer beyond its end."""
    return _in_range(page.parts, offset, length)


def pages_in_range(root: Root, offset: int, length: int) -> list[Span[PageOfFile]]:
    """The pages that hold bytes `offset` to `offset + length` of a long manifest, in order."""
    return _in_range(root.parts, offset, length)


class ManifestWriter:
    """Takes the chunks of a content in order and gives pages as they fill, so that no list of all is ever held."""

    __slots__ = ("_chunks", "_dedupe_key", "_generation", "_pages")

    def __init__(self, generation: GenerationId, dedupe_key: bytes) -> None:
        self._generation = generation
        self._dedupe_key = dedupe_key
        self._chunks: list[ChunkOfFile] = []
        self._pages: list[PageOfFile] = []

    def add(self, chunk: ChunkId, length: int) -> EncodedManifest | None:
        """The next chunk. Returns a page that is full and whose successor has just begun, to be stored.

        Raises:
            Misuse: the file is larger than MANIFEST_PAGES_MAX pages.
        """
        full = self._take_page() if len(self._chunks) == MANIFEST_CHUNKS_MAX else None
        if len(self._pages) == MANIFEST_PAGES_MAX:
            raise Misuse(f"a file of more than {MANIFEST_PAGES_MAX * MANIFEST_CHUNKS_MAX} chunks")
        self._chunks.append(ChunkOfFile(chunk, length))
        return full

    def finish(self) -> list[EncodedManifest]:
        """What remains to be stored, in order; the last names the whole content. Call once."""
        last = self._take_page()
        if len(self._pages) == 1:
            return [last]
        return [last, encode_manifest(Root(self._generation, tuple(self._pages)), self._dedupe_key)]

    def _take_page(self) -> EncodedManifest:
        page = Page(self._generation, tuple(self._chunks))
        encoded = encode_manifest(page, self._dedupe_key)
        self._pages.append(PageOfFile(encoded.id, page.length, len(page.parts)))
        self._chunks = []
        return encoded


def encode_whole(
    chunks: Iterable[ChunkOfFile], generation: GenerationId, dedupe_key: bytes
) -> tuple[EncodedManifest, ...]:
    """All pages and, of a long content, the root: the last names the whole. For contents whose chunks fit in memory."""
    writer = ManifestWriter(generation, dedupe_key)
    pages = [page for chunk in chunks if (page := writer.add(*chunk)) is not None]
    return (*pages, *writer.finish())


def _is_possible(page: PageOfFile) -> bool:
    return 0 < page.chunk_count <= MANIFEST_CHUNKS_MAX and page.chunk_count <= page.length <= (
        page.chunk_count * CHUNK_BYTES_MAX
    )


def _in_range(parts: Sequence[Part], offset: int, length: int) -> list[Span[Part]]:
    end = offset + length
    ends = list(accumulate(part.length for part in parts))
    spans = []
    for part, part_end in zip(parts, ends, strict=True):
        begins = part_end - part.length
        first, last = max(offset, begins), min(end, part_end)
        if first < last:
            spans.append(Span(part, begins, first - begins, last - first))
    return spans
