"""Memory that is used again: a fresh buffer of some megabytes costs more in page faults than coding fills it with."""

from __future__ import annotations

from typing import Final

_GROWTH_STEP: Final = 1024 * 1024
"""Arenas grow in steps of 1 MiB, so that chunks of slightly different lengths do not each make it anew."""


class Arena:
    """One block that holds a chunk's shards back to back; it grows when it must and never shrinks.

    Views of it are good until `take` is called again. To call it earlier is safe for memory (the old views see the
    new bytes, or the old block), but the old shards are gone.
    """

    __slots__ = ("_block",)

    def __init__(self) -> None:
        self._block = bytearray()

    @property
    def capacity(self) -> int:
        """Bytes held."""
        return len(self._block)

    def take(self, length: int) -> memoryview:
        """The first `length` bytes, with whatever was in them before."""
        if len(self._block) < length:
            self._block = bytearray(-(-length // _GROWTH_STEP) * _GROWTH_STEP)
        return memoryview(self._block)[:length]


class Arenas:
    """Arenas between two uses. Borrow one per chunk in flight; give it back when nobody reads its shards any more.

    The number in use is the caller's window of chunks; this only bounds how many idle ones are kept, and how large:
    an arena grows to the largest chunk that it ever held, so without a bound all would end up as large as that.
    """

    __slots__ = ("_idle", "_idle_max", "_kept_bytes_max")

    def __init__(self, idle_max: int, *, kept_bytes_max: int = 1 << 40) -> None:
        self._idle: list[Arena] = []
        self._idle_max = idle_max
        self._kept_bytes_max = kept_bytes_max

    def borrow(self) -> Arena:
        """An arena that nobody else has."""
        return self._idle.pop() if self._idle else Arena()

    def give_back(self, arena: Arena) -> None:
        """Nobody reads its views any more."""
        if len(self._idle) < self._idle_max and arena.capacity <= self._kept_bytes_max:
            self._idle.append(arena)

    @property
    def idle_bytes(self) -> int:
        """Bytes held by arenas that nobody uses."""
        return sum(arena.capacity for arena in self._idle)


def room(arena: Arena | None, length: int) -> memoryview:
    """`length` bytes of the arena, or a fresh buffer of exactly that where there is none."""
    return memoryview(bytearray(length)) if arena is None else arena.take(length)
