"""Local files are read as of one moment and written as a whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from p2pstore.edges.local_files import HOLE_BYTES, LocalSource, RealFiles
from p2pstore.seams.local_files import LocalEntry, Unreadable


def raw(path: Path) -> bytes:
    return os.fsencode(path)


def test_a_part_file_has_no_name_until_it_is_whole(tmp_path: Path) -> None:
    files = RealFiles()
    part = files.part_file(raw(tmp_path / "f"))
    part.write(0, b"abc")
    assert not (tmp_path / "f").exists()
    part.publish(size=3, mode=0o640, mtime_ns=1_000_000_007)
    assert (tmp_path / "f").read_bytes() == b"abc"
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "f").stat().st_mtime_ns == 1_000_000_007
    part.abandon()
    assert (tmp_path / "f").exists(), "to abandon what is published changes nothing"


def test_an_abandoned_part_leaves_no_trace(tmp_path: Path) -> None:
    part = RealFiles().part_file(raw(tmp_path / "f"))
    part.write(0, b"abc")
    part.abandon()
    assert os.listdir(tmp_path) == []


def test_zeros_become_holes_and_read_back_as_zeros(tmp_path: Path) -> None:
    data = b"x" * 1000 + bytes(5 * HOLE_BYTES) + b"y" * 10 + bytes(HOLE_BYTES) + bytes(123)
    part = RealFiles().part_file(raw(tmp_path / "f"))
    part.write(0, data)
    part.publish(size=len(data), mode=0o600, mtime_ns=0)
    assert (tmp_path / "f").read_bytes() == data
    assert (tmp_path / "f").stat().st_blocks * 512 < len(data) - 3 * HOLE_BYTES


def test_a_source_notices_that_it_was_written_to_replaced_or_removed(tmp_path: Path) -> None:
    path = tmp_path / "f"
    for spoil in (
        lambda: path.write_bytes(b"other bytes"),
        lambda: (tmp_path / "new").write_bytes(b"first") and (tmp_path / "new").rename(path),
        path.unlink,
    ):
        path.write_bytes(b"first")
        source = LocalSource(raw(path))
        buffer = bytearray(100)
        assert source.read_into(memoryview(buffer)) == 5
        assert source.unchanged()
        spoil()
        assert not source.unchanged()
        source.close()


def test_a_walk_gives_parents_first_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "f").write_bytes(b"1")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / ".p2pstore-123.part").write_bytes(b"unfinished")
    os.mkfifo(tmp_path / "pipe")
    found = list(RealFiles().walk(raw(tmp_path), (b"top",)))
    kinds = {entry.names: entry.kind for entry in found if isinstance(entry, LocalEntry)}
    assert kinds == {
        (b"top",): "folder",
        (b"top", b"a"): "link",
        (b"top", b"b"): "folder",
        (b"top", b"b", b"f"): "file",
    }
    assert [entry.path for entry in found if isinstance(entry, Unreadable)] == [raw(tmp_path / "pipe")]


def test_a_small_file_that_does_not_hold_still_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"12345")
    assert RealFiles().read_small(raw(path), 5) == b"12345"
    assert RealFiles().read_small(raw(path), 4) is None
