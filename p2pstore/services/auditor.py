"""Asks others to prove that they have what they say: a keyed hash of a whole shard, under a key nobody knew before.

```
a stripe held here > one of its other holders > a fresh nonce > its hash of the shard under it
    > the shard made anew from the others, proven against the encoding id > the same hash?
```

One stripe in a hundred a month. Whoever is wrong twice in a row is named: in the log, in the state of this daemon, in
the verdict. Nothing is dropped and nobody is removed for it: that is for a person.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from blake3 import blake3

from p2pstore.errors import Malformed, NotHeld, P2PStoreError, PeerFault, Refused, Unavailable
from p2pstore.ids import EncodingId, PeerId, ShardId, encoding_id
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import CODE_LENGTH_MAX
from p2pstore.packing import Buffer, Fields, pack, unpack
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network
from p2pstore.services.catalog import Catalog
from p2pstore.services.download import Downloader
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership
from p2pstore.storage.store import ShardStore

PROVE: Final = "audit.prove"
KINDS: Final = frozenset({PROVE})

NONCE_BYTES: Final = 32
SHARE: Final = 0.01
"""Of the stripes held here, so many are looked at in a month (DESIGN 11)."""

MONTH_S: Final = 30 * 86400.0
EVERY_MAX_S: Final = 86400.0
"""However little is stored, one a day: a date in the verdict that is a month old proves little."""

EVERY_MIN_S: Final = 60.0
FIRST_AFTER_S: Final = 900.0
AGAIN_AFTER_S: Final = 120.0
"""Before somebody is named it is asked again: an inventory is seconds old, and a shard may have moved."""

TIMEOUT_S: Final = 60.0
SETTING: Final = "audit"
_CONTEXT: Final = "p2pstore 2026 audit of a shard"
_BYTES_MAX: Final = 64 * 1024
_NAMED_MAX: Final = 256


def proof_of(payload: Buffer, nonce: bytes, shard: ShardId) -> bytes:
    """What only somebody with the whole payload can say, once it knows the nonce."""
    key = blake3(nonce + shard.encoding + bytes([shard.index]), derive_key_context=_CONTEXT).digest()
    return blake3(payload, key=key).digest()


@dataclass(frozen=True, slots=True)
class Audits:
    """What audits by this machine have found; kept.

    Attributes:
        last_s: wall time of the last that came to an end; 0 for never.
        proven: audits that were passed.
        failed: by machine: when it failed last, by the wall clock. Passing one later clears it.
    """

    last_s: float = 0.0
    proven: int = 0
    failed: dict[PeerId, float] = field(default_factory=dict)

    def encode(self) -> bytes:
        """For the ledger's settings."""
        named = [[peer, int(at_s)] for peer, at_s in sorted(self.failed.items())]
        return pack([1, int(self.last_s), self.proven, named])

    @staticmethod
    def decode(data: bytes | None) -> Audits:
        """What was kept; nothing if that is nothing sensible."""
        try:
            fields = Fields(unpack(data or b"", bytes_max=_BYTES_MAX), "audits", version=1)
            last_s, proven = fields.integer(0, 2**63), fields.integer(0, 2**63)
            failed = {}
            for row in fields.array(most=_NAMED_MAX):
                pair = Fields(row, "failed")
                failed[PeerId(pair.raw(32))] = float(pair.integer(0, 2**63))
        except Malformed:
            return Audits()
        return Audits(float(last_s), proven, failed)


class Auditor:
    """Asks, and answers. `run` it."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        store: ShardStore,
        catalog: Catalog,
        network: Network,
        downloader: Downloader,
        liveness: Liveness,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._membership = membership
        self._ledger = ledger
        self._store = store
        self._catalog = catalog
        self._network = network
        self._downloader = downloader
        self._liveness = liveness
        self._clock = clock
        self._rng = rng
        self.audits = Audits()
        self.on_failure: Callable[[str], None] = lambda _name: None
        """Told the name of a machine that could not prove a shard."""

    async def handle(self, message: Message) -> Message:
        """Prove a shard of this machine. Raises Malformed, Refused, Corrupt, DiskAsleep."""
        nonce, index = message.args.get("nonce"), message.args.get("index")
        encoding = message.args.get("encoding")
        if type(nonce) is not bytes or len(nonce) != NONCE_BYTES or type(encoding) is not bytes:
            raise Malformed("audit.prove: no nonce or no encoding")
        if type(index) is not int or not 0 <= index < CODE_LENGTH_MAX:
            raise Malformed("audit.prove: no index")
        shard = ShardId(encoding_id(encoding), index)
        try:
            stored = await self._store.get(shard)
        except NotHeld:
            raise Refused("not-held") from None
        return Message(PROVE, {"proof": proof_of(stored.payload, nonce, shard)})

    async def run(self) -> None:
        """Audit for ever."""
        self.audits = Audits.decode(await self._ledger.setting(SETTING))
        wait_s = FIRST_AFTER_S
        while True:
            await self._clock.sleep(wait_s)
            with contextlib.suppress(P2PStoreError):  # too few answer now: the next one
                await self.audit_one()
            wait_s = self._pause_s()

    def _pause_s(self) -> float:
        """So that SHARE of what is held here is asked for in a month."""
        wanted = self._store.usage().shard_count * SHARE
        return min(EVERY_MAX_S, max(EVERY_MIN_S, MONTH_S / max(wanted, 1.0)))

    async def audit_one(self) -> bool | None:
        """Ask one machine about one stripe; whether it proved what it says, None if nobody could be asked."""
        encoding = await self._any_stripe()
        found = None if encoding is None else await self._catalog.stripe(encoding)
        if encoding is None or found is None:
            return None
        stripe = found[0]
        claims = [
            (peer, index)
            for peer, indices in sorted(stripe.holders.items())
            if peer != self._membership.me and self._liveness.answers(peer)
            for index in indices
        ]
        if not claims:
            return None
        peer, index = self._rng.choice(claims)
        others = {each: indices for each, indices in stripe.holders.items() if each != peer}
        (row,) = await self._downloader.rebuild(replace(stripe, holders=others), [index])
        shard = ShardId(encoding, index)
        verdict = await self._ask(peer, shard, row.payload)
        if verdict is False:
            await self._clock.sleep(AGAIN_AFTER_S)
            if index not in (await self._catalog.holders(encoding)).get(peer, ()):
                return None  # it has taken it off its inventory: nothing false was said
            verdict = await self._ask(peer, shard, row.payload)
        if verdict is not None:
            await self._note(peer, passed=verdict)
        return verdict

    async def _any_stripe(self) -> EncodingId | None:
        """A stripe of which this machine holds something: the next behind a random place."""
        behind = EncodingId(self._rng.randbytes(32))
        me = self._membership.me
        page = await self._ledger.held_shards(me, after=(behind, -1), limit=1) or await self._ledger.held_shards(
            me, limit=1
        )
        return page[0][0] if page else None

    async def _ask(self, peer: PeerId, shard: ShardId, payload: Buffer) -> bool | None:
        """Whether it proved the shard; None if it could not be asked."""
        nonce = self._rng.randbytes(NONCE_BYTES)
        message = Message(PROVE, {"encoding": shard.encoding, "index": shard.index, "nonce": nonce})
        try:
            reply = await self._network.request(peer, message, timeout_s=TIMEOUT_S)
        except Refused as refusal:
            # It says itself that it has it no longer, or damaged; anything else is no answer about the shard.
            return False if refusal.code in ("not-held", "corrupt") else None
        except (Unavailable, PeerFault):
            return None
        return reply.args.get("proof") == proof_of(payload, nonce, shard)

    async def _note(self, peer: PeerId, *, passed: bool) -> None:
        now_s = self._clock.wall_s()
        failed = {each: at_s for each, at_s in self.audits.failed.items() if each != peer}
        if not passed:
            failed[peer] = float(int(now_s))
            self.on_failure(self._membership.name_of(peer))
        self.audits = Audits(float(int(now_s)), self.audits.proven + passed, failed)
        await self._ledger.set_setting(SETTING, self.audits.encode())

    @property
    def named(self) -> list[str]:
        """Members that failed and have not passed since, by name."""
        members = [peer for peer in self.audits.failed if self._membership.is_member(peer)]
        return sorted(map(self._membership.name_of, members))
