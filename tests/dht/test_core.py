"""The machine: what it answers, what it believes, what it refuses."""

from __future__ import annotations

from dht.core import Bootstrap, Done, FindNode, Publish, Send, Settings, Woken
from dht.records import make_record
from dht.sealing import BODY_BYTES_MAX
from dht.wire import Kind, Reply, Request, encode_request
from simulations.dht_nodes import toy_id, toy_signature
from tests.dht.machines import OTHER, WALL_S, Talker, make_core


def record_of(public: bytes, *, sequence: int = 1, life_s: float = 3600, body: bytes = b"") -> bytes:
    return make_record(
        public,
        sequence=sequence,
        expires_s=int(WALL_S + life_s),
        addresses=("10.0.0.9:1",),
        body=body,
        sign=lambda message: toy_signature(public, message),
        id_of=toy_id,
    ).encoded


def test_answers_a_ping_and_pings_back_before_it_takes_anybody_in() -> None:
    core = make_core()
    talker = Talker(core)
    pong, ping = (talker.read(effect) for effect in talker.ask(Kind.PING, is_client=False))
    assert isinstance(pong, Reply)
    assert (pong.kind, pong.nonce, pong.sender) == (Kind.PING, 7, core.own_id)
    assert isinstance(ping, Request)
    assert ping.kind == Kind.PING
    assert len(core.table) == 0
    talker.answer(ping)
    assert [entry.contact.address for entry in core.table.entries()] == [OTHER]


def test_a_reply_counts_only_from_the_address_that_was_asked() -> None:
    core = make_core()
    talker = Talker(core)
    (ping,) = talker.requests(talker.ask(Kind.PING, is_client=False))
    talker.answer(ping, source=("10.0.0.3", 4000))
    assert len(core.table) == 0
    talker.answer(ping._replace(nonce=ping.nonce ^ 1))
    assert len(core.table) == 0
    talker.answer(ping)
    assert len(core.table) == 1


def test_who_answers_with_another_id_is_not_who_was_asked() -> None:
    core = make_core()
    talker = Talker(core)
    (ping,) = talker.requests(talker.ask(Kind.PING, is_client=False))
    talker.answer(ping, sender=bytes([1]) * 32)
    assert [entry.id for entry in core.table.entries()] == [bytes([1]) * 32]


def test_a_request_played_again_is_ignored() -> None:
    core = make_core()
    talker = Talker(core)
    data = talker.seals.seal(encode_request(Request(Kind.PING, 7, talker.sender, True, b"")))
    assert len(talker.deliver(data)) == 1
    assert talker.deliver(data) == []
    assert talker.deliver(data, source=("203.0.113.9", 1)) == []


def test_who_claims_our_id_is_not_heard() -> None:
    core = make_core()
    assert Talker(core, sender=core.own_id).ask(Kind.PING) == []


def test_an_unknown_kind_or_version_is_refused_politely() -> None:
    core = make_core()
    talker = Talker(core)
    for body in (
        encode_request(Request(14, 7, talker.sender, False, b"what is new")),
        b"\x94\x02\x01\x07\xc4\x20" + talker.sender,
    ):
        (reply,) = (talker.read(effect) for effect in talker.say(body))
        assert isinstance(reply, Reply)
        assert (reply.kind, reply.nonce) == (Kind.REFUSED, 7)


def test_a_record_is_kept_only_for_its_own_sender() -> None:
    core = make_core()
    public = bytes([5]) * 32
    owner, other = Talker(core, sender=toy_id(public)), Talker(core, salt=b"talker 2")
    (reply,) = (other.read(effect) for effect in other.ask(Kind.STORE, record_of(public)))
    assert isinstance(reply, Reply)
    assert reply.values == []
    assert len(core.records) == 0
    (reply,) = (owner.read(effect) for effect in owner.ask(Kind.STORE, record_of(public)))
    assert isinstance(reply, Reply)
    assert reply.values == [(1).to_bytes(8)]
    assert len(core.records) == 1


def test_the_higher_sequence_wins_and_the_lower_learns_it() -> None:
    core = make_core()
    public = bytes([5]) * 32
    owner = Talker(core, sender=toy_id(public))
    owner.ask(Kind.STORE, record_of(public, sequence=9, body=b"new"))
    (reply,) = (owner.read(effect) for effect in owner.ask(Kind.STORE, record_of(public, sequence=8, body=b"old")))
    assert isinstance(reply, Reply)
    assert reply.values == [(9).to_bytes(8)]
    (reply,) = (owner.read(effect) for effect in owner.ask(Kind.ENDPOINT, toy_id(public)))
    assert isinstance(reply, Reply)
    assert reply.values == [record_of(public, sequence=9, body=b"new")]


def test_a_record_out_of_its_time_is_refused() -> None:
    core = make_core()
    public = bytes([5]) * 32
    owner = Talker(core, sender=toy_id(public))
    for life_s in (-1.0, 25 * 3600.0):
        owner.ask(Kind.STORE, record_of(public, life_s=life_s))
        assert len(core.records) == 0


def test_one_source_fills_only_its_share() -> None:
    core = make_core()
    for number in range(10):
        public = bytes([number]) * 32
        Talker(core, salt=b"talker %d" % number, sender=toy_id(public)).ask(Kind.STORE, record_of(public))
    assert len(core.records) == 4


def test_says_about_holders_no_more_than_fits() -> None:
    core = make_core(holders=lambda _key: [bytes(100)] * 50)
    talker = Talker(core)
    (reply,) = (talker.read(effect) for effect in talker.ask(Kind.HOLDERS, bytes(32)))
    assert isinstance(reply, Reply)
    assert reply.values == [bytes(100)] * 6


def test_asks_twice_then_counts_a_failure() -> None:
    core = make_core()
    talker = Talker(core)
    (first,) = talker.requests(talker.handle(Bootstrap(1, (OTHER,))))
    talker.now_s = core.next_deadline()
    (second,) = talker.requests(talker.handle(Woken()))
    assert first.nonce == second.nonce
    talker.now_s = core.next_deadline()
    assert talker.handle(Woken()) == [Done(1, 0)]
    assert core.is_idle


def test_the_timeout_follows_the_measured_round_trip() -> None:
    core = make_core()
    talker = Talker(core)
    (ping,) = talker.requests(talker.handle(Bootstrap(1, (OTHER,))))
    talker.now_s += 0.4
    effects = talker.answer(ping)
    assert abs(core.next_deadline() - (talker.now_s + 1.2)) < 1e-9
    assert len(talker.requests(effects)) == 1


def test_bogus_addresses_are_neither_joined_through_nor_asked() -> None:
    core = make_core()
    talker = Talker(core)
    bogus = (("10.0.0.3", 0), ("224.0.0.1", 5), ("0.0.0.0", 5), ("255.255.255.255", 5), ("ff02::1", 5), ("fe80::1", 5))
    assert talker.handle(Bootstrap(1, bogus)) == [Done(1, 0)]


def test_alone_every_question_ends_at_once() -> None:
    talker = Talker(make_core())
    assert talker.handle(FindNode(1, bytes(32), 20)) == [Done(1, [])]
    assert talker.handle(Publish(2, ("10.0.0.1:1",), b"")) == [Done(2, 0)]


def test_a_client_says_so() -> None:
    core = make_core(settings=Settings(is_client=True))
    talker = Talker(core)
    (ping,) = talker.requests(talker.handle(Bootstrap(1, (OTHER,))))
    assert ping.is_client


def test_a_search_ends_though_nobody_answers_any_more() -> None:
    core = make_core()
    talker = Talker(core)
    (ping,) = talker.requests(talker.handle(Bootstrap(1, (OTHER,))))
    talker.answer(ping)
    effects = talker.handle(FindNode(2, bytes(32), 20))
    while not core.is_idle:
        talker.now_s = core.next_deadline()
        effects += talker.handle(Woken())
    assert Done(2, []) in effects


def test_no_reply_is_longer_than_a_datagram() -> None:
    core = make_core(holders=lambda _key: [bytes(600)])
    for number in range(1, 60):
        talker = Talker(core, salt=b"talk%4d" % number, sender=number.to_bytes(32), source=(f"2001:db8::{number:x}", 1))
        (ping,) = talker.requests(talker.ask(Kind.PING, is_client=False))
        talker.answer(ping)
    talker = Talker(core)
    for kind in (Kind.FIND, Kind.HOLDERS):
        (effect,) = talker.ask(kind, bytes(32))
        assert isinstance(effect, Send)
        assert len(effect.data) <= 1200
    assert BODY_BYTES_MAX == 1170
