"""How full a store is, what it still takes, and which packs are worth compacting: pure decisions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from p2pstore.limits import PACK_ALIVE_BELOW, PACK_ALIVE_BELOW_PRESSED, STORE_ACCEPT_BELOW, STORE_REPAIR_BELOW


class StoreState(Enum):
    """What a store does now."""

    ACCEPTING = "accepting"
    REPAIR_ONLY = "repair-only"
    FULL = "full"
    MENDING = "mending"
    """Its index is being rebuilt from its packs: for a while it can answer nothing."""
    ASLEEP = "asleep"
    """Its disk is away: its shards are not gone, but nothing can be said of them."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Figures of a store.

    Attributes:
        given_bytes: the size that its owner gave it.
        used_bytes: bytes of its packs, dead records included.
        live_bytes: bytes of the records that count.
        free_bytes: what the file system still had when last asked.
        shard_count: shards held intact.
        damaged_count: shards in quarantine.
        state: what it does now.
    """

    given_bytes: int
    used_bytes: int
    live_bytes: int
    free_bytes: int
    shard_count: int
    damaged_count: int
    state: StoreState


@dataclass(frozen=True, slots=True)
class PackUse:
    """One pack: its number, the bytes it takes, and how many of them count."""

    pack: int
    length: int
    live_bytes: int


def space_state(*, used_bytes: int, given_bytes: int, free_bytes: int, reserve_bytes: int) -> StoreState:
    """The rung of the space ladder that a store with these figures stands on."""
    if free_bytes <= reserve_bytes or used_bytes >= given_bytes * STORE_REPAIR_BELOW:
        return StoreState.FULL
    if used_bytes >= given_bytes * STORE_ACCEPT_BELOW:
        return StoreState.REPAIR_ONLY
    return StoreState.ACCEPTING


def admits(
    more_bytes: int, *, for_repair: bool, used_bytes: int, given_bytes: int, free_bytes: int, reserve_bytes: int
) -> bool:
    """True if a record of `more_bytes` may be written: the rung is right, and it passes neither the given size nor the
    reserve."""
    state = space_state(
        used_bytes=used_bytes, given_bytes=given_bytes, free_bytes=free_bytes, reserve_bytes=reserve_bytes
    )
    if state is not StoreState.ACCEPTING and not (for_repair and state is StoreState.REPAIR_ONLY):
        return False
    return used_bytes + more_bytes <= given_bytes and free_bytes - more_bytes >= reserve_bytes


def choose_compaction(packs: Iterable[PackUse], *, active: int | None, pressed: bool) -> int | None:
    """The pack to compact next: the one with the smallest living part, if that is small enough to be worth it.

    Args:
        packs: All packs.
        active: The pack that is being appended to; it is left alone.
        pressed: The store refuses placements, so room is worth more work.

    Returns:
        A pack's number, or None.
    """
    limit = PACK_ALIVE_BELOW_PRESSED if pressed else PACK_ALIVE_BELOW
    parts = [(use.live_bytes / use.length, use.pack) for use in packs if use.pack != active and use.length]
    alive, pack = min(parts, default=(1.0, None))
    return pack if alive < limit else None
