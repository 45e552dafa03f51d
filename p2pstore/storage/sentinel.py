"""The sentinel file says which store lies in a folder: an empty mount point is not taken for an empty store."""

from __future__ import annotations

from typing import Final

from p2pstore.errors import DiskAsleep, Malformed, Misuse
from p2pstore.ids import StoreId
from p2pstore.seams.disk import Disk
from p2pstore.storage.packs import PACKS_FOLDER, pack_numbers
from p2pstore.storage.records import SENTINEL_COPY_BYTES, StoreKey, decode_sentinel, encode_sentinel

SENTINEL_NAME: Final = "store.id"
_DRAFT_NAME: Final = "store.id.new"


def read_sentinel(disk: Disk, expected: StoreId | None = None) -> StoreKey:
    """The store that lies on `disk`.

    Raises:
        DiskAsleep: there is no readable sentinel, or it is not that of `expected`.
    """
    try:
        file = disk.open(SENTINEL_NAME)
        try:
            key = decode_sentinel(file.read(0, 2 * SENTINEL_COPY_BYTES))
        finally:
            file.close()
    except OSError as error:
        raise DiskAsleep(f"no sentinel: {error}") from error
    except Malformed as error:
        raise DiskAsleep("the sentinel is damaged") from error
    if expected is not None and key.store != expected:
        raise DiskAsleep(f"another store: {key.store.hex()}")
    return key


def write_sentinel(disk: Disk, key: StoreKey) -> None:
    """Write the sentinel of `key`, durably: it is there whole or as it was before."""
    file = disk.open(_DRAFT_NAME, create=True)
    try:
        file.truncate(0)
        file.write(0, [encode_sentinel(key)])
        file.sync()
    finally:
        file.close()
    disk.rename(_DRAFT_NAME, SENTINEL_NAME)
    disk.sync_folder()


def create_store(disk: Disk, key: StoreKey) -> None:
    """Make an empty store; durable when this returns.

    Raises:
        Misuse: there is a store already, or packs whose sentinel is lost.
    """
    if SENTINEL_NAME in disk.names() or pack_numbers(disk):
        raise Misuse("there is a store in this folder")
    disk.make_folder(PACKS_FOLDER)
    write_sentinel(disk, key)
