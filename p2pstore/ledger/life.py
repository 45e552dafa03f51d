"""Which life of this ledger it is: a side file that notices when the database was restored, copied or replaced.

The incarnation is new whenever the database and the file beside it do not agree, so that no (author, incarnation,
sequence) is ever used for two contents (docs/formats/ledger.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from p2pstore.errors import Malformed, NoSpace
from p2pstore.ids import Incarnation, incarnation
from p2pstore.metadata.vector import SEQUENCE_MAX
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.disk import Disk

LIFE_NAME: Final = "ledger.life"
_BYTES_MAX: Final = 1024


@dataclass(frozen=True, slots=True)
class Life:
    """What the side file says.

    Attributes:
        incarnation: of the database it belongs to.
        sequence: which that database had reached at least when this was written.
        machine: what names the machine, b"" where nothing does.
    """

    incarnation: Incarnation
    sequence: int
    machine: bytes


def read_life(disk: Disk) -> Life | None:
    """The side file; None if it is missing or damaged."""
    try:
        file = disk.open(LIFE_NAME)
    except FileNotFoundError:
        return None
    try:
        data = file.read(0, _BYTES_MAX)
    finally:
        file.close()
    body, checksum = data[:-32], data[-32:]
    if len(checksum) != 32 or blake3(body).digest() != checksum:
        return None
    try:
        fields = Fields(unpack(body, bytes_max=_BYTES_MAX), "life", version=1)
        life = Life(incarnation(fields.raw(8)), fields.integer(0, SEQUENCE_MAX), fields.raw(most=256))
        fields.end()
    except Malformed:
        return None
    return life


def write_life(disk: Disk, life: Life) -> None:
    """Replace the side file, durably; where the disk has no room the old one stays.

    An old one is a weaker witness, never a false one, and a full disk is no reason to end a daemon that can still read.
    """
    body = pack([1, life.incarnation, life.sequence, life.machine])
    temporary = LIFE_NAME + ".new"
    try:
        file = disk.open(temporary, create=True)
        try:
            file.truncate(0)
            file.write(0, [body, blake3(body).digest()])
            file.sync()
        finally:
            file.close()
        disk.rename(temporary, LIFE_NAME)
        disk.sync_folder()
    except NoSpace:
        return
