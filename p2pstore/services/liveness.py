"""Who is there now: a small question between every two members every ten seconds, and what was answered.

A question tells as much as its answer, so of two machines one asks: whose id is lower, and the other when it has heard
nothing for a little longer.

What this service believes decides whom to *ask*; it never decides that a shard is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import trio

from p2pstore.errors import PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.limits import LEDGER_RESERVE_BYTES, STORE_ACCEPT_BELOW
from p2pstore.packing import Fields
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network
from p2pstore.storage.space import StoreState, Usage

KIND: Final = "peer.how"
KINDS: Final = frozenset({KIND})

ASK_EVERY_S: Final = 10.0
"""15 questions of a machine a minute in a household of six, and as many of others: with all else
9.5 kB a minute both ways (docs/measurements.md), where 8 KB and 500 bytes a pair are allowed."""

SECOND_ASKS_AFTER_S: Final = 2.5
"""The machine with the higher id asks so much later: only when the other has not asked in time."""

PAUSE_MIN_S: Final = 0.25
"""Questions that fall due one after the other are asked together."""

ROUND_TRIP_EVERY_S: Final = 300.0
"""It asks now and then all the same, to know how far away the other is."""

ASK_TIMEOUT_S: Final = 5.0
HEARD_WITHIN_S: Final = 25.0
"""Two questions may go unanswered (a laptop busy waking) before nobody is asked to take a shard there."""

STALLED_AFTER_S: Final = 1.5
"""A machine that does not answer a tiny question for so long while we wait for it is not worth waiting for."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What a machine says of itself.

    Attributes:
        accepts_bytes: what its stores would still take as new shards; 0 when full or asleep.
        given_bytes: the size given to its stores.
        used_bytes: what shards take of it.
    """

    accepts_bytes: int
    given_bytes: int
    used_bytes: int

    def encode(self) -> list[int]:
        """For a message header."""
        return [1, self.accepts_bytes, self.given_bytes, self.used_bytes]

    @staticmethod
    def decode(value: Any) -> Condition:
        """The condition in a message header. Raises Malformed."""
        fields = Fields(value, "condition", version=1)
        return Condition(fields.integer(0, 2**62), fields.integer(0, 2**62), fields.integer(0, 2**62))


def condition_of(usage: Usage) -> Condition:
    """What a store with these figures would tell others."""
    accepts = 0
    if usage.state is StoreState.ACCEPTING:
        room = int(usage.given_bytes * STORE_ACCEPT_BELOW) - usage.used_bytes
        accepts = max(0, min(room, usage.free_bytes - LEDGER_RESERVE_BYTES))
    return Condition(accepts, usage.given_bytes, usage.used_bytes)


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What we know of a machine from talking to it in this life of the daemon.

    Attributes:
        heard_at_s: when it last answered, on our monotonic clock.
        rtt_s: how long its last answer took.
        condition: what it said.
        ahead_s: how far its wall clock is ahead of ours, as far as it said so. Shown; nothing is decided by it.
    """

    heard_at_s: float
    rtt_s: float
    condition: Condition
    ahead_s: float | None = None


class Liveness:
    """Asks every member how it is."""

    def __init__(
        self,
        *,
        me: PeerId,
        network: Network,
        clock: Clock,
        others: Callable[[], list[PeerId]],
        own_condition: Callable[[], Condition],
    ) -> None:
        self._me = me
        self._network = network
        self._clock = clock
        self._others = others
        self._own_condition = own_condition
        self._known: dict[PeerId, Acquaintance] = {}
        self._asked_at_s: dict[PeerId, float] = {}
        self._stalled: set[PeerId] = set()
        self._hurry = trio.Event()
        self.changed = trio.Event()
        """Set, and replaced by a new one, whenever a machine starts or stops answering."""

    async def run(self) -> None:
        """Ask for ever."""
        hurried = True
        while True:
            async with trio.open_nursery() as nursery:
                for peer in self._others():
                    if hurried or self._ask_in_s(peer) <= 0:
                        nursery.start_soon(self.ask, peer)
            next_s = min(map(self._ask_in_s, self._others()), default=ASK_EVERY_S)
            with self._clock.move_on_after(min(ASK_EVERY_S, max(PAUSE_MIN_S, next_s))):
                await self._hurry.wait()
            hurried = self._hurry.is_set()
            self._hurry = trio.Event()

    def _ask_in_s(self, peer: PeerId) -> float:
        """How long until it is our turn to ask a machine."""
        now_s = self._clock.now_s()
        asked_s = self._asked_at_s.get(peer, float("-inf"))
        known = self._known.get(peer)
        if known is None or peer in self._stalled:
            return asked_s + ASK_EVERY_S - now_s
        pause_s = ASK_EVERY_S if self._me < peer else ASK_EVERY_S + SECOND_ASKS_AFTER_S
        return min(max(known.heard_at_s, asked_s) + pause_s, asked_s + ROUND_TRIP_EVERY_S) - now_s

    def ask_soon(self) -> None:
        """Ask everybody now: a link came up or went down."""
        self._hurry.set()

    async def ask(self, peer: PeerId, *, timeout_s: float = ASK_TIMEOUT_S) -> bool:
        """Ask one machine; whether it answered in time."""
        asked_at_s = self._asked_at_s[peer] = self._clock.now_s()
        before = self.answers(peer)
        try:
            reply = await self._network.request(
                peer, Message(KIND, self._said()), timeout_s=timeout_s
            )
            condition = Condition.decode(reply.args.get("me"))
        except (Unavailable, PeerFault):
            self._stalled.add(peer)
        else:
            now_s = self._clock.now_s()
            self._stalled.discard(peer)
            ahead_s = self._ahead_s(reply, (now_s - asked_at_s) / 2)
            self._known[peer] = Acquaintance(now_s, now_s - asked_at_s, condition, ahead_s)
        if self.answers(peer) != before:
            self._announce()
        return peer not in self._stalled

    async def stalled(self, peer: PeerId) -> bool:
        """Whether a machine we wait for has stopped answering: asks it, briefly."""
        return not await self.ask(peer, timeout_s=STALLED_AFTER_S)

    def distrust(self, peer: PeerId) -> None:
        """A request to it failed: do not place there until it has answered again."""
        if self.answers(peer):
            self._stalled.add(peer)
            self._announce()
            self._hurry.set()

    async def handle(self, peer: PeerId, message: Message) -> Message:
        """Answer somebody else's question; the asker's own condition comes with it."""
        condition = Condition.decode(message.args.get("me"))
        before = self.answers(peer)
        known = self._known.get(peer)
        rtt_s = known.rtt_s if known else 0.0
        self._known[peer] = Acquaintance(self._clock.now_s(), rtt_s, condition, self._ahead_s(message, rtt_s / 2))
        self._stalled.discard(peer)
        if not before:
            self._announce()
        return Message("ok", self._said())

    def _said(self) -> dict[str, Any]:
        return {"me": self._own_condition().encode(), "now_ms": int(self._clock.wall_s() * 1000)}

    def _ahead_s(self, message: Message, travelled_s: float) -> float | None:
        """How far the sender's clock is ahead of ours; None where it did not say."""
        said_ms = message.args.get("now_ms")
        if type(said_ms) is not int or not 0 <= said_ms < 2**53:
            return None
        return said_ms / 1000 + travelled_s - self._clock.wall_s()

    def _announce(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def answers(self, peer: PeerId) -> bool:
        """Whether the machine answered lately and nothing has failed since."""
        known = self._known.get(peer)
        return (
            known is not None
            and peer not in self._stalled
            and self._clock.now_s() - known.heard_at_s <= HEARD_WITHIN_S
        )

    def answering(self) -> list[PeerId]:
        """Every other machine that answers, sorted."""
        return [peer for peer in self._others() if self.answers(peer)]

    def known(self) -> Mapping[PeerId, Acquaintance]:
        """What every machine that was heard in this life said last."""
        return self._known
