"""The list of a content's chunks."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Forged, Malformed, Misuse
from p2pstore.ids import ChunkId, GenerationId, ManifestId
from p2pstore.limits import (
    CHUNK_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_CHUNKS_MAX,
    MANIFEST_PAGES_MAX,
    OPERATION_BYTES_MAX,
)
from p2pstore.packing import pack
from p2pstore.pipeline import manifest
from p2pstore.pipeline.manifest import (
    ChunkOfFile,
    Manifest,
    ManifestWriter,
    Page,
    PageOfFile,
    Root,
    chunks_in_range,
    decode_manifest,
    encode_manifest,
    encode_whole,
    manifest_name,
    open_manifest,
    open_page,
    pages_in_range,
)
from tests.pipeline.samples import noise, vectors

KEY = bytes(range(32))
GENERATION = GenerationId(bytes(range(16)))
PARTS = st.builds(
    ChunkOfFile, st.binary(min_size=32, max_size=32).map(ChunkId), st.integers(1, CHUNK_BYTES_MAX)
)
PAGES = st.builds(Page, st.just(GENERATION), st.lists(PARTS, max_size=20).map(tuple))


def chunks(count: int, length: int = 1000) -> list[ChunkOfFile]:
    names = noise(32 * count)
    return [ChunkOfFile(ChunkId(names[32 * each : 32 * each + 32]), length) for each in range(count)]


@given(PAGES)
def test_what_was_encoded_decodes(page: Page) -> None:
    encoded = encode_manifest(page, KEY)
    assert open_manifest(encoded.data, KEY, expect=encoded.id) == page


def test_equal_contents_have_one_manifest_inside_a_household_only() -> None:
    page = Page(GENERATION, tuple(chunks(3)))
    assert encode_manifest(page, KEY) == encode_manifest(Page(GENERATION, tuple(chunks(3))), KEY)
    assert encode_manifest(page, KEY).id != encode_manifest(page, bytes(32)).id


def test_another_manifest_is_forged() -> None:
    encoded = encode_manifest(Page(GENERATION, tuple(chunks(3))), KEY)
    with pytest.raises(Forged):
        open_manifest(encoded.data, KEY, expect=ManifestId(bytes(32)))
    with pytest.raises(Forged):
        open_manifest(encoded.data, bytes(32), expect=encoded.id)


def test_a_manifest_says_which_generation_names_it() -> None:
    assert decode_manifest(encode_manifest(Page(GENERATION, ()), KEY).data).generation == GENERATION


@pytest.mark.parametrize("count", [0, 1, MANIFEST_CHUNKS_MAX])
def test_what_fits_a_page_is_one_page(count: int) -> None:
    (only,) = encode_whole(chunks(count), GENERATION, KEY)
    assert decode_manifest(only.data) == Page(GENERATION, tuple(chunks(count)))


@pytest.mark.parametrize("count", [MANIFEST_CHUNKS_MAX + 1, 2 * MANIFEST_CHUNKS_MAX, 2 * MANIFEST_CHUNKS_MAX + 7])
def test_what_does_not_is_pages_under_a_root(count: int) -> None:
    *pages, whole = encode_whole(chunks(count), GENERATION, KEY)
    root = open_manifest(whole.data, KEY, expect=whole.id)
    assert isinstance(root, Root)
    assert (root.length, root.chunk_count) == (1000 * count, count)
    read = [open_page(page.data, KEY, expect=named) for page, named in zip(pages, root.parts, strict=True)]
    assert [part for page in read for part in page.parts] == chunks(count)


def test_the_longest_page_and_root_fit_an_operation() -> None:
    page = Page(GENERATION, (ChunkOfFile(ChunkId(bytes(32)), CHUNK_BYTES_MAX),) * MANIFEST_CHUNKS_MAX)
    part = PageOfFile(ManifestId(bytes(32)), page.length, MANIFEST_CHUNKS_MAX)
    root = Root(GENERATION, (part,) * MANIFEST_PAGES_MAX)
    for longest in (page, root):
        data = encode_manifest(longest, KEY).data
        assert decode_manifest(data) == longest
        assert len(data) <= MANIFEST_BYTES_MAX <= OPERATION_BYTES_MAX


def test_a_file_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MANIFEST_CHUNKS_MAX", 2)
    monkeypatch.setattr(manifest, "MANIFEST_PAGES_MAX", 2)
    writer = ManifestWriter(GENERATION, KEY)
    for chunk in chunks(4):
        writer.add(*chunk)
    with pytest.raises(Misuse):
        writer.add(*chunks(1)[0])


def test_a_page_that_is_not_as_its_root_says_is_malformed() -> None:
    (page,) = encode_whole(chunks(3), GENERATION, KEY)
    for length, count in ((3001, 3), (3000, 2)):
        with pytest.raises(Malformed):
            open_page(page.data, KEY, expect=PageOfFile(page.id, length, count))
    assert open_page(page.data, KEY, expect=PageOfFile(page.id, 3000, 3)).length == 3000


@pytest.mark.parametrize(
    "value",
    [
        [2, 0, GENERATION, b""],
        [1, 2, GENERATION, b""],
        [1, 0, GENERATION[1:], b""],
        [1, 0, GENERATION, b"x"],
        [1, 0, GENERATION, bytes(36)],  # a chunk of no bytes
        [1, 0, GENERATION, bytes(32) + (CHUNK_BYTES_MAX + 1).to_bytes(4, "big")],
        [1, 0, GENERATION, bytes(36) * (MANIFEST_CHUNKS_MAX + 1)],
        [1, 1, GENERATION, b""],
        [1, 1, GENERATION, (bytes(32) + (5).to_bytes(8, "big") + (1).to_bytes(4, "big"))],  # a root of one page
        [1, 1, GENERATION, (bytes(32) + (5).to_bytes(8, "big") + (6).to_bytes(4, "big")) * 2],  # 6 chunks in 5 bytes
        [1, 0, GENERATION, b"", 0],
        {},
    ],
)
def test_nonsense_is_malformed(value: object) -> None:
    with pytest.raises(Malformed):
        decode_manifest(pack(value))


def test_another_spelling_of_the_same_list_is_malformed() -> None:
    data = encode_manifest(Page(GENERATION, ()), KEY).data
    spelled_out = data[:1] + b"\xcc\x01" + data[2:]  # the version as a two-byte integer
    with pytest.raises(Malformed, match="one encoding"):
        decode_manifest(spelled_out)


@settings(max_examples=100)
@given(PAGES, st.integers(0, 10 * CHUNK_BYTES_MAX), st.integers(0, 10 * CHUNK_BYTES_MAX))
def test_a_range_takes_just_its_bytes(page: Page, offset: int, length: int) -> None:
    spans = chunks_in_range(page, offset, length)
    assert sum(span.take for span in spans) == max(0, min(page.length, offset + length) - offset)
    place = offset
    for span in spans:
        assert span.begins + span.skip == place
        assert 0 < span.take <= span.part.length - span.skip
        place += span.take


def test_a_range_of_a_long_file_is_a_range_of_pages() -> None:
    *_, whole = encode_whole(chunks(MANIFEST_CHUNKS_MAX + 10), GENERATION, KEY)
    root = decode_manifest(whole.data)
    assert isinstance(root, Root)
    first = MANIFEST_CHUNKS_MAX * 1000
    assert [(span.begins, span.skip, span.take) for span in pages_in_range(root, first - 5, 10)] == [
        (0, first - 5, 5),
        (first, 0, 5),
    ]


def test_manifests_are_as_frozen() -> None:
    for vector in vectors("manifest"):
        data, key = bytes.fromhex(vector["data"]), bytes.fromhex(vector["dedupe"])
        assert manifest_name(data, key).hex() == vector["id"]
        generation = GenerationId(bytes.fromhex(vector["generation"]))
        wanted: Manifest
        if vector["kind"] == "page":
            parts = tuple(ChunkOfFile(ChunkId(bytes.fromhex(name)), size) for name, size in vector["parts"])
            wanted = Page(generation, parts)
        else:
            pages = tuple(
                PageOfFile(ManifestId(bytes.fromhex(name)), size, count) for name, size, count in vector["parts"]
            )
            wanted = Root(generation, pages)
        assert decode_manifest(data) == wanted
        assert encode_manifest(wanted, key).data == data
