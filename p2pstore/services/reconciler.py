"""Carries out the alarm path with one peer: take back what this ledger lost, compare, look again.

In the normal course this never runs: equal vectors mean equal states. It runs when a ledger was damaged; it is counted.
Each side only takes: whoever lacks something sees the same difference, and leads a conversation of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from p2pstore.ids import PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import SYNC_BATCH_BYTES
from p2pstore.protocols import reconcile, sync
from p2pstore.protocols.reconcile import Comparison
from p2pstore.seams.network import Message

INSPECT_PACE: Final = 1.0
"""Half of the time is left to others while the whole log is looked at."""

Ask = Callable[[PeerId, Message], Awaitable[Message]]
"""Asks a peer. Raises Unavailable, PeerFault."""


class Reconciler:
    """Leads such conversations, and answers in those of others."""

    KINDS: Final = reconcile.KINDS

    def __init__(self, *, ledger: Ledger, ask: Ask) -> None:
        self._ledger = ledger
        self._ask = ask

    async def lead(self, peer: PeerId) -> bool:
        """Compare with a peer of (a moment ago) the same vector; whether anything was mended here.

        Raises:
            Unavailable, PeerFault: the peer is away, busy, or talks nonsense; what was done stays done.
        """
        changed = await self._take_missing(peer)
        vector, sums = await self._ledger.live_sums()
        comparison = Comparison(vector, sums)
        while (ranges := comparison.next_ranges()) is not None:
            comparison.ranges_told(reconcile.read_ranges(await self._ask(peer, reconcile.ranges_message(ranges))))
        while buckets := comparison.next_buckets():
            reply = await self._ask(peer, reconcile.blocks_request(comparison.root, buckets))
            comparison.blocks_told(*reconcile.read_blocks(reply), await self._ledger.live_blocks(buckets))
        if comparison.moved or not (comparison.lacking or comparison.lacked):
            return changed
        await self._ledger.note_difference()
        if comparison.lacking:
            # applied and not live here, but there: either side may be wrong, so look whether it is this one
            found = await self._ledger.inspect(pace=INSPECT_PACE)
            changed = await self._take_missing(peer) or changed or found.rows > 0
        return changed

    async def _take_missing(self, peer: PeerId) -> bool:
        """Ask for what this ledger knows it has lost; whether any of it came."""
        came = False
        while missing := await self._ledger.missing():
            reply = await self._ask(peer, reconcile.fetch_message(missing))
            commits, _ = sync.read_commits(reply)
            if not commits or not (await self._ledger.apply(commits)).restored:
                return came
            came = True
        return came

    # --- the other side -------------------------------------------------------------------------------------------

    async def handle(self, message: Message) -> Message | None:
        """Answer a peer; None for a kind that is not one of KINDS. Raises Malformed."""
        match message.kind:
            case reconcile.RANGES:
                asked = reconcile.read_ranges(message)
                vector, sums = await self._ledger.live_sums()
                return reconcile.ranges_message(reconcile.answer_ranges(asked, vector.root(), sums))
            case reconcile.BLOCKS:
                _, buckets = reconcile.read_blocks_request(message)
                vector, _ = await self._ledger.live_sums()
                return reconcile.blocks_message(vector.root(), await self._ledger.live_blocks(buckets))
            case reconcile.FETCH:
                ranges = reconcile.read_fetch(message)
                commits, more = await self._ledger.commits_of(ranges, SYNC_BATCH_BYTES)
                return sync.commits_message(reconcile.FETCH, commits, more=more)
            case _:
                return None
