"""What every LocalFiles keeps to: the real file system and the one in memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from p2pstore.edges.local_files import RealFiles
from p2pstore.seams.local_files import LocalEntry, LocalFiles, Unreadable
from simulations.local_files import SimulatedFiles

Write = Callable[[bytes, bytes], None]


@pytest.fixture(params=["real", "simulated"])
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[LocalFiles, bytes, Write]:
    """The files, a folder in them, and how a person writes a file."""
    root = os.fsencode(tmp_path)
    if request.param == "real":

        def write(path: bytes, data: bytes) -> None:
            Path(os.fsdecode(path)).write_bytes(data)

        return RealFiles(), root, write
    files = SimulatedFiles()
    files.make_folder(root)
    return files, root, files.write_file


def _read(files: LocalFiles, path: bytes) -> bytes:
    source = files.open_source(path)
    try:
        buffer = bytearray(source.size_hint + 10)
        return bytes(buffer[: source.read_into(memoryview(buffer))])
    finally:
        source.close()


def test_a_published_part_has_its_name_size_mode_and_time(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, _ = twin
    path = root + b"/caf\xe9"
    part = files.part_file(path)
    part.write(5, b"world")
    part.write(0, b"hello")
    assert not files.exists(path)
    part.publish(size=12, mode=0o640, mtime_ns=1_700_000_000_123_456_789)
    part.abandon()
    entry = files.describe(path, (b"x",))
    assert entry == LocalEntry(path, (b"x",), "file", 12, 0o640, 1_700_000_000_123_456_789)
    assert _read(files, path) == b"helloworld\0\0"


def test_an_abandoned_part_leaves_no_trace(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, _ = twin
    part = files.part_file(root + b"/a")
    part.write(0, b"half")
    part.abandon()
    part.abandon()
    assert [entry.path for entry in files.walk(root, ())] == [root]


def test_walks_parents_first_and_names_in_order(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    files.make_folder(root + b"/b/inner")
    files.make_folder(root + b"/a")
    write(root + b"/b/inner/x", b"1")
    write(root + b"/c", b"22")
    files.make_link(b"nowhere", root + b"/d")
    names = [entry.names for entry in files.walk(root, (b"top",)) if isinstance(entry, LocalEntry)]
    assert names == [
        (b"top",), (b"top", b"a"), (b"top", b"b"), (b"top", b"c"), (b"top", b"d"),
        (b"top", b"b", b"inner"), (b"top", b"b", b"inner", b"x"),
    ]  # fmt: skip
    link = files.describe(root + b"/d", (b"d",))
    assert isinstance(link, LocalEntry)
    assert (link.kind, link.target) == ("link", b"nowhere")


def test_what_is_missing_is_said_to_be(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, _ = twin
    assert isinstance(files.describe(root + b"/no", ()), Unreadable)
    with pytest.raises(FileNotFoundError):
        files.open_source(root + b"/no")
    with pytest.raises(FileNotFoundError):
        files.part_file(root + b"/no/file")
    assert not files.exists(root + b"/no")


def test_a_source_tells_when_its_file_was_replaced(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    path = root + b"/f"
    write(path, b"before")
    source = files.open_source(path)
    assert source.unchanged()
    part = files.part_file(path)
    part.write(0, b"after!")
    part.publish(size=6, mode=0o644, mtime_ns=1)
    assert not source.unchanged()
    source.close()


def test_small_files_are_read_whole_or_not(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    write(root + b"/f", b"12345")
    assert files.read_small(root + b"/f", 5) == b"12345"
    assert files.read_small(root + b"/f", 4) is None


def test_folders_and_links_are_told_apart(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    files.make_folder(root + b"/d")
    files.make_folder(root + b"/d")
    files.make_link(b"d", root + b"/l")
    files.make_link(b"gone", root + b"/dangling")
    write(root + b"/f", b"")
    assert files.is_folder(root + b"/d")
    assert files.is_folder(root + b"/l")
    assert not files.is_folder(root + b"/f")
    assert not files.is_folder(root + b"/dangling")
    assert files.exists(root + b"/dangling")
    files.finish_folder(root + b"/d", mode=0o700, mtime_ns=5_000_000_000)
    entry = files.describe(root + b"/d", ())
    assert isinstance(entry, LocalEntry)
    assert (entry.mode, entry.mtime_ns) == (0o700, 5_000_000_000)


def test_a_stamp_changes_with_the_content_and_survives_a_look(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    path = root + b"/f"
    write(path, b"one")
    before = files.stamp(path)
    assert (before.kind, before.size) == ("file", 3)
    assert before.is_same(files.stamp(path))
    part = files.part_file(path)
    part.write(0, b"two")
    part.publish(size=3, mode=before.mode, mtime_ns=before.mtime_ns)
    assert not before.is_same(files.stamp(path)), "another file of the same size and time"
    files.make_link(b"f", root + b"/l")
    files.make_folder(root + b"/d")
    assert [files.stamp(root + b"/" + name).kind for name in (b"d", b"f", b"l")] == ["folder", "file", "link"]
    with pytest.raises(FileNotFoundError):
        files.stamp(root + b"/no")


def test_names_in_a_folder_are_sorted_and_without_parts(twin: tuple[LocalFiles, bytes, Write]) -> None:
    files, root, write = twin
    write(root + b"/b", b"")
    write(root + b"/a\xff", b"")
    part = files.part_file(root + b"/c")
    part.write(0, b"x")
    assert files.names_in(root) == [b"a\xff", b"b"]
    part.abandon()
    with pytest.raises(NotADirectoryError):
        files.names_in(root + b"/b")
    with pytest.raises(FileNotFoundError):
        files.names_in(root + b"/no")
