"""A PeerNetwork over any kind of links: requests, serving, dialling, keeping links; subclasses make the links.

All decisions are `protocols.requests` and `protocols.links`; here they meet trio.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Final

import trio

from p2pstore.errors import Malformed, Misuse, P2PStoreError, TimedOut, Unreachable
from p2pstore.ids import PeerId, short
from p2pstore.limits import HANDLERS_PER_PEER_MAX
from p2pstore.packing import Buffer
from p2pstore.protocols import wire
from p2pstore.protocols.links import Counters, Links, LinkTiming
from p2pstore.protocols.requests import (
    WINDOW_BYTES,
    Call,
    Cut,
    Effect,
    Granted,
    LinkId,
    Ready,
    Replied,
    Requests,
    Send,
    Serve,
    Serving,
    Settled,
)
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Bound, Handler, LinkStats, Listen, Message, PeerEndpoint, Plane

Directory = Callable[[PeerId], PeerEndpoint | None]

_Target = tuple[PeerId, Plane]

_DEFAULT_TIMING: Final = LinkTiming()


class LinkedNetwork(ABC):
    """Implements `seams.network.PeerNetwork`. Subclasses implement the five methods at the end.

    Args:
        me: Our own PeerId; requests to it are refused.
        clock: This machine's time.
        directory: How a peer can be dialled now; None for a stranger.
        rng: Spreads redials, and names the first request.
        timing: How patient to be.
        handlers_max: Requests of one peer and plane served at once.
        window_bytes: Payload bytes in flight to one peer, per plane.
    """

    on_link_change: Callable[[PeerId, bool], None] | None = None
    on_fault: Callable[[PeerId | None, BaseException], None] | None = None

    def __init__(
        self,
        me: PeerId,
        clock: Clock,
        directory: Directory,
        *,
        rng: random.Random,
        timing: LinkTiming = _DEFAULT_TIMING,
        handlers_max: int = HANDLERS_PER_PEER_MAX,
        window_bytes: Mapping[Plane, int] = WINDOW_BYTES,
    ) -> None:
        self._me = me
        self._clock = clock
        self._directory = directory
        self._rng = rng
        self._timing = timing
        self._requests = Requests(
            first_id=1 + rng.getrandbits(48), handlers_max=handlers_max, window_bytes=window_bytes
        )
        self._links = Links()
        self._link_ids = count(1)
        self._link_targets: dict[LinkId, _Target] = {}
        self._counters: dict[PeerId, Counters] = {}
        self._waiters: dict[Call | Serving | LinkId, trio.Event] = {}
        self._changes: dict[_Target, trio.Event] = {}
        self._dialling: set[_Target] = set()
        self._kept: tuple[PeerId, ...] = ()
        self._keepers: dict[_Target, trio.CancelScope] = {}
        self._nursery: trio.Nursery | None = None
        self._handler: Handler | None = None
        self._bound: Bound | None = None

    # --- the seam -------------------------------------------------------------------------------------------------

    @property
    def bound(self) -> Bound | None:
        """The ports listened on, once running and listening."""
        return self._bound

    async def run(
        self,
        handler: Handler,
        *,
        listen: Listen | None = None,
        task_status: trio.TaskStatus[Bound | None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve `handler` to peers until cancelled. Reports the bound ports (None if not listening) when up.

        Raises:
            OSError: The ports cannot be bound.
        """
        assert self._nursery is None, "one run at a time"
        self._handler = handler
        cannot_listen: OSError | None = None
        try:
            async with trio.open_nursery() as nursery:
                try:
                    self._bound = await self._open_links(nursery, listen)
                except OSError as error:
                    cannot_listen = error
                    nursery.cancel_scope.cancel()
                else:
                    await self._stay(nursery, task_status)
        finally:
            self._bound = None
            self._keepers.clear()
            for link in sorted(self._link_targets):
                self._do(self._link_lost(link))
            for target in sorted(self._changes):
                self._changed(target)
            with trio.CancelScope(shield=True):
                await self._close_links()
        if cannot_listen is not None:
            raise cannot_listen

    async def _stay(self, nursery: trio.Nursery, task_status: trio.TaskStatus[Bound | None]) -> None:
        self._nursery = nursery
        try:
            self._keep()
            task_status.started(self._bound)
            await trio.sleep_forever()
        finally:
            self._nursery = None

    async def request(
        self, peer: PeerId, message: Message, *, plane: Plane = Plane.CONTROL, timeout_s: float = 15.0
    ) -> Message:
        """As `seams.network.Network.request`; raises Misuse for a message that does not fit the plane."""
        call = self._requests.open(peer, plane, message)
        try:
            if not call.granted:
                await self._wait(call)
            with self._clock.move_on_after(timeout_s):
                deadline = self._clock.now_s() + timeout_s
                link = await self._link_to(peer, plane)
                self._do(self._requests.send(call, link, deadline=deadline, now=self._clock.now_s()))
                if call.outcome is None:
                    await self._wait(call)
        finally:
            self._waiters.pop(call, None)
            self._do(self._requests.close(call))
            await self._reclaim(call)
        if call.outcome is None:
            raise TimedOut(f"no reply to {message.kind} from {short(peer)} in {timeout_s:g} s")
        if isinstance(call.outcome, P2PStoreError):
            raise call.outcome
        if plane is Plane.CONTROL and not len(call.outcome.payload):
            self._counters_of(peer).round_trip(call.settled_at - call.sent_at)
        return call.outcome

    def linked_peers(self) -> list[PeerId]:
        """Peers with a live control link, sorted."""
        return self._links.linked()

    def link_stats(self, peer: PeerId) -> LinkStats:
        """Counters of one peer; zeros for one never heard."""
        linked = self._links.best(peer, Plane.CONTROL) is not None
        return self._counters.get(peer, Counters()).stats(linked=linked)

    def keep_linked(self, peers: Iterable[PeerId]) -> None:
        """From now on keep links to these peers, and only these (others stay until they break)."""
        self._kept = tuple(sorted(set(peers) - {self._me}))
        self._keep()

    def drop(self, peer: PeerId) -> None:
        """Close every link of `peer`; its requests fail."""
        self._kept = tuple(kept for kept in self._kept if kept != peer)
        self._keep()
        for link in sorted(link for link, target in self._link_targets.items() if target[0] == peer):
            self._do(self._link_lost(link))

    def redial(self) -> None:
        """Close every link and dial the kept peers anew, at once."""
        for link in sorted(self._link_targets):
            self._do(self._link_lost(link))
        for scope in self._keepers.values():
            scope.cancel()
        self._keepers.clear()
        self._keep()

    # --- requests and replies -------------------------------------------------------------------------------------

    def _do(self, effects: Iterable[Effect]) -> None:
        """Carry out what the machine wants, in order, and what follows from that."""
        queue = deque(effects)
        while queue:
            match queue.popleft():
                case Send(link) as send:
                    if link in self._link_targets:
                        queue.extend(self._hand_over(send))
                case Granted(call):
                    call.granted = True
                    self._wake(call)
                case Settled(call):
                    self._wake(call)
                case Replied(serving):
                    self._wake(serving)
                case Serve(serving):
                    if self._nursery is None:
                        queue.extend(self._requests.finish(serving))
                    else:
                        self._nursery.start_soon(self._serve, serving)
                case Ready(link):
                    if link in self._link_targets:
                        queue.extend(self._link_ready(link))
                case Cut(link, reason):
                    if link in self._link_targets:
                        self._fault(self._link_targets[link][0], Malformed(reason))
                        queue.extend(self._link_lost(link))

    def _hand_over(self, send: Send) -> list[Effect]:
        if not self._send(send):
            return self._link_lost(send.link)
        peer, _ = self._link_targets[send.link]
        self._counters_of(peer).sent_bytes += len(send.header) + len(send.payload)
        return []

    async def _serve(self, serving: Serving) -> None:
        ends_at = self._clock.now_s() + serving.life_s
        try:
            self._do(await self._answer(serving))
            if serving.reply is not None:
                with self._clock.move_on_after(ends_at - self._clock.now_s()):
                    await self._wait(serving)
        finally:
            self._waiters.pop(serving, None)
            self._do(self._requests.finish(serving))

    async def _answer(self, serving: Serving) -> list[Effect]:
        assert self._handler is not None
        reply: Message | None = None
        try:
            with self._clock.move_on_after(serving.life_s):
                reply = await self._handler(serving.peer, serving.message)
        except P2PStoreError as error:
            return self._requests.refuse(serving, error)
        except Exception as error:  # noqa: BLE001  a peer's request must not end the daemon; on_fault shows the bug
            refusal = _only_error(error)
            if refusal is not None:
                return self._requests.refuse(serving, refusal)
            self._fault(serving.peer, error)
            return self._requests.refuse(serving, wire.INTERNAL)
        if reply is None:
            return []
        try:
            return self._requests.answer(serving, reply)
        except Misuse as error:
            self._fault(serving.peer, error)
            return self._requests.refuse(serving, wire.INTERNAL)

    def _received(self, link: LinkId, header: Buffer, payload: Buffer) -> None:
        """A message came over a link that is up."""
        peer, plane = self._link_targets[link]
        counters = self._counters_of(peer)
        counters.received_bytes += len(header) + len(payload)
        try:
            frame = wire.decode(header, payload, plane=plane)
            effects = self._requests.receive(link, frame, self._clock.now_s())
        except Malformed as error:
            self._malformed(peer, error)
        else:
            self._do(effects)

    def _malformed(self, peer: PeerId, error: Malformed) -> None:
        self._counters_of(peer).malformed += 1
        self._fault(peer, error)

    def _fault(self, peer: PeerId | None, error: BaseException) -> None:
        if self.on_fault is not None:
            self.on_fault(peer, error)

    async def _wait(self, whose: Call | Serving | LinkId) -> None:
        event = self._waiters[whose] = trio.Event()
        await event.wait()

    def _wake(self, whose: Call | Serving | LinkId) -> None:
        event = self._waiters.pop(whose, None)
        if event is not None:
            event.set()

    def _counters_of(self, peer: PeerId) -> Counters:
        return self._counters.setdefault(peer, Counters())

    # --- links ----------------------------------------------------------------------------------------------------

    def _new_link(self, peer: PeerId, plane: Plane) -> LinkId:
        link = next(self._link_ids)
        self._link_targets[link] = (peer, plane)
        return link

    def _link_up(self, link: LinkId, *, dialled: bool) -> None:
        """The subclass can send on `link` (from `_new_link`) from now on."""
        peer, plane = self._link_targets[link]
        self._counters_of(peer).came_in |= not dialled
        self._do(self._requests.link_up(link, peer, plane, dialled=dialled, now=self._clock.now_s()))

    def _link_ready(self, link: LinkId) -> list[Effect]:
        target = peer, plane = self._link_targets[link]
        new = plane is Plane.CONTROL and self._links.best(peer, plane) is None
        effects: list[Effect] = []
        for evicted in self._links.add(link, peer, plane):
            effects += self._link_lost(evicted)
        self._wake(link)
        self._changed(target)
        if new and self.on_link_change is not None:
            self.on_link_change(peer, True)
        return effects

    def _link_lost(self, link: LinkId) -> list[Effect]:
        """`link` is of no use any more, or must not be: close it, fail what is on it. May be called again."""
        target = self._link_targets.pop(link, None)
        if target is None:
            return []
        self._cut(link)
        effects = self._requests.link_down(link, self._clock.now_s())
        removed = self._links.remove(link)
        self._wake(link)
        self._changed(target)
        if removed is not None:
            for orphan in removed.orphans:
                effects += self._link_lost(orphan)
            if removed.peer_lost and self.on_link_change is not None:
                self.on_link_change(removed.peer, False)
        return effects

    def _changed(self, target: _Target) -> None:
        event = self._changes.pop(target, None)
        if event is not None:
            event.set()

    async def _wait_change(self, target: _Target) -> None:
        """A link of the target went up or down, or a dial ended."""
        await self._changes.setdefault(target, trio.Event()).wait()

    async def _link_to(self, peer: PeerId, plane: Plane) -> LinkId:
        """A live link, dialling once if there is none. Raises Unreachable."""
        target = (peer, plane)
        dialled = False
        while (link := self._links.best(peer, plane)) is None:
            if target not in self._dialling:
                if dialled or self._nursery is None or peer == self._me:
                    break
                self._start_dial(target)
            dialled = True
            await self._wait_change(target)
        if link is None and plane is Plane.BULK and self._links.best(peer, Plane.CONTROL) is not None:
            # A peer that keeps links to us dials this plane right after the other one.
            with self._clock.move_on_after(self._timing.dial_timeout_s):
                await self._wait_change(target)
            link = self._links.best(peer, plane)
        if link is None:
            raise Unreachable(f"no link to {short(peer)}, and it cannot be dialled")
        return link

    def _start_dial(self, target: _Target) -> None:
        assert self._nursery is not None
        self._dialling.add(target)
        self._nursery.start_soon(self._dial, target)

    async def _dial(self, target: _Target) -> None:
        """Try each address in turn. A bulk link lives beside a control link only: that one has the heartbeats."""
        peer, plane = target
        try:
            if plane is Plane.BULK:
                await self._link_to(peer, Plane.CONTROL)
            endpoint = self._directory(peer)
            if endpoint is None:
                return
            for address in endpoint.control if plane is Plane.CONTROL else endpoint.bulk:
                if await self._dial_address(target, address, endpoint.curve_public):
                    return
        except Unreachable:
            pass
        finally:
            self._dialling.discard(target)
            self._changed(target)

    async def _dial_address(self, target: _Target, address: str, curve_public: bytes) -> bool:
        """Whether the target is linked now."""
        link = self._new_link(*target)
        try:
            with self._clock.move_on_after(self._timing.dial_timeout_s):
                if await self._connect(link, address, curve_public) and link in self._link_targets:
                    self._link_up(link, dialled=True)
                    if link in self._link_targets and not self._links.has(link):
                        await self._wait(link)
        finally:
            if not self._links.has(link):
                self._do(self._link_lost(link))
        return self._links.best(*target) is not None

    def _keep(self) -> None:
        """Start and stop keepers so that there is one per kept peer and plane."""
        if self._nursery is None:
            return
        wanted = [(peer, plane) for peer in self._kept for plane in Plane]
        for target in sorted(self._keepers.keys() - set(wanted)):
            self._keepers.pop(target).cancel()
        for target in wanted:
            if target not in self._keepers:
                scope = self._keepers[target] = trio.CancelScope()
                self._nursery.start_soon(self._keeper, target, scope)

    async def _keeper(self, target: _Target, scope: trio.CancelScope) -> None:
        with scope:
            pause_s = self._timing.redial_first_s
            while True:
                if self._links.best(*target) is not None:
                    pause_s = self._timing.redial_first_s
                    await self._wait_change(target)
                    continue
                if self._nursery is None:
                    return  # the run is ending; news of a link overtook the cancellation
                if target not in self._dialling:
                    self._start_dial(target)
                await self._wait_change(target)
                if self._links.best(*target) is None:
                    # Spread by a half, so that machines that lost each other together do not dial in step.
                    with self._clock.move_on_after(pause_s * self._rng.uniform(0.75, 1.25)):
                        await self._wait_change(target)
                    pause_s = min(2 * pause_s, self._timing.redial_max_s)

    # --- what subclasses do ---------------------------------------------------------------------------------------

    @abstractmethod
    async def _open_links(self, nursery: trio.Nursery, listen: Listen | None) -> Bound | None:
        """Start what makes and carries links; `nursery` lives as long as the run."""

    @abstractmethod
    async def _close_links(self) -> None:
        """Let go of everything; cannot be cancelled, must not hang."""

    @abstractmethod
    async def _connect(self, link: LinkId, address: str, curve_public: bytes) -> bool:
        """Connect `link` to an address and prove that the holder of `curve_public` is there. Whether it worked."""

    @abstractmethod
    def _send(self, send: Send) -> bool:
        """Queue a message on a link; False if the link does not take it."""

    @abstractmethod
    def _cut(self, link: LinkId) -> None:
        """Close a link, whatever its state. Never calls back."""

    @abstractmethod
    async def _reclaim(self, call: Call) -> None:
        """Return when nobody reads the closed call's payload any more; cannot be cancelled, must not hang."""


def _only_error(error: Exception) -> P2PStoreError | None:
    """The P2PStoreError that a handler's nurseries have wrapped, if there is nothing else inside."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, P2PStoreError) else None
