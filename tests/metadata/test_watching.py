from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Malformed
from p2pstore.ids import Dot, Incarnation, PeerId
from p2pstore.metadata.watching import (
    VANISHED_MAX,
    Known,
    Rename,
    Trouble,
    Watch,
    checked_patterns,
    folder_trouble,
    hold_of,
    pack_dots,
    pack_watch,
    read_dots,
    read_watch,
    renames,
)
from p2pstore.seams.local_files import Stamp


def file(inode: int, *, size: int = 1, device: int = 1, mtime_ns: int = 5, ctime_ns: int = 5) -> Stamp:
    return Stamp("file", device, inode, size, 0o644, mtime_ns, ctime_ns)


def folder(inode: int, *, device: int = 1) -> Stamp:
    return Stamp("folder", device, inode, 0, 0o755, 5, 5)


def watch(*ignored: str) -> Watch:
    return Watch(1, b"/home/anna", (b"photos",), two_way=False, ignored=ignored, added_s=0.0)


def test_paths_below_become_paths_here_and_there() -> None:
    assert watch().local_path(b"a/b") == b"/home/anna/a/b"
    assert watch().local_path(b"") == b"/home/anna"
    assert watch().store_path(b"a/b") == (b"photos", b"a", b"b")
    assert watch().store_path(b"") == (b"photos",)


@pytest.mark.parametrize(
    ("path", "ignored"),
    [
        (b"a", False), (b"a.tmp", True), (b"d/a.tmp", True), (b"cache", True), (b"d/cache", True), (b"caches", False),
        (b"d/.thumbs", True), (b".thumbs", False), (b".DS_Store", True), (b"d/Thumbs.db", True), (b"~$plan.docx", True),
        (b".notes.txt.swp", True), (b"swp", False), (b"caf\xe9.tmp", True), (b"film.part", False), (b"A.TMP", False),
    ],
)  # fmt: skip
def test_what_is_passed_over(path: bytes, ignored: bool) -> None:
    assert watch("*.tmp", "cache", "d/.thumbs").ignores(path) is ignored


def test_patterns_are_bounded() -> None:
    assert checked_patterns(["a", "b"]) == ("a", "b")
    for wrong in ([""], ["x" * 256], ["x"] * 101):
        with pytest.raises(Malformed):
            checked_patterns(wrong)


def test_a_file_is_another_when_anything_about_it_differs_but_the_number_of_its_disk() -> None:
    assert file(1).is_same(file(1, device=9))
    for other in (file(2), file(1, size=2), file(1, mtime_ns=6), file(1, ctime_ns=6)):
        assert not file(1).is_same(other)
    assert folder(1).is_same(Stamp("folder", 1, 1, 0, 0o755, 99, 99)), "what is in it says what changed"
    assert not folder(1).is_same(Stamp("folder", 1, 1, 0, 0o700, 5, 5))


@pytest.mark.parametrize(
    ("missing", "known", "lately", "waits"),
    [
        (1, 1, 0, False), (50, 50, 0, False), (51, 51, 0, True), (51, 254, 0, True), (51, 255, 0, False),
        (1000, 10_000, 0, False), (2001, 10_000, 0, True), (1, 100, 50, True), (1, 1000, 50, False),
        (0, 10, 500, False),
    ],
)  # fmt: skip
def test_more_than_fifty_and_a_fifth_wait(missing: int, known: int, lately: int, waits: bool) -> None:
    assert VANISHED_MAX == 50
    hold = hold_of({b"%d" % number for number in range(missing)}, known, lately, {})
    assert (hold is not None) is waits
    if hold is not None:
        assert (hold.trouble, hold.missing, hold.known) == (Trouble.TOO_MANY, missing, known)


def test_one_deletion_waits_where_a_folder_gives_doubt() -> None:
    hold = hold_of({b"d/a"}, 1000, 0, {b"d": Trouble.DEVICE_CHANGED})
    assert hold is not None
    assert (hold.trouble, hold.where) == (Trouble.DEVICE_CHANGED, b"d")
    assert hold_of(set(), 1000, 0, {b"d": Trouble.DEVICE_CHANGED}) is None


def test_what_a_folder_says_about_what_is_missing_in_it() -> None:
    assert folder_trouble(folder(1), folder(1), had=3, has=0) is None, "a person emptied it"
    assert folder_trouble(folder(1), folder(2), had=3, has=0) is Trouble.EMPTIED
    assert folder_trouble(folder(1), folder(2), had=3, has=2) is None, "a program made it anew"
    assert folder_trouble(folder(1), folder(1, device=2), had=3, has=2) is Trouble.DEVICE_CHANGED
    assert folder_trouble(folder(1), folder(1, device=2), had=0, has=2) is None
    assert folder_trouble(None, folder(1), had=0, has=2) is None


def known(**stamps: Stamp) -> dict[bytes, Known]:
    paths = {name.replace("_", "/").encode(): stamp for name, stamp in stamps.items()}
    return {path: Known(path, stamp) for path, stamp in paths.items()}


def test_a_renamed_folder_takes_all_in_it_along() -> None:
    missing = known(a=folder(1), a_b=folder(2), a_b_x=file(3), a_y=file(4))
    fresh = {b"z": folder(1), b"z/b": folder(2), b"z/b/x": file(3), b"z/y": file(4)}
    assert renames(missing, fresh) == [Rename(b"a", b"z")]


def test_a_file_that_left_a_deleted_folder_is_a_rename_of_its_own() -> None:
    missing = known(a=folder(1), a_x=file(3), a_y=file(4))
    assert renames(missing, {b"x": file(3)}) == [Rename(b"a/x", b"x")]


def test_a_freed_inode_is_no_rename() -> None:
    assert renames(known(a=file(3)), {b"b": file(3, size=2)}) == []
    assert renames(known(a=file(3)), {b"b": file(3, mtime_ns=9)}) == []
    assert renames(known(a=file(3)), {b"b": file(3, device=2)}) == []
    assert renames(known(a=folder(1), a_x=file(3)), {b"b": folder(1), b"b/x": file(7)}) == []
    assert renames(known(a=folder(1)), {b"b": folder(1)}) == [], "an empty one proves nothing, and costs nothing"


dots = st.builds(
    Dot,
    st.binary(min_size=32, max_size=32).map(PeerId),
    st.binary(min_size=8, max_size=8).map(Incarnation),
    st.integers(1, 2**53),
)


@given(st.lists(dots, max_size=5))
def test_dots_come_back(some: list[Dot]) -> None:
    assert read_dots(pack_dots(some)) == tuple(some)


def test_frozen_vectors() -> None:
    vectors = json.loads((Path(__file__).parent.parent / "vectors" / "watches.json").read_text("utf-8"))
    for each in vectors["watch"]:
        target = tuple(bytes.fromhex(name) for name in each["target"])
        local, ignored = bytes.fromhex(each["local"]), tuple(each["ignored"])
        watch = Watch(each["number"], local, target, each["two_way"], ignored, each["added_s"])
        assert pack_watch(watch).hex() == each["encoded"]
        assert read_watch(each["number"], bytes.fromhex(each["encoded"])) == watch
    for each in vectors["dots"]:
        dots = tuple(
            Dot(PeerId(bytes.fromhex(author)), Incarnation(bytes.fromhex(incarnation)), sequence)
            for author, incarnation, sequence in each["dots"]
        )
        assert pack_dots(dots).hex() == each["encoded"]
        assert read_dots(bytes.fromhex(each["encoded"])) == dots
