"""Whatever arrives: parsers return or raise Malformed or Forged, and the machine raises nothing."""

from __future__ import annotations

import contextlib

import msgpack
from hypothesis import given
from hypothesis import strategies as st

from dht.contacts import contact_of, unpack_contacts
from dht.core import Bootstrap, FindEndpoint, Send, Woken
from dht.errors import Forged, Malformed
from dht.records import make_record, read_record
from dht.sealing import BODY_BYTES_MAX
from dht.wire import Kind, Request, decode, encode_reply, encode_request
from simulations.dht_nodes import toy_id, toy_signature, toy_verify
from tests.dht.machines import OTHER, WALL_S, Talker, make_core

PUBLIC = bytes(range(32))
RECORD = make_record(
    PUBLIC,
    sequence=3,
    expires_s=int(WALL_S) + 99,
    addresses=("10.0.0.1:1", "h:2"),
    body=b"body",
    sign=lambda message: toy_signature(PUBLIC, message),
    id_of=toy_id,
).encoded
CONTACTS = [contact_of(bytes([1]) * 32, ("10.1.1.1", 7)), contact_of(bytes([2]) * 32, ("2001:db8::1", 8))]
BODIES = [
    *(
        encode_request(Request(kind, 7, bytes(32), False, argument))
        for kind, argument in (
            (Kind.PING, b""),
            (Kind.FIND, bytes(32)),
            (Kind.ENDPOINT, bytes(32)),
            (Kind.HOLDERS, bytes(32)),
            (Kind.STORE, RECORD),
        )
    ),
    *(encode_reply(kind, 7, bytes(32), CONTACTS, [RECORD, b"x"]) for kind in (*range(5), 15)),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=64) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=7),
    max_leaves=12,
)


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """A valid encoding with a few bytes changed, cut or doubled."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 3)):
            case 0 if data:
                data[position] = draw(st.integers(0, 255))
            case 1:
                del data[position:]
            case 2:
                data[position:position] = draw(st.binary(max_size=8))
            case _:
                del data[position : position + draw(st.integers(1, 40))]
    return bytes(data)


bodies = st.binary(max_size=BODY_BYTES_MAX) | mutated(BODIES) | values.map(msgpack.packb)
"""What a member gone mad may seal: noise, almost valid messages, and well-formed nonsense."""


@given(bodies)
def test_a_message_is_read_or_malformed(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode(body)


@given(st.binary(max_size=400) | mutated([b"".join(contact.packed for contact in CONTACTS)]))
def test_contacts_are_read_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        for contact in unpack_contacts(data, count_max=20):
            assert len(contact.id) == 32
            assert contact.packed in data


@given(st.binary(max_size=900) | mutated([RECORD]) | values.map(msgpack.packb))
def test_a_record_is_read_or_malformed_or_forged(encoded: bytes) -> None:
    with contextlib.suppress(Malformed, Forged):
        record = read_record(encoded, verify=toy_verify, id_of=toy_id)
        assert record.peer == toy_id(record.public)


@given(st.lists(st.tuples(bodies | st.sampled_from(BODIES), st.booleans()), max_size=12))
def test_the_machine_survives_whatever_members_and_strangers_send(arrivals: list[tuple[bytes, bool]]) -> None:
    core = make_core()
    talker = Talker(core)
    effects = talker.handle(Bootstrap(1, (OTHER,))) + talker.handle(FindEndpoint(2, toy_id(PUBLIC)))
    for body, is_sealed in arrivals:
        if is_sealed and len(body) <= BODY_BYTES_MAX:
            effects += talker.say(body)
        else:
            effects += talker.deliver(body)
    for _ in range(4):
        talker.now_s = core.next_deadline()
        effects += talker.handle(Woken())
    assert all(len(effect.data) <= 1200 for effect in effects if isinstance(effect, Send))


@given(st.lists(mutated([body for body in BODIES if body[1:2] == b"\x01"]), max_size=6))
def test_a_mad_answer_to_our_question_does_no_harm(answers: list[bytes]) -> None:
    core = make_core()
    talker = Talker(core)
    (ping,) = talker.requests(talker.handle(Bootstrap(1, (OTHER,))))
    asked = talker.requests(talker.answer(ping))
    for answer in answers:
        for request in asked:
            # the nonce of the question in place of the 7 that the sample carries
            talker.say(answer.replace(b"\x07", b"\xcf" + request.nonce.to_bytes(8), 1))
    while not core.is_idle:
        talker.now_s = core.next_deadline()
        talker.handle(Woken())
