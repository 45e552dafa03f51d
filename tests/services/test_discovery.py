"""Finding each other on the local network."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from p2pstore.edges.beacon import MulticastBeacon, loopback_interfaces
from p2pstore.edges.clock import RealClock
from p2pstore.ids import PeerId
from p2pstore.keys.generation import Generation
from p2pstore.limits import BEACON_DATAGRAMS_PER_S, BEACON_INTERVAL_S, INVITER_SEARCH_S
from p2pstore.protocols.beacon import Answer, Presence, Question, nameplate_tag, read_beacon
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.seams.beacon import UdpAddress
from p2pstore.services.discovery import Discovery, NobodyInvites, SeveralInvite, find_inviter
from p2pstore.services.enrolment import Invitation
from simulations.clock import SimulatedClock

CODE = InviteCode.parse("7-guitar-sunset")


class Air:
    """A local network in memory: everybody hears every shout, after a millisecond, in order."""

    def __init__(self) -> None:
        self.radios: dict[UdpAddress, Radio] = {}
        self.log: list[bytes] = []

    def radio(self, host: str, *, listens: bool = True) -> Radio:
        address = (host, 40000 + len(self.radios))
        self.radios[address] = Radio(self, address, listens=listens)
        return self.radios[address]


class Radio:
    """One machine's sockets."""

    def __init__(self, air: Air, address: UdpAddress, *, listens: bool) -> None:
        self.air = air
        self.address = address
        self.listens = listens
        self._send, self._receive = trio.open_memory_channel[tuple[bytes, UdpAddress]](1000)

    async def shout(self, data: bytes) -> None:
        self.air.log.append(data)
        await trio.sleep(0.001)
        for radio in self.air.radios.values():
            if radio.listens:
                radio.take(data, self.address)

    async def answer(self, data: bytes, address: UdpAddress) -> None:
        self.air.log.append(data)
        await trio.sleep(0.001)
        if address in self.air.radios:
            self.air.radios[address].take(data, self.address)

    async def receive(self) -> tuple[bytes, UdpAddress]:
        return await self._receive.receive()

    def take(self, data: bytes, sender: UdpAddress) -> None:
        with contextlib.suppress(trio.WouldBlock):  # as a full socket buffer does
            self._send.send_nowait((data, sender))


class Station:
    """A machine of some household with its discovery."""

    def __init__(
        self, air: Air, host: str, keys: Sequence[bytes], *, seed: int, invitations: Sequence[Invitation] = ()
    ) -> None:
        self.rng = random.Random(seed)
        self.peer = PeerId(bytes([seed]) * 32)
        self.heard: list[tuple[PeerId, tuple[str, ...]]] = []
        self.presence = Presence(self.peer, 7000 + seed, (f"vpn{seed}:7000",))
        self.discovery = Discovery(
            datagrams=air.radio(host),
            presence=lambda: self.presence,
            datagram_keys=lambda: keys,
            invitations=lambda: invitations,
            on_sighting=lambda peer, addresses: self.heard.append((peer, addresses)),
            clock=SimulatedClock(),
            rng=self.rng,
        )


def invitation(code: InviteCode = CODE, *, instance: bytes = b"instance", port: int = 7002) -> Invitation:
    return Invitation(code, "member", None, 600.0, instance, port)


KEYS = [bytes([number]) * 32 for number in (1, 2)]


async def test_members_find_each_other_at_the_address_that_the_beacon_came_from(
    autojump_clock: trio.testing.MockClock,
) -> None:
    air = Air()
    one, two = Station(air, "10.0.0.1", KEYS[:1], seed=1), Station(air, "10.0.0.2", KEYS[:1], seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.discovery.run)
        nursery.start_soon(two.discovery.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert one.heard == [(two.peer, ("10.0.0.2:7002", "vpn2:7000"))]
    assert two.heard == [(one.peer, ("10.0.0.1:7001", "vpn1:7000"))]
    assert list(one.discovery.sightings()) == [two.peer]


async def test_who_comes_later_is_greeted_at_once(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    one, two = Station(air, "10.0.0.1", KEYS[:1], seed=1), Station(air, "10.0.0.2", KEYS[:1], seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.discovery.run)
        await trio.sleep(100)
        nursery.start_soon(two.discovery.run)
        await trio.sleep(4)
        nursery.cancel_scope.cancel()
    assert two.heard


async def test_two_households_on_one_network_never_mix(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    ours = [Station(air, f"10.0.0.{seed}", KEYS[:1], seed=seed) for seed in (1, 2)]
    theirs = [Station(air, f"10.0.0.{seed}", KEYS[1:], seed=seed) for seed in (3, 4)]
    async with trio.open_nursery() as nursery:
        for station in ours + theirs:
            nursery.start_soon(station.discovery.run)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert {peer for station in ours for peer, _ in station.heard} == {station.peer for station in ours}
    assert {peer for station in theirs for peer, _ in station.heard} == {station.peer for station in theirs}


async def test_an_outsider_sees_datagrams_of_one_length_and_no_names(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    stations = [Station(air, f"10.0.0.{seed}", KEYS[:1], seed=seed) for seed in (1, 2)]
    stations[0].presence = Presence(stations[0].peer, 7001, ("a" * 60 + ":7000",) * 4)
    async with trio.open_nursery() as nursery:
        for station in stations:
            nursery.start_soon(station.discovery.run)
        await trio.sleep(100)
        nursery.cancel_scope.cancel()
    assert len({len(data) for data in air.log}) == 1
    assert len(set(air.log)) == len(air.log)
    assert not any(station.peer in data or b"vpn" in data for data in air.log for station in stations)


async def test_an_idle_machine_speaks_seldom(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    station = Station(air, "10.0.0.1", KEYS[:1], seed=1)
    with trio.move_on_after(3600):
        await station.discovery.run()
    assert 3600 / BEACON_INTERVAL_S * 0.85 < len(air.log) < 3600 / BEACON_INTERVAL_S * 1.2
    assert sum(len(data) for data in air.log) / 60 < 1000, "bytes a minute"


async def test_who_slept_through_a_new_generation_is_heard(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    awake, sleeper = Station(air, "10.0.0.1", KEYS[::-1], seed=1), Station(air, "10.0.0.2", KEYS[:1], seed=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(awake.discovery.run)
        nursery.start_soon(sleeper.discovery.run)
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    assert awake.heard
    assert not sleeper.heard, "it is dialled instead"


async def test_a_flood_of_rubbish_costs_a_bounded_number_of_looks(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    station, stranger = Station(air, "10.0.0.1", KEYS[:1], seed=1), air.radio("6.6.6.6", listens=False)
    rng = random.Random(9)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(station.discovery.run)
        for _ in range(500):
            await stranger.shout(rng.randbytes(rng.randrange(600)))
        question = Question(nameplate_tag(7), bytes(8)).encode()
        for _ in range(200):
            await stranger.shout(question)
        await trio.sleep(2)
        await stranger.shout(Presence(PeerId(bytes(32)), 1, ()).seal(KEYS[0], rng))
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert station.discovery.ignored > 500 - BEACON_DATAGRAMS_PER_S
    assert [peer for peer, _ in station.heard] == [PeerId(bytes(32))], "and it still hears"


async def test_a_newcomer_finds_who_invited_it(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    stations = [
        Station(air, "10.0.0.1", KEYS[:1], seed=1, invitations=[invitation()]),
        Station(air, "10.0.0.2", KEYS[:1], seed=2),
        Station(air, "10.0.0.3", KEYS[1:], seed=3, invitations=[invitation(InviteCode.parse("8-guitar-sunset"))]),
    ]
    async with trio.open_nursery() as nursery:
        for station in stations:
            nursery.start_soon(station.discovery.run)
        clock = SimulatedClock()
        found = await find_inviter(air.radio("10.0.0.9", listens=False), CODE, clock=clock, rng=random.Random(1))
        assert found == ("10.0.0.1", 7002)
        nursery.cancel_scope.cancel()


async def test_two_answers_are_for_a_person_to_decide(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    stations = [
        Station(air, f"10.0.0.{seed}", KEYS[:1], seed=seed, invitations=[invitation(instance=bytes([seed]) * 8)])
        for seed in (1, 2)
    ]
    async with trio.open_nursery() as nursery:
        for station in stations:
            nursery.start_soon(station.discovery.run)
        with pytest.raises(SeveralInvite) as caught:
            await find_inviter(
                air.radio("10.0.0.9", listens=False), CODE, clock=SimulatedClock(), rng=random.Random(1)
            )
        assert caught.value.addresses == ("10.0.0.1:7002", "10.0.0.2:7002")
        nursery.cancel_scope.cancel()


async def test_one_inviter_heard_twice_is_one(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    stations = [
        Station(air, host, KEYS[:1], seed=seed, invitations=[invitation()])
        for seed, host in ((1, "192.168.1.5"), (2, "10.8.0.5"))
    ]
    async with trio.open_nursery() as nursery:
        for station in stations:
            nursery.start_soon(station.discovery.run)
        found = await find_inviter(
            air.radio("10.0.0.9", listens=False), CODE, clock=SimulatedClock(), rng=random.Random(1)
        )
        assert found[1] == 7002
        nursery.cancel_scope.cancel()


async def test_silence_and_rubbish_are_nobody(autojump_clock: trio.testing.MockClock) -> None:
    air = Air()
    asker, liar = air.radio("10.0.0.9", listens=False), air.radio("6.6.6.6")

    async def lie() -> None:
        while True:
            data, sender = await liar.receive()
            question = read_beacon(data)
            assert isinstance(question, Question)
            for reply in (b"rubbish", Answer(bytes(16), question.nonce, bytes(8), 1).encode(), data):
                await liar.answer(reply, sender)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lie)
        with pytest.raises(NobodyInvites) as caught:
            await find_inviter(asker, CODE, clock=SimulatedClock(), rng=random.Random(1))
        assert caught.value.nameplate == 7
        assert trio.current_time() == pytest.approx(INVITER_SEARCH_S, abs=0.5)
        nursery.cancel_scope.cancel()


async def test_two_households_and_a_newcomer_on_a_real_loopback_network() -> None:
    rng = random.SystemRandom()
    port = rng.randrange(20000, 30000)
    lo = loopback_interfaces()
    keys = [Generation.generate(rng).datagram for _ in range(2)]
    heard: dict[int, set[PeerId]] = {number: set() for number in range(4)}
    peers = [PeerId(bytes([number]) * 32) for number in range(4)]
    found_all = trio.Event()

    def note(number: int, peer: PeerId) -> None:
        heard[number].add(peer)
        if all(heard.values()):
            found_all.set()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            for number in range(4):
                beacon = MulticastBeacon(listen=True, interfaces=lo, port=port)
                discovery = Discovery(
                    datagrams=beacon,
                    presence=lambda number=number: Presence(peers[number], 7000 + number),  # type: ignore[misc]
                    datagram_keys=lambda number=number: [keys[number % 2]],  # type: ignore[misc]
                    invitations=lambda number=number: [invitation(port=7002 + number)] if number == 0 else [],  # type: ignore[misc]
                    on_sighting=lambda peer, _, number=number: note(number, peer),  # type: ignore[misc]
                    clock=RealClock(),
                    rng=rng,
                )
                nursery.start_soon(discovery.run)
            with MulticastBeacon(listen=False, interfaces=lo, port=port) as asking:
                assert await find_inviter(asking, CODE, clock=RealClock(), rng=rng) == ("127.0.0.1", 7002)
            await found_all.wait()
            nursery.cancel_scope.cancel()
    assert heard == {0: {peers[2]}, 1: {peers[3]}, 2: {peers[0]}, 3: {peers[1]}}
