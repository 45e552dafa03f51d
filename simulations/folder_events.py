"""News of a simulated machine's folders."""

from __future__ import annotations

from typing import Final

import trio

from p2pstore.seams.clock import Clock
from p2pstore.seams.folder_events import Tell
from simulations.local_files import SimulatedFiles

GATHERED_S: Final = 0.5
"""News waits so long for more, as in a real system."""


class SimulatedFolderEvents:
    """Implements `seams.folder_events.FolderEvents`.

    Attributes:
        is_deaf: news is lost, as where the system watches no more folders; whoever follows is not told.
    """

    def __init__(self, files: SimulatedFiles, clock: Clock) -> None:
        self._files = files
        self._clock = clock
        self.is_deaf = False

    async def follow(
        self, root: bytes, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        if not self._files.is_folder(root):
            raise NotADirectoryError(20, "Not a directory", root)
        news: set[bytes] = set()
        arrived = trio.Event()

        def note(path: bytes) -> None:
            if not self.is_deaf and (path == root or path.startswith(root.rstrip(b"/") + b"/")):
                news.add(path)
                arrived.set()

        self._files.on_change.append(note)
        try:
            task_status.started()
            while True:
                await arrived.wait()
                await self._clock.sleep(GATHERED_S)
                arrived = trio.Event()
                told = frozenset(news)
                news.clear()
                tell(told)
        finally:
            self._files.on_change.remove(note)
