"""Reads random files back whole from other machines' shards: the only proof that a restore would work is a restore.

Every chunk is checked against the id that the manifest names, the whole against the file's size. The result is kept,
and shown with the verdict. A few files a month are read without anybody asking.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Malformed, P2PStoreError, TooFewShards, Unavailable
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import MIB
from p2pstore.metadata.tree import Item
from p2pstore.metadata.version import ManifestRef
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.clock import Clock
from p2pstore.services.exporter import Exporter

EVERY_S: Final = 30 * 86400.0
FILES_UNASKED: Final = 5
UNASKED_BYTES_MAX: Final = 64 * MIB
"""A file of the monthly drill is no larger: a line of half a megabyte a second carries five of them in ten minutes."""

FIRST_AFTER_S: Final = 3600.0
"""A machine that was just switched on has better things to do."""

FAILURES_KEPT: Final = 20
SETTING: Final = "restore-drill"
_BYTES_MAX: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill found.

    Attributes:
        at_s: wall time of its end.
        files: read back and equal to their manifests.
        size: their bytes.
        failed: (path, why) of the others, the first FAILURES_KEPT.
        failed_count: how many others.
    """

    at_s: float
    files: int
    size: int
    failed: tuple[tuple[bytes, str], ...]
    failed_count: int

    def encode(self) -> bytes:
        """For the ledger's settings."""
        failed = [[path, why] for path, why in self.failed]
        return pack([1, int(self.at_s), self.files, self.size, self.failed_count, failed])

    @staticmethod
    def decode(data: bytes | None) -> DrillResult | None:
        """What was kept, if anything sensible was."""
        if data is None:
            return None
        try:
            fields = Fields(unpack(data, bytes_max=_BYTES_MAX), "restore drill", version=1)
            at_s, files, size, failed_count = (fields.integer(0, 2**63) for _ in range(4))
            failed = []
            for each in fields.array(most=FAILURES_KEPT):
                pair = Fields(each, "failure")
                failed.append((pair.raw(most=2**17), pair.text(most=1000)))
        except Malformed:
            return None
        return DrillResult(at_s, files, size, tuple(failed), failed_count)


class RestoreDrill:
    """Drills. `exporter` reads from other machines wherever it can."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        exporter: Exporter,
        clock: Clock,
        rng: random.Random,
        can_read: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._exporter = exporter
        self._clock = clock
        self._rng = rng
        self._can_read = can_read
        self.last: DrillResult | None = None

    async def run(self) -> None:
        """Drill once a month."""
        self.last = DrillResult.decode(await self._ledger.setting(SETTING))
        await self._clock.sleep(FIRST_AFTER_S)
        while True:
            since_s = EVERY_S if self.last is None else self._clock.wall_s() - self.last.at_s
            if since_s >= EVERY_S and self._can_read():
                with suppress(Unavailable):  # the ledger's disk is full: the next day tries again
                    await self.drill(FILES_UNASKED, lambda _: None, bytes_max=UNASKED_BYTES_MAX)
            await self._clock.sleep(86400.0)

    async def drill(
        self, count: int, report: Callable[[bytes], None], *, bytes_max: int | None = None
    ) -> DrillResult:
        """Read up to `count` random files back; the result is durable when this returns.

        Args:
            count: how many.
            report: told each path as it is begun.
            bytes_max: larger files are left out.
        """
        files = size = 0
        failed: list[tuple[bytes, str]] = []
        for path, item in await self._choose(count, bytes_max):
            shown = b"/" + b"/".join(path)
            report(shown)
            try:
                size += await self._read(item)
                files += 1
            except P2PStoreError as error:
                failed.append((shown, _why(error)))
        result = DrillResult(self._clock.wall_s(), files, size, tuple(failed[:FAILURES_KEPT]), len(failed))
        if files or failed:
            await self._ledger.set_setting(SETTING, result.encode())
            self.last = result
        return result

    async def _choose(self, count: int, bytes_max: int | None) -> Sequence[tuple[Path, Item]]:
        """A fair sample of the files that lie in shards, whatever their number, in one walk."""
        chosen: list[tuple[Path, Item]] = []
        seen = 0
        async for path, item in self._ledger.walk():
            if not isinstance(item.content, ManifestRef) or (bytes_max is not None and item.size > bytes_max):
                continue
            seen += 1
            if len(chosen) < count:
                chosen.append((path, item))
            elif (place := self._rng.randrange(seen)) < count:
                chosen[place] = (path, item)
        return chosen

    async def _read(self, item: Item) -> int:
        size = 0

        async def sink(piece: memoryview) -> None:
            nonlocal size
            size += len(piece)

        await self._exporter.read(item, 0, item.size, sink)
        if size != item.size:
            raise Malformed(f"{size} bytes came back of {item.size}")
        return size


def _why(error: P2PStoreError) -> str:
    if isinstance(error, TooFewShards):
        return f"only {error.found} of {error.needed} shards could be read"
    return (str(error) or type(error).__name__)[:500]
