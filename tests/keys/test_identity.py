"""A machine's identity."""

from __future__ import annotations

import random

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from p2pstore.errors import Forged, Malformed
from p2pstore.keys.identity import Identity, agree, in_context, verify


def test_the_same_dice_give_the_same_identity_and_others_another() -> None:
    assert Identity.generate(random.Random(1)) == Identity.generate(random.Random(1))
    assert Identity.generate(random.Random(1)) != Identity.generate(random.Random(2))


def test_what_it_signs_verifies_and_nothing_else_does() -> None:
    identity, other = Identity.generate(random.Random(1)), Identity.generate(random.Random(2))
    message = in_context("test", b"hello")
    signature = identity.sign(message)
    assert len(signature) == 64
    verify(identity.public, signature, message)
    for public, forged, said in [
        (other.public, signature, message),
        (identity.public, bytes(64), message),
        (identity.public, signature, in_context("another", b"hello")),
        (identity.public, signature[:63], message),
        (b"short", signature, message),
    ]:
        with pytest.raises(Forged):
            verify(public, forged, said)


@given(st.text("ab", max_size=3), st.binary(max_size=4), st.text("ab", max_size=3), st.binary(max_size=4))
def test_no_two_pairs_of_context_and_message_are_signed_alike(one: str, a: bytes, other: str, b: bytes) -> None:
    assert (in_context(one, a) == in_context(other, b)) == ((one, a) == (other, b))


def test_its_curve_key_is_one_that_zmq_takes() -> None:
    identity = Identity.generate(random.Random(3))
    public = zmq.curve_public(z85.encode(identity.curve_secret))
    assert z85.decode(public) == identity.curve_public


def test_both_sides_agree_and_a_point_of_small_order_is_refused() -> None:
    one, other = Identity.generate(random.Random(1)), Identity.generate(random.Random(2))
    assert agree(one.curve_secret, other.curve_public) == agree(other.curve_secret, one.curve_public)
    for rubbish in (bytes(32), b"\x01" + bytes(31), b"short"):
        with pytest.raises(Malformed):
            agree(one.curve_secret, rubbish)


def test_it_survives_its_encoding_and_never_shows_its_secrets() -> None:
    identity = Identity.generate(random.Random(4))
    assert Identity.decode(identity.encode()) == identity
    assert repr(identity.signing_secret) not in repr(identity)
    assert repr(identity.curve_secret) not in repr(identity)
    with pytest.raises(Malformed):
        Identity.decode(b"\x93\x01\xc4\x01a\xc4\x01b")
