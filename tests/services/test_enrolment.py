"""The enrolment listener and the newcomer's call, over streams."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing

from p2pstore.edges.clock import RealClock
from p2pstore.edges.streams import dial
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Busy, Malformed, NoSpace, PeerFault, Refused, TimedOut, Unreachable
from p2pstore.keys.identity import Identity
from p2pstore.limits import ENROLMENT_FRAME_BYTES_MAX, ENROLMENT_TIMEOUT_S, INVITATION_LIFE_S, INVITATIONS_MAX
from p2pstore.metadata.roster_changes import NotAllowed
from p2pstore.protocols.enrolment import Ended
from p2pstore.protocols.enrolment_channel import Pake, Side
from p2pstore.protocols.enrolment_frames import Frame, FrameKind
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.protocols.joining import JoinOutcome
from p2pstore.services.enrolment import EnrolmentListener, Invitation, join
from p2pstore.services.framed_streams import FramedStream
from simulations.clock import SimulatedClock
from simulations.workers import InlineWorkers
from tests.keys.household import Household, profile


class Porch(trio.abc.Listener[trio.abc.Stream]):
    """A listener in memory. `knock` gives the other end of a new connection, as long as the door is open."""

    def __init__(self) -> None:
        self._send, self._receive = trio.open_memory_channel[trio.abc.Stream](64)
        self.open = True

    async def accept(self) -> trio.abc.Stream:
        try:
            return await self._receive.receive()
        except trio.ClosedResourceError:
            raise trio.ClosedResourceError from None

    async def aclose(self) -> None:
        self.open = False
        self._receive.close()
        await trio.lowlevel.checkpoint()

    async def knock(self) -> trio.abc.Stream:
        if not self.open:
            raise Unreachable("connection refused")
        ours, theirs = trio.testing.memory_stream_pair()
        await self._send.send(theirs)
        return ours


class House:
    """A household whose first machine lets others in."""

    def __init__(self, *, seed: int = 1, me: str = "first") -> None:
        self.home = Household(seed=seed)
        self.porches: list[Porch] = []
        self.fail: Exception | None = None
        self.written: list[bytes] = []
        self.clock = SimulatedClock()
        self.listener = EnrolmentListener(
            identity=self.home.machine(me),
            roster=lambda: self.home.roster,
            keyring=lambda: self.home.keyring,
            make_durable=self._make_durable,
            open_listeners=self._open,
            port=7002,
            clock=self.clock,
            workers=InlineWorkers(self.clock),
            rng=random.Random(seed + 1000),
        )

    async def _make_durable(self, statements: list[bytes]) -> None:
        await self.clock.sleep(0.01)
        if self.fail:
            raise self.fail
        self.written += statements
        self.home.learn(*statements)

    async def _open(self) -> list[Porch]:
        assert not self.door_is_open, "the port is bound already"
        await trio.lowlevel.checkpoint()
        self.porches.append(Porch())
        return [self.porches[-1]]

    @property
    def door_is_open(self) -> bool:
        return bool(self.porches) and self.porches[-1].open

    async def knock(self) -> trio.abc.Stream:
        if not self.porches:
            raise Unreachable("connection refused")
        return await self.porches[-1].knock()

    async def join(self, code: InviteCode, *, name: str = "laptop", seed: int = 500) -> JoinOutcome:
        rng = random.Random(seed)
        clock = SimulatedClock()
        return await join(
            await self.knock(),
            code,
            identity=Identity.generate(rng),
            wishes=profile(name),
            clock=clock,
            workers=InlineWorkers(clock),
            rng=rng,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            await nursery.start(self.listener.run)
            yield
            nursery.cancel_scope.cancel()


def wrong(code: InviteCode) -> InviteCode:
    return InviteCode(code.nameplate, ("zoo", "zoo"))


async def test_the_door_is_open_only_while_an_invitation_is(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        with pytest.raises(Unreachable):
            await house.knock()
        invitation = await house.listener.invite()
        assert house.door_is_open
        assert house.listener.open_invitations() == [invitation]
        outcome = await house.join(invitation.code)
        assert outcome.roster == house.home.roster
        assert outcome.keyring == house.home.keyring
        ended = await house.listener.wait(invitation)
        assert ended == Ended("joined", outcome.identity.peer_id, "laptop", acknowledged=True)
        assert not house.door_is_open
        assert house.listener.open_invitations() == []


async def test_a_wrong_code_burns_the_invitation(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        invitation = await house.listener.invite()
        with pytest.raises(Refused) as caught:
            await house.join(wrong(invitation.code))
        assert caught.value.code == "wrong-code"
        assert await house.listener.wait(invitation) == Ended("burned")
        with pytest.raises(Unreachable):
            await house.join(invitation.code)
        assert house.home.names() == ["first"]


async def test_an_invitation_lives_ten_minutes(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        started = trio.current_time()
        invitation = await house.listener.invite()
        assert await house.listener.wait(invitation) == Ended("expired")
        assert trio.current_time() - started == pytest.approx(INVITATION_LIFE_S, abs=1.0)
        assert not house.door_is_open


async def test_the_last_invitation_closes_the_door_and_another_opens_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House()
    async with house.running():
        first = await house.listener.invite()
        second = await house.listener.invite(role="storage")
        assert await house.listener.cancel(first) == Ended("cancelled")
        assert house.door_is_open, "the second still waits"
        assert (await house.join(second.code)).roster.members()
        assert (await house.listener.wait(second)).how == "joined"
        assert not house.door_is_open
        third = await house.listener.invite()
        assert (await house.join(third.code, name="third", seed=501)).inviter == house.home.first.peer_id
        assert len(house.porches) == 2


async def test_only_an_admin_invites(autojump_clock: trio.testing.MockClock) -> None:
    house = House(me="laptop")
    house.home.enrolled("laptop")
    async with house.running():
        with pytest.raises(NotAllowed):
            await house.listener.invite()
        assert not house.door_is_open


async def test_no_more_invitations_than_a_family_needs(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        for _ in range(INVITATIONS_MAX):
            await house.listener.invite()
        with pytest.raises(Busy):
            await house.listener.invite()
        assert len({each.code.nameplate for each in house.listener.open_invitations()}) == INVITATIONS_MAX


async def test_the_enrolment_is_durable_before_the_newcomer_hears_of_it(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        invitation = await house.listener.invite()
        outcome = await house.join(invitation.code)
        assert set(house.written) <= set(outcome.statements)
        assert len(house.written) == 1


async def test_a_full_disk_turns_the_newcomer_away(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    house.fail = NoSpace("disk full")
    async with house.running():
        invitation = await house.listener.invite()
        with pytest.raises(Refused) as caught:
            await house.join(invitation.code)
        assert caught.value.code == "failed"
        ended = await house.listener.wait(invitation)
        assert (ended.how, ended.why) == ("failed", "NoSpace: disk full")
        assert house.home.names() == ["first"]


async def test_rubbish_oversized_and_silent_strangers_never_end_the_listener(
    autojump_clock: trio.testing.MockClock,
) -> None:
    house = House()
    rng = random.Random(3)
    async with house.running():
        invitation = await house.listener.invite()
        for sent in (
            b"",
            b"\x00",
            b"\x00\x00\x00\x00",
            b"\xff\xff\xff\xff" + bytes(10),
            (ENROLMENT_FRAME_BYTES_MAX + 1).to_bytes(4, "big") + bytes(ENROLMENT_FRAME_BYTES_MAX + 1),
            b"GET / HTTP/1.1\r\n\r\n",
            *((40).to_bytes(4, "big") + rng.randbytes(40) for _ in range(10)),
        ):
            stranger = await house.knock()
            await stranger.send_all(sent)
            await stranger.aclose()
        silent = [await house.knock() for _ in range(30)]
        assert (await house.join(invitation.code)).roster.members()
        for stream in silent:
            with trio.move_on_after(ENROLMENT_TIMEOUT_S + 1) as patience:
                assert await stream.receive_some(1) == b""
            assert not patience.cancelled_caught


async def test_a_stranger_who_says_hello_and_no_more_is_sent_away(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        invitation = await house.listener.invite()
        stream = await house.knock()
        frames = FramedStream(stream, frame_bytes_max=ENROLMENT_FRAME_BYTES_MAX)
        pake = Pake(Side.NEWCOMER, wrong(invitation.code), random.Random(1))
        await frames.send(Frame(FrameKind.HELLO, pake.message, nameplate=invitation.code.nameplate).encode())
        assert Frame.decode(await frames.receive()).kind is FrameKind.ANSWER
        started = trio.current_time()
        with pytest.raises(Unreachable):
            await frames.receive()
        assert trio.current_time() - started == pytest.approx(ENROLMENT_TIMEOUT_S, abs=0.5)
        assert (await house.join(invitation.code)).roster.members(), "and the invitation is as good as before"


async def test_a_newcomer_does_not_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    clock, rng = SimulatedClock(), random.Random(1)
    with pytest.raises(TimedOut):
        await join(
            ours,
            InviteCode.parse("7-guitar-sunset"),
            identity=Identity.generate(rng),
            wishes=profile("laptop"),
            clock=clock,
            workers=InlineWorkers(clock),
            rng=rng,
        )
    assert trio.current_time() == pytest.approx(ENROLMENT_TIMEOUT_S, abs=0.5)
    assert await theirs.receive_some(4)


async def test_a_code_of_another_invitation_finds_none(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        invitation = await house.listener.invite()
        other = InviteCode(invitation.code.nameplate % 99 + 1, invitation.code.words)
        with pytest.raises(Refused) as caught:
            await house.join(other)
        assert caught.value.code == "no-invitation"
        assert house.listener.open_invitations() == [invitation]


async def test_two_households_side_by_side_never_mix(autojump_clock: trio.testing.MockClock) -> None:
    one, two = House(seed=1), House(seed=2)
    async with one.running(), two.running():
        ours, theirs = await one.listener.invite(), await two.listener.invite()
        with pytest.raises(PeerFault):
            await two.join(ours.code)
        outcome = await one.join(ours.code)
        assert outcome.roster.network_id == one.home.network != two.home.network
        assert two.home.names() == ["first"]
        assert theirs.instance != ours.instance


async def test_a_thousand_attempts_leave_nothing_behind(autojump_clock: trio.testing.MockClock) -> None:
    house = House()
    async with house.running():
        for _ in range(30):
            invitation = await house.listener.invite()
            await house.listener.cancel(invitation)
        assert len(house.listener._hosts) <= INVITATIONS_MAX + 1
        assert not house.door_is_open


async def test_frames_keep_their_boundaries_and_their_limit() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    sender, receiver = FramedStream(ours, frame_bytes_max=100), FramedStream(theirs, frame_bytes_max=50)
    await sender.send(b"one")
    await sender.send(b"")
    await sender.send(b"x" * 50)
    await sender.send(b"y" * 51)
    assert [await receiver.receive() for _ in range(3)] == [b"one", b"", b"x" * 50]
    with pytest.raises(Malformed):
        await receiver.receive()


async def test_a_stream_that_ends_inside_a_frame_is_malformed_and_between_frames_is_gone() -> None:
    for sent, error in ((b"\x00\x00\x00\x05abc", Malformed), (b"", Unreachable), (b"\x00\x00", Malformed)):
        ours, theirs = trio.testing.memory_stream_pair()
        await ours.send_all(sent)
        await ours.aclose()
        with pytest.raises(error):
            await FramedStream(theirs, frame_bytes_max=50).receive()


async def test_a_machine_joins_over_real_sockets() -> None:
    home = Household()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port: int = listeners[0].socket.getsockname()[1]
    clock, workers = RealClock(), ThreadWorkers()

    async def make_durable(statements: list[bytes]) -> None:
        home.learn(*statements)
        await trio.lowlevel.checkpoint()

    async def open_listeners() -> list[trio.SocketListener]:
        await trio.lowlevel.checkpoint()
        return listeners

    listener = EnrolmentListener(
        identity=home.first,
        roster=lambda: home.roster,
        keyring=lambda: home.keyring,
        make_durable=make_durable,
        open_listeners=open_listeners,
        port=port,
        clock=clock,
        workers=workers,
        rng=random.SystemRandom(),
    )
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.run)
            invitation: Invitation = await listener.invite()
            rng = random.SystemRandom()
            call = partial(
                join,
                identity=Identity.generate(rng),
                wishes=profile("laptop"),
                clock=clock,
                workers=workers,
                rng=rng,
            )
            stream = await dial("127.0.0.1", port, clock=clock, timeout_s=5)
            outcome = await call(stream, invitation.code)
            assert (await listener.wait(invitation)).acknowledged
            assert outcome.roster == home.roster
            with pytest.raises(Unreachable):
                await dial("127.0.0.1", port, clock=clock, timeout_s=5)
            nursery.cancel_scope.cancel()
