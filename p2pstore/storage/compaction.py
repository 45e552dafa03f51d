"""Moving what counts out of packs that are mostly dead, so that their space can be given back.

Write new, sync, verify, then drop old: a batch of living records is read and verified here, appended by an ordinary
group commit, read back from its new place, and only a pack in which nothing counts any more is deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from p2pstore.errors import Corrupt, NotHeld
from p2pstore.limits import MIB
from p2pstore.storage.entries import Entry, Move, ShardState
from p2pstore.storage.shelf import Shelf
from p2pstore.storage.space import StoreState, choose_compaction

BATCH_BYTES_MAX: Final = 16 * MIB
"""Payload bytes read into memory for one batch of moves."""

BATCH_ENTRIES_MAX: Final = 4096
"""Entries in one batch: of tiny shards too only so many."""


def choose_pack(shelf: Shelf) -> int | None:
    """The pack to compact next, if any is worth it. The active one may be too, once it is a quarter full."""
    packs = shelf.packs()
    active = shelf.active
    if any(use.pack == active and use.length * 4 >= shelf.limits.pack_bytes_max for use in packs):
        active = None
    pressed = shelf.usage().state in (StoreState.REPAIR_ONLY, StoreState.FULL)
    return choose_compaction(packs, active=active, pressed=pressed)


def read_batch(shelf: Shelf, pack: int) -> list[Move]:
    """The next records to move out of `pack`, verified; [] when nothing is left in it. What turns out to be damaged
    goes into quarantine and is taken off the pack."""
    moves: list[Move] = []
    size = 0
    for entry in shelf.index.in_pack(pack, BATCH_ENTRIES_MAX):
        moves.append(_move_of(shelf, entry))
        size += moves[-1].queue_bytes
        if size >= BATCH_BYTES_MAX:
            break
    return moves


def _move_of(shelf: Shelf, entry: Entry) -> Move:
    if entry.state is ShardState.DAMAGED:
        return Move(entry)
    if entry.state is ShardState.DROPPED:
        return _move_of_drop(shelf, entry)
    try:
        stored = shelf.read(entry.shard)
    except NotHeld:
        return Move(entry)  # dropped meanwhile: the commit sees that too
    except Corrupt:
        current = shelf.index.find(entry.shard)
        return Move(current if current and current.state is ShardState.DAMAGED else entry)
    return Move(entry, stored.header, stored.payload)


def _move_of_drop(shelf: Shelf, entry: Entry) -> Move:
    """A drop is needed while a pack may hold an older record of its shard, which a rebuild of the index would take for
    alive. Such a pack is at most as new as the drop's horizon."""
    try:
        horizon = shelf.read_horizon(entry)
    except Corrupt:
        horizon = max(use.pack for use in shelf.packs())
    needed = any(use.pack <= horizon and use.pack != entry.pack for use in shelf.packs())
    return Move(entry, horizon=horizon, forgotten=not needed)


def verify_batch(shelf: Shelf, moves: Sequence[Move]) -> None:
    """Read moved shards back from where they are now.

    Raises:
        Corrupt: one cannot be read there; it counts again where it was, and its pack must stay.
    """
    for move in moves:
        if move.forgotten or move.entry.state is not ShardState.HELD:
            continue
        try:
            shelf.read(move.entry.shard)
        except NotHeld:
            continue  # dropped meanwhile
        except Corrupt:
            shelf.put_back(move.entry)
            raise
