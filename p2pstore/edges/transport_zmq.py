"""The network seam over ZeroMQ: one ROUTER per plane that peers dial, one DEALER per connection that we dial, CURVE.

What goes over the links and when is `peering.linked_network`; here links are made, watched and cut.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio
import zmq

from p2pstore.edges.trio_zmq import TrioSocket
from p2pstore.edges.zmq_links import (
    IO_THREADS,
    ZAP_ADDRESS,
    Connection,
    CurveKeys,
    Monitor,
    bound_port,
    curve_public_of,
    numeric_addresses,
    open_dealer,
    open_router,
    serve_doorman,
)
from p2pstore.errors import Malformed
from p2pstore.ids import PeerId
from p2pstore.limits import HANDLERS_PER_PEER_MAX, PAYLOAD_RELEASE_S
from p2pstore.packing import Buffer
from p2pstore.peering.linked_network import Directory, LinkedNetwork
from p2pstore.protocols import wire
from p2pstore.protocols.links import LinkTiming
from p2pstore.protocols.requests import WINDOW_BYTES, Call, LinkId, Send
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Bound, Listen, Plane

BIND_ATTEMPTS: Final = 50
BIND_PAUSE_S: Final = 0.1
"""Five seconds in all: libzmq closes asynchronously, so a port of our own last life is taken for a moment."""

PROBE_AFTER_S: Final = (0.05, 1.0)
"""libzmq tells of a broken connection shortly before it forgets its routing id; a probe then finds it gone."""

CONTEXT_END_S: Final = 2.0
"""Ending a context takes milliseconds once its sockets are closed; a hanging one is left behind."""

_UP: Final = zmq.EVENT_HANDSHAKE_SUCCEEDED
_DOWN: Final = (
    zmq.EVENT_CLOSED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


@dataclass(slots=True, eq=False)
class _Dialled:
    socket: TrioSocket
    scope: trio.CancelScope
    up: trio.Event
    failed: bool = False


@dataclass(slots=True, eq=False)
class _Accepted:
    socket: TrioSocket
    plane: Plane
    routing_id: bytes
    connection: Connection


class ZmqNetwork(LinkedNetwork):
    """Implements `seams.network.PeerNetwork`; one per process and household.

    Args:
        me: Our own PeerId.
        curve_public, curve_secret: Our CURVE key pair, 32 raw bytes each.
        clock: This machine's time.
        admit: Whose CURVE public key this is; None for a stranger. Asked for each new connection.
        directory: How a peer can be dialled now.
        rng: Spreads redials.
        timing: How patient to be.
        handlers_max: Requests of one peer and plane served at once.
        window_bytes: Payload bytes in flight to one peer, per plane.
        context: A ZeroMQ context with two I/O threads and no ZAP handler, not to be ended here; default: its own.
    """

    def __init__(
        self,
        me: PeerId,
        curve_public: bytes,
        curve_secret: bytes,
        clock: Clock,
        admit: Callable[[bytes], PeerId | None],
        directory: Directory,
        *,
        rng: random.Random | None = None,
        timing: LinkTiming = LinkTiming(),  # noqa: B008  frozen
        handlers_max: int = HANDLERS_PER_PEER_MAX,
        window_bytes: Mapping[Plane, int] = WINDOW_BYTES,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
    ) -> None:
        super().__init__(
            me,
            clock,
            directory,
            rng=rng or random.SystemRandom(),
            timing=timing,
            handlers_max=handlers_max,
            window_bytes=window_bytes,
        )
        self._keys = CurveKeys(curve_public, curve_secret)
        self._admit = admit
        self._given_context = context
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._sockets: list[TrioSocket | Monitor] = []
        self._dialled: dict[LinkId, _Dialled] = {}
        self._accepted: dict[LinkId, _Accepted] = {}
        self._by_routing_id: dict[tuple[Plane, bytes], LinkId] = {}
        self._lent: dict[Call, list[weakref.ref[memoryview]]] = {}
        self._links_nursery: trio.Nursery | None = None
        self.strangers = 0
        """Connections refused, and messages dropped, because their key is no member's."""

    # --- opening and closing --------------------------------------------------------------------------------------

    async def _open_links(self, nursery: trio.Nursery, listen: Listen | None) -> Bound | None:
        self._links_nursery = nursery
        self._context = self._given_context or zmq.Context(io_threads=IO_THREADS)
        if listen is None:
            return None
        doorman = self._context.socket(zmq.ROUTER)
        doorman.set(zmq.LINGER, 0)
        zap = TrioSocket(doorman)
        self._sockets.append(zap)
        doorman.bind(ZAP_ADDRESS)
        nursery.start_soon(zap.run)
        nursery.start_soon(serve_doorman, zap, self._admits)
        control = await self._listen(nursery, Plane.CONTROL, listen.host, listen.control)
        return Bound(control, await self._listen(nursery, Plane.BULK, listen.host, listen.bulk))

    async def _listen(self, nursery: trio.Nursery, plane: Plane, host: str, port: int) -> int:
        assert self._context is not None
        raw = open_router(self._context, plane, self._keys, self._timing)
        router = TrioSocket(raw)
        self._sockets.append(router)
        monitor = Monitor(self._context, raw, zmq.EVENT_DISCONNECTED)
        self._sockets.append(monitor)
        address = f"tcp://[{host}]" if ":" in host else f"tcp://{host}"
        for attempt in range(1, BIND_ATTEMPTS + 1):
            try:
                raw.bind(f"{address}:{port or '*'}")
                break
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE or attempt == BIND_ATTEMPTS:
                    raise OSError(error.errno, f"cannot listen on {host}:{port}: {error.strerror}") from None
                await self._clock.sleep(BIND_PAUSE_S)
        nursery.start_soon(router.run)
        nursery.start_soon(monitor.run)
        nursery.start_soon(self._pump_router, router, plane)
        nursery.start_soon(self._watch_router, monitor, plane)
        return bound_port(raw)

    async def _close_links(self) -> None:
        self._links_nursery = None
        for socket in reversed(self._sockets):
            socket.close()
        self._sockets.clear()
        context, self._context = self._context, None
        if context is not None and context is not self._given_context:
            # In a thread, and left there if it hangs: term() waits for every socket (facts: A3).
            with trio.move_on_after(CONTEXT_END_S):
                await trio.to_thread.run_sync(context.term, abandon_on_cancel=True)

    def _admits(self, curve_public: bytes) -> bool:
        admitted = self._admit(curve_public) is not None
        self.strangers += not admitted
        return admitted

    # --- links that peers dialled ---------------------------------------------------------------------------------

    async def _pump_router(self, router: TrioSocket, plane: Plane) -> None:
        while True:
            routing_id, *parts = await router.receive()
            link = self._by_routing_id.get((plane, routing_id.bytes))
            if link is None:
                link = self._accept(router, plane, routing_id.bytes, parts)
            if link is not None:
                self._received_parts(link, parts)

    def _accept(self, router: TrioSocket, plane: Plane, routing_id: bytes, parts: list[zmq.Frame]) -> LinkId | None:
        """A link for a connection's first message; None for a stranger, or what a cut connection left behind."""
        if not parts:
            return None
        curve_public = curve_public_of(parts[0])
        peer = None if curve_public is None else self._admit(curve_public)
        if peer is None:
            self.strangers += 1
            Connection.of(parts[0]).shut()
            return None
        try:
            hello = wire.decode(parts[0].buffer)
        except Malformed as error:
            self._malformed(peer, error)
            return None
        if not isinstance(hello, wire.Hello):
            return None
        link = self._new_link(peer, plane)
        self._accepted[link] = _Accepted(router, plane, routing_id, Connection.of(parts[0]))
        self._by_routing_id[plane, routing_id] = link
        self._link_up(link, dialled=False)
        return link

    async def _watch_router(self, monitor: Monitor, plane: Plane) -> None:
        while True:
            _, descriptor = await monitor.next_event()
            for link, accepted in list(self._accepted.items()):
                if accepted.plane is plane and accepted.connection.descriptor == descriptor:
                    assert self._links_nursery is not None
                    self._links_nursery.start_soon(self._probe, link)

    async def _probe(self, link: LinkId) -> None:
        """Ask a link that is probably dead; the descriptor in the event may be a successor's, so asking is needed."""
        for pause_s in PROBE_AFTER_S:
            await self._clock.sleep(pause_s)
            self._do(self._requests.probe(link, self._clock.now_s()))

    # --- links that we dial ---------------------------------------------------------------------------------------

    async def _connect(self, link: LinkId, address: str, curve_public: bytes) -> bool:
        for numeric in await numeric_addresses(address):
            if self._links_nursery is None or self._context is None or link not in self._link_targets:
                return False
            _, plane = self._link_targets[link]
            raw = open_dealer(self._context, plane, self._keys, curve_public, self._timing)
            monitor = Monitor(self._context, raw, _UP | _DOWN)
            dialled = self._dialled[link] = _Dialled(TrioSocket(raw), trio.CancelScope(), trio.Event())
            try:
                raw.connect(f"tcp://{numeric}")
            except zmq.ZMQError:
                dialled.failed = True
            self._links_nursery.start_soon(self._run_dialled, link, dialled, monitor)
            if not dialled.failed:
                await dialled.up.wait()
            if not dialled.failed:
                return True
        return False

    async def _run_dialled(self, link: LinkId, dialled: _Dialled, monitor: Monitor) -> None:
        """Carry one connection from its first moment to its last."""
        try:
            with dialled.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(dialled.socket.run)
                    nursery.start_soon(monitor.run)
                    nursery.start_soon(self._pump_dealer, link, dialled.socket)
                    while not dialled.failed:
                        event, _ = await monitor.next_event()
                        if event & _UP:
                            dialled.up.set()
                        else:
                            dialled.failed = True
                    nursery.cancel_scope.cancel()
        finally:
            dialled.failed = True
            monitor.close()
            dialled.socket.close()
            if dialled.up.is_set() and self._dialled.get(link) is dialled:
                self._do(self._link_lost(link))
            dialled.up.set()

    async def _pump_dealer(self, link: LinkId, socket: TrioSocket) -> None:
        while True:
            self._received_parts(link, await socket.receive())

    # --- messages -------------------------------------------------------------------------------------------------

    def _received_parts(self, link: LinkId, parts: list[zmq.Frame]) -> None:
        if link not in self._link_targets:
            return
        if not 1 <= len(parts) <= 2:
            self._malformed(self._link_targets[link][0], Malformed(f"a message of {len(parts)} parts"))
            return
        payload = parts[1].buffer.toreadonly() if len(parts) == 2 else b""
        self._received(link, parts[0].buffer, payload)

    def _send(self, send: Send) -> bool:
        parts: list[Buffer] = [send.header]
        if len(send.payload):
            # A view of our own: libzmq's thread lets go of it when the payload has left, and `_reclaim` can tell.
            view = memoryview(send.payload)
            if send.call is not None and type(send.payload) is not bytes:
                self._lent.setdefault(send.call, []).append(weakref.ref(view))
            parts.append(view)
        if (dialled := self._dialled.get(send.link)) is not None:
            return dialled.socket.send(parts)
        if (accepted := self._accepted.get(send.link)) is not None:
            return accepted.socket.send([accepted.routing_id, *parts])
        return False

    def _cut(self, link: LinkId) -> None:
        dialled = self._dialled.pop(link, None)
        if dialled is not None:
            dialled.scope.cancel()
        accepted = self._accepted.pop(link, None)
        if accepted is not None:
            del self._by_routing_id[accepted.plane, accepted.routing_id]
            accepted.connection.shut()

    async def _reclaim(self, call: Call) -> None:
        """Wait until libzmq reads the payload no more, cutting the link if it takes long.

        Only after a call without a reply, and only for payloads that can change: their buffer may be somebody else's
        a moment later, and what that one writes must not leave the machine under this call's name.
        """
        lent = self._lent.pop(call, None)
        if lent is None or not (call.outcome is None or isinstance(call.outcome, Exception)):
            return
        with trio.CancelScope(shield=True):
            for view in lent:
                if await self._released(view, PAYLOAD_RELEASE_S):
                    continue
                if call.link is not None:
                    self._do(self._link_lost(call.link))
                if not await self._released(view, PAYLOAD_RELEASE_S):
                    self._fault(call.peer, RuntimeError("a payload was not released by a link that is closed"))

    async def _released(self, lent: weakref.ref[memoryview], patience_s: float) -> bool:
        view = lent()
        if view is None:
            return True
        released = trio.Event()
        weakref.finalize(view, _notify, trio.lowlevel.current_trio_token(), released).atexit = False
        del view
        with self._clock.move_on_after(patience_s):
            await released.wait()
        return released.is_set()


def _notify(token: trio.lowlevel.TrioToken, event: trio.Event) -> None:
    try:
        token.run_sync_soon(event.set)
    except trio.RunFinishedError:
        return
