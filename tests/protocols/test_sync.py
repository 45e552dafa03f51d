"""What one peer says to another about metadata, and when: scripted conversations."""

from __future__ import annotations

import random

from p2pstore.ids import EncodingId, Incarnation, PeerId, StoreId
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.protocols import sync
from p2pstore.protocols.sync import (
    FORWARD_S,
    ROUND_S,
    ExchangeRoots,
    ExchangeRoster,
    ExchangeVectors,
    HeldShard,
    PeerSync,
    Pull,
    Push,
    Rest,
    Roots,
    Statements,
    StoreChanges,
    StoreMark,
)

US = Writer(PeerId(b"u" * 32), Incarnation(b"us life."))
THEM = Writer(PeerId(b"t" * 32), Incarnation(b"them lif"))
THIRD = Writer(PeerId(b"3" * 32), Incarnation(b"third li"))
ROSTER = b"r" * 16


def roots(vector: Vector, roster: bytes = ROSTER) -> Roots:
    return Roots(vector.root(), roster)


def machine() -> PeerSync:
    return PeerSync(0.0, random.Random(1))


def test_equal_roots_end_a_round() -> None:
    peer, ours = machine(), Vector({US: 3, THEM: 4})
    assert peer.next_step(ours, ours, US, 0.0) == ExchangeRoots()
    peer.roots_told(roots(ours), roots(ours), ours, 0.1)
    step = peer.next_step(ours, ours, US, 0.2)
    assert isinstance(step, Rest)
    assert ROUND_S * 0.7 < step.until < ROUND_S * 1.3
    assert peer.theirs == ours
    assert peer.next_step(ours, ours, US, step.until) == ExchangeRoots()


def test_where_roots_differ_both_streams_flow_until_the_vectors_meet() -> None:
    peer = machine()
    ours, theirs = Vector({US: 3, THEM: 1}), Vector({US: 2, THEM: 4, THIRD: 1})
    peer.roots_told(roots(theirs), roots(ours), ours, 0.1)
    assert peer.next_step(ours, ours, US, 0.1) == ExchangeVectors()
    peer.vector_told(theirs, 0.2)
    assert peer.next_step(ours, ours, US, 0.2) == Pull(ours)
    half = ours.join(Vector({THEM: 2}))
    peer.pulled(ours, half)
    assert peer.next_step(half, half, US, 0.3) == Pull(half)
    full = ours.join(theirs)
    peer.pulled(half, full)
    assert peer.next_step(full, full, US, 0.4) == Push(theirs)
    peer.pushed(full, Vector({US: 3}))
    assert isinstance(peer.next_step(full, full, US, 0.5), Rest)


def test_own_news_is_pushed_at_once_and_others_is_offered_later() -> None:
    peer, ours = machine(), Vector({US: 3})
    peer.roots_told(roots(ours), roots(ours), ours, 0.0)
    more = Vector({US: 4, THIRD: 1})
    assert peer.next_step(more, more, US, 1.0) == Push(Vector({US: 3, THIRD: 1}))
    peer.pushed(Vector({US: 4, THIRD: 1}), Vector({US: 4}))
    peer.news_from_others(2.0)
    step = peer.next_step(more, more, US, 2.0)
    assert isinstance(step, Rest)
    assert FORWARD_S <= step.until - 2.0 <= 2 * FORWARD_S


def test_a_push_that_waits_for_something_else_there_leads_to_everything() -> None:
    peer, base = machine(), Vector({US: 3})
    peer.roots_told(roots(base), roots(base), base, 0.0)
    ours = Vector({US: 4, THIRD: 1})
    assert peer.next_step(ours, ours, US, 1.0) == Push(Vector({US: 3, THIRD: 1}))
    peer.pushed(base, Vector({US: 4}))
    assert peer.next_step(ours, ours, US, 1.1) == Push(base)
    peer.pushed(ours, ours)
    assert isinstance(peer.next_step(ours, ours, US, 1.2), Rest)


def test_what_leads_nowhere_is_tried_again_later_and_later() -> None:
    peer, ours, theirs = machine(), Vector(), Vector({THEM: 4})
    now, pauses = 0.0, []
    for _ in range(10):
        assert peer.next_step(ours, ours, US, now) == ExchangeRoots()
        peer.roots_told(roots(theirs), roots(ours), ours, now)
        peer.vector_told(theirs, now)
        # its commits are of somebody whom we do not know
        assert peer.next_step(ours, ours, US, now) == Pull(ours)
        peer.pulled(ours, ours)
        step = peer.next_step(ours, ours, US, now)
        assert isinstance(step, Rest)
        pauses.append(step.until - now)
        now = step.until
    assert pauses[0] < 1.3
    assert all(pause <= 75 for pause in pauses)
    assert pauses[-1] >= 60


def test_what_is_stuck_one_way_still_flows_the_other() -> None:
    peer, ours, theirs = machine(), Vector({US: 3}), Vector({THEM: 4})
    peer.roots_told(roots(theirs), roots(ours), ours, 0.0)
    peer.vector_told(theirs, 0.0)
    assert peer.next_step(ours, ours, US, 0.0) == Pull(ours)
    peer.pulled(ours, ours)
    assert peer.next_step(ours, ours, US, 0.0) == Push(theirs)
    peer.pushed(theirs.join(ours), ours)
    assert isinstance(peer.next_step(ours, ours, US, 0.0), Rest)
    more = Vector({US: 4})
    assert peer.next_step(more, more, US, 0.5) == Push(Vector({US: 3})), "own news does not wait for the rest"
    peer.pushed(theirs.join(ours), more)
    assert peer.next_step(more, more, US, 0.5) == Pull(more)
    peer.pulled(more, more)
    assert peer.next_step(more, more, US, 0.5) == Push(theirs.join(ours))
    peer.pushed(theirs.join(ours), more)
    assert isinstance(peer.next_step(more, more, US, 0.5), Rest), "what is not taken is not sent for ever"


def test_failures_pause_twice_as_long_each_time_up_to_a_minute() -> None:
    peer, now = machine(), 0.0
    pauses = []
    for _ in range(10):
        peer.failed(now)
        step = peer.next_step(Vector(), Vector(), US, now)
        assert isinstance(step, Rest)
        pauses.append(step.until - now)
        now = step.until
    assert pauses[0] < 1.3
    assert all(pause <= 75 for pause in pauses)
    assert pauses[-1] >= 60


def test_the_roster_comes_before_the_commits_of_those_it_admits() -> None:
    peer, ours, theirs = machine(), Vector({US: 1}), Vector({THEM: 1})
    peer.roots_told(roots(theirs, b"other" + bytes(11)), roots(ours), ours, 0.0)
    assert peer.next_step(ours, ours, US, 0.0) == ExchangeRoster()
    peer.roster_exchanged(0.1)
    assert peer.next_step(ours, ours, US, 0.1) == ExchangeVectors()


def test_a_round_that_the_peer_began_counts_for_both() -> None:
    peer, ours = machine(), Vector({US: 3})
    peer.roots_asked(roots(ours), roots(ours), ours, 0.0)
    step = peer.next_step(ours, ours, US, 0.0)
    assert isinstance(step, Rest)
    assert step.until > ROUND_S * 0.7


def test_a_writer_with_a_fork_is_not_asked_for_again() -> None:
    peer, ours, theirs = machine(), Vector({THEM: 3}), Vector({THEM: 9})
    wanted = ours.with_entries([(THEM, 2**53)])
    peer.roots_told(roots(theirs), roots(ours), ours, 0.0)
    peer.vector_told(theirs, 0.0)
    assert isinstance(peer.next_step(ours, wanted, US, 0.0), Rest)


def test_messages_survive_their_encoding() -> None:
    assert sync.read_roots(sync.roots_message(Roots(b"v" * 16, ROSTER))) == Roots(b"v" * 16, ROSTER)
    vector = Vector({US: 3, THEM: 4})
    assert sync.read_vector(sync.vector_message(vector)) == vector
    assert sync.read_vector(sync.pull_message(vector)) == vector
    assert sync.read_commits(sync.commits_message(sync.PUSH, [b"1", b"22"], more=True)) == ([b"1", b"22"], True)
    assert sync.read_commits(sync.commits_message(sync.PULL, [])) == ([], False)
    statements = Statements((b"one", b"two"), (b"i" * 16,))
    assert sync.read_statements(sync.statements_message(sync.ROSTER_PULL, statements)) == statements
    marks = [StoreMark(StoreId(b"s" * 16), b"epoch", 7)]
    assert sync.read_marks(sync.marks_message(sync.INVENTORY_PULL, marks)) == marks
    held = (HeldShard(EncodingId(b"e" * 32), 3, 100, held=True), HeldShard(EncodingId(b"f" * 32), 4, 0, held=False))
    stores = [StoreChanges(StoreId(b"s" * 16), b"epoch", 1, 7, True, held)]
    assert sync.read_inventory(sync.inventory_message(sync.INVENTORY_PUSH, stores)) == stores


def test_a_round_with_nothing_new_is_small() -> None:
    message = sync.roots_message(Roots(b"v" * 16, ROSTER))
    assert sum(len(key) + len(value) for key, value in message.args.items()) + len(message.kind) < 50


def test_statements_are_cut_to_fit_but_never_to_nothing() -> None:
    assert sync.fitting([b"x" * 50] * 5, bytes_max=120) == (b"x" * 50,) * 2
    assert sync.fitting([b"x" * 500], bytes_max=120) == (b"x" * 500,)
    assert sync.fitting([], bytes_max=120) == ()


def test_equal_vectors_and_unequal_states_ring_an_alarm_once_and_later_again() -> None:
    ours, theirs = (Roots(b"v" * 16, b"r" * 16, live * 8) for live in (b"1", b"2"))
    assert ours.same_state_as(Roots(b"v" * 16, b"r" * 16)), "an older build says nothing of its state"
    peer, vector, now = machine(), Vector(), 0.0
    peer.roots_told(theirs, ours, vector, now)
    assert peer.next_step(vector, vector, US, now) == sync.Reconcile()
    peer.reconciled(now, mended=False)
    assert isinstance(peer.next_step(vector, vector, US, now), Rest)
    peer.roots_asked(theirs, ours, vector, now + 2)
    assert isinstance(peer.next_step(vector, vector, US, now + 2), Rest), "not again so soon"
    later = now + sync.ALARM_FIRST_S + 1
    peer.roots_told(theirs, ours, vector, later)
    assert peer.next_step(vector, vector, US, later) == sync.Reconcile()
    peer.reconciled(later, mended=True)
    peer.roots_told(ours, ours, vector, later + 1)
    assert isinstance(peer.next_step(vector, vector, US, later + 1), Rest)
    peer.roots_told(theirs, ours, vector, later + 2)
    assert peer.next_step(vector, vector, US, later + 2) == sync.Reconcile(), "a new one rings at once"


def test_a_peer_that_has_nothing_to_push_does_not_push_for_ever() -> None:
    peer = machine()
    ours, theirs = Vector({US: 9}), Vector({US: 4})
    peer.roots_told(Roots(b"t" * 16, b"r" * 16), Roots(b"o" * 16, b"r" * 16), ours, 0.0)
    peer.vector_told(theirs, 0.0)
    pushes = 0
    while isinstance(peer.next_step(ours, ours, US, 0.0), Push):
        peer.pushed(theirs, Vector())
        pushes += 1
        assert pushes < 5
    assert isinstance(peer.next_step(ours, ours, US, 0.0), Rest)
