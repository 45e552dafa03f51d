"""Enrolment on the newcomer's side: a machine for one attempt to join with a code. See `enrolment.py` for the talk."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from p2pstore.errors import Malformed, Refused, TimedOut
from p2pstore.ids import PeerId
from p2pstore.keys.generation import Keyring
from p2pstore.keys.identity import Identity, peer_id_of
from p2pstore.limits import ENROLMENT_BUNDLE_BYTES_MAX, ENROLMENT_TIMEOUT_S
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import open_generations
from p2pstore.metadata.roster_codec import make_card
from p2pstore.metadata.roster_statements import Profile
from p2pstore.protocols.enrolment_channel import Channel, Pake, Side
from p2pstore.protocols.enrolment_frames import (
    Frame,
    FrameKind,
    InviterIntroduction,
    NewcomerIntroduction,
    encode_done,
    expect,
    read_bundle,
    read_piece,
    sealed_frame,
)
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.seams.network import PeerEndpoint


@dataclass(frozen=True, slots=True)
class JoinOutcome:
    """What a newcomer has in the end; it is its caller who makes it durable.

    Attributes:
        identity: the newcomer's keys.
        roster: the household.
        keyring: every generation that it was given.
        inviter: who enrolled it.
    """

    identity: Identity
    roster: Roster
    keyring: Keyring
    inviter: PeerId

    @property
    def statements(self) -> list[bytes]:
        """All roster statements."""
        return self.roster.statements()

    @property
    def endpoints(self) -> dict[PeerId, PeerEndpoint]:
        """Where the others listen, by PeerId."""
        others = [each for each in self.roster.members() if each.peer_id != self.identity.peer_id]
        return {each.peer_id: each.peer_endpoint for each in others}


NewcomerEffect = bytes | JoinOutcome
"""A frame to send, or the end."""


class Joining:
    """The newcomer's side of one enrolment. Whatever the inviter does wrong raises; the code is burned then."""

    def __init__(
        self, code: InviteCode, *, identity: Identity, wishes: Profile, rng: random.Random, now: float
    ) -> None:
        """A newcomer with a code.

        Args:
            code: as typed.
            identity: its keys; keep them for another attempt, so that a half-done enrolment leaves no ghost.
            wishes: name, site, steadiness and capacity; the role is the inviter's to choose.
            rng: for the PAKE.
            now: on the clock that later `now`s come from.
        """
        self._identity = identity
        self._wishes = wishes
        self._pake = Pake(Side.NEWCOMER, code, rng)
        self._nameplate = code.nameplate
        self._channel: Channel | None = None
        self._confirmed = False
        self._inviter: InviterIntroduction | None = None
        self._bundle = bytearray()
        self._deadline = now + ENROLMENT_TIMEOUT_S

    def next_deadline(self) -> float:
        """When to give up, if nothing comes before."""
        return self._deadline

    def start(self) -> list[NewcomerEffect]:
        """The first frame."""
        return [Frame(FrameKind.HELLO, self._pake.message, nameplate=self._nameplate).encode()]

    def handle(self, data: bytes, now: float) -> list[NewcomerEffect]:
        """What to do about a frame of the inviter.

        Raises:
            Refused: the inviter hangs up; `code` says why: "wrong-code", "no-invitation", "busy", "failed".
            Forged: the other side does not know the code, or is not who it says.
            Malformed: it breaks the protocol.
            TimedOut: it is too late.
        """
        if now >= self._deadline:
            raise TimedOut("enrolment")
        frame = Frame.decode(data)
        if frame.kind is FrameKind.REFUSED:
            raise Refused(frame.refusal)
        if self._channel is None:
            self._channel = self._pake.finish(expect(frame, FrameKind.ANSWER))
            return [Frame(FrameKind.CONFIRM, self._channel.confirmation()).encode()]
        if not self._confirmed:
            self._channel.check_confirmation(expect(frame, FrameKind.CONFIRM))
            self._confirmed = True
            return []
        plain = self._channel.open(expect(frame, FrameKind.SEALED))
        self._deadline = now + ENROLMENT_TIMEOUT_S  # it knows the code: ten seconds of silence, not ten in all
        if self._inviter is None:
            return self._on_introduction(self._channel, plain)
        return self._on_piece(self._channel, self._inviter, plain)

    def _on_introduction(self, channel: Channel, plain: bytes) -> list[NewcomerEffect]:
        said = InviterIntroduction.decode(plain)
        channel.check_signature(said.public, said.curve_public, said.signature)
        self._inviter = said
        own, wishes = self._identity, replace(self._wishes, role=said.role)
        introduction = NewcomerIntroduction(
            own.public,
            own.curve_public,
            channel.sign(own),
            channel.possession(own, said.curve_public),
            make_card(own, said.network),
            wishes,
        )
        return [sealed_frame(channel, introduction.encode())]

    def _on_piece(self, channel: Channel, inviter: InviterIntroduction, plain: bytes) -> list[NewcomerEffect]:
        more, piece = read_piece(plain)
        if len(self._bundle) + len(piece) > ENROLMENT_BUNDLE_BYTES_MAX or (more and not piece):
            raise Malformed("enrolment: bundle of a wrong size")
        self._bundle += piece
        if more:
            return []
        outcome = self._on_bundle(channel, inviter)
        return [sealed_frame(channel, encode_done()), outcome]

    def _on_bundle(self, channel: Channel, said: InviterIntroduction) -> JoinOutcome:
        possession, statements = read_bundle(self._bundle)
        channel.check_possession(self._identity, said.curve_public, possession)
        roster = Roster.from_statements(statements, said.network)
        inviter, own = roster.member(peer_id_of(said.public)), roster.member(self._identity.peer_id)
        if inviter is None or inviter.role != "admin" or inviter.curve_public != said.curve_public:
            raise Malformed("enrolment: the inviter is no admin of this household")
        if own is None or own.curve_public != self._identity.curve_public:
            raise Malformed("enrolment: we are not enrolled")
        keyring = open_generations(roster, self._identity.curve_public, self._identity.curve_secret)
        if not keyring.generations:
            raise Malformed("enrolment: no keys")
        return JoinOutcome(self._identity, roster, keyring, inviter.peer_id)
