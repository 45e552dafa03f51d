"""A check in every row of `versions`: SQLite has no page checksums, and a small file lies in its row.

It is looked at whenever a row is read. What is rotten is never shown: it is made anew from the signed commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from blake3 import blake3

from p2pstore.errors import Corrupt
from p2pstore.packing import pack

CHECKED_COLUMNS: Final = (
    "v.slot, v.sequence, v.hlc, v.entry, v.parent, v.name, v.kind, v.content, v.size, v.mtime_ns,"
    " (v.row_check << 12) | v.mode, v.deleted, v.former"
)
"""Of a version: what the check covers, and the check itself above the twelve bits of the mode."""

CHECK_BITS: Final = 48
"""Rot passes unseen once in 2^48. It is not there against malice: that is what the seal of the operation is for."""

_MODE: Final = 10
_DELETED: Final = 11
_MODE_BITS: Final = 12
_KEY: Final = b"p2pstore version row check 1".ljust(32, b".")


class RowDamaged(Corrupt):
    """A row of `versions` is not what was written.

    Attributes:
        slot, sequence: of the operation that it was made from, as far as the row can be believed.
    """

    def __init__(self, slot: int, sequence: int) -> None:
        super().__init__(f"ledger: row of operation {slot}/{sequence} is damaged")
        self.slot = slot
        self.sequence = sequence


def row_check(row: Sequence[Any]) -> int:
    """The check of a row: slot, sequence, hlc, entry, parent, name, kind, packed content, size, mtime_ns, mode,
    deleted, former. That a tombstone's time is over is not part of it."""
    fields = [*row[:_DELETED], bool(row[_DELETED]), row[_DELETED + 1]]
    return int.from_bytes(blake3(pack(fields), key=_KEY).digest(CHECK_BITS // 8), "big")


def checked_mode(row: Sequence[Any]) -> int:
    """The mode of a row that begins with CHECKED_COLUMNS. Raises RowDamaged if the row is not what was written."""
    both = row[_MODE]
    if type(both) is int:
        mode = both & ((1 << _MODE_BITS) - 1)
        try:
            if both >> _MODE_BITS == row_check([*row[:_MODE], mode, *row[_MODE + 1 : 13]]):
                return mode
        except (TypeError, ValueError, OverflowError):
            pass  # a field that is not even of its type
    slot, sequence = (value if type(value) is int else 0 for value in row[:2])
    raise RowDamaged(slot, sequence)
