"""Sealed datagrams: outsiders see noise, and nothing counts twice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dht.errors import Misuse
from dht.sealing import BODY_BYTES_MAX, OVERHEAD_BYTES, ReplayWindow, Seals

KEY, OLD = bytes(range(32)), bytes(32)
HERE, THERE = b"boot one", b"boot two"


@given(st.binary(max_size=BODY_BYTES_MAX))
def test_what_is_sealed_can_be_opened_by_those_with_the_key_only(body: bytes) -> None:
    datagram = Seals([KEY], HERE).seal(body)
    assert len(datagram) == len(body) + OVERHEAD_BYTES <= 1200
    opened = Seals([KEY], THERE).open(datagram)
    assert opened is not None
    assert (opened.body, opened.salt, opened.counter, opened.key) == (body, HERE, 1, KEY)
    assert Seals([OLD], THERE).open(datagram) is None


@given(st.data())
def test_a_changed_datagram_does_not_open(data: st.DataObject) -> None:
    datagram = bytearray(Seals([KEY], HERE).seal(b"a body"))
    position = data.draw(st.integers(0, len(datagram) - 1))
    datagram[position] ^= data.draw(st.integers(1, 255))
    assert Seals([KEY], THERE).open(bytes(datagram)) is None


def test_no_two_datagrams_share_a_nonce_even_across_keys() -> None:
    seals = Seals([KEY, OLD], HERE)
    headers = [seals.seal(b"x", key)[:14] for key in (KEY, OLD, KEY)]
    seals.replace_keys([OLD])
    headers.append(seals.seal(b"x")[:14])
    assert len(set(headers)) == 4


def test_opens_with_any_of_its_keys_and_seals_with_the_newest() -> None:
    both = Seals([KEY, OLD], HERE)
    opened = both.open(Seals([OLD], THERE).seal(b"from one left behind"))
    assert opened is not None
    assert opened.key == OLD
    assert Seals([KEY], THERE).open(both.seal(b"x")) is not None
    assert Seals([OLD], THERE).open(both.seal(b"x", OLD)) is not None


def test_our_own_datagram_coming_back_is_dropped() -> None:
    seals = Seals([KEY], HERE)
    assert seals.open(seals.seal(b"x")) is None


@pytest.mark.parametrize("keys", [[], [KEY] * 5, [b"short"]])
def test_refuses_no_keys_and_too_many(keys: list[bytes]) -> None:
    with pytest.raises(Misuse):
        Seals(keys, HERE)


@given(st.lists(st.integers(1, 400), max_size=60))
def test_each_counter_is_new_once_and_those_too_old_to_tell_never(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), 0
    for counter in counters:
        expected = counter not in seen and counter > highest - 256
        assert window.is_new(HERE, counter) == expected
        seen.add(counter)
        highest = max(highest, counter)


def test_remembers_a_bounded_number_of_senders() -> None:
    window = ReplayWindow()
    for number in range(1000):
        assert window.is_new(number.to_bytes(8), 1)
    assert not window.is_new((999).to_bytes(8), 1)
