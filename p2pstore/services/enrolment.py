"""Letting machines in: a plain listener that is open only while an invitation is, and the newcomer's call to it.

The decisions are `protocols.enrolment` and `protocols.joining`; here are the connections, the clock and the durable
write between a newcomer's right code and its welcome.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio

from p2pstore.errors import Busy, Misuse, P2PStoreError, PeerFault, TimedOut, Unavailable
from p2pstore.keys.generation import Keyring
from p2pstore.keys.identity import Identity
from p2pstore.limits import (
    ENROLMENT_FRAME_BYTES_MAX,
    ENROLMENT_SESSIONS_MAX,
    ENROLMENT_TIMEOUT_S,
    INVITATION_LIFE_S,
    INVITATIONS_MAX,
)
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import demand_admin, enrol
from p2pstore.metadata.roster_statements import ROLES, Profile
from p2pstore.protocols.enrolment import (
    Admit,
    Admitted,
    Cancel,
    Close,
    ConnectionLost,
    Ended,
    FrameCame,
    InviterEffect,
    InviterEvent,
    NotAdmitted,
    OpenInvitation,
    Send,
    Tick,
)
from p2pstore.protocols.enrolment_frames import Frame, FrameKind, refused_frame
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.protocols.joining import Joining, JoinOutcome
from p2pstore.seams.clock import Clock
from p2pstore.seams.workers import Workers
from p2pstore.services.framed_streams import FramedStream

PAKE_COST_S: Final = 0.02
"""CPU of one side's SPAKE2 (pure Python; 17 ms measured here), for the workers seam."""

Listeners = Sequence[trio.abc.Listener[trio.abc.Stream]]


@dataclass(frozen=True, slots=True)
class Invitation:
    """An invitation, as whoever made it sees it.

    Attributes:
        code: what the newcomer types.
        role: what it becomes.
        name: what it will be called; None: it says itself.
        ends_at_s: on the daemon's monotonic clock.
        instance: random; tells two answers of one inviter from two inviters.
        port: where the enrolment listener listens.
    """

    code: InviteCode
    role: str
    name: str | None
    ends_at_s: float
    instance: bytes = field(repr=False)
    port: int


class _Host:
    """One invitation: its machine, and the connections that talk to it."""

    def __init__(self, invitation: Invitation, machine: OpenInvitation) -> None:
        self.invitation = invitation
        self.machine = machine
        self.turn = trio.Lock()  # the machine is handled in a worker thread: one event at a time
        self.changed = trio.Event()
        self.ended: Ended | None = None
        self.over = trio.Event()
        self.scopes: dict[int, trio.CancelScope] = {}


class EnrolmentListener:
    """Invitations, and the door that they open.

    `run` must be running; everything else may be called from any task of the daemon.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        roster: Callable[[], Roster],
        keyring: Callable[[], Keyring],
        make_durable: Callable[[list[bytes]], Awaitable[None]],
        open_listeners: Callable[[], Awaitable[Listeners]],
        port: int,
        clock: Clock,
        workers: Workers,
        rng: random.Random,
    ) -> None:
        """A listener that is closed.

        Args:
            identity: this machine's, an admin's whenever it invites.
            roster: the roster as known now.
            keyring: the generations held now.
            make_durable: merges statements into the roster and returns when that survives a power cut; only then is
                the newcomer told that it is in. It may raise P2PStoreError: then the newcomer is turned away.
            open_listeners: binds the enrolment port; called when the first invitation opens.
            port: what it binds; for the beacon's answers.
            clock: ours.
            workers: for the PAKE and signatures.
            rng: for codes, PAKE and envelopes; `random.SystemRandom()`.
        """
        self._identity = identity
        self._roster = roster
        self._keyring = keyring
        self._make_durable = make_durable
        self._open_listeners = open_listeners
        self._port = port
        self._clock = clock
        self._workers = workers
        self._rng = rng
        self._nursery: trio.Nursery | None = None
        self._hosts: dict[str, _Host] = {}
        self._door = trio.Lock()
        self._door_scope: trio.CancelScope | None = None
        self._door_closed = trio.Event()
        self._silent: dict[int, trio.CancelScope] = {}
        self._connections_made = 0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep house until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    # --- for whoever invites --------------------------------------------------------------------------------------

    async def invite(
        self, *, role: str = "member", ttl_s: float = INVITATION_LIFE_S, name: str | None = None
    ) -> Invitation:
        """Open an invitation, and the door with the first.

        Raises:
            NotAllowed: this machine is no admin.
            Busy: too many are open.
            Misuse: unknown role.
            OSError: the port cannot be bound.
        """
        if role not in ROLES:
            raise Misuse(f"role: one of {', '.join(ROLES)}")
        demand_admin(self._identity, self._roster())
        self._forget_ended()
        open_hosts = [host for host in self._hosts.values() if host.ended is None]
        if len(open_hosts) >= INVITATIONS_MAX:
            raise Busy(f"{len(open_hosts)} invitations are open")
        assert self._nursery is not None, "run() is not running"
        taken = frozenset(host.invitation.code.nameplate for host in open_hosts)
        code = InviteCode.generate(self._rng, taken=taken)
        ends_at_s = self._clock.now_s() + ttl_s
        invitation = Invitation(code, role, name, ends_at_s, self._rng.randbytes(8), self._port)
        machine = OpenInvitation(
            code,
            role=role,
            identity=self._identity,
            network=self._roster().network_id,
            name=name,
            ends_at=ends_at_s,
            rng=self._rng,
        )
        host = _Host(invitation, machine)
        self._hosts[str(code)] = host
        try:
            await self._open_door()
        except BaseException:
            del self._hosts[str(code)]
            raise
        self._nursery.start_soon(self._keep_time, host)
        return invitation

    async def wait(self, invitation: Invitation) -> Ended:
        """How the invitation ended, once it has and the door is closed behind it."""
        host = self._host_of(invitation)
        await host.over.wait()
        assert host.ended is not None
        return host.ended

    async def cancel(self, invitation: Invitation) -> Ended | None:
        """Close an invitation; returns how it ended, or None if the newcomer is being let in at this moment."""
        host = self._host_of(invitation)
        await self._handle(host, Cancel(), None)
        return host.ended

    def open_invitations(self) -> list[Invitation]:
        """Invitations that wait for a newcomer, by nameplate: what the beacon answers for."""
        waiting = [host.invitation for host in self._hosts.values() if host.machine.open]
        return sorted(waiting, key=lambda each: each.code.nameplate)

    def _host_of(self, invitation: Invitation) -> _Host:
        host = self._hosts.get(str(invitation.code))
        if host is None or host.invitation != invitation:
            raise Misuse("an invitation of long ago")
        return host

    # --- the door -------------------------------------------------------------------------------------------------

    async def _open_door(self) -> None:
        async with self._door:
            if self._door_scope is None:
                listeners = await self._open_listeners()
                assert self._nursery is not None
                self._door_scope, self._door_closed = trio.CancelScope(), trio.Event()
                self._nursery.start_soon(self._serve, listeners, self._door_scope)

    async def _close_door_if_idle(self) -> None:
        async with self._door:
            if self._door_scope is not None and all(host.ended is not None for host in self._hosts.values()):
                self._door_scope.cancel()
                self._door_scope = None
                await self._door_closed.wait()  # the next invitation binds the same port

    async def _serve(self, listeners: Listeners, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await trio.serve_listeners(self._on_connection, list(listeners), handler_nursery=self._nursery)
        finally:
            self._door_closed.set()

    async def _on_connection(self, stream: trio.abc.Stream) -> None:
        self._connections_made += 1
        frames = FramedStream(stream, frame_bytes_max=ENROLMENT_FRAME_BYTES_MAX)
        try:
            await self._receive_stranger(self._connections_made, frames)
        except (PeerFault, Unavailable):
            pass  # a stranger who breaks the protocol, or leaves, costs its own connection and nothing else
        finally:
            await frames.aclose()

    async def _receive_stranger(self, connection: int, frames: FramedStream) -> None:
        """Read the hello, which names the invitation; then talk under its machine's eyes."""
        hello: bytes | None = None
        if len(self._silent) >= ENROLMENT_SESSIONS_MAX:
            self._silent.pop(min(self._silent)).cancel()  # who says nothing makes room for who may
        with self._clock.move_on_after(ENROLMENT_TIMEOUT_S) as patience:
            self._silent[connection] = patience
            try:
                hello = await frames.receive()
            finally:
                self._silent.pop(connection, None)
        if hello is None:
            return
        frame = Frame.decode(hello)
        nameplate = frame.nameplate if frame.kind is FrameKind.HELLO else 0
        host = next((each for each in self._hosts.values() if _is_at(each, nameplate)), None)
        if host is None:
            await self._send(frames, refused_frame("no-invitation"))
            return
        await self._converse(host, connection, frames, hello)

    async def _converse(self, host: _Host, session: int, frames: FramedStream, hello: bytes) -> None:
        scope = trio.CancelScope()
        host.scopes[session] = scope
        try:
            with scope:
                frame = hello
                while True:
                    await self._handle(host, FrameCame(session, frame), frames)
                    frame = await frames.receive()
        finally:
            del host.scopes[session]
            with trio.CancelScope(shield=True):  # short: the machine must know, or the invitation would hang
                await self._handle(host, ConnectionLost(session), None)

    async def _send(self, frames: FramedStream, frame: bytes) -> None:
        with self._clock.move_on_after(ENROLMENT_TIMEOUT_S) as patience:
            await frames.send(frame)
        if patience.cancelled_caught:
            raise TimedOut("enrolment: the other side does not read")

    # --- the machine ----------------------------------------------------------------------------------------------

    async def _handle(self, host: _Host, event: InviterEvent, frames: FramedStream | None) -> None:
        """Give the machine an event and carry out what it says, in order."""
        async with host.turn:
            cost_s = PAKE_COST_S if isinstance(event, FrameCame) else 0.0
            effects = await self._workers.run(host.machine.handle, event, self._clock.now_s(), cost_s=cost_s)
            host.changed.set()
        # An end is noted before the sends: whoever cancels this task meanwhile cannot leave the invitation hanging.
        for effect in effects:
            if isinstance(effect, Ended):
                host.ended = effect
        try:
            for effect in effects:
                await self._carry_out(host, effect, frames)
        finally:
            if host.ended is not None:
                for scope in host.scopes.values():
                    scope.cancel()
                with trio.CancelScope(shield=True):
                    await self._close_door_if_idle()
                host.over.set()

    async def _carry_out(self, host: _Host, effect: InviterEffect, frames: FramedStream | None) -> None:
        match effect:
            case Send(_, frame):
                assert frames is not None
                await self._send(frames, frame)
            case Close(session):
                if session in host.scopes:
                    host.scopes[session].cancel()
            case Admit(session, card, profile):
                await self._handle(host, await self._admit(session, card, profile), frames)
            case Ended():
                pass  # noted in _handle

    async def _admit(self, session: int, card: bytes, profile: Profile) -> Admitted | NotAdmitted:
        """The durable write. Nobody is told anything before it returns."""
        try:
            roster, keyring = self._roster(), self._keyring()
            sign = partial(
                enrol,
                self._identity,
                roster,
                keyring,
                card=card,
                profile=profile,
                now_s=self._clock.wall_s(),
                rng=self._rng,
            )
            statement = await self._workers.run(sign, cost_s=0.002)
            await self._make_durable([statement])
        except P2PStoreError as error:
            return NotAdmitted(session, f"{type(error).__name__}: {error}")
        statements = self._roster().with_statements([statement]).statements()
        return Admitted(session, tuple(statements))

    async def _keep_time(self, host: _Host) -> None:
        """Ticks, when the machine wants them, until the invitation has ended."""
        while host.ended is None:
            async with host.turn:
                host.changed = trio.Event()
                deadline = host.machine.next_deadline()
            if deadline is None:
                await host.changed.wait()
                continue
            with self._clock.move_on_after(deadline - self._clock.now_s()) as due:
                await host.changed.wait()
            if due.cancelled_caught:
                await self._handle(host, Tick(), None)

    def _forget_ended(self) -> None:
        """Keep the latest few ends for `wait`; a daemon invites for years."""
        ended = [code for code, host in self._hosts.items() if host.ended is not None]
        for code in ended[:-INVITATIONS_MAX]:
            del self._hosts[code]


def _is_at(host: _Host, nameplate: int) -> bool:
    return host.ended is None and host.invitation.code.nameplate == nameplate


# --- the newcomer -------------------------------------------------------------------------------------------------


async def join(
    stream: trio.abc.Stream,
    code: InviteCode,
    *,
    identity: Identity,
    wishes: Profile,
    clock: Clock,
    workers: Workers,
    rng: random.Random,
) -> JoinOutcome:
    """Join a household over a connection to its inviter's enrolment port; closes the connection.

    Args:
        stream: to HOST:P+2 (`edges.streams.dial`, or where `discovery.find_inviter` says).
        code: as typed.
        identity: this machine's new keys; on a retry the same ones.
        wishes: its name, site, steadiness and capacity; the role is ignored.
        clock: ours.
        workers: for the PAKE.
        rng: `random.SystemRandom()`.

    Returns:
        Everything that the household gave; not durable yet.

    Raises:
        Refused: the inviter said no: "wrong-code" (the invitation is burned), "no-invitation", "busy", "failed".
        Forged, Malformed: the other side is not the inviter; ask for a new code.
        Unreachable: the connection broke.
        TimedOut: the other side fell silent.
    """
    frames = FramedStream(stream, frame_bytes_max=ENROLMENT_FRAME_BYTES_MAX)
    try:
        machine = await workers.run(
            partial(Joining, code, identity=identity, wishes=wishes, rng=rng, now=clock.now_s()), cost_s=PAKE_COST_S
        )
        effects = machine.start()
        while True:
            for effect in effects:
                if isinstance(effect, JoinOutcome):
                    return effect
                with clock.move_on_after(machine.next_deadline() - clock.now_s()) as patience:
                    await frames.send(effect)
                if patience.cancelled_caught:
                    raise TimedOut("enrolment: the inviter does not read")
            frame: bytes | None = None
            with clock.move_on_after(machine.next_deadline() - clock.now_s()):
                frame = await frames.receive()
            if frame is None:
                raise TimedOut("enrolment: the inviter fell silent")
            effects = await workers.run(machine.handle, frame, clock.now_s(), cost_s=PAKE_COST_S)
    finally:
        await frames.aclose()
