"""Transfers under way: how far each is, for whoever watches."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from p2pstore.errors import P2PStoreError
from p2pstore.seams.clock import Clock


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

    def begin(self, verb: str) -> tuple[int, Transfer]:
        """A new transfer and its number."""
        self._next += 1
        transfer = Transfer(verb, self._clock.now_s())
        self._running[self._next] = transfer
        return self._next, transfer

    def end(self, number: int) -> None:
        """It is over."""
        self._running.pop(number).phase = "done"

    def running(self) -> list[Transfer]:
        """Those under way, oldest first."""
        return [self._running[number] for number in sorted(self._running)]
