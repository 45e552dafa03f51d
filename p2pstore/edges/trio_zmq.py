"""A ZeroMQ socket for trio: the one file that knows libzmq's edge-triggered descriptor.

libzmq shows one descriptor per socket. It turns readable when *something* may have changed, and any call on the socket
may consume that edge. So (facts/transport.md: the first version deadlocked within 300 messages):

1. Exactly one task waits on the descriptor (`run`).
2. Every call on the socket is followed by a look at ZMQ_EVENTS, which re-arms the descriptor and wakes who waits.
3. After "not now", park only if that very look said "not ready": it may have discovered the message and eaten the edge.
4. Between a successful receive and the return there is no checkpoint that can be cancelled: no message is ever lost.
5. A send that fails may fail only because news of a connection, or of room, lies unread: look, then try once more.
6. Nobody waits for room to send: a ROUTER cannot tell which peer has room, and a link whose queue is full is no link.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio
import zmq

from p2pstore.packing import Buffer

_READABLE: Final = int(zmq.POLLIN)


class TrioSocket:
    """Owns a plain `zmq.Socket`: whoever closes this closes that."""

    def __init__(self, raw: zmq.Socket[bytes]) -> None:
        assert raw.__class__ is zmq.Socket
        self._raw = raw
        self._descriptor = int(raw.get(zmq.FD))
        self._receivers = trio.lowlevel.ParkingLot()
        self._closed = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch the descriptor until the socket is closed. Receiving needs this task; one per socket."""
        task_status.started()
        while not self._closed:
            self._look()
            try:
                await trio.lowlevel.wait_readable(self._descriptor)
            except trio.ClosedResourceError:
                return

    async def receive(self) -> list[zmq.Frame]:
        """The next message, part by part, not copied.

        Raises:
            trio.ClosedResourceError: The socket is closed, before or meanwhile.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            if self._closed:
                raise trio.ClosedResourceError
            try:
                parts: list[zmq.Frame] = self._raw.recv_multipart(zmq.NOBLOCK, copy=False)
            except zmq.Again:
                if not self._look() & _READABLE:
                    await self._receivers.park()
            else:
                self._look()
                await trio.lowlevel.cancel_shielded_checkpoint()
                return parts

    def send(self, parts: Sequence[Buffer]) -> bool:
        """Queue a message; parts of 64 KiB and more are not copied and must not change until they are released.

        Returns:
            False if there is no connection, or its queue is full, or (a ROUTER) nobody has that routing id, or the
            socket is closed.
        """
        for _ in range(2):
            if self._closed:
                return False
            try:
                self._raw.send_multipart(parts, zmq.NOBLOCK, copy=False)
            except zmq.Again:
                continue
            except zmq.ZMQError as error:
                if error.errno == zmq.EHOSTUNREACH:
                    return False
                raise
            else:
                return True
            finally:
                self._look()
        return False

    def close(self) -> None:
        """Forget what is queued, release its buffers, wake who waits. May be called again."""
        if self._closed:
            return
        self._closed = True
        trio.lowlevel.notify_closing(self._descriptor)
        self._receivers.unpark_all()
        self._raw.close(linger=0)

    def _look(self) -> int:
        if self._closed:
            return 0
        events = int(self._raw.get(zmq.EVENTS))
        if events & _READABLE:
            self._receivers.unpark()
        return events
