"""News of local folders from the operating system, by way of `watchfiles`."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

import trio

from p2pstore.seams.folder_events import Tell

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

STEP_MS: Final = 500
"""News is gathered until there is none for so long, and so late is an end noticed: two wake-ups a second while idle."""

GATHERED_MS: Final = 2000
"""News that does not cease is told every so often."""

POLL_MS: Final = 300
"""Only where the system has no news of files at all."""

THREADS: Final = trio.CapacityLimiter(64)
"""Each followed folder holds a thread that sleeps; `WATCHED_FOLDERS_MAX` is half of it."""


PAUSE_S: Final = 1.0
"""Before a watcher that has stumbled is replaced: each new one walks the folder."""


class RealFolderEvents:
    """Implements `seams.folder_events.FolderEvents`."""

    async def follow(
        self, root: bytes, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell of what changes at and below `root`; the seam says what is promised."""
        watcher = await trio.to_thread.run_sync(_watcher, root, limiter=THREADS)
        task_status.started()
        while True:
            end, stumbled = trio.Event(), trio.Event()
            with watcher:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_listen, watcher, tell, end, stumbled)
                    try:
                        await stumbled.wait()
                    finally:
                        end.set()
            await trio.sleep(PAUSE_S)
            watcher = await trio.to_thread.run_sync(_watcher, root, limiter=THREADS)
            tell(None)  # whatever happened while nobody watched


async def _listen(watcher: RustNotify, tell: Tell, end: trio.Event, stumbled: trio.Event) -> None:
    """Tell until `end`, or until the watcher meets a name that is no text: it then tells of nothing any more.

    Cancelling does not reach the thread, and the watcher must not be closed under it: hence the shield and `end`.
    """
    from watchfiles._rust_notify import WatchfilesRustInternalError

    with trio.CancelScope(shield=True):
        while not end.is_set():
            try:
                news = await trio.to_thread.run_sync(watcher.watch, GATHERED_MS, STEP_MS, 0, end, limiter=THREADS)
            except WatchfilesRustInternalError:
                break
            if isinstance(news, set):
                tell(frozenset(os.fsencode(path) for _, path in news))
    stumbled.set()


def _watcher(root: bytes) -> RustNotify:
    from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

    if not os.path.isdir(root):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), root)
    try:
        return RustNotify([os.fsdecode(root)], False, False, POLL_MS, True, True)
    except WatchfilesRustInternalError as error:
        raise OSError(errno.ENOSPC, str(error), root) from None
