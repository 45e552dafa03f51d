"""Transfers under way: how far each is, for whoever watches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from p2pstore.errors import P2PStoreError
from p2pstore.seams.clock import Clock

ENDED_KEPT: Final = 20
"""Transfers that are still shown when they are over: a screenful."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One thing of a transfer that did not make it.

    Attributes:
        path: on the side it was read from.
        error: why; the edge makes a sentence of it.
    """

    path: bytes
    error: P2PStoreError | OSError


@dataclass(slots=True)
class Transfer:
    """One put or get.

    Attributes:
        verb: "put" or "get".
        started_s: on our monotonic clock.
        phase: "counting" until the total is known, then "sending", then "done".
        files_total, bytes_total: what was counted so far.
        files_done: files that are finished.
        bytes_sent: bytes coded and handed to holders, or fetched.
        bytes_safe: bytes receipted (put) or written (get).
        below_level: files that did not reach the level asked for.
        failed: what did not make it.
        current: the path last begun.
        command: what asks for the same on the command line.
        stop: ends it early, if somebody can.
        ended_s: when it was over, on our monotonic clock.
    """

    verb: str
    started_s: float
    phase: str = "counting"
    files_total: int = 0
    bytes_total: int = 0
    files_done: int = 0
    bytes_sent: int = 0
    bytes_safe: int = 0
    below_level: int = 0
    failed: list[Failed] = field(default_factory=list)
    current: bytes = b""
    command: str = ""
    stop: Callable[[], None] | None = None
    ended_s: float | None = None

    def read(self, size: int) -> None:
        """So many bytes more were coded or fetched."""
        self.bytes_sent += size

    def placed(self, size: int) -> None:
        """So many bytes more are where they belong."""
        self.bytes_safe += size

    def progress(self) -> dict[str, Any]:
        """The item that a local client is sent."""
        return {
            "type": "progress",
            "verb": self.verb,
            "phase": self.phase,
            "total_known": self.phase != "counting",
            "files_total": self.files_total,
            "bytes_total": self.bytes_total,
            "files_done": self.files_done,
            "bytes_sent": self.bytes_sent,
            "bytes_safe": self.bytes_safe,
            "current": self.current,
        }


class Transfers:
    """All transfers under way."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[int, Transfer] = {}
        self._next = 0
        self._ended: deque[tuple[int, Transfer]] = deque(maxlen=ENDED_KEPT)

    def begin(self, verb: str) -> tuple[int, Transfer]:
        """A new transfer and its number."""
        self._next += 1
        transfer = Transfer(verb, self._clock.now_s())
        self._running[self._next] = transfer
        return self._next, transfer

    def end(self, number: int) -> None:
        """It is over."""
        transfer = self._running.pop(number)
        transfer.phase, transfer.ended_s, transfer.stop = "done", self._clock.now_s(), None
        self._ended.append((number, transfer))

    def running(self) -> list[Transfer]:
        """Those under way, oldest first."""
        return [self._running[number] for number in sorted(self._running)]

    def numbered(self) -> list[tuple[int, Transfer]]:
        """The last ones that are over, then those under way, each with its number."""
        return [*self._ended, *sorted(self._running.items())]

    def stop(self, number: int) -> bool:
        """End a transfer early; whether there was one that could be ended."""
        transfer = self._running.get(number)
        if transfer is None or transfer.stop is None:
            return False
        transfer.stop()
        return True
