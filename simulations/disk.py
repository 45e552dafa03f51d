"""The disk of a simulated machine: files in memory that a power cut treats as badly as the seam allows.

What was not synced is kept, lost or torn, sector by sector, as the seed says; so are creations, renames and removals
whose folder was not synced. SQLite runs on the same files (simulations.disk_sqlite), so its durability is tested too.
"""

from __future__ import annotations

import errno
import itertools
import random
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import trio

from p2pstore.errors import Busy, NoSpace
from p2pstore.packing import Buffer

if TYPE_CHECKING:
    from simulations.disk_sqlite import SimulatedDatabase

SECTOR_BYTES: Final = 512
"""What a disk writes or does not write; a torn sector is a mixture, or rubbish."""

SYNC_S: Final = 0.003
"""Virtual seconds of one sync (facts: fdatasync p50 2 to 4 ms)."""

BYTES_PER_S: Final = 400e6
"""Virtual bytes a second, read or written."""

_numbers = itertools.count(1)
disks_by_number: Final[weakref.WeakValueDictionary[int, SimulatedDisk]] = weakref.WeakValueDictionary()
"""Where the one SQLite file system of the process finds a disk; entries go with their disks."""


class PowerCut(Exception):
    """The machine is dead. Neither an OSError nor one of ours, so that no handler mistakes it for something to answer:
    code that runs after a crash must not change the disk."""


@dataclass(slots=True, eq=False)
class Content:
    """The bytes of one file: as programs see them, and what of that is on the medium.

    Attributes:
        data: what reads return.
        medium_size: the file's size on the medium.
        medium: sectors below `medium_size` whose bytes on the medium differ from `data`. Everything above is unsynced.
        poisoned: a sync failed: nothing becomes durable here any more (Linux forgets which pages were dirty).
    """

    data: bytearray = field(default_factory=bytearray)
    medium_size: int = 0
    medium: dict[int, bytes] = field(default_factory=dict)
    poisoned: bool = False

    def keep_sectors(self, start: int, end: int) -> None:
        """Remember what the medium holds of these bytes, which are about to change."""
        end = min(end, self.medium_size)
        for sector in range(start // SECTOR_BYTES, -(-end // SECTOR_BYTES)):
            if sector not in self.medium:
                at = sector * SECTOR_BYTES
                self.medium[sector] = bytes(self.data[at : min(at + SECTOR_BYTES, self.medium_size)])

    def write(self, offset: int, piece: Buffer) -> None:
        end = offset + len(piece)
        self.keep_sectors(offset, end)
        if len(self.data) < offset:
            self.data.extend(bytes(offset - len(self.data)))
        self.data[offset:end] = piece

    def truncate(self, size: int) -> None:
        if size < len(self.data):
            self.keep_sectors(size, len(self.data))
            del self.data[size:]
        else:
            self.data.extend(bytes(size - len(self.data)))

    def sync(self) -> None:
        if not self.poisoned:
            self.medium_size = len(self.data)
            self.medium.clear()

    def cut_power(self, rng: random.Random, kept: float) -> None:
        """Become what a power cut leaves, each unsynced sector kept with probability `kept`."""
        size = len(self.data)
        if size != self.medium_size:
            low, high = sorted((size, self.medium_size))
            size = rng.choice((size, self.medium_size, rng.randint(low, high)))
        image = bytearray(self.data[:size].ljust(size, b"\0"))
        unsynced = range(-(-self.medium_size // SECTOR_BYTES), -(-size // SECTOR_BYTES))
        for sector in itertools.chain(sorted(self.medium), unsynced):
            start = sector * SECTOR_BYTES
            end = min(start + SECTOR_BYTES, size)
            if end <= start:
                continue
            old = self.medium.get(sector, b"").ljust(SECTOR_BYTES, b"\0")
            new = bytes(self.data[start : start + SECTOR_BYTES]).ljust(SECTOR_BYTES, b"\0")
            luck = rng.random()
            if luck < 0.06 and 0 < kept < 1:
                cut = rng.randrange(SECTOR_BYTES)
                after = rng.randbytes(SECTOR_BYTES) if luck < 0.015 else new[:cut] + old[cut:]
            else:
                after = new if rng.random() < kept else old
            image[start:end] = after[: end - start]
        self.data = image
        self.medium_size = size
        self.medium = {}
        self.poisoned = False


class SimulatedFile:
    """A DiskFile that dies with the life of the machine that opened it."""

    __slots__ = ("_disk", "_life", "_mount", "_open", "content")

    def __init__(self, disk: SimulatedDisk, content: Content) -> None:
        self._disk = disk
        self._life = disk.life
        self._mount = disk.mount
        self._open = True
        self.content = content

    def _enter(self, call: str) -> None:
        self._disk.enter(call, life=self._life)
        if not self._open:
            raise OSError(errno.EBADF, "closed")
        if self._mount != self._disk.mount:
            raise OSError(errno.EIO, "of an earlier mount")

    def read(self, offset: int, size: int) -> bytes:
        self._enter("read")
        self._disk.spend(moved=size)
        return bytes(self.content.data[offset : offset + size])

    def write(self, offset: int, buffers: Sequence[Buffer]) -> None:
        self._enter("write")
        joined = b"".join(buffers)
        grows = max(0, offset + len(joined) - len(self.content.data))
        fits = self._disk.reserve(grows)
        with self._disk.last_step():
            self.content.write(offset, joined[: len(joined) - (grows - fits)])
        self._disk.spend(moved=len(joined))
        if fits < grows:
            raise NoSpace("simulated disk is full")

    def size(self) -> int:
        self._enter("size")
        return len(self.content.data)

    def truncate(self, size: int) -> None:
        self._enter("truncate")
        self._disk.release(len(self.content.data) - size)
        with self._disk.last_step():
            self.content.truncate(size)

    def sync(self) -> None:
        try:
            self._enter("sync")
        except OSError:
            self.content.poisoned = True
            raise
        with self._disk.last_step():
            self.content.sync()
        self._disk.spend(syncs=1)

    def close(self) -> None:
        self._open = False


@dataclass(frozen=True, slots=True)
class _Change:
    """A change of names that no folder sync has made durable yet; all or nothing at a power cut."""

    unlinked: str | None
    linked: str | None
    content: Content | None

    def touches(self, folder: str) -> bool:
        return any(name is not None and folder_of(name) == folder for name in (self.unlinked, self.linked))

    def apply(self, names: dict[str, Content]) -> None:
        if self.unlinked is not None and (self.content is None or names.get(self.unlinked) is self.content):
            names.pop(self.unlinked, None)
        if self.linked is not None and self.content is not None:
            names[self.linked] = self.content


def folder_of(name: str) -> str:
    """The folder that `name` lies in; "" is the root."""
    return name.rpartition("/")[0]


class _LastStep:
    """Surrounds the effect of one changing call; the call in which the power fails has its effect or has it not."""

    __slots__ = ("_disk",)

    def __init__(self, disk: SimulatedDisk) -> None:
        self._disk = disk

    def __enter__(self) -> None:
        disk = self._disk
        disk.steps += 1
        if disk.dies_at_step is not None and disk.steps >= disk.dies_at_step and disk.rng.random() < 0.5:
            disk.kill()
            raise PowerCut

    def __exit__(self, *_: object) -> None:
        disk = self._disk
        if disk.dies_at_step is not None and disk.steps >= disk.dies_at_step:
            disk.kill()
            raise PowerCut


class SimulatedDisk:
    """A folder in memory.

    Args:
        rng: Decides what a power cut leaves, which bit rots, and what SQLite uses as randomness.
        capacity_bytes: Bytes that all files together may have; None: no bound.

    Attributes:
        slowness: factor on the virtual time of every call.
        steps: changing calls so far; a test that wants to crash anywhere picks a number below it.
        dies_at_step: the changing call in which the power fails.
    """

    def __init__(self, rng: random.Random, *, capacity_bytes: int | None = None) -> None:
        self.rng = rng
        self.capacity_bytes = capacity_bytes
        self.slowness = 1.0
        self.steps = 0
        self.syncs = 0
        self.dies_at_step: int | None = None
        self.life = 0
        self.mount = 0
        self.number = next(_numbers)
        self.databases: dict[str, SimulatedDatabase] = {}
        disks_by_number[self.number] = self
        self._dead = False
        self._unplugged = False
        self._names: dict[str, Content] = {}
        self._medium_names: dict[str, Content] = {}
        self._changes: list[_Change] = []
        self._folders = {""}
        self._used = 0
        self._elapsed_s = 0.0
        self._unstuck = trio.Event()
        self._unstuck.set()
        self._faults: list[tuple[str, OSError]] = []

    # --- what every call passes -----------------------------------------------------------------------------------

    def enter(self, call: str, *, life: int | None = None) -> None:
        """Raise what befalls this call: PowerCut on a dead machine, EIO when the disk is unplugged, a planted fault."""
        if self._dead or (life is not None and life != self.life):
            raise PowerCut
        if self._unplugged:
            raise OSError(errno.EIO, "unplugged") if life is not None else FileNotFoundError(errno.ENOENT, "unplugged")
        for position, (faulty, error) in enumerate(self._faults):
            if faulty == call:
                del self._faults[position]
                raise error

    def last_step(self) -> _LastStep:
        """A context for the effect of a changing call: where the power fails if `dies_at_step` says so."""
        return _LastStep(self)

    def spend(self, *, moved: int = 0, syncs: int = 0) -> None:
        """Account the virtual time of a call."""
        self.syncs += syncs
        self._elapsed_s += (moved / BYTES_PER_S + syncs * SYNC_S) * self.slowness

    def reserve(self, grows: int) -> int:
        """Take up to `grows` bytes of the capacity; how many were there."""
        if self.capacity_bytes is not None:
            grows = max(0, min(grows, self.capacity_bytes - self._used))
        self._used += grows
        return grows

    def release(self, shrinks: int) -> None:
        """Give bytes back to the capacity."""
        self._used -= shrinks

    # --- the seam -------------------------------------------------------------------------------------------------

    def open(self, name: str, *, create: bool = False) -> SimulatedFile:
        self.enter("open")
        return SimulatedFile(self, self._content(name, create=create))

    def _content(self, name: str, *, create: bool) -> Content:
        content = self._names.get(name)
        if content is None:
            if not create or folder_of(name) not in self._folders:
                raise FileNotFoundError(errno.ENOENT, name)
            content = Content()
            self._change(_Change(None, name, content))
        return content

    def _change(self, change: _Change) -> None:
        with self.last_step():
            change.apply(self._names)
            self._changes.append(change)

    def open_database(self, name: str, *, rebuildable: bool = False) -> SimulatedDatabase:
        from simulations.disk_sqlite import SimulatedDatabase

        self.enter("open")
        if folder_of(name) not in self._folders:
            raise FileNotFoundError(errno.ENOENT, name)
        if name in self.databases:
            raise Busy(f"{name} is open")
        database = SimulatedDatabase(self, name, rebuildable=rebuildable)
        self.databases[name] = database
        try:
            self.sync_folder(folder_of(name))
        except BaseException:
            database.close()
            raise
        return database

    def names(self, folder: str = "") -> list[str]:
        if self._dead:
            raise PowerCut
        if self._unplugged:
            return []
        prefix = f"{folder}/" if folder else ""
        found = {name for name in self._names if folder_of(name) == folder}
        found |= {name for name in self._folders if name and folder_of(name) == folder}
        return sorted(name[len(prefix) :] for name in found)

    def exists(self, name: str) -> bool:
        """True if a file has this name."""
        return name in self._names

    def make_folder(self, name: str) -> None:
        self.enter("make_folder")
        with self.last_step():
            parts = name.split("/")
            self._folders |= {"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}

    def rename(self, old: str, new: str) -> None:
        self.enter("rename")
        content = self._content(old, create=False)
        if (replaced := self._names.get(new)) is not None:
            self.release(len(replaced.data))
        self._change(_Change(old, new, content))

    def remove(self, name: str) -> None:
        self.enter("remove")
        if (content := self._names.get(name)) is not None:
            self.release(len(content.data))
            self._change(_Change(name, None, None))

    def sync_folder(self, name: str = "") -> None:
        self.enter("sync_folder")
        if name not in self._folders:
            raise FileNotFoundError(errno.ENOENT, name)
        with self.last_step():
            rest = []
            for change in self._changes:
                if change.touches(name):
                    change.apply(self._medium_names)
                else:
                    rest.append(change)
            self._changes = rest
        self.spend(syncs=1)

    def free_bytes(self) -> int:
        self.enter("free_bytes")
        return 2**50 if self.capacity_bytes is None else max(0, self.capacity_bytes - self._used)

    # --- what the workers ask -------------------------------------------------------------------------------------

    def take_elapsed_s(self) -> float:
        """Virtual seconds spent in calls since last asked."""
        elapsed_s, self._elapsed_s = self._elapsed_s, 0.0
        return elapsed_s

    async def wait_unstuck(self) -> None:
        """Return when calls return: at once, unless the disk is stuck."""
        await self._unstuck.wait()

    # --- what befalls the machine ---------------------------------------------------------------------------------

    def kill(self) -> None:
        """The machine is dead from now on: every call raises PowerCut, so that nothing that runs while its tasks are
        being cancelled reaches the disk."""
        self._dead = True

    def restart(self, *, power_cut: bool) -> None:
        """Make the disk usable for the next life of the machine. Everything opened before stays dead.

        Args:
            power_cut: lose or tear what was not synced. Otherwise only the process died, and all it wrote is there
                (but no more durable than before).
        """
        self.kill()
        for database in list(self.databases.values()):
            database.abandon()
        self.databases.clear()
        if power_cut:
            kept = self.rng.choice((0.0, 1.0, 0.5, self.rng.random()))
            names_kept = self.rng.choice((0.0, 1.0, 0.5))
            for change in self._changes:
                if self.rng.random() < names_kept:
                    change.apply(self._medium_names)
            self._changes = []
            self._names = dict(self._medium_names)
            for _, content in sorted(self._names.items()):
                content.cut_power(self.rng, kept)
            self._used = sum(len(content.data) for content in self._names.values())
        self._begin_life()

    def _begin_life(self) -> None:
        self.life += 1
        self.dies_at_step = None
        self._dead = False
        self._faults.clear()

    def fail_next(self, call: str, error: OSError) -> None:
        """Let the next call of this kind ("read", "write", "sync", "open", "rename", ...) raise `error`."""
        self._faults.append((call, error))

    def flip_bit(self, name: str, *, offset: int | None = None) -> int:
        """Rot: change one bit, at `offset` or anywhere; returns where."""
        data = self._names[name].data
        at = self.rng.randrange(len(data)) if offset is None else offset
        data[at] ^= 1 << self.rng.randrange(8)
        return at

    def misdirect(self, name: str) -> None:
        """A sector was written to the place of another one: there it is, and what should be in its own place is not."""
        data = self._names[name].data
        meant, landed = (SECTOR_BYTES * at for at in self.rng.sample(range(len(data) // SECTOR_BYTES), 2))
        data[landed : landed + SECTOR_BYTES] = data[meant : meant + SECTOR_BYTES]
        data[meant : meant + SECTOR_BYTES] = bytes(SECTOR_BYTES)

    def stick(self) -> None:
        """Calls hang until `unstick` (the workers wait before they run a job)."""
        if self._unstuck.is_set():
            self._unstuck = trio.Event()

    def unstick(self) -> None:
        """Calls return again."""
        self._unstuck.set()

    def unplug(self) -> None:
        """The disk is away: no names, no folders, and I/O errors on open files."""
        self._unplugged = True

    def plug(self) -> None:
        """The disk is back as it was; files that were open give I/O errors for ever, as after a new mount."""
        self._unplugged = False
        self.mount += 1
        self.databases.clear()

    @property
    def used_bytes(self) -> int:
        """Bytes that all files together have."""
        return self._used

    def all_names(self) -> list[str]:
        """Every file, sorted."""
        return sorted(self._names)

    def size_of(self, name: str) -> int:
        """Bytes in a file."""
        return len(self._names[name].data)

    def snapshot(self) -> dict[str, bytes]:
        """An image of all files, for `restore`."""
        return {name: bytes(content.data) for name, content in sorted(self._names.items())}

    def restore(self, image: dict[str, bytes]) -> None:
        """Roll the disk back to a snapshot, as a restored backup does; everything open dies."""
        self.restart(power_cut=False)
        self._names = {name: Content(bytearray(data), len(data)) for name, data in image.items()}
        self._medium_names = dict(self._names)
        self._changes = []
        self._used = sum(map(len, image.values()))

    def wipe(self) -> None:
        """Lose everything, folders too."""
        self.restore({})
        self._folders = {""}
