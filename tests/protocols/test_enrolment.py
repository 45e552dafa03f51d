"""Enrolment as a conversation: who says what, and what becomes of those who say something else."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import pytest

from p2pstore.errors import Forged, Malformed, PeerFault, Refused, TimedOut
from p2pstore.keys.identity import Identity
from p2pstore.limits import ENROLMENT_FRAME_BYTES_MAX, ENROLMENT_TIMEOUT_S, INVITATION_LIFE_S
from p2pstore.metadata.roster_changes import enrol
from p2pstore.metadata.roster_codec import make_card
from p2pstore.protocols.enrolment import (
    Admit,
    Admitted,
    Cancel,
    Close,
    ConnectionLost,
    Ended,
    FrameCame,
    InviterEffect,
    NotAdmitted,
    OpenInvitation,
    Send,
    Tick,
)
from p2pstore.protocols.enrolment_channel import Pake, Side
from p2pstore.protocols.enrolment_frames import Frame, FrameKind, NewcomerIntroduction, sealed_frame
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.protocols.joining import Joining, JoinOutcome
from tests.keys.household import Household, profile

CODE = InviteCode.parse("7-guitar-sunset")
WRONG = InviteCode.parse("7-guitar-sunny")


class Door:
    """An invitation of a household, with a script's way of talking to it."""

    def __init__(self, *, role: str = "member", name: str | None = None, seed: int = 1) -> None:
        self.home = Household(seed=seed)
        self.home.enrolled("nas")
        self.now = 0.0
        self.machine = OpenInvitation(
            CODE,
            role=role,
            identity=self.home.first,
            network=self.home.network,
            name=name,
            ends_at=INVITATION_LIFE_S,
            rng=random.Random(5),
        )

    def says(self, session: int, frame: bytes) -> list[InviterEffect]:
        return self.machine.handle(FrameCame(session, frame), self.now)

    def admit(self, wish: Admit) -> list[InviterEffect]:
        """What the service does: make the enrolment durable, then tell the machine."""
        home = self.home
        statement = enrol(
            home.first, home.roster, home.keyring, card=wish.card, profile=wish.profile, now_s=1.0, rng=home.rng
        )
        home.learn(statement)
        return self.machine.handle(Admitted(wish.session, tuple(home.roster.statements())), self.now)

    def tick(self, now: float) -> list[InviterEffect]:
        self.now = now
        return self.machine.handle(Tick(), now)


def newcomer(code: InviteCode = CODE, *, seed: int = 100, name: str = "laptop") -> Joining:
    rng = random.Random(seed)
    return Joining(code, identity=Identity.generate(rng), wishes=profile(name), rng=rng, now=0.0)


@dataclass
class Talk:
    """A whole conversation: all frames that were sent, and how it ended on both sides."""

    to_inviter: list[bytes]
    to_newcomer: list[bytes]
    outcome: JoinOutcome | None = None
    ended: Ended | None = None


def talk(door: Door, joining: Joining, *, session: int = 1) -> Talk:
    """Lets both machines talk until nobody has anything to say. The newcomer's errors come through."""
    record = Talk([], [])
    outbox: list[bytes] = [effect for effect in joining.start() if isinstance(effect, bytes)]
    while outbox:
        frame = outbox.pop(0)
        record.to_inviter.append(frame)
        effects = door.says(session, frame)
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, Admit):
                effects = [*door.admit(effect), *effects]
            elif isinstance(effect, Ended):
                record.ended = effect
            elif isinstance(effect, Send):
                record.to_newcomer.append(effect.frame)
                for answer in joining.handle(effect.frame, door.now):
                    if isinstance(answer, bytes):
                        outbox.append(answer)
                    else:
                        record.outcome = answer
    return record


def refused(effects: list[InviterEffect]) -> list[str]:
    frames = [Frame.decode(effect.frame) for effect in effects if isinstance(effect, Send)]
    return [frame.refusal for frame in frames if frame.kind is FrameKind.REFUSED]


def ended(effects: list[InviterEffect]) -> Ended | None:
    return next((effect for effect in effects if isinstance(effect, Ended)), None)


def hello(code: InviteCode = CODE, seed: int = 1) -> tuple[Pake, bytes]:
    pake = Pake(Side.NEWCOMER, code, random.Random(seed))
    return pake, Frame(FrameKind.HELLO, pake.message, nameplate=code.nameplate).encode()


def confirm(pake: Pake, effects: list[InviterEffect]) -> bytes:
    (answer,) = [Frame.decode(effect.frame) for effect in effects if isinstance(effect, Send)]
    return Frame(FrameKind.CONFIRM, pake.finish(answer.content).confirmation()).encode()


def test_a_newcomer_with_the_code_gets_the_roster_the_keys_and_the_addresses() -> None:
    door, joining = Door(), newcomer()
    record = talk(door, joining)
    assert record.outcome is not None
    assert record.outcome.roster == door.home.roster
    assert record.outcome.keyring == door.home.keyring
    assert record.outcome.inviter == door.home.first.peer_id
    assert sorted(record.outcome.endpoints) == sorted([door.home.first.peer_id, door.home.peer("nas")])
    assert record.outcome.statements == door.home.roster.statements()
    assert record.ended == Ended("joined", record.outcome.identity.peer_id, "laptop", acknowledged=True)
    assert door.home.names() == ["first", "laptop", "nas"]
    assert not door.machine.open


def test_the_inviter_chooses_role_and_name() -> None:
    door = Door(role="storage", name="attic")
    record = talk(door, newcomer(name="whatever"))
    assert record.outcome is not None
    member = door.home.roster.member(record.outcome.identity.peer_id)
    assert member is not None
    assert (member.role, member.name) == ("storage", "attic")
    assert not any(each.whole for each in record.outcome.keyring.generations)
    assert record.ended is not None
    assert record.ended.name == "attic"


def test_a_wrong_code_burns_the_invitation_and_the_right_one_comes_too_late() -> None:
    door = Door()
    with pytest.raises(Refused) as caught:
        talk(door, newcomer(WRONG))
    assert caught.value.code == "wrong-code"
    assert not door.machine.open
    assert door.machine.next_deadline() is None
    _, late = hello()
    assert door.says(2, late) == [Close(2)]


def test_many_guesses_at_once_are_one_guess() -> None:
    door = Door()
    codes = [InviteCode.parse(f"7-guitar-{word}") for word in ("sun", "zoo", "art")]
    guesses = {session: hello(code, session) for session, code in enumerate(codes)}
    confirms = {session: confirm(pake, door.says(session, frame)) for session, (pake, frame) in guesses.items()}
    effects = door.says(0, confirms[0])
    assert ended(effects) == Ended("burned")
    assert {effect.session for effect in effects if isinstance(effect, Close)} == {0, 1, 2}
    assert [door.says(session, confirms[session]) for session in (1, 2)] == [[Close(1)], [Close(2)]]


def test_whoever_leaves_before_guessing_burns_nothing() -> None:
    door = Door()
    for session in range(2, 14):
        _, frame = hello(WRONG, session)
        door.says(session, frame)
        assert door.machine.handle(ConnectionLost(session), 0.0) == []
    assert door.machine.open
    assert talk(door, newcomer()).outcome is not None


def test_strangers_who_fill_the_room_make_way_for_the_next() -> None:
    door = Door()
    for session in range(2, 10):
        door.now += 0.1
        door.says(session, hello(WRONG, session)[1])
    _, frame = hello(WRONG, 99)
    assert door.says(99, frame)[0] == Close(2)
    assert talk(door, newcomer()).outcome is not None


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"rubbish",
        Frame(FrameKind.CONFIRM, bytes(32)).encode(),
        Frame(FrameKind.SEALED, b"x").encode(),
        Frame(FrameKind.HELLO, b"A" + bytes(32), nameplate=7).encode(),
        Frame(FrameKind.HELLO, b"A" + b"\xff" * 32, nameplate=7).encode(),
        Frame(FrameKind.HELLO, b"B" + bytes(32), nameplate=7).encode(),
        b"\xc1" * (ENROLMENT_FRAME_BYTES_MAX + 1),
    ],
)
def test_rubbish_closes_its_own_connection_and_nothing_else(frame: bytes) -> None:
    door = Door()
    assert door.says(3, frame) == [Close(3)]
    assert door.machine.open
    assert talk(door, newcomer()).outcome is not None


def test_another_nameplate_is_not_here() -> None:
    door = Door()
    _, frame = hello(InviteCode.parse("8-guitar-sunset"))
    assert refused(door.says(1, frame)) == ["no-invitation"]
    assert door.machine.open


def test_a_stranger_learns_nothing_before_it_has_shown_the_code() -> None:
    door = Door()
    _, frame = hello(WRONG)
    said = b"".join(effect.frame for effect in door.says(1, frame) if isinstance(effect, Send))
    mac = Frame(FrameKind.CONFIRM, bytes(32)).encode()
    said += b"".join(effect.frame for effect in door.says(1, mac) if isinstance(effect, Send))
    secrets = [door.home.network, door.home.roster.name.encode(), door.home.first.public, door.home.first.curve_public]
    assert all(secret not in said for secret in secrets)
    assert len(said) < 100


def test_an_eavesdropper_sees_neither_names_nor_keys() -> None:
    door = Door()
    record = talk(door, newcomer())
    seen = b"".join(record.to_inviter + record.to_newcomer)
    secrets = [door.home.network, b"The Bakers", b"laptop", door.home.first.public, *door.home.roster.statements()]
    assert all(secret not in seen for secret in secrets)


def test_no_frame_is_longer_than_agreed_however_large_the_household() -> None:
    door = Door()
    door.home.enrolled(*(f"machine{number}" for number in range(40)))
    record = talk(door, newcomer())
    assert record.outcome is not None
    assert len(record.outcome.roster.members()) == 43
    assert max(len(frame) for frame in record.to_inviter + record.to_newcomer) <= ENROLMENT_FRAME_BYTES_MAX
    assert len(record.to_newcomer) > 5


def test_a_man_in_the_middle_who_does_not_know_the_code_gets_one_guess_and_fails() -> None:
    door, joining = Door(), newcomer()
    (first,) = [effect for effect in joining.start() if isinstance(effect, bytes)]
    to_newcomer = Pake(Side.INVITER, WRONG, random.Random(7))
    channel = to_newcomer.finish(Frame.decode(first).content)
    (mac,) = joining.handle(Frame(FrameKind.ANSWER, to_newcomer.message).encode(), 0.0)
    with pytest.raises(Forged):
        channel.check_confirmation(Frame.decode(mac).content if isinstance(mac, bytes) else b"")
    with pytest.raises(Forged):
        joining.handle(Frame(FrameKind.CONFIRM, channel.confirmation()).encode(), 0.0)
    assert isinstance(mac, bytes)
    _, other = hello(WRONG)
    door.says(1, other)
    assert ended(door.says(1, mac)) == Ended("burned")


def test_a_relay_that_changes_anything_ends_the_conversation() -> None:
    spoilt_something = 0
    for position in range(6):
        door, joining = Door(), newcomer()
        sent = 0
        outbox = [effect for effect in joining.start() if isinstance(effect, bytes)]
        outcome = None
        try:
            while outbox and outcome is None:
                effects = door.says(1, _spoilt(outbox.pop(0)) if sent == position else outbox.pop(0))
                sent += 1
                while effects:
                    effect = effects.pop(0)
                    if isinstance(effect, Admit):
                        effects = [*door.admit(effect), *effects]
                    elif isinstance(effect, Send):
                        frame = _spoilt(effect.frame) if sent == position else effect.frame
                        sent += 1
                        for answer in joining.handle(frame, 0.0):
                            if isinstance(answer, bytes):
                                outbox.append(answer)
                            else:
                                outcome = answer
        except PeerFault:
            spoilt_something += 1
            continue
        assert outcome is None, f"frame {position} was changed unnoticed"
        spoilt_something += 1
    assert spoilt_something == 6


def _spoilt(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def test_a_recorded_conversation_opens_nothing_a_second_time() -> None:
    record = talk(Door(), newcomer())
    again = Door()
    again.machine._rng.seed(6)
    again.says(1, record.to_inviter[0])
    assert ended(again.says(1, record.to_inviter[1])) == Ended("burned")
    joining = newcomer(seed=101)
    joining.start()
    joining.handle(record.to_newcomer[0], 0.0)
    with pytest.raises(Forged):
        joining.handle(record.to_newcomer[1], 0.0)


def test_a_sealed_frame_counts_once_and_in_its_place() -> None:
    door, joining = Door(), newcomer()
    outbox = [effect for effect in joining.start() if isinstance(effect, bytes)]
    (mac,) = joining.handle(next(e.frame for e in door.says(1, outbox[0]) if isinstance(e, Send)), 0.0)
    assert isinstance(mac, bytes)
    confirmed, introduction = [e.frame for e in door.says(1, mac) if isinstance(e, Send)]
    joining.handle(confirmed, 0.0)
    joining.handle(introduction, 0.0)
    with pytest.raises(Forged):
        joining.handle(introduction, 0.0)


def test_a_newcomer_cannot_claim_keys_that_are_not_its_own() -> None:
    victim = Identity.generate(random.Random(50))
    for steal in ("curve", "card"):
        door = Door()
        pake, frame = hello()
        (answer,) = [Frame.decode(e.frame) for e in door.says(1, frame) if isinstance(e, Send)]
        channel = pake.finish(answer.content)
        own = Identity.generate(random.Random(51))
        sent = door.says(1, Frame(FrameKind.CONFIRM, channel.confirmation()).encode())
        assert ended(sent) is None
        claimed = Identity(own.signing_secret, victim.curve_secret) if steal == "curve" else own
        honest = NewcomerIntroduction(
            own.public,
            claimed.curve_public,
            channel.sign(claimed),
            channel.possession(own, door.home.first.curve_public),
            make_card(claimed if steal == "curve" else victim, door.home.network),
            profile("thief"),
        )
        effects = door.says(1, sealed_frame(channel, honest.encode()))
        assert not any(isinstance(effect, Admit) for effect in effects)
        assert ended(effects) == replace(ended(effects) or Ended("failed"), how="failed")


def test_a_silent_stranger_is_sent_away_after_ten_seconds() -> None:
    door = Door()
    door.says(1, hello()[1])
    assert door.machine.next_deadline() == ENROLMENT_TIMEOUT_S
    assert door.tick(ENROLMENT_TIMEOUT_S - 0.1) == []
    assert door.tick(ENROLMENT_TIMEOUT_S) == [Close(1)]
    assert door.machine.open


def test_a_guest_who_falls_silent_ends_the_invitation() -> None:
    door = Door()
    pake, frame = hello()
    door.says(1, confirm(pake, door.says(1, frame)))
    assert not door.machine.open
    effects = door.tick(ENROLMENT_TIMEOUT_S)
    assert ended(effects) == Ended("failed", why="the other side fell silent")


def test_while_one_is_let_in_everybody_else_is_told_to_wait() -> None:
    door = Door()
    pake, frame = hello()
    door.says(1, confirm(pake, door.says(1, frame)))
    effects = door.says(2, hello(seed=2)[1])
    assert refused(effects) == ["busy"]
    assert effects[-1] == Close(2)


def test_an_invitation_ends_by_itself_and_by_being_cancelled() -> None:
    door = Door()
    assert door.machine.next_deadline() == INVITATION_LIFE_S
    assert ended(door.tick(INVITATION_LIFE_S)) == Ended("expired")
    door = Door()
    assert ended(door.machine.handle(Cancel(), 0.0)) == Ended("cancelled")


def test_nobody_is_told_it_is_in_before_it_is_durable() -> None:
    door, joining = Door(), newcomer()
    (first,) = [effect for effect in joining.start() if isinstance(effect, bytes)]
    (mac,) = joining.handle(next(e.frame for e in door.says(1, first) if isinstance(e, Send)), 0.0)
    assert isinstance(mac, bytes)
    confirmed, introduction = [e.frame for e in door.says(1, mac) if isinstance(e, Send)]
    joining.handle(confirmed, 0.0)
    (own,) = joining.handle(introduction, 0.0)
    assert isinstance(own, bytes)
    (wish,) = door.says(1, own)
    assert isinstance(wish, Admit)
    assert door.machine.next_deadline() is None, "our own disk decides how long it takes"
    assert door.machine.handle(Cancel(), 0.0) == []
    effects = door.machine.handle(NotAdmitted(1, "disk full"), 0.0)
    assert refused(effects) == ["failed"]
    assert ended(effects) == Ended("failed", why="disk full")
    with pytest.raises(Refused):
        joining.handle(next(e.frame for e in effects if isinstance(e, Send)), 0.0)


def test_a_connection_that_breaks_after_the_enrolment_leaves_a_member_that_was_not_heard() -> None:
    door, joining = Door(), newcomer()
    frames = [effect for effect in joining.start() if isinstance(effect, bytes)]
    effects: list[InviterEffect] = []
    while not any(isinstance(effect, Admit) for effect in effects):
        effects = door.says(1, frames.pop(0))
        for effect in effects:
            if isinstance(effect, Send):
                frames += [each for each in joining.handle(effect.frame, 0.0) if isinstance(each, bytes)]
    (wish,) = effects
    assert isinstance(wish, Admit)
    door.admit(wish)
    last = ended(door.machine.handle(ConnectionLost(1), 0.0))
    assert last is not None
    assert (last.how, last.acknowledged) == ("joined", False)


def test_a_newcomer_gives_up_in_time() -> None:
    joining = newcomer()
    joining.start()
    assert joining.next_deadline() == ENROLMENT_TIMEOUT_S
    with pytest.raises(TimedOut):
        joining.handle(Frame(FrameKind.ANSWER, bytes(33)).encode(), ENROLMENT_TIMEOUT_S)


def test_a_newcomer_takes_no_frame_out_of_turn() -> None:
    for kind, content in ((FrameKind.SEALED, b"x"), (FrameKind.CONFIRM, bytes(32)), (FrameKind.ANSWER, bytes(33))):
        frame = Frame(kind, content)
        joining = newcomer()
        joining.start()
        with pytest.raises(Malformed):
            joining.handle(frame.encode(), 0.0)


def test_an_inviter_that_is_no_admin_of_what_it_shows_is_not_believed() -> None:
    door, joining = Door(), newcomer()
    stranger = Door(seed=2)
    outbox = [effect for effect in joining.start() if isinstance(effect, bytes)]
    with pytest.raises(Malformed):
        while outbox:
            effects = door.says(1, outbox.pop(0))
            while effects:
                effect = effects.pop(0)
                if isinstance(effect, Admit):
                    lies = tuple(stranger.home.roster.statements())
                    effects = door.machine.handle(Admitted(1, lies), 0.0)
                elif isinstance(effect, Send):
                    outbox += [each for each in joining.handle(effect.frame, 0.0) if isinstance(each, bytes)]
