"""The brake: after a mass change by one machine, this machine lets nothing go until a person has looked.

```
commits came > too much of a folder changed by one machine? > noted, durably > no history is dropped, nothing signed
```

See docs/protocols/collection.md.
"""

from __future__ import annotations

from typing import Final

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import EntryId, PeerId, entry_id, peer_id
from p2pstore.ledger.brake import MassChange
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import BRAKE_CHANGES_MAX
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.clock import Clock

SETTING: Final = "brake"
LOOK_AFTER_S: Final = 20.0
"""What comes in a burst is looked at once."""

REST: Final = 20.0
"""A look takes at most a twentieth of one core."""


class Brake:
    """Looks and remembers. `run` it."""

    def __init__(self, *, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._turn = trio.Lock()
        self._seen: int | None = None
        self._allowed: dict[PeerId, int] = {}
        self._noted: list[MassChange] = []
        self.on: list[tuple[MassChange, int]] = []
        """Mass changes that nobody has allowed here, and how many entries are still as each left them."""

    async def run(self) -> None:
        """Look when something has come, until cancelled."""
        with self._ledger.subscribe() as news:
            await self._try_look()
            async for _ in news:
                began_s = self._clock.now_s()
                await self._try_look()
                await self._clock.sleep(LOOK_AFTER_S + REST * (self._clock.now_s() - began_s))

    async def _try_look(self) -> None:
        try:
            await self.look()
        except P2PStoreError:
            return  # a full disk: before anything is dropped, it is looked at again

    async def look(self) -> bool:
        """Whether the brake is on, all that is here looked at."""
        async with self._turn:
            if self._seen is None:
                await self._load()
            assert self._seen is not None
            seen = await self._ledger.last_commit()
            if seen > self._seen:
                found = await self._ledger.mass_changes(self._seen, self._allowed)
                for each in found:
                    if not any(noted.covers(each) for noted in self._noted):
                        self._noted = [noted for noted in self._noted if not each.covers(noted)] + [each]
                self._noted = self._noted[-BRAKE_CHANGES_MAX:]
                await self._save(seen)
            self.on = [(each, left) for each in self._noted if (left := await self._ledger.left_as_it_is(each))]
            return bool(self.on)

    async def allow(self) -> int:
        """Let through all that the brake holds on this machine; how many changes that were."""
        await self.look()
        async with self._turn:
            for each, _ in self.on:
                self._allowed[each.author] = max(self._allowed.get(each.author, 0), each.upto)
            count = len(self.on)
            self._noted = [each for each in self._noted if each.upto > self._allowed.get(each.author, 0)]
            assert self._seen is not None
            await self._save(self._seen)
            self.on = []
            return count

    async def _load(self) -> None:
        raw = await self._ledger.setting(SETTING)
        if raw is None:
            self._seen = 0
            return
        fields = Fields(unpack(raw, bytes_max=2**20), "brake")
        seen = fields.integer(0, 2**62)
        for each in fields.array(most=BRAKE_CHANGES_MAX):
            one = Fields(each, "mass change")
            author, folder = peer_id(one.raw(32)), entry_id(one.raw(16))
            numbers = [one.integer(0, 2**63 - 1) for _ in range(4)]
            self._noted.append(MassChange(author, EntryId(folder), *numbers))
        for each in fields.array(most=2**16):
            one = Fields(each, "allowed")
            author = peer_id(one.raw(32))
            self._allowed[author] = one.integer(0, 2**63 - 1)
        self._seen = seen

    async def _save(self, seen: int) -> None:
        noted = [[one.author, one.folder, one.since, one.upto, one.count, one.entries] for one in self._noted]
        allowed = [[author, upto] for author, upto in sorted(self._allowed.items())]
        await self._ledger.set_setting(SETTING, pack([seen, noted, allowed]))
        self._seen = seen
