"""The machine of requests, as conversations between two of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import Busy, Malformed, P2PStoreError, Refused, TimedOut, Unreachable
from p2pstore.limits import EXPIRY_SLACK_S
from p2pstore.packing import pack
from p2pstore.protocols import wire
from p2pstore.protocols.requests import (
    Call,
    Cut,
    Effect,
    Granted,
    Ready,
    Replied,
    Requests,
    Send,
    Serve,
    Serving,
    Settled,
    Window,
)
from p2pstore.seams.network import Message, Plane
from tests.network.twins import peer_id_of

ANNA, BEN = peer_id_of("anna"), peer_id_of("ben")
LINK = 1


class Conversation:
    """Ben dialled Anna: both machines, joined by a link that delivers at once, each with a clock of its own."""

    def __init__(self, **options: object) -> None:
        self.anna = Requests(**options)  # type: ignore[arg-type]
        self.ben = Requests(**options)  # type: ignore[arg-type]
        self.now = {id(self.anna): 1000.0, id(self.ben): 5.0}
        self.serving: list[Serving] = []
        self.settled: list[Call] = []
        self.granted: list[Call] = []
        self.other: list[Effect] = []
        self.sent: list[wire.Frame] = []
        self.do(self.anna, self.anna.link_up(LINK, BEN, Plane.BULK, dialled=False, now=self.now[id(self.anna)]))
        self.do(self.ben, self.ben.link_up(LINK, ANNA, Plane.BULK, dialled=True, now=self.now[id(self.ben)]))

    def do(self, machine: Requests, effects: list[Effect]) -> None:
        target = self.ben if machine is self.anna else self.anna
        for effect in effects:
            match effect:
                case Send(link, header, payload):
                    frame = wire.decode(header, payload)
                    self.sent.append(frame)
                    self.do(target, target.receive(link, frame, self.now[id(target)]))
                case Serve(serving):
                    self.serving.append(serving)
                case Settled(call):
                    self.settled.append(call)
                case Granted(call):
                    self.granted.append(call)
                case _:
                    self.other.append(effect)

    def ask(self, message: Message, patience_s: float = 10.0) -> Call:
        call = self.ben.open(ANNA, Plane.BULK, message)
        if call.granted:
            self.send(call, patience_s)
        return call

    def send(self, call: Call, patience_s: float = 10.0) -> None:
        now = self.now[id(self.ben)]
        self.do(self.ben, self.ben.send(call, LINK, deadline=now + patience_s, now=now))

    def answer(self, serving: Serving, reply: Message) -> None:
        self.do(self.anna, self.anna.answer(serving, reply))
        if serving.reply is None:
            self.do(self.anna, self.anna.finish(serving))

    def refuse(self, serving: Serving, error: P2PStoreError | str) -> None:
        self.do(self.anna, self.anna.refuse(serving, error))
        self.do(self.anna, self.anna.finish(serving))


def test_a_link_is_ready_when_both_have_said_hello() -> None:
    talk = Conversation()
    assert talk.sent == [wire.Hello(), wire.Hello()]
    assert talk.other == [Ready(LINK), Ready(LINK)]


def test_a_request_is_served_and_its_reply_settles_the_call() -> None:
    talk = Conversation()
    call = talk.ask(Message("get", {"n": 1}))
    [serving] = talk.serving
    assert (serving.peer, serving.message) == (BEN, Message("get", {"n": 1}))
    assert serving.life_s == pytest.approx(10 + EXPIRY_SLACK_S, abs=0.01)
    talk.answer(serving, Message("", {"n": 2}))
    assert call.outcome == Message("", {"n": 2})
    assert talk.settled == [call]


def test_refusals_settle_with_errors() -> None:
    talk = Conversation()
    table: list[tuple[P2PStoreError | str, type[P2PStoreError]]] = [
        (Refused("not-found"), Refused),
        (Busy(), Busy),
        (wire.INTERNAL, Refused),
    ]
    for error, raised in table:
        call = talk.ask(Message("get"))
        talk.refuse(talk.serving.pop(), error)
        assert type(call.outcome) is raised


def test_only_the_first_reply_counts_and_only_for_its_own_call() -> None:
    talk = Conversation()
    call = talk.ask(Message("get"))
    reply = wire.Reply(call.id, Message("", {"n": 1}))
    assert talk.ben.receive(LINK, wire.Reply(call.id + 1, Message("")), 5.0) == []
    assert talk.ben.receive(99, reply, 5.0) == []
    assert talk.ben.receive(LINK, reply, 5.0) == [Settled(call)]
    assert talk.ben.receive(LINK, wire.Reply(call.id, Message("", {"n": 2})), 5.0) == []
    assert call.outcome == Message("", {"n": 1})


def test_a_late_reply_is_dropped_but_its_payload_acknowledged() -> None:
    talk = Conversation()
    call = talk.ask(Message("get"))
    talk.do(talk.ben, talk.ben.close(call))
    talk.answer(talk.serving[0], Message("", {}, b"payload"))
    assert call.outcome is None
    assert talk.settled == []
    assert talk.sent[-1] == wire.Received(call.id)


def test_a_request_twice_in_flight_is_served_once() -> None:
    talk = Conversation()
    talk.ask(Message("get"))
    again = talk.sent[-1]
    assert talk.anna.receive(LINK, again, 1000.0) == []
    talk.answer(talk.serving[0], Message(""))
    assert len(talk.serving) == 1


def test_a_request_that_comes_after_its_deadline_is_not_served() -> None:
    talk = Conversation()
    talk.now[id(talk.anna)] += 60
    call = talk.ask(Message("get"), patience_s=10)
    # Ben still waits: their clocks have come apart. He says hello again, and asks once more.
    assert [type(frame) for frame in talk.sent[2:]] == [wire.Request, wire.Refusal, wire.Hello, wire.Request]
    assert len(talk.serving) == 1
    assert call.outcome is None


def test_a_request_that_expires_twice_times_out() -> None:
    talk = Conversation()
    call = talk.ask(Message("get"))
    expired = wire.Refusal(call.id, wire.EXPIRED)
    assert len(talk.ben.receive(LINK, expired, 5.0)) == 2
    assert talk.ben.receive(LINK, expired, 5.0) == [Settled(call)]
    assert isinstance(call.outcome, TimedOut)


def test_more_than_a_peer_may_have_served_is_busy() -> None:
    talk = Conversation(handlers_max=2)
    calls = [talk.ask(Message("get")) for _ in range(3)]
    assert [type(call.outcome) for call in calls] == [type(None), type(None), Busy]
    talk.answer(talk.serving[0], Message(""))
    assert talk.ask(Message("get")).outcome is None


def test_a_peer_that_ignores_the_window_is_busy() -> None:
    window = {Plane.CONTROL: 100, Plane.BULK: 100}
    talk = Conversation(window_bytes=window)
    for id_, busy in [(1, False), (2, False), (3, True)]:
        request = wire.Request(id_, 10_000, Message("put", {}, bytes(90)))
        effects = talk.anna.receive(LINK, request, 1000.0)
        assert isinstance(effects[0], Send if busy else Serve)


def test_replies_wait_for_their_window_and_go_when_acknowledged() -> None:
    window = {Plane.CONTROL: 100, Plane.BULK: 100}
    talk = Conversation(window_bytes=window)
    first, second = talk.ask(Message("get")), talk.ask(Message("get"))
    one, two = talk.serving
    [sent] = talk.anna.answer(one, Message("", {}, bytes(90)))
    assert talk.anna.answer(two, Message("", {}, bytes(90))) == []
    assert talk.settled == []
    talk.do(talk.anna, [sent])
    assert two.reply is None
    assert talk.other[-1] == Replied(two)
    assert first.outcome == second.outcome == Message("", {}, bytes(90))


def test_a_reply_whose_time_is_over_leaves_the_line() -> None:
    window = {Plane.CONTROL: 100, Plane.BULK: 100}
    talk = Conversation(window_bytes=window)
    for _ in range(3):
        talk.ask(Message("get"))
    one, two, three = talk.serving
    [sent] = talk.anna.answer(one, Message("", {}, bytes(90)))
    for serving in (two, three):
        assert talk.anna.answer(serving, Message("", {}, bytes(90))) == []
    assert talk.anna.finish(two) == []
    talk.do(talk.anna, [sent])
    assert {call.id for call in talk.settled} == {one.id, three.id}


def test_the_death_of_a_link_settles_its_calls_and_forgets_its_replies() -> None:
    window = {Plane.CONTROL: 100, Plane.BULK: 100}
    talk = Conversation(window_bytes=window)
    call = talk.ask(Message("get"))
    talk.ask(Message("get"))
    one, two = talk.serving
    talk.anna.answer(one, Message("", {}, bytes(90)))
    talk.anna.answer(two, Message("", {}, bytes(90)))
    assert talk.anna.link_down(LINK, 1000.0) == [Replied(two)]
    assert talk.anna.answer(one, Message("")) == []
    assert talk.anna.finish(one) == []
    assert talk.anna.finish(two) == []
    talk.do(talk.ben, talk.ben.link_down(LINK, 5.0))
    assert isinstance(call.outcome, Unreachable)
    assert len(talk.settled) == 2
    assert talk.ben.link_down(LINK, 5.0) == []


def test_a_call_granted_after_its_link_died_is_unreachable() -> None:
    talk = Conversation()
    call = talk.ben.open(ANNA, Plane.BULK, Message("get"))
    talk.ben.link_down(LINK, 5.0)
    assert talk.ben.send(call, LINK, deadline=9.0, now=5.0) == [Settled(call)]
    assert isinstance(call.outcome, Unreachable)


def test_nothing_is_heard_before_the_hello() -> None:
    machine = Requests()
    machine.link_up(LINK, BEN, Plane.CONTROL, dialled=False, now=0.0)
    with pytest.raises(Malformed):
        machine.receive(LINK, wire.Request(1, 1, Message("get")), 0.0)


def test_peers_without_a_common_version_part_after_their_hellos() -> None:
    machine = Requests()
    machine.link_up(LINK, BEN, Plane.CONTROL, dialled=False, now=0.0)
    sent, cut = machine.receive(LINK, wire.Hello(wire.VERSION_MOST + 1, wire.VERSION_MOST + 2), 0.0)
    assert isinstance(sent, Send)
    assert isinstance(cut, Cut)


def test_a_later_peer_that_still_reads_our_version_is_welcome() -> None:
    machine = Requests()
    machine.link_up(LINK, BEN, Plane.CONTROL, dialled=False, now=0.0)
    assert machine.receive(LINK, wire.Hello(wire.VERSION_MOST, wire.VERSION_MOST + 1), 0.0)[1:] == [Ready(LINK)]


def test_an_unknown_frame_is_refused_politely() -> None:
    talk = Conversation()
    frame = wire.decode(pack((1, 99, 12, "new")))
    [sent] = talk.anna.receive(LINK, frame, 1000.0)
    assert isinstance(sent, Send)
    assert wire.decode(sent.header) == wire.Refusal(12, wire.UNKNOWN_FRAME)


def test_calls_wait_for_the_window_in_order() -> None:
    talk = Conversation(window_bytes={Plane.CONTROL: 100, Plane.BULK: 100})
    calls = [talk.ask(Message("put", {}, bytes(60))) for _ in range(3)]
    assert [call.granted for call in calls] == [True, False, False]
    assert talk.ben.flying_bytes(ANNA, Plane.BULK) == 60
    assert talk.ask(Message("ping")).granted
    talk.do(talk.ben, talk.ben.close(calls[1]))
    talk.do(talk.ben, talk.ben.close(calls[0]))
    assert talk.granted == [calls[2]]
    assert talk.ben.close(calls[0]) == []


@given(st.lists(st.tuples(st.integers(0, 150), st.booleans()), max_size=60))
def test_a_window_is_never_overrun_and_starves_nobody(steps: list[tuple[int, bool]]) -> None:
    window: Window[int] = Window(100, 5)
    flying: dict[int, int] = {}
    waiting: dict[int, int] = {}
    for number, (size, leave) in enumerate(steps):
        if leave and flying:
            gone = min(flying)
            del flying[gone]
            for granted in window.leave(gone):
                assert all(granted < later or waiting[later] == 0 for later in waiting if later != granted)
                flying[granted] = waiting.pop(granted)
        elif window.ask(number, size):
            flying[number] = size
        else:
            waiting[number] = size
        assert sum(flying.values()) <= 100 or sum(size > 0 for size in flying.values()) == 1
        assert len(flying) <= 5
        assert window.flying_bytes == sum(flying.values())
        assert len(window) == len(flying) + len(waiting)
    while flying:
        gone = min(flying)
        del flying[gone]
        for granted in window.leave(gone):
            flying[granted] = waiting.pop(granted)
    assert not waiting
