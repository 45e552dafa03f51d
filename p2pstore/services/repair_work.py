"""What repairs have done, and how fast they may go on: shared by all that rebuilds."""

from __future__ import annotations

from typing import Final

from p2pstore.errors import P2PStoreError, TooFewShards
from p2pstore.limits import MIB
from p2pstore.seams.clock import Clock

RATE_DEFAULT: Final = 64 * MIB
"""Bytes a second of rebuilt shards: half of a gigabit line; a 64 MiB file's two lost shards (32 MiB) take half a
second."""


class RepairWork:
    """Counts, and paces.

    Attributes:
        rate: bytes of rebuilt shards a second.
        stripes: brought back to their promise in this life of the daemon.
        shards: rebuilt and placed, those in place of damaged ones among them.
        bytes: their payloads.
        failed: attempts that did not end well.
        last_failure: why the last of them did not; "" for none.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._free_at_s = 0.0
        self.rate = RATE_DEFAULT
        self.stripes = 0
        self.shards = 0
        self.bytes = 0
        self.failed = 0
        self.last_failure = ""

    def receipted(self, size: int) -> None:
        """A rebuilt shard is on its holder's disk."""
        self.shards += 1
        self.bytes += size

    def fail(self, why: P2PStoreError | str) -> None:
        """Something did not end well."""
        self.failed += 1
        self.last_failure = why if isinstance(why, str) else _sentence(why)

    async def pace(self, size: int) -> None:
        """Wait until so many bytes more fit the rate."""
        now_s = self._clock.now_s()
        wait_s = self._free_at_s - now_s
        self._free_at_s = max(now_s, self._free_at_s) + size / self.rate
        if wait_s > 0:
            await self._clock.sleep(wait_s)


def _sentence(error: P2PStoreError) -> str:
    if isinstance(error, TooFewShards):
        return f"only {error.found} of {error.needed} shards that are needed can be read now"
    return str(error) or type(error).__name__
