"""Opening a ledger: is the file sound, and is it the one that ran here last?"""

from __future__ import annotations

from typing import Final

from p2pstore.errors import DatabaseDamaged
from p2pstore.ledger import schema
from p2pstore.ledger.life import Life, read_life, write_life
from p2pstore.ledger.store import Store
from p2pstore.seams.disk import Database, Disk

DATABASE_NAME: Final = "ledger.db"


def open_or_set_aside(disk: Disk) -> tuple[Database, str | None]:
    """The database, its schema up to date. One that is not sound is renamed, and a new one begun: then also the name
    under which the old one now lies."""
    try:
        return _open(disk), None
    except DatabaseDamaged:
        aside = _set_aside(disk)
        return _open(disk), aside


def _open(disk: Disk) -> Database:
    database = disk.open_database(DATABASE_NAME)
    try:
        schema.prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _set_aside(disk: Disk) -> str:
    """Rename a damaged database and its journals to the first free name; that name."""
    taken = set(disk.names())
    number = 1
    while f"{DATABASE_NAME}.damaged-{number}" in taken:
        number += 1
    aside = f"{DATABASE_NAME}.damaged-{number}"
    for suffix in ("", "-wal", "-shm"):
        if DATABASE_NAME + suffix in taken:
            disk.rename(DATABASE_NAME + suffix, aside + suffix)
    disk.sync_folder()
    return aside


def take_up_life(disk: Disk, store: Store, machine: bytes) -> None:
    """Go on with the incarnation that the database names, if the side file agrees; else begin a new one."""
    life, known = read_life(disk), store.setting("incarnation")
    if (
        known is None
        or life is None
        or life.incarnation != known
        or life.sequence > store.own.sequence
        or life.machine != machine
    ):
        with store.database.transaction():
            store.take_incarnation()
    write_life(disk, Life(store.own.writer.incarnation, store.own.sequence, machine))
