"""Enrolment on the inviter's side: a machine for one invitation and all who knock. The newcomer's is `joining.py`.

```
newcomer                                         inviter
  hello      nameplate, PAKE message      >
             <                                   answer     PAKE message
  confirm    MAC                          >      a wrong one burns the invitation
             <                                   confirm    MAC
             <                                   sealed: keys, signature, network id, role
  sealed: keys, signature, proof, card, wishes >
                                                 Admit: the service makes the enrolment durable
             <                                   sealed: proof and all roster statements, in pieces
  sealed: done                            >
```

Nothing that is not random-looking leaves the inviter before the newcomer has shown that it knows the code. Effects must
be carried out in their order; `Admit` is answered with `Admitted` or `NotAdmitted`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from p2pstore.errors import Malformed, PeerFault
from p2pstore.ids import NetworkId, PeerId
from p2pstore.keys.identity import Identity
from p2pstore.limits import ENROLMENT_BUNDLE_BYTES_MAX, ENROLMENT_SESSIONS_MAX, ENROLMENT_TIMEOUT_S
from p2pstore.metadata.roster_codec import read_card
from p2pstore.metadata.roster_statements import ROLES, Profile
from p2pstore.protocols.enrolment_channel import Channel, Pake, Side
from p2pstore.protocols.enrolment_frames import (
    Frame,
    FrameKind,
    InviterIntroduction,
    NewcomerIntroduction,
    encode_bundle,
    expect,
    pieces_of,
    read_done,
    refused_frame,
    sealed_frame,
)
from p2pstore.protocols.invite_code import InviteCode


@dataclass(frozen=True, slots=True)
class FrameCame:
    """Event: a frame of the connection `session`."""

    session: int
    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ConnectionLost:
    """Event: the connection `session` is gone."""

    session: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """Event: the newcomer's enrolment is durable; these are all statements now."""

    session: int
    statements: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotAdmitted:
    """Event: the newcomer could not be enrolled."""

    session: int
    why: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Event: whoever invited has thought better of it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Event: `next_deadline` has come."""


InviterEvent = FrameCame | ConnectionLost | Admitted | NotAdmitted | Cancel | Tick


@dataclass(frozen=True, slots=True)
class Send:
    """Effect: send a frame to the connection `session`."""

    session: int
    frame: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Close:
    """Effect: close the connection `session`."""

    session: int


@dataclass(frozen=True, slots=True)
class Admit:
    """Effect: sign and make durable the enrolment of this newcomer, then say `Admitted` or `NotAdmitted`."""

    session: int
    card: bytes
    profile: Profile


@dataclass(frozen=True, slots=True)
class Ended:
    """Effect: the invitation is over.

    Attributes:
        how: "joined"; "burned" (somebody tried a wrong code); "expired"; "cancelled"; "failed" (with the right code,
            but then something broke: `why`).
        peer_id: who joined.
        name: what it called itself.
        acknowledged: whether the newcomer said that it has everything; if not, it may have to be invited again.
        why: for "failed".
    """

    how: Literal["joined", "burned", "expired", "cancelled", "failed"]
    peer_id: PeerId | None = None
    name: str = ""
    acknowledged: bool = False
    why: str = ""


InviterEffect = Send | Close | Admit | Ended


@dataclass(slots=True)
class _Session:
    """A stranger who has said hello; `channel` is worth nothing before the confirmation."""

    channel: Channel
    deadline: float


@dataclass(slots=True)
class _Guest:
    """The one who knew the code."""

    session: int
    channel: Channel
    deadline: float | None
    newcomer: PeerId | None = None
    curve_public: bytes = b""
    name: str = ""
    admitted: bool = False


class OpenInvitation:
    """The inviter's side of one invitation."""

    def __init__(
        self,
        code: InviteCode,
        *,
        role: str,
        identity: Identity,
        network: NetworkId,
        name: str | None,
        ends_at: float,
        rng: random.Random,
    ) -> None:
        """An invitation that is open until `ends_at`.

        Args:
            code: what the newcomer has to know.
            role: what it becomes: "admin", "member" or "storage".
            identity: the inviter's.
            network: the household.
            name: what the newcomer is called, whatever it calls itself; None leaves it the choice.
            ends_at: on the clock that `now` comes from.
            rng: for the PAKE.
        """
        assert role in ROLES
        self._code = code
        self._role = role
        self._identity = identity
        self._network = network
        self._name = name
        self._ends_at = ends_at
        self._rng = rng
        self._sessions: dict[int, _Session] = {}
        self._guest: _Guest | None = None
        self._ended = False

    @property
    def open(self) -> bool:
        """Whether a newcomer may still knock."""
        return not self._ended and self._guest is None

    def next_deadline(self) -> float | None:
        """When to send a `Tick`, if nothing comes before."""
        if self._ended:
            return None
        if self._guest is not None:
            return self._guest.deadline
        return min([self._ends_at, *(session.deadline for session in self._sessions.values())])

    def handle(self, event: InviterEvent, now: float) -> list[InviterEffect]:
        """What to do about `event`. Costs about 20 ms of CPU for a hello, else less than one."""
        if self._ended:
            return [Close(event.session)] if isinstance(event, FrameCame) else []
        match event:
            case FrameCame(session, data):
                return self._on_frame(session, data, now)
            case ConnectionLost(session):
                return self._on_lost(session)
            case Admitted(session, statements):
                return self._on_admitted(session, statements, now)
            case NotAdmitted(session, why):
                return [Send(session, refused_frame("failed")), *self._end(Ended("failed", why=why))]
            case Cancel():
                # Once the enrolment is being made durable, the newcomer is in: removal is another verb.
                return [] if self._guest and self._guest.newcomer else self._end(Ended("cancelled"))
            case Tick():
                return self._on_tick(now)

    def _on_frame(self, session: int, data: bytes, now: float) -> list[InviterEffect]:
        try:
            frame = Frame.decode(data)
            if self._guest is not None:
                return self._on_guest_frame(self._guest, session, frame)
            if session not in self._sessions:
                return self._on_hello(session, frame, now)
            return self._on_confirm(session, expect(frame, FrameKind.CONFIRM), now)
        except PeerFault as fault:
            return self._on_fault(session, fault)

    def _on_fault(self, session: int, fault: PeerFault) -> list[InviterEffect]:
        """A stranger's rubbish ends the stranger's connection; the guest's ends the invitation."""
        if self._guest is None or self._guest.session != session:
            self._sessions.pop(session, None)
            return [Close(session)]
        return self._end_guest(self._guest, str(fault))

    def _on_hello(self, session: int, frame: Frame, now: float) -> list[InviterEffect]:
        message = expect(frame, FrameKind.HELLO)
        if frame.nameplate != self._code.nameplate:
            return [Send(session, refused_frame("no-invitation")), Close(session)]
        pake = Pake(Side.INVITER, self._code, self._rng)
        channel = pake.finish(message)
        effects: list[InviterEffect] = []
        if len(self._sessions) >= ENROLMENT_SESSIONS_MAX:
            oldest = min(self._sessions, key=lambda each: (self._sessions[each].deadline, each))
            del self._sessions[oldest]
            effects.append(Close(oldest))
        self._sessions[session] = _Session(channel, now + ENROLMENT_TIMEOUT_S)
        effects.append(Send(session, Frame(FrameKind.ANSWER, pake.message).encode()))
        return effects

    def _on_confirm(self, session: int, mac: bytes, now: float) -> list[InviterEffect]:
        channel = self._sessions[session].channel
        try:
            channel.check_confirmation(mac)
        except PeerFault:
            return [Send(session, refused_frame("wrong-code")), *self._end(Ended("burned"))]
        del self._sessions[session]
        others: list[InviterEffect] = [Close(other) for other in sorted(self._sessions)]
        self._sessions.clear()
        self._guest = _Guest(session, channel, now + ENROLMENT_TIMEOUT_S)
        own = self._identity
        introduction = InviterIntroduction(
            own.public, own.curve_public, channel.sign(own), self._network, self._role
        ).encode()
        return [
            *others,
            Send(session, Frame(FrameKind.CONFIRM, channel.confirmation()).encode()),
            Send(session, sealed_frame(channel, introduction)),
        ]

    def _on_guest_frame(self, guest: _Guest, session: int, frame: Frame) -> list[InviterEffect]:
        if session != guest.session:
            return [Send(session, refused_frame("busy")), Close(session)]
        plain = guest.channel.open(expect(frame, FrameKind.SEALED))
        if guest.admitted:
            read_done(plain)
            return self._end(Ended("joined", guest.newcomer, guest.name, acknowledged=True))
        if guest.newcomer is not None:
            raise Malformed("enrolment: a frame out of turn")
        return self._on_introduction(guest, plain)

    def _on_introduction(self, guest: _Guest, plain: bytes) -> list[InviterEffect]:
        said = NewcomerIntroduction.decode(plain)
        guest.channel.check_signature(said.public, said.curve_public, said.signature)
        guest.channel.check_possession(self._identity, said.curve_public, said.possession)
        card = read_card(said.card, self._network)
        if (card.public, card.curve_public) != (said.public, said.curve_public):
            raise Malformed("enrolment: card of other keys")
        wishes, name = said.wishes, self._name or said.wishes.name
        profile = Profile(name, self._role, wishes.site, wishes.steadiness, wishes.capacity_bytes)
        guest.newcomer, guest.curve_public, guest.name = card.peer_id, card.curve_public, name
        guest.deadline = None  # our own disk decides how long this takes
        return [Admit(guest.session, said.card, profile)]

    def _on_admitted(self, session: int, statements: tuple[bytes, ...], now: float) -> list[InviterEffect]:
        guest = self._guest
        assert guest is not None
        assert guest.session == session
        guest.admitted = True
        guest.deadline = now + ENROLMENT_TIMEOUT_S + _transfer_s(statements)
        possession = guest.channel.possession(self._identity, guest.curve_public)
        bundle = encode_bundle(possession, statements)
        assert len(bundle) <= ENROLMENT_BUNDLE_BYTES_MAX
        frames = [sealed_frame(guest.channel, piece) for piece in pieces_of(bundle)]
        return [Send(session, frame) for frame in frames]

    def _on_lost(self, session: int) -> list[InviterEffect]:
        self._sessions.pop(session, None)
        if self._guest is None or self._guest.session != session:
            return []
        return self._end_guest(self._guest, "the connection broke")

    def _on_tick(self, now: float) -> list[InviterEffect]:
        if self._guest is not None:
            late = self._guest.deadline is not None and now >= self._guest.deadline
            return self._end_guest(self._guest, "the other side fell silent") if late else []
        if now >= self._ends_at:
            return self._end(Ended("expired"))
        silent = sorted(name for name, session in self._sessions.items() if now >= session.deadline)
        for session in silent:
            del self._sessions[session]
        return [Close(session) for session in silent]

    def _end_guest(self, guest: _Guest, why: str) -> list[InviterEffect]:
        if guest.admitted:
            return self._end(Ended("joined", guest.newcomer, guest.name, acknowledged=False))
        if guest.newcomer is not None:
            return []  # Admitted or NotAdmitted is still to come; then the sends fail, and that ends it
        return self._end(Ended("failed", why=why))

    def _end(self, ended: Ended) -> list[InviterEffect]:
        self._ended = True
        sessions = sorted([*self._sessions, *([self._guest.session] if self._guest else [])])
        self._sessions.clear()
        return [*(Close(session) for session in sessions), ended]


def _transfer_s(statements: tuple[bytes, ...]) -> float:
    """Seconds that the bundle may take on a bad line (100 KB/s)."""
    return sum(len(each) for each in statements) / 100_000
