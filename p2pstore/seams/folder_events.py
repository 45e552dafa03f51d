"""The seam to news of a local folder: that something below it has changed, soon after it did.

News is a hint. What is told may be untrue by the time it is looked at, and may name more than changed; whoever wants to
know looks at the folder itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import trio

Tell = Callable[[frozenset[bytes] | None], None]
"""Takes absolute paths that changed, or None for "anything may have"."""


class FolderEvents(Protocol):
    """News of local folders."""

    async def follow(
        self, root: bytes, tell: Tell, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Tell of everything that changes at and below the folder `root`, until cancelled.

        Started when nothing that changes from now on is missed. Links are not followed.

        Raises:
            OSError: there is no such folder, or the system watches no more of them.
        """
        ...
