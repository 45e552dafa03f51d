"""What every FolderEvents keeps to: the operating system's and the simulated."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from p2pstore.edges.clock import RealClock
from p2pstore.edges.folder_events import RealFolderEvents
from p2pstore.seams.folder_events import FolderEvents
from simulations.folder_events import SimulatedFolderEvents
from simulations.local_files import SimulatedFiles

TOLD_WITHIN_S = 20.0

Write = Callable[[bytes, bytes], None]
Remove = Callable[[bytes], None]


class Told:
    """What was told, and waiting for it."""

    def __init__(self) -> None:
        self.paths: set[bytes] = set()
        self.everything = 0
        self._news = trio.Event()

    def __call__(self, paths: frozenset[bytes] | None) -> None:
        if paths is None:
            self.everything += 1
        else:
            self.paths |= paths
        self._news.set()
        self._news = trio.Event()

    async def wait_covers(self, *paths: bytes) -> None:
        """Return when each path, or a folder above it that is not the root, or everything, was told."""
        with trio.fail_after(TOLD_WITHIN_S):
            while not self.everything and not all(self._covers(path) for path in paths):
                await self._news.wait()

    def _covers(self, path: bytes) -> bool:
        return any(path == told or path.startswith(told + b"/") for told in self.paths)


@pytest.fixture(params=["real", "simulated"])
def twin(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FolderEvents, bytes, Write, Remove]:
    """The news, a folder, and how a person writes and removes a file."""
    root = os.fsencode(tmp_path) + b"/watched"
    if request.param == "real":
        os.makedirs(root)

        def write(path: bytes, data: bytes) -> None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            Path(os.fsdecode(path)).write_bytes(data)

        return RealFolderEvents(), root, write, os.unlink
    files = SimulatedFiles()
    files.make_folder(root)
    return SimulatedFolderEvents(files, RealClock()), root, files.write_file, files.remove


async def test_new_changed_and_removed_files_are_told(twin: tuple[FolderEvents, bytes, Write, Remove]) -> None:
    events, root, write, remove = twin
    write(root + b"/before", b"1")
    told = Told()
    async with trio.open_nursery() as nursery:
        await nursery.start(events.follow, root, told)
        write(root + b"/new", b"1")
        await told.wait_covers(root + b"/new")
        told.paths.clear()
        write(root + b"/before", b"22")
        await told.wait_covers(root + b"/before")
        told.paths.clear()
        remove(root + b"/new")
        await told.wait_covers(root + b"/new")
        nursery.cancel_scope.cancel()


async def test_what_is_in_a_new_folder_is_told_or_the_folder(twin: tuple[FolderEvents, bytes, Write, Remove]) -> None:
    events, root, write, _ = twin
    told = Told()
    async with trio.open_nursery() as nursery:
        await nursery.start(events.follow, root, told)
        write(root + b"/a/b/c", b"1")
        await told.wait_covers(root + b"/a/b/c")
        nursery.cancel_scope.cancel()


async def test_a_name_that_is_no_text_is_told_and_so_is_what_comes_after(
    twin: tuple[FolderEvents, bytes, Write, Remove],
) -> None:
    events, root, write, _ = twin
    told = Told()
    async with trio.open_nursery() as nursery:
        await nursery.start(events.follow, root, told)
        write(root + b"/caf\xe9", b"1")
        await told.wait_covers(root + b"/caf\xe9")
        told.paths.clear()
        told.everything = 0
        write(root + b"/later", b"1")
        await told.wait_covers(root + b"/later")
        nursery.cancel_scope.cancel()


async def test_a_folder_that_is_not_there_cannot_be_followed(
    twin: tuple[FolderEvents, bytes, Write, Remove],
) -> None:
    events, root, _, _ = twin
    with pytest.raises(OSError, match="directory"):
        await events.follow(root + b"/no", Told())


async def test_following_ends_when_it_is_cancelled(twin: tuple[FolderEvents, bytes, Write, Remove]) -> None:
    events, root, _, _ = twin
    with trio.fail_after(TOLD_WITHIN_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(events.follow, root, Told())
            nursery.cancel_scope.cancel()
