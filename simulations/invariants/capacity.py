"""Invariant 7: no machine stores more than it gives, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from simulations.world import World

NAME: Final = "capacity"

LOOK_EVERY_S: Final = 10.0


async def watch(world: World) -> None:
    """Look at every store now and then, for ever."""
    while True:
        await trio.sleep(LOOK_EVERY_S)
        for machine in world.living():
            assert machine.node is not None
            usage = machine.node.store.usage()
            if usage.used_bytes > usage.given_bytes:
                what = f"{machine} stores {usage.used_bytes} bytes and gives {usage.given_bytes}"
                world.oracle.violate(NAME, world.now_s, what)
