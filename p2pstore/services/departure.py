"""How a machine leaves in good order: nothing is removed before what it holds is read back elsewhere.

```
"leaves" in the roster > no new placements > repair builds on those who stay > every stripe proven by their receipts
    > "done", kept > an admin that stays removes it > it asks, hears that it is out > its keys and shards are erased
```

Whoever leaves proves; whoever stays removes. Dying anywhere costs a look more: what was proven is proven again.

Two that leave at once never lean on each other: who asks for a receipt leaves already, and who leaves gives none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from p2pstore.errors import Corrupt, Malformed, P2PStoreError, PeerFault, Refused, Unavailable
from p2pstore.ids import EncodingId, NetworkId, PeerId, ShardId, encoding_id
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import CODE_LENGTH_MAX
from p2pstore.metadata.roster_changes import remove
from p2pstore.metadata.roster_codec import CUT_BYTES_MAX
from p2pstore.metadata.roster_statements import Duty
from p2pstore.metadata.vector import Vector
from p2pstore.packing import Fields
from p2pstore.pipeline.shard import parse_header
from p2pstore.placement.levels import Level, commit_level
from p2pstore.placement.promise import household_promise, promise_of_words, stripe_health
from p2pstore.placement.ranking import offers_of
from p2pstore.placement.receipt import Receipt, open_receipt, sign_receipt
from p2pstore.placement.repair import Standing, plan_repair, staying
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network
from p2pstore.services.catalog import Nearby
from p2pstore.services.liveness import Liveness
from p2pstore.services.membership import Membership
from p2pstore.services.silences import Silences
from p2pstore.services.surveyor import PAGE_STRIPES, Found, Surveyor
from p2pstore.storage.store import ShardStore

KEEP: Final = "leave.keep"
HOW: Final = "leave.how"
OVER: Final = "leave.over"
KINDS: Final = frozenset({KEEP, HOW, OVER})

LOOK_EVERY_S: Final = 5.0
"""A person watches the figures; a look at a household's stripes takes a second."""

LOOK_REST: Final = 5.0
"""It rests at least so many times as long as it looked: others need the ledger too."""

ASK_EVERY_S: Final = 5.0
ASK_TIMEOUT_S: Final = 5.0

NEXT_ADMIN_AFTER_S: Final = 60.0
"""The first of the admins that stay removes; the next when it has not done so for so long."""

KEEP_SHARDS_MAX: Final = 64
"""Shards read back for one receipt, at most: 64 of a large chunk's are 96 MiB from a disk, a second or two."""

KEEP_TIMEOUT_S: Final = 60.0

PROVEN_FOR_S: Final = 24 * 3600.0
"""So long a receipt for a shard that was read back stands; after that it is read again."""

QUIET_S: Final = 10.0
"""Nothing is done before nobody has put here for so long: an upload that began before it heard that this machine leaves
has then placed its shards, and its statements have been heard of."""

SETTING: Final = "departure"
_DONE: Final = b"done"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a machine is that leaves.

    Attributes:
        total: stripes of which it holds something that somebody refers to.
        left: those that are not yet proven without it.
        left_bytes: what it holds of them.
        waits: why it does not get on, for people; "" while it does.
        done: everything is proven.
    """

    total: int
    left: int
    left_bytes: int
    waits: str
    done: bool

    def encode(self) -> list[Any]:
        """For a message header."""
        return [1, self.total, self.left, self.left_bytes, self.waits, self.done]

    @staticmethod
    def decode(value: Any) -> Progress:
        """The progress in a message header. Raises Malformed."""
        fields = Fields(value, "progress", version=1)
        total, left, left_bytes = (fields.integer(0, 2**62) for _ in range(3))
        return Progress(total, left, left_bytes, fields.text(most=200), fields.truth())


@dataclass(slots=True)
class _Proofs:
    """Which shards others have read back and receipted, and when."""

    when: dict[EncodingId, dict[tuple[PeerId, int], float]] = field(default_factory=dict)

    def note(self, receipt: Receipt, now_s: float) -> None:
        for shard in receipt.shards:
            self.when.setdefault(shard.encoding, {})[(receipt.holder, shard.index)] = now_s

    def of(self, encoding: EncodingId, held: Mapping[PeerId, Sequence[int]], now_s: float) -> dict[PeerId, list[int]]:
        """What of `held` is proven."""
        known = self.when.get(encoding, {})
        found: dict[PeerId, list[int]] = {}
        for peer, indices in held.items():
            for index in indices:
                if now_s - known.get((peer, index), float("-inf")) <= PROVEN_FOR_S:
                    found.setdefault(peer, []).append(index)
        return found


class Departure:
    """Leads this machine out when it leaves, and others when this machine is an admin that stays. `run` it."""

    def __init__(
        self,
        *,
        membership: Membership,
        network_id: NetworkId,
        ledger: Ledger,
        store: ShardStore,
        network: Network,
        liveness: Liveness,
        silences: Silences,
        surveyor: Surveyor,
        nearby: Nearby,
        clock: Clock,
        verify: Callable[[bytes, bytes, bytes], None],
        busy: Callable[[], str],
        last_put_s: Callable[[], float],
    ) -> None:
        self._membership = membership
        self._network_id = network_id
        self._ledger = ledger
        self._store = store
        self._network = network
        self._liveness = liveness
        self._silences = silences
        self._surveyor = surveyor
        self._nearby = nearby
        self._clock = clock
        self._verify = verify
        self._busy = busy
        self._last_put_s = last_put_s
        self._proofs = _Proofs()
        self._done_since_s: dict[PeerId, float] = {}
        self._own = Progress(0, 0, 0, "", done=False)
        self._known: dict[PeerId, Progress] = {}
        self.over = trio.Event()
        """Set once this machine is out, and what it holds is needed no more: to be erased."""

    # --- for those who ask ----------------------------------------------------------------------------------------

    def progress(self, peer: PeerId) -> Progress | None:
        """How far a member is that leaves; None if it does not, or has not said yet."""
        if peer not in self._membership.leaving():
            return None
        return self._own if peer == self._membership.me else self._known.get(peer)

    async def handle(self, peer: PeerId, message: Message) -> Message:
        """Serve a member, or one that has left in good order."""
        if message.kind == OVER:
            return Message(OVER, {"statements": self._membership.roster.statements_of_removal(peer)})
        if not self._membership.is_member(peer):
            raise Refused("removed")
        if message.kind == HOW:
            vector = self._ledger.vector().encode()
            return Message(HOW, {"progress": self._own.encode()}, vector)
        return await self._keep(peer, message)

    async def _keep(self, peer: PeerId, message: Message) -> Message:
        """Read shards back from the disk, and sign for those that are intact; who leaves signs nothing."""
        leaving = self._membership.leaving()
        if self._membership.me in leaving or self._membership.myself is None:
            raise Refused("leaving")
        if peer not in leaving:
            raise Refused("not-leaving", "not heard of here yet")
        intact: dict[ShardId, bytes] = {}
        for shard in _read_shards(message):
            try:
                stored = await self._store.get(shard)
                intact[shard] = parse_header(stored.header).payload_hash
            except (Unavailable, Corrupt, PeerFault):
                continue
        wall_s = int(max(0.0, self._clock.wall_s()))
        receipt = Receipt(self._membership.me, self._store.store, wall_s, intact)
        return Message(KEEP, {"receipt": sign_receipt(receipt, self._network_id, self._membership.identity.sign)})

    # --- tasks ----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Watch over departures for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._lead_others)
            await self._leave_in_order()

    async def _leave_in_order(self) -> None:
        kept = await self._ledger.setting(SETTING) or b""
        while True:
            changed = self._membership.changed
            me, wait_s = self._membership.myself, float("inf")
            if me is None:
                if kept == _DONE and self._was_retired():
                    self.over.set()
            elif not me.leaves:
                self._own = Progress(0, 0, 0, "", done=False)
                try:
                    kept = await self._remember(kept, b"")
                except P2PStoreError:
                    wait_s = LOOK_EVERY_S  # a full disk
            else:
                began_s = self._clock.now_s()
                try:
                    progress = await self._look(anyway=me.duty is Duty.LEAVES_ANYWAY)
                    if not progress.done and (kept == _DONE or not self._liveness.answering()):
                        await self._ask_whether_out()  # then nobody answers us, and that is why
                    if self._membership.myself is None:
                        continue
                    proven = progress.done or (kept == _DONE and not progress.left)
                    kept = await self._remember(kept, _DONE if proven else b"")
                    self._own = progress
                except P2PStoreError as error:
                    self._own = Progress(self._own.total, self._own.left, self._own.left_bytes, str(error)[:200], False)
                if self._own.done:
                    await self._ask_whether_out()
                wait_s = max(LOOK_EVERY_S, LOOK_REST * (self._clock.now_s() - began_s))
            with self._clock.move_on_after(wait_s):
                await changed.wait()

    async def _remember(self, kept: bytes, value: bytes) -> bytes:
        """Durable before anybody is told."""
        if kept != value:
            await self._ledger.set_setting(SETTING, value)
        return value

    def _was_retired(self) -> bool:
        me = self._membership.me
        return any(each.peer_id == me and each.retired for each in self._membership.roster.removed())

    async def _ask_whether_out(self) -> None:
        """Who was removed is told nothing unasked: links to it are cut."""
        for peer in self._membership.others():
            try:
                reply = await self._network.request(peer, Message(OVER), timeout_s=ASK_TIMEOUT_S)
                said = Fields(reply.args.get("statements"), "statements")
                await self._membership.accept([said.raw(most=1 << 20) for _ in range(said.left)])
            except (Unavailable, PeerFault):
                continue
            if self._membership.myself is None:
                return

    # --- proving --------------------------------------------------------------------------------------------------

    async def _look(self, *, anyway: bool) -> Progress:
        """Look at all stripes held here, have what others hold of them proven, and say what is left.

        The store itself is asked what is held: inventories, our own too, are seconds old.
        """
        standing = await self._silences.standings()
        total = left = left_bytes = 0
        missed: set[PeerId] = set()
        stuck = False
        epoch, after = self._store.epoch, 0
        while page := await self._store.changes_since(after, PAGE_STRIPES):
            after = page[-1].counter
            sizes: dict[EncodingId, int] = {}
            for change in page:
                if change.held:
                    sizes[change.shard.encoding] = sizes.get(change.shard.encoding, 0) + change.payload_bytes
            found = await self._surveyor.look_at(sizes, standing)
            total += len(found)
            bearing = [each for each in found if await self._is_placed(each, standing, anyway=anyway)]
            await self._have_proven(bearing, standing)
            proven = {each.stripe.encoding for each in bearing if self._is_proven(each, standing, missed)}
            stuck = stuck or len(bearing) < len(found)
            for each in found:
                if each.stripe.encoding not in proven:
                    left += 1
                    left_bytes += sizes[each.stripe.encoding]
        if self._store.epoch != epoch:
            raise Unavailable("its store was put in order anew meanwhile")
        waits = await self._waits_for(missed, stuck=stuck)
        return Progress(total, left, left_bytes, waits, done=not left and not waits)

    async def _is_placed(self, found: Found, standing: Mapping[PeerId, Standing], *, anyway: bool) -> bool:
        """Whether those who stay announce what the promise needs; or, `anyway`, all that they could take."""
        if not found.judgement.due:
            return True
        if not anyway or found.judgement.margin < 0:
            return False
        stripe = found.stripe
        near = await self._nearby.near(stripe.encoding, for_repair=True)
        offers = offers_of(stripe.encoding, near, shard_bytes=stripe.shard_length)
        sites = self._membership.sites()
        return not plan_repair(stripe.needed, stripe.holders, standing, offers, found.promise, sites).added

    async def _have_proven(self, bearing: Sequence[Found], standing: Mapping[PeerId, Standing]) -> None:
        """Ask the holders that answer for receipts that are missing."""
        now_s = self._clock.now_s()
        wanted: dict[PeerId, list[ShardId]] = {}
        for found in bearing:
            encoding, held = found.stripe.encoding, _staying(found, standing)
            proven = self._proofs.of(encoding, held, now_s)
            for peer, indices in held.items():
                missing = [index for index in indices if index not in proven.get(peer, ())]
                wanted.setdefault(peer, []).extend(ShardId(encoding, index) for index in missing)

        async def ask(peer: PeerId, shards: list[ShardId]) -> None:
            for start in range(0, len(shards), KEEP_SHARDS_MAX):
                if not await self._prove(peer, shards[start : start + KEEP_SHARDS_MAX]):
                    return

        async with trio.open_nursery() as nursery:
            for peer in self._liveness.answering():
                if shards := wanted.get(peer):
                    nursery.start_soon(ask, peer, shards)

    async def _prove(self, peer: PeerId, shards: Sequence[ShardId]) -> bool:
        public = self._membership.public_of(peer)
        if public is None:
            return False
        message = Message(KEEP, {"shards": [[shard.encoding, shard.index] for shard in shards]})
        try:
            reply = await self._network.request(peer, message, timeout_s=KEEP_TIMEOUT_S)
            raw = reply.args.get("receipt")
            if type(raw) is not bytes:
                raise Malformed("leave.keep: no receipt")
            receipt = open_receipt(raw, self._network_id, public=public, holder=peer, verify=self._verify)
        except (Unavailable, PeerFault):
            return False
        asked = frozenset(shards)
        given = {shard: payload for shard, payload in receipt.shards.items() if shard in asked}
        self._proofs.note(Receipt(peer, receipt.store, receipt.wall_s, given), self._clock.now_s())
        return True

    def _is_proven(self, found: Found, standing: Mapping[PeerId, Standing], missed: set[PeerId]) -> bool:
        """Whether receipts bear what announcements promise; notes whose are missing."""
        held = _staying(found, standing)
        proven = self._proofs.of(found.stripe.encoding, held, self._clock.now_s())
        health = stripe_health(found.stripe.needed, proven, self._membership.sites())
        enough = health.readable if found.judgement.due else health.keeps(found.promise)
        if not enough:
            missed.update(peer for peer, indices in held.items() if len(proven.get(peer, ())) < len(indices))
        return enough

    async def _waits_for(self, missed: set[PeerId], *, stuck: bool) -> str:
        """What keeps this machine besides stripes; "" for nothing."""
        if not [each for each in self._membership.roster.admins() if not each.leaves]:
            return "no machine stays that may remove this one"
        if busy := self._busy():
            return busy
        if absent := sorted(self._membership.name_of(peer) for peer in missed if not self._liveness.answers(peer)):
            return f"waits for {', '.join(absent)}"[:200]
        if self._clock.now_s() - self._last_put_s() < QUIET_S:
            return "waits for uploads of others to end"
        if missed:
            return "waits for those who stay to read back what they hold"
        if stuck:
            return "waits for those who stay to take what they lack"
        return await self._waits_for_commits()

    async def _waits_for_commits(self) -> str:
        """What was written here must be known to so many that no promised failure takes them all; or to everybody."""
        vector = self._ledger.vector()
        leaving = self._membership.leaving()
        stay = [peer for peer in self._membership.others() if peer not in leaving]
        words = [word for _, word in await self._ledger.folder_promises()]
        promise, sites = household_promise(len(stay)) | promise_of_words(words), self._membership.sites()
        knowing: list[PeerId] = []

        def enough() -> bool:
            return len(knowing) == len(stay) or (
                bool(knowing) and commit_level(knowing[0], knowing[1:], promise, sites) is Level.SAFE
            )

        for peer in stay:
            if enough():
                break
            try:
                reply = await self._network.request(peer, Message(HOW), timeout_s=ASK_TIMEOUT_S)
                if Vector.decode(reply.payload).covers_all(vector):
                    knowing.append(peer)
            except (Unavailable, PeerFault):
                continue
        return "" if enough() else "waits for others to hear what was written here"

    # --- leading others out ---------------------------------------------------------------------------------------

    async def _lead_others(self) -> None:
        while True:
            changed = self._membership.changed
            leaving = [peer for peer in self._membership.others() if peer in self._membership.leaving()]
            for peer in leaving:
                try:
                    await self._lead(peer)
                except P2PStoreError:  # it is away or talks nonsense, or our own disk is full
                    self._known.pop(peer, None)
                    self._done_since_s.pop(peer, None)
            with self._clock.move_on_after(ASK_EVERY_S if leaving else float("inf")):
                await changed.wait()

    async def _lead(self, peer: PeerId) -> None:
        """Ask how far it is; when it is done and we are the admin to do it, remove it."""
        reply = await self._network.request(peer, Message(HOW), timeout_s=ASK_TIMEOUT_S)
        progress = Progress.decode(reply.args.get("progress"))
        vector = Vector.decode(reply.payload)
        self._known[peer] = progress
        if not progress.done:
            self._done_since_s.pop(peer, None)
            return
        since_s = self._done_since_s.setdefault(peer, self._clock.now_s())
        turn = self._turn()
        membership = self._membership
        if turn is None or self._clock.now_s() - since_s < turn * NEXT_ADMIN_AFTER_S:
            return
        if not self._ledger.vector().covers_all(vector):
            return  # what it wrote last is on its way here
        pending = [each.voters for each in membership.roster.pending_removals() if each.peer_id == peer]
        if any(membership.me in voters for voters in pending):
            return  # an admin: others must agree, or the paper key
        cut = self._ledger.vector().encode()
        statement = remove(
            membership.identity,
            membership.roster,
            peer,
            now_s=self._clock.wall_s(),
            cut=cut if len(cut) <= CUT_BYTES_MAX else b"",
        )
        await membership.change(membership.identity, [statement])

    def _turn(self) -> int | None:
        """How many admins that stay and answer come before us; None if we are none."""
        me = self._membership.myself
        if me is None or me.role != "admin" or me.leaves:
            return None
        there = {me.peer_id, *self._liveness.answering()}
        admins = [each.peer_id for each in self._membership.roster.admins() if not each.leaves]
        return sorted(peer for peer in admins if peer in there).index(me.peer_id)


def _staying(found: Found, standing: Mapping[PeerId, Standing]) -> dict[PeerId, list[int]]:
    return {peer: sorted(indices) for peer, indices in staying(found.stripe.holders, standing).items()}


def _read_shards(message: Message) -> list[ShardId]:
    fields = Fields(message.args.get("shards"), "leave.keep")
    if fields.left > KEEP_SHARDS_MAX:
        raise Malformed("leave.keep: too many shards")
    found = []
    for _ in range(fields.left):
        row = Fields(fields.array(most=2), "shard")
        found.append(ShardId(encoding_id(row.raw(32)), row.integer(0, CODE_LENGTH_MAX - 1)))
    return found
