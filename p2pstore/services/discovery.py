"""Finding each other on the local network: members by their sealed beacons, a newcomer its inviter by a question.

All of it is a hint: whom a beacon names is dialled, and proves itself by its CURVE key (a member) or the code (an
inviter). Nothing here ends because of what somebody sends.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import trio

from p2pstore.errors import PeerFault, Unavailable
from p2pstore.ids import PeerId
from p2pstore.limits import (
    BEACON_ANSWERS_PER_S,
    BEACON_DATAGRAMS_PER_S,
    BEACON_INTERVAL_S,
    BEACON_SIGHTINGS_MAX,
    INVITER_SEARCH_S,
)
from p2pstore.protocols.beacon import NONCE_BYTES, Answer, Presence, Question, nameplate_tag, read_beacon
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.seams.beacon import BeaconDatagrams, UdpAddress
from p2pstore.seams.clock import Clock
from p2pstore.services.enrolment import Invitation

STARTING_GAPS_S: Final = (1.0, 2.0)
"""A machine that comes says so three times: one datagram in a hundred is lost, more on Wi-Fi that is waking up."""

SPEAKING_GAP_S: Final = 2.0
"""Two beacons of one machine are at least so far apart, however many newcomers there are to greet."""

GREETING_DELAY_S: Final = 0.5
"""Who hears somebody new answers within this, at a random moment, so that thirty do not answer at once."""

SIGHTING_FRESH_S: Final = 300.0
"""Whoever was heard within this is not new."""

QUESTION_GAPS_S: Final = (0.5, 1.0, 1.5)
"""A newcomer asks four times within `INVITER_SEARCH_S`."""

SECOND_ANSWER_WAIT_S: Final = 0.7
"""After the first answer, how long another one (an impostor, or a neighbour's invitation) has to show itself."""


class NobodyInvites(Unavailable):
    """Nobody on the local network says that it holds this invitation.

    Attributes:
        nameplate: of the code.
    """

    def __init__(self, nameplate: int) -> None:
        super().__init__(f"no answer for invitation {nameplate}")
        self.nameplate = nameplate


class SeveralInvite(Unavailable):
    """More than one machine says that it holds this invitation: a person has to name the address.

    Attributes:
        addresses: HOST:PORT of their enrolment listeners, sorted.
    """

    def __init__(self, addresses: tuple[str, ...]) -> None:
        super().__init__(f"answers from {', '.join(addresses)}")
        self.addresses = addresses


class Sighting(NamedTuple):
    """Where a peer's last beacon says that it can be dialled (HOST:PORT, best first), and when it came."""

    addresses: tuple[str, ...]
    seen_at_s: float


@dataclass(slots=True)
class _Allowance:
    """So many per second, saved up for one second at most."""

    per_s: float
    left: float
    at_s: float

    def take(self, now: float) -> bool:
        """Whether one more is allowed now."""
        self.left = min(self.per_s, self.left + (now - self.at_s) * self.per_s)
        self.at_s = now
        if self.left < 1.0:
            return False
        self.left -= 1.0
        return True


class Discovery:
    """Says that we are here, hears who else is, answers newcomers whom we invited."""

    def __init__(
        self,
        *,
        datagrams: BeaconDatagrams,
        presence: Callable[[], Presence],
        datagram_keys: Callable[[], Sequence[bytes]],
        invitations: Callable[[], Sequence[Invitation]],
        on_sighting: Callable[[PeerId, tuple[str, ...]], None],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """A discovery that is silent until it runs.

        Args:
            datagrams: one that listens.
            presence: what to say of ourselves now.
            datagram_keys: of our generations, the newest first; we speak with the first and hear all. Whoever slept
                through a new generation is heard, and dialled.
            invitations: the open ones (`EnrolmentListener.open_invitations`).
            on_sighting: called when a peer that is new, or has moved, is heard, with addresses to dial. It may be
                unknown to our roster, or removed: the callee decides.
            clock: ours.
            rng: for salts and delays.
        """
        self._datagrams = datagrams
        self._presence = presence
        self._datagram_keys = datagram_keys
        self._invitations = invitations
        self._on_sighting = on_sighting
        self._clock = clock
        self._rng = rng
        self._sightings: dict[PeerId, Sighting] = {}
        self._greet = trio.Event()
        self.ignored = 0
        """Datagrams that were malformed, of other households, or too many."""

    def sightings(self) -> dict[PeerId, Sighting]:
        """Whom we heard, by PeerId."""
        return {peer: self._sightings[peer] for peer in sorted(self._sightings)}

    async def run(self) -> None:
        """Speak and listen until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._speak)
            nursery.start_soon(self._listen)

    async def _speak(self) -> None:
        gaps = list(STARTING_GAPS_S)
        while True:
            keys = self._datagram_keys()
            if keys:
                await self._datagrams.shout(self._presence().seal(keys[0], self._rng))
            gap_s = gaps.pop(0) if gaps else BEACON_INTERVAL_S * self._rng.uniform(0.9, 1.1)
            await self._clock.sleep(min(gap_s, SPEAKING_GAP_S))
            with self._clock.move_on_after(gap_s - SPEAKING_GAP_S) as rest:
                await self._greet.wait()
            self._greet = trio.Event()
            if not rest.cancelled_caught:
                await self._clock.sleep(self._rng.uniform(0.0, GREETING_DELAY_S))

    async def _listen(self) -> None:
        now = self._clock.now_s()
        hearing = _Allowance(BEACON_DATAGRAMS_PER_S, BEACON_DATAGRAMS_PER_S, now)
        answering = _Allowance(BEACON_ANSWERS_PER_S, BEACON_ANSWERS_PER_S, now)
        while True:
            data, sender = await self._datagrams.receive()
            now = self._clock.now_s()
            if not hearing.take(now):
                self.ignored += 1
                continue
            try:
                heard = read_beacon(data)
                if isinstance(heard, Question):
                    if answering.take(now):
                        await self._answer(heard, sender)
                elif isinstance(heard, Answer):
                    self.ignored += 1  # answers go to who asked; one that is shouted is nobody's
                else:
                    self._note(heard.open(self._datagram_keys()), sender, now)
            except PeerFault:
                self.ignored += 1

    async def _answer(self, question: Question, sender: UdpAddress) -> None:
        for invitation in self._invitations():
            if nameplate_tag(invitation.code.nameplate) == question.tag:
                answer = Answer(question.tag, question.nonce, invitation.instance, invitation.port)
                await self._datagrams.answer(answer.encode(), sender)

    def _note(self, presence: Presence, sender: UdpAddress, now: float) -> None:
        if presence.peer_id == self._presence().peer_id:
            return
        addresses = tuple(dict.fromkeys([_joined(sender[0], presence.port), *presence.addresses]))
        before = self._sightings.pop(presence.peer_id, None)
        while len(self._sightings) >= BEACON_SIGHTINGS_MAX:
            del self._sightings[next(iter(self._sightings))]
        self._sightings[presence.peer_id] = Sighting(addresses, now)  # last in order: the oldest is forgotten first
        is_new = before is None or now - before.seen_at_s > SIGHTING_FRESH_S
        if is_new:
            self._greet.set()
        if is_new or (before is not None and before.addresses != addresses):
            self._on_sighting(presence.peer_id, addresses)


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def find_inviter(
    datagrams: BeaconDatagrams,
    code: InviteCode,
    *,
    clock: Clock,
    rng: random.Random,
    timeout_s: float = INVITER_SEARCH_S,
) -> tuple[str, int]:
    """Ask the local network who holds the invitation of this code.

    Args:
        datagrams: one that asks.
        code: only its nameplate is used.
        clock: ours.
        rng: for the nonce.
        timeout_s: how long to ask.

    Returns:
        Host and port of the inviter's enrolment listener. Whether it knows the code, enrolment finds out.

    Raises:
        NobodyInvites: no answer.
        SeveralInvite: different answers.
    """
    question = Question(nameplate_tag(code.nameplate), rng.randbytes(NONCE_BYTES))
    answers: dict[tuple[bytes, int], str] = {}
    with clock.move_on_after(timeout_s) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, datagrams, question, clock)
            while True:
                data, (host, _) = await datagrams.receive()
                answer = _answer_to(question, data)
                if answer is not None and len(answers) < BEACON_SIGHTINGS_MAX:
                    if not answers:
                        nursery.start_soon(_end_after, scope, clock)
                    answers.setdefault((answer.instance, answer.port), host)
    if not answers:
        raise NobodyInvites(code.nameplate)
    if len(answers) > 1:
        raise SeveralInvite(tuple(sorted(_joined(host, port) for (_, port), host in answers.items())))
    ((_, port), host) = next(iter(answers.items()))
    return host, port


async def _ask(datagrams: BeaconDatagrams, question: Question, clock: Clock) -> None:
    for gap_s in (*QUESTION_GAPS_S, 0.0):
        await datagrams.shout(question.encode())
        await clock.sleep(gap_s)


async def _end_after(scope: trio.CancelScope, clock: Clock) -> None:
    await clock.sleep(SECOND_ANSWER_WAIT_S)
    scope.cancel()


def _answer_to(question: Question, data: bytes) -> Answer | None:
    try:
        answer = read_beacon(data)
    except PeerFault:
        return None
    if isinstance(answer, Answer) and (answer.tag, answer.nonce) == (question.tag, question.nonce):
        return answer
    return None
