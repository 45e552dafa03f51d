"""What becomes of a request: waiting for its peer's window, sent on a link, answered, refused, expired or cut off.

One `Requests` machine holds all links of one network, ours and theirs alike. It is driven by events (`open`, `send`,
`link_up`, `receive`, `answer`, ...), each with `now` where time matters, and returns effects, to be done in order. Both
networks, the real and the simulated, drive the same machine.

The rules it keeps:

- Payload bytes in flight to a peer stay within the window of their plane, requests and replies each on their own (a
  reply never waits for a request, so windows cannot lock each other); first come, first served.
- A reply settles the call whose id it carries, on the link that carried the call, once; anything else is ignored.
- A request is served at most once at a time, never after its deadline, and not beyond what a peer may have served.
- A link's death settles its calls at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from p2pstore.errors import Malformed, P2PStoreError, Unreachable
from p2pstore.ids import PeerId
from p2pstore.limits import (
    CONTROL_WINDOW_BYTES,
    EXPIRY_SLACK_S,
    HANDLERS_PER_PEER_MAX,
    PEER_WINDOW_BYTES,
    REQUESTS_IN_FLIGHT_MAX,
)
from p2pstore.packing import Buffer
from p2pstore.protocols import wire
from p2pstore.seams.network import Message, Plane

LinkId = int
"""A network's own number for one link; never used twice in its life."""

WINDOW_BYTES: Final[Mapping[Plane, int]] = {Plane.CONTROL: CONTROL_WINDOW_BYTES, Plane.BULK: PEER_WINDOW_BYTES}

T = TypeVar("T")


class Window(Generic[T]):
    """Bounds what is in flight, in bytes and in number; those that must wait are let go in the order they came.

    An item larger than the window goes alone. An item of no bytes overtakes those that wait for bytes.
    """

    __slots__ = ("_bytes_max", "_count_max", "_flying", "_waiting", "flying_bytes")

    def __init__(self, bytes_max: int, count_max: int) -> None:
        self._bytes_max = bytes_max
        self._count_max = count_max
        self._flying: dict[T, int] = {}
        self._waiting: dict[T, int] = {}
        self.flying_bytes = 0

    def ask(self, item: T, size: int) -> bool:
        """Whether `item` may go now; if not, it waits in line."""
        if (size == 0 or not self._waiting) and self._fits(size):
            self._let_go(item, size)
            return True
        self._waiting[item] = size
        return False

    def leave(self, item: T) -> list[T]:
        """`item` is done or gave up, flying or waiting (or left before). Returns those that may go now."""
        self._waiting.pop(item, None)
        self.flying_bytes -= self._flying.pop(item, 0)
        let_go: list[T] = []
        for waiting, size in self._waiting.items():
            if not self._fits(size):
                break
            self._let_go(waiting, size)
            let_go.append(waiting)
        for waiting in let_go:
            del self._waiting[waiting]
        return let_go

    def __len__(self) -> int:
        return len(self._flying) + len(self._waiting)

    def _fits(self, size: int) -> bool:
        fits_bytes = size == 0 or self.flying_bytes == 0 or self.flying_bytes + size <= self._bytes_max
        return fits_bytes and len(self._flying) < self._count_max

    def _let_go(self, item: T, size: int) -> None:
        self._flying[item] = size
        self.flying_bytes += size


@dataclass(slots=True, eq=False)
class Call:
    """A request of ours, from `open` to `close`.

    Attributes:
        granted: the window has let it go.
        outcome: the reply, or the error to raise; None while there is neither.
        sent_at, settled_at: when, for whoever measures round trips.
    """

    id: int
    peer: PeerId
    plane: Plane
    message: Message
    granted: bool = False
    link: LinkId | None = None
    deadline: float = 0.0
    outcome: Message | P2PStoreError | None = None
    sent_at: float = 0.0
    settled_at: float = 0.0
    resent: bool = False


@dataclass(slots=True, eq=False)
class Serving:
    """A peer's request that is being served, from the effect `Serve` to `finish`.

    Attributes:
        life_s: seconds until nobody waits for the answer any more.
        reply: the answer, while it waits for the window; None before and after.
    """

    id: int
    peer: PeerId
    plane: Plane
    link: LinkId
    message: Message
    life_s: float
    reply: Message | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Hand header and payload to the link, or call `link_down` if that cannot be done."""

    link: LinkId
    header: bytes
    payload: Buffer = b""
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """The window lets the call go: find a link and `send`."""

    call: Call


@dataclass(frozen=True, slots=True)
class Settled:
    """The call has its outcome."""

    call: Call


@dataclass(frozen=True, slots=True)
class Serve:
    """Give the request to the handler, then `answer` or `refuse`; at the end, and after `life_s`, `finish`."""

    serving: Serving


@dataclass(frozen=True, slots=True)
class Replied:
    """The reply that waited for the window has gone, or never will: `finish`."""

    serving: Serving


@dataclass(frozen=True, slots=True)
class Ready:
    """Both sides have said hello: the link carries requests."""

    link: LinkId


@dataclass(frozen=True, slots=True)
class Cut:
    """Close the link, then call `link_down`."""

    link: LinkId
    reason: str


Effect = Send | Granted | Settled | Serve | Replied | Ready | Cut


@dataclass(slots=True, eq=False)
class _Link:
    id: LinkId
    peer: PeerId
    plane: Plane
    hello_sent_at: float | None = None
    hello_received_at: float | None = None
    version: int = wire.VERSION_LEAST
    calls: dict[int, Call] = field(default_factory=dict)
    servings: dict[int, Serving] = field(default_factory=dict)
    replies: dict[int, Serving] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class _Served:
    """What is being served for one peer on one plane."""

    count: int = 0
    bytes: int = 0


class Requests:
    """The machine described above.

    Args:
        first_id: Id of the first request; a random one makes logs of several lives tell them apart.
        handlers_max: Requests of one peer and plane served at once; one more is refused as busy.
        requests_max: Requests of ours in flight to one peer on one plane; one more waits.
        window_bytes: Payload bytes in flight to one peer, per plane, each for requests and for replies.
    """

    def __init__(
        self,
        *,
        first_id: int = 1,
        handlers_max: int = HANDLERS_PER_PEER_MAX,
        requests_max: int = REQUESTS_IN_FLIGHT_MAX,
        window_bytes: Mapping[Plane, int] = WINDOW_BYTES,
    ) -> None:
        self._next_id = first_id
        self._handlers_max = handlers_max
        self._requests_max = requests_max
        self._window_bytes = window_bytes
        self._links: dict[LinkId, _Link] = {}
        self._call_windows: dict[tuple[PeerId, Plane], Window[Call]] = {}
        self._reply_windows: dict[tuple[PeerId, Plane], Window[Serving]] = {}
        self._served: dict[tuple[PeerId, Plane], _Served] = {}

    # --- our requests ---------------------------------------------------------------------------------------------

    def open(self, peer: PeerId, plane: Plane, message: Message) -> Call:
        """A new call; `granted` tells whether it may be sent at once. `close` must follow, whatever happens.

        Raises:
            Misuse: The message does not fit the wire.
        """
        size = wire.check_payload(message.payload, plane)
        wire.encode(wire.Request(1, 0, message))
        call = Call(self._next_id, peer, plane, message)
        self._next_id += 1
        key = (peer, plane)
        window = self._call_windows.get(key)
        if window is None:
            window = self._call_windows[key] = Window(self._window_bytes[plane], self._requests_max)
        call.granted = window.ask(call, size)
        return call

    def send(self, call: Call, link_id: LinkId, *, deadline: float, now: float) -> list[Effect]:
        """Send a granted call over a link that is ready."""
        assert call.granted
        link = self._links.get(link_id)
        if link is None or link.hello_sent_at is None:
            return self._settle(call, Unreachable("the link went down"), now)
        call.link, call.deadline = link_id, deadline
        link.calls[call.id] = call
        return [self._request(link, call, now)]

    def close(self, call: Call) -> list[Effect]:
        """The call is over, settled or given up: its bytes leave the window. May be called again."""
        link = self._links.get(call.link) if call.link is not None else None
        if link is not None:
            link.calls.pop(call.id, None)
        key = (call.peer, call.plane)
        window = self._call_windows.get(key)
        if window is None:
            return []
        effects: list[Effect] = []
        for granted in window.leave(call):
            granted.granted = True
            effects.append(Granted(granted))
        if not len(window):
            del self._call_windows[key]
        return effects

    def flying_bytes(self, peer: PeerId, plane: Plane) -> int:
        """Payload bytes of requests in flight to `peer`."""
        window = self._call_windows.get((peer, plane))
        return 0 if window is None else window.flying_bytes

    # --- links ----------------------------------------------------------------------------------------------------

    def link_up(self, link_id: LinkId, peer: PeerId, plane: Plane, *, dialled: bool, now: float) -> list[Effect]:
        """A link to a proven peer exists. Who dialled says hello first."""
        link = self._links[link_id] = _Link(link_id, peer, plane)
        return [self._hello(link, now)] if dialled else []

    def link_down(self, link_id: LinkId, now: float) -> list[Effect]:
        """A link is no more (fine if it never was): its calls fail, its replies are forgotten."""
        link = self._links.pop(link_id, None)
        if link is None:
            return []
        effects: list[Effect] = []
        for call in list(link.calls.values()):
            effects += self._settle(call, Unreachable("the link went down"), now)
        for serving in list(link.servings.values()):
            if serving.reply is not None:
                effects.append(Replied(serving))
        for serving in [*link.servings.values(), *link.replies.values()]:
            effects += self._leave_reply_window(serving)
        return effects

    def probe(self, link_id: LinkId, now: float) -> list[Effect]:
        """Say hello again: a link that is dead shows it when something is sent."""
        link = self._links.get(link_id)
        return [] if link is None else [self._hello(link, now)]

    def receive(self, link_id: LinkId, frame: wire.Frame, now: float) -> list[Effect]:
        """A frame came over a link.

        Raises:
            Malformed: Anything but a hello before the first hello.
        """
        link = self._links.get(link_id)
        if link is None:
            return []
        if isinstance(frame, wire.Hello):
            return self._receive_hello(link, frame, now)
        if link.hello_received_at is None:
            raise Malformed("a frame before the hello")
        match frame:
            case wire.Request():
                return self._receive_request(link, frame, now)
            case wire.Reply(id_, message):
                effects: list[Effect] = []
                if len(message.payload):
                    effects.append(self._frame(link, wire.Received(id_)))
                call = link.calls.pop(id_, None)
                return effects if call is None else [*effects, *self._settle(call, message, now)]
            case wire.Refusal():
                return self._receive_refusal(link, frame, now)
            case wire.Received(id_):
                replied = link.replies.pop(id_, None)
                return [] if replied is None else self._leave_reply_window(replied)
            case wire.Unknown(id_):
                return [self._frame(link, wire.Refusal(id_, wire.UNKNOWN_FRAME))]

    # --- their requests -------------------------------------------------------------------------------------------

    def answer(self, serving: Serving, reply: Message) -> list[Effect]:
        """The handler's reply. If `serving.reply` is set afterwards it waits for the window: `Replied` will follow.

        Raises:
            Misuse: The reply does not fit the wire: the handler has a bug.
        """
        size = wire.check_payload(reply.payload, serving.plane)
        wire.encode(wire.Reply(serving.id, reply))
        link = self._serving_link(serving)
        if link is None:
            return []
        if size:
            key = (serving.peer, serving.plane)
            window = self._reply_windows.get(key)
            if window is None:
                window = self._reply_windows[key] = Window(self._window_bytes[serving.plane], 2 * self._handlers_max)
            if not window.ask(serving, size):
                serving.reply = reply
                return []
        return [self._reply(link, serving, reply)]

    def refuse(self, serving: Serving, error: P2PStoreError | str) -> list[Effect]:
        """The handler's error, or a code."""
        link = self._serving_link(serving)
        if link is None:
            return []
        refusal = wire.Refusal(serving.id, error) if isinstance(error, str) else wire.refusal(serving.id, error)
        return [self._frame(link, refusal)]

    def finish(self, serving: Serving) -> list[Effect]:
        """Nobody works on the request any more, and nobody will answer it."""
        link = self._links.get(serving.link)
        if link is not None and link.servings.get(serving.id) is serving:
            del link.servings[serving.id]
        key = (serving.peer, serving.plane)
        served = self._served[key]
        served.count -= 1
        served.bytes -= len(serving.message.payload)
        if not served.count:
            del self._served[key]
        if serving.reply is None:
            return []
        serving.reply = None
        return self._leave_reply_window(serving)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _receive_hello(self, link: _Link, hello: wire.Hello, now: float) -> list[Effect]:
        first = link.hello_received_at is None
        link.hello_received_at = now
        effects: list[Effect] = []
        if link.hello_sent_at is None:
            effects.append(self._hello(link, now))
        version = min(hello.most, wire.VERSION_MOST)
        if version < max(hello.least, wire.VERSION_LEAST):
            reason = f"it speaks versions {hello.least} to {hello.most}, we {wire.VERSION_LEAST} to {wire.VERSION_MOST}"
            return [*effects, Cut(link.id, reason)]
        link.version = version
        return [*effects, Ready(link.id)] if first else effects

    def _receive_request(self, link: _Link, request: wire.Request, now: float) -> list[Effect]:
        assert link.hello_received_at is not None
        if request.id in link.servings or request.id in link.replies:
            return []
        left_s = link.hello_received_at + request.expires_ms / 1000 - now
        if left_s < -EXPIRY_SLACK_S:
            return [self._frame(link, wire.Refusal(request.id, wire.EXPIRED))]
        key = (link.peer, link.plane)
        served = self._served.get(key, _NOTHING_SERVED)
        size = len(request.message.payload)
        # An honest peer stays within one window; a second is for those whose requests timed out there but not here.
        too_many_bytes = served.bytes and served.bytes + size > 2 * self._window_bytes[link.plane]
        if served.count >= self._handlers_max or too_many_bytes:
            return [self._frame(link, wire.Refusal(request.id, wire.BUSY))]
        served = self._served.setdefault(key, _Served())
        served.count += 1
        served.bytes += size
        life_s = max(left_s, 0.0) + EXPIRY_SLACK_S
        serving = Serving(request.id, link.peer, link.plane, link.id, request.message, life_s)
        link.servings[request.id] = serving
        return [Serve(serving)]

    def _receive_refusal(self, link: _Link, refusal: wire.Refusal, now: float) -> list[Effect]:
        call = link.calls.get(refusal.id)
        if call is None:
            return []
        if refusal.code == wire.EXPIRED and not call.resent and now < call.deadline:
            # We still wait, so our clocks have come apart (a machine slept): set the link's time anew, ask once more.
            call.resent = True
            return [self._hello(link, now), self._request(link, call, now)]
        del link.calls[refusal.id]
        return self._settle(call, wire.refusal_error(refusal), now)

    def _settle(self, call: Call, outcome: Message | P2PStoreError, now: float) -> list[Effect]:
        if call.outcome is not None:
            return []
        call.outcome = outcome
        call.settled_at = now
        return [Settled(call)]

    def _serving_link(self, serving: Serving) -> _Link | None:
        link = self._links.get(serving.link)
        return link if link is not None and link.servings.get(serving.id) is serving else None

    def _leave_reply_window(self, serving: Serving) -> list[Effect]:
        key = (serving.peer, serving.plane)
        window = self._reply_windows.get(key)
        if window is None:
            return []
        effects: list[Effect] = []
        leaving = [serving]
        while leaving:
            for granted in window.leave(leaving.pop()):
                link = self._serving_link(granted)
                reply, granted.reply = granted.reply, None
                if link is None or reply is None:
                    leaving.append(granted)
                else:
                    effects += [self._reply(link, granted, reply), Replied(granted)]
        if not len(window):
            self._reply_windows.pop(key, None)
        return effects

    def _hello(self, link: _Link, now: float) -> Send:
        link.hello_sent_at = now
        return self._frame(link, wire.Hello())

    def _request(self, link: _Link, call: Call, now: float) -> Send:
        assert link.hello_sent_at is not None
        call.sent_at = now
        expires_ms = math.ceil(min(max(0.0, (call.deadline - link.hello_sent_at) * 1000), wire.EXPIRES_MS_MOST))
        header = wire.encode(wire.Request(call.id, expires_ms, call.message), version=link.version)
        return Send(link.id, header, call.message.payload, call)

    def _reply(self, link: _Link, serving: Serving, reply: Message) -> Send:
        if len(reply.payload):
            link.replies[serving.id] = serving
        return Send(link.id, wire.encode(wire.Reply(serving.id, reply), version=link.version), reply.payload)

    def _frame(self, link: _Link, frame: wire.Frame) -> Send:
        return Send(link.id, wire.encode(frame, version=link.version))


_NOTHING_SERVED: Final = _Served()
