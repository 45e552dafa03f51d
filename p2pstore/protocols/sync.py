"""Metadata between two peers: what is said (messages) and when to say it (`PeerSync`). Sans-IO.

```
roots equal? --yes--> rest
     | no
vectors > pull what we lack, in causal order > push what they lack > rest
own news > push at once; news from others > roots, a little later
```

Described in docs/protocols/metadata.md.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from p2pstore.errors import Malformed
from p2pstore.ids import EncodingId, GenerationId, StoreId, encoding_id, generation_id, store_id
from p2pstore.limits import (
    CODE_LENGTH_MAX,
    CONTROL_MESSAGE_BYTES_MAX,
    INVENTORY_CHANGES_MAX,
    PACKED_PLAIN_BYTES_MAX,
    SEALED_BYTES_MAX,
    STATEMENT_BYTES_MAX,
    STATEMENTS_MAX,
    STORES_PER_PEER_MAX,
    SYNC_BATCH_BYTES,
)
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import INTEGER_MAX
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.network import Message

ROOT: Final = "meta.root"
VECTOR: Final = "meta.vector"
PULL: Final = "meta.pull"
PUSH: Final = "meta.push"
ROSTER_PULL: Final = "roster.pull"
ROSTER_PUSH: Final = "roster.push"
INVENTORY_PULL: Final = "inventory.pull"
INVENTORY_PUSH: Final = "inventory.push"
KINDS: Final = frozenset(
    {ROOT, VECTOR, PULL, PUSH, ROSTER_PULL, ROSTER_PUSH, INVENTORY_PULL, INVENTORY_PUSH}
)

ROOT_BYTES: Final = 16
GENERATIONS_MAX: Final = 256
"""Key generations named in a pull: one a removal or so; of more, the rest comes sealed."""

LIVE_BYTES: Final = 8
"""Of a fingerprint: enough against chance, and two idle peers have 500 bytes a minute for everything."""

EPOCH_BYTES_MAX: Final = 32

ROUND_S: Final = 20.0
"""Roots are compared with each linked peer about so often: 3 rounds a minute of 155 bytes stay below the 500 bytes a
minute that two idle peers may exchange (DESIGN 14), as a round that either side starts counts for both."""

ROUND_SPREAD: Final = 0.25
"""Rounds are early or late by at most this part, so that peers do not march in step."""

FORWARD_S: Final = 0.5
"""News that came from others is offered after this and up to twice this: whoever wrote it is pushing it himself."""

ALARM_FIRST_S: Final = 60.0
ALARM_MAX_S: Final = 3600.0
"""A difference that comparing did not end (two histories of one writer do not merge) is looked at again after the
first, and twice as long each time, up to the second."""

RETRY_FIRST_S: Final = 1.0
RETRY_MAX_S: Final = 60.0


# --- messages -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Roots:
    """What two peers compare: 16 bytes for the vector, 16 for the roster's statements, the first LIVE_BYTES of the
    fingerprint of what is live; a peer of an older build says nothing of that (None)."""

    vector: bytes
    roster: bytes
    live: bytes | None = None

    def same_state_as(self, other: Roots) -> bool:
        """Of two with one vector: whether their states are the same, as far as both say."""
        return self.live is None or other.live is None or self.live == other.live


def roots_message(roots: Roots) -> Message:
    """A "meta.root" request or its reply."""
    live = {} if roots.live is None else {"f": roots.live}
    return Message(ROOT, {"v": roots.vector, "r": roots.roster, **live})


def read_roots(message: Message) -> Roots:
    """The way back. Raises Malformed; so do its siblings below."""
    fields = Fields([message.args.get(name) for name in ("v", "r", "f")], "roots")
    return Roots(fields.raw(ROOT_BYTES), fields.raw(ROOT_BYTES), fields.optional_raw(LIVE_BYTES))


def vector_message(vector: Vector, kind: str = VECTOR, generations: Sequence[GenerationId] = ()) -> Message:
    """A vector: a "meta.vector" request or its reply, which also say whose keys the sender has; or the reply to a
    push."""
    return Message(kind, _keys(generations), vector.encode())


def _keys(generations: Sequence[GenerationId]) -> dict[str, Any]:
    return {"g": b"".join(generations[:GENERATIONS_MAX])} if generations else {}


def read_vector(message: Message) -> Vector:
    """The vector in a message."""
    return Vector.decode(message.payload)


def pull_message(after: Vector, generations: Sequence[GenerationId] = ()) -> Message:
    """Asks for commits that `after` does not cover, packed as far as they are sealed under `generations`."""
    return Message(PULL, _keys(generations), after.encode())


def read_generations(message: Message) -> frozenset[GenerationId]:
    """Whose keys the sender has; none if it is of an older build, or blind."""
    joined = Fields([message.args.get("g", b"")], "generations").raw(most=16 * GENERATIONS_MAX)
    if len(joined) % 16:
        raise Malformed("generations: not of 16 bytes each")
    return frozenset(generation_id(joined[at : at + 16]) for at in range(0, len(joined), 16))


def packed_message(kind: str, packed: bytes, plain_length: int, *, more: bool) -> Message:
    """Commits as in `commits_message`, packed (`metadata.packed`)."""
    return Message(kind, {"more": more, "p": plain_length}, packed)


def read_packed(message: Message) -> int | None:
    """The length before compression if the commits in this are packed; None if they are not."""
    if (length := message.args.get("p")) is None:
        return None
    return Fields([length], "packed").integer(0, PACKED_PLAIN_BYTES_MAX)


def commits_message(kind: str, commits: Sequence[bytes], *, more: bool = False) -> Message:
    """Commits: a push, or the reply to a pull."""
    return Message(kind, {"more": more}, pack(list(commits)))


def read_commits(message: Message) -> tuple[list[bytes], bool]:
    """Raw commits, unchecked, and whether more are left."""
    more = Fields([message.args.get("more", False)], "commits").truth()
    values = unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX) if len(message.payload) else []
    fields = Fields([values], "commits")
    array = Fields(fields.array(most=CONTROL_MESSAGE_BYTES_MAX // 64), "commits")
    return [array.raw() for _ in range(array.left)], more


@dataclass(frozen=True, slots=True)
class Statements:
    """A part of a roster exchange.

    Attributes:
        statements: signed statements, for the one who reads this.
        ids: names of statements; in a request those that the sender has, in a reply those that it wants.
    """

    statements: tuple[bytes, ...]
    ids: tuple[bytes, ...]


def statements_message(kind: str, statements: Statements) -> Message:
    """A part of a roster exchange as a message."""
    return Message(kind, payload=pack([1, list(statements.statements), list(statements.ids)]))


def read_statements(message: Message) -> Statements:
    """The way back; the statements themselves are unchecked."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "statements", version=1)
    statements = Fields(fields.array(most=STATEMENTS_MAX), "statements")
    ids = Fields(fields.array(most=STATEMENTS_MAX), "statement ids")
    fields.end()
    return Statements(
        tuple(statements.raw(most=STATEMENT_BYTES_MAX) for _ in range(statements.left)),
        tuple(ids.raw(most=32) for _ in range(ids.left)),
    )


def fitting(statements: Sequence[bytes], bytes_max: int = SYNC_BATCH_BYTES) -> tuple[bytes, ...]:
    """The first of `statements` that fit a message, at least one."""
    size = 0
    for count, statement in enumerate(statements):
        size += len(statement)
        if count and size > bytes_max:
            return tuple(statements[:count])
    return tuple(statements)


@dataclass(frozen=True, slots=True)
class StoreMark:
    """How much of a store's inventory somebody knows."""

    store: StoreId
    epoch: bytes
    counter: int


@dataclass(frozen=True, slots=True)
class HeldShard:
    """A shard that came to a store (`held`) or went from it."""

    encoding: EncodingId
    index: int
    payload_bytes: int
    held: bool


@dataclass(frozen=True, slots=True)
class StoreChanges:
    """What changed in a store between two values of its counter.

    Attributes:
        store: which.
        epoch: the life of its counter.
        after: the counter before the first change; 0 for all there is.
        upto: the counter after the last.
        more: whether there are further changes.
        changes: one per shard, the last state counts.
    """

    store: StoreId
    epoch: bytes
    after: int
    upto: int
    more: bool
    changes: tuple[HeldShard, ...]


def marks_message(kind: str, marks: Sequence[StoreMark]) -> Message:
    """What the sender knows of the receiver's stores: a pull, or the reply to a push."""
    return Message(kind, payload=pack([1, [[mark.store, mark.epoch, mark.counter] for mark in marks]]))


def read_marks(message: Message) -> list[StoreMark]:
    """The way back."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "marks", version=1)
    values = fields.array(most=STORES_PER_PEER_MAX)
    fields.end()
    marks = []
    for value in values:
        mark = Fields(value, "mark")
        marks.append(
            StoreMark(store_id(mark.raw(16)), mark.raw(most=EPOCH_BYTES_MAX), mark.integer(0, INTEGER_MAX))
        )
        mark.end()
    return marks


def inventory_message(kind: str, stores: Sequence[StoreChanges]) -> Message:
    """Changes of the sender's stores: a push, or the reply to a pull."""
    encoded: list[Any] = [
        [
            each.store,
            each.epoch,
            each.after,
            each.upto,
            each.more,
            [[held.encoding, held.index, held.payload_bytes if held.held else None] for held in each.changes],
        ]
        for each in stores
    ]
    return Message(kind, payload=pack([1, encoded]))


def read_inventory(message: Message) -> list[StoreChanges]:
    """The way back."""
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "inventory", version=1)
    values = fields.array(most=STORES_PER_PEER_MAX)
    fields.end()
    stores = []
    for value in values:
        store = Fields(value, "inventory")
        name, epoch = store_id(store.raw(16)), store.raw(most=EPOCH_BYTES_MAX)
        after = store.integer(0, INTEGER_MAX)
        upto, more = store.integer(after, INTEGER_MAX), store.truth()
        changes = tuple(_read_held(change) for change in store.array(most=INVENTORY_CHANGES_MAX))
        store.end()
        stores.append(StoreChanges(name, epoch, after, upto, more, changes))
    return stores


def _read_held(value: Any) -> HeldShard:
    fields = Fields(value, "held shard")
    encoding, index = encoding_id(fields.raw(32)), fields.integer(0, CODE_LENGTH_MAX - 1)
    size = fields.anything()
    fields.end()
    if size is None:
        return HeldShard(encoding, index, 0, held=False)
    return HeldShard(encoding, index, Fields([size], "held shard").integer(0, SEALED_BYTES_MAX * 2), held=True)


# --- the conversation ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing to say until then (or until something happens)."""

    until: float


@dataclass(frozen=True, slots=True)
class ExchangeRoots:
    """Compare roots."""


@dataclass(frozen=True, slots=True)
class ExchangeVectors:
    """Tell each other the vectors."""


@dataclass(frozen=True, slots=True)
class ExchangeRoster:
    """Bring the statements of both to their union."""


@dataclass(frozen=True, slots=True)
class Pull:
    """Ask for commits that `after` does not cover."""

    after: Vector


@dataclass(frozen=True, slots=True)
class Push:
    """Send commits that `after` does not cover."""

    after: Vector


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Vectors are equal and states are not: find out where, and mend it."""


Step = Rest | ExchangeRoots | ExchangeVectors | ExchangeRoster | Pull | Push | Reconcile


class PeerSync:
    """What to say next to one linked peer. One step is carried out at a time, and its result told.

    Attributes:
        theirs: what the peer last said is durable there; None before it said anything.
    """

    def __init__(self, now: float, rng: random.Random) -> None:
        self.theirs: Vector | None = None
        self._rng = rng
        self._roots_due = now
        self._retry_at = now
        self._failures = 0
        self._differs = False
        self._roster_differs = False
        self._streaming = False
        self._pull_stuck = False
        self._push_stuck = False
        self._own_offered = 0
        self._alarm = False
        self._alarm_at = now
        self._alarms = 0

    def next_step(self, ours: Vector, wanted: Vector, own: Writer, now: float) -> Step:
        """What to do now.

        Args:
            ours: what is durable here.
            wanted: the same, claiming also what we do not want (`Ledger.wanted_vector`).
            own: our writer; only its commits are pushed unasked.
            now: monotonic seconds.
        """
        if now < self._retry_at:
            return Rest(self._retry_at)
        if self._roster_differs:
            return ExchangeRoster()
        theirs = self.theirs
        if theirs is not None:
            if self._streaming:
                if not self._pull_stuck and not wanted.covers_all(theirs):
                    return Pull(wanted)
                if not self._push_stuck and not theirs.covers_all(ours):
                    return Push(theirs)
                self._end_stream(now)
            if ours[own] > max(theirs[own], self._own_offered):
                self._own_offered = ours[own]
                return Push(ours.with_entries([(own, theirs[own])]))
        if self._differs:
            return ExchangeVectors()
        if self._alarm and now >= self._alarm_at:
            return Reconcile()
        if now >= self._roots_due:
            return ExchangeRoots()
        return Rest(self._roots_due)

    # --- what happened --------------------------------------------------------------------------------------------

    def roots_told(self, theirs: Roots, sent: Roots, ours: Vector, now: float) -> None:
        """The reply to our roots `sent`, which were those of `ours`."""
        self._roots_due = now + self._round_s()
        self._roster_differs = theirs.roster != sent.roster
        self._differs = theirs.vector != sent.vector
        if not self._differs:
            self._failures = self._own_offered = 0
            self.theirs = ours
            self._compare_states(theirs, sent, now)

    def _compare_states(self, theirs: Roots, ours: Roots, now: float) -> None:
        self._alarm = not theirs.same_state_as(ours)
        if not self._alarm:
            self._alarms, self._alarm_at = 0, now

    def reconciled(self, now: float, *, mended: bool) -> None:
        """The states were compared in detail; whether something was mended here. The roots say whether it is over."""
        self._alarm = False
        self._alarms = 0 if mended else min(self._alarms + 1, 16)
        pause = 0.0 if mended else min(ALARM_MAX_S, ALARM_FIRST_S * 2 ** (self._alarms - 1))
        self._alarm_at = now + pause
        self._roots_due = min(self._roots_due, now + FORWARD_S * (1 + self._rng.random()))

    def roots_asked(self, theirs: Roots, answer: Roots, ours: Vector, now: float) -> None:
        """The peer compared roots with ours. Where they are equal that was a round for both; else it leads on. Each
        leads its own way out of a difference of states."""
        if (theirs.vector, theirs.roster) == (answer.vector, answer.roster):
            self.theirs = ours
            self._roots_due = now + self._round_s()
            self._compare_states(theirs, answer, now)

    def vector_told(self, theirs: Vector, now: float) -> None:
        """The reply to our vector: now both stream what the other lacks, led by us."""
        self._roots_due = now + self._round_s()
        self._differs = False
        self._begin_stream()
        self.theirs = theirs

    def vector_heard(self, theirs: Vector) -> None:
        """The peer said its vector without being asked; it leads."""
        self.theirs = theirs

    def pulled(self, before: Vector, after: Vector) -> None:
        """Commits came and were applied: our vector moved from `before` to `after`. If it did not, something is in
        the way (a statement that we lack, a fork): not again before the next round."""
        self._pull_stuck = before == after

    def pushed(self, theirs: Vector, sent_upto: Vector) -> None:
        """The reply to a push, durable there. If it does not cover what was sent, the peer lacks what that builds on:
        now that its vector is known, everything is streamed."""
        progress = self.theirs is None or not self.theirs.covers_all(theirs)
        self.theirs = theirs
        if sent_upto.entries and theirs.covers_all(sent_upto):
            self._own_offered = 0
        elif not self._streaming:
            self._begin_stream()
        else:
            self._push_stuck = not progress

    def roster_exchanged(self, now: float) -> None:
        """Statements went both ways; what one side does not want the next round shows again."""
        self._roots_due = min(self._roots_due, now + self._round_s())
        self._roster_differs = False

    def news_from_others(self, now: float) -> None:
        """Commits or statements of somebody else came: compare roots soon."""
        due = now + FORWARD_S * (1 + self._rng.random())
        self._roots_due = min(self._roots_due, due)

    def roster_changed(self, now: float) -> None:
        """We have new statements: compare at once."""
        self._roots_due = min(self._roots_due, now)

    def failed(self, now: float) -> None:
        """A step failed: pause, longer each time, and begin with the roots."""
        self._retry_at = self._roots_due = now + self._pause_s()
        self._streaming = self._differs = self._roster_differs = False
        self._own_offered = 0
        self.theirs = None

    def _begin_stream(self) -> None:
        self._streaming = True
        self._pull_stuck = self._push_stuck = False

    def _end_stream(self, now: float) -> None:
        """All that can flow has. What cannot is looked at again, later each time."""
        self._streaming = False
        if self._pull_stuck or self._push_stuck:
            self._roots_due = now + self._pause_s()
        else:
            self._failures = 0

    def _pause_s(self) -> float:
        pause: float = min(RETRY_MAX_S, RETRY_FIRST_S * 2**self._failures)
        self._failures = min(self._failures + 1, 16)
        return pause * (1 + ROUND_SPREAD * self._rng.random())

    def _round_s(self) -> float:
        return ROUND_S * (1 + ROUND_SPREAD * (2 * self._rng.random() - 1))

