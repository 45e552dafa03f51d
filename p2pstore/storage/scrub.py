"""One step of a scrub: the next few shards are read and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Corrupt, NotHeld
from p2pstore.ids import ShardId
from p2pstore.limits import MIB
from p2pstore.storage.entries import ShardState
from p2pstore.storage.shelf import Shelf

CHECK_STEP_BYTES: Final = 8 * MIB
"""How much one job reads: a few milliseconds, so that reads and commits get their turn."""

CHECK_STEP_ENTRIES: Final = 2048
"""How many shards one job looks at, if they are tiny."""


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a part of a scrub found.

    Attributes:
        after: where the next part starts; None: that was the end.
        checked: shards read and found intact.
        checked_bytes: bytes of their payloads.
        damaged: shards that went into quarantine just now.
    """

    after: int | None
    checked: int
    checked_bytes: int
    damaged: tuple[ShardId, ...]


def check_some(shelf: Shelf, after: int) -> CheckReport:
    """Check the next shards whose last change is later than `after`."""
    checked = checked_bytes = 0
    damaged: list[ShardId] = []
    entries = shelf.index.after(after, CHECK_STEP_ENTRIES)
    for entry in entries:
        if checked_bytes >= CHECK_STEP_BYTES:
            return CheckReport(after, checked, checked_bytes, tuple(damaged))
        after = entry.change
        if entry.state is not ShardState.HELD:
            continue
        try:
            shelf.read(entry.shard)
        except NotHeld:
            continue  # dropped meanwhile
        except Corrupt:
            damaged.append(entry.shard)
            continue
        checked += 1
        checked_bytes += entry.payload_bytes
    end = len(entries) < CHECK_STEP_ENTRIES
    return CheckReport(None if end else after, checked, checked_bytes, tuple(damaged))
