"""Opening a store, and rebuilding its index: blocking, in steps that each fit a worker job."""

from __future__ import annotations

import random
from collections.abc import Iterator

from p2pstore.errors import DatabaseDamaged, DiskAsleep
from p2pstore.ids import StoreId
from p2pstore.seams.disk import Disk
from p2pstore.storage.index import Index
from p2pstore.storage.records import SENTINEL_COPY_BYTES, StoreKey, encode_sentinel, new_store_key
from p2pstore.storage.recovery import RecoveryReport, recover
from p2pstore.storage.sentinel import SENTINEL_NAME, create_store, read_sentinel, write_sentinel
from p2pstore.storage.shelf import Shelf, StoreLimits


def make_store(disk: Disk, rng: random.Random) -> StoreId:
    """Make an empty store; durable when this returns.

    Raises:
        Misuse: there is one already.
    """
    key = new_store_key(rng)
    create_store(disk, key)
    return key.store


def opening(
    disk: Disk, limits: StoreLimits, rng: random.Random, expected: StoreId | None, report: RecoveryReport
) -> Iterator[Shelf | None]:
    """Open the store on `disk`; yields None after each step and the store at the end.

    Raises:
        DiskAsleep: no store lies there, or another one than `expected`.
        Busy: another process has it open.
    """
    try:
        key = read_sentinel(disk, expected)
        _mend_sentinel(disk, key)
        try:
            index = Index.open(disk, key.store, rng)
        except DatabaseDamaged:
            Index.remove(disk)
            index = Index.open(disk, key.store, rng)
        try:
            for _ in recover(disk, index, key, report, rebuilding=index.new):
                yield None
            shelf = Shelf(disk, key, index, limits, report)
        except BaseException:
            index.close()
            raise
    except OSError as error:
        raise DiskAsleep(f"the disk does not answer: {error}") from error
    yield shelf


def rebuilding_index(disk: Disk, shelf: Shelf, rng: random.Random, report: RecoveryReport) -> Iterator[None]:
    """Throw the index of `shelf` away and make it anew from the packs, a step at a time."""
    shelf.index_damaged = True
    shelf.index.close()
    Index.remove(disk)
    index = Index.open(disk, shelf.key.store, rng)
    try:
        for _ in recover(disk, index, shelf.key, report, rebuilding=True):
            yield None
        shelf.replace_index(index, report)
    except BaseException:
        index.close()
        raise


def _mend_sentinel(disk: Disk, key: StoreKey) -> None:
    """Write the sentinel anew if one of its copies is damaged."""
    file = disk.open(SENTINEL_NAME)
    try:
        sound = file.read(0, 2 * SENTINEL_COPY_BYTES) == encode_sentinel(key)
    finally:
        file.close()
    if not sound:
        write_sentinel(disk, key)
