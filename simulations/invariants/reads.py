"""Invariant 2: a read returns the bytes of the version that it says it is, or an error; never other bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from simulations.machine import Machine
    from simulations.world import World

NAME: Final = "reads"


def check(world: World, machine: Machine, path: bytes, data: bytes, mtime_ns: int) -> None:
    """Compare what was read; the mtime names the put that it must come from."""
    stored = world.oracle.content_of(mtime_ns)
    if stored is None:
        world.oracle.violate(NAME, world.now_s, f"{machine} read {path!r}: a version that nobody ever stored")
    elif stored.data != data:
        what = f"{machine} read {path!r}: {len(data)} bytes that are not those of put {stored.number}"
        world.oracle.violate(NAME, world.now_s, what)
