"""Plain TCP connections, for talking to strangers: enrolment. (Members talk through `transport_zmq`.)"""

from __future__ import annotations

import trio

from p2pstore.errors import Unreachable
from p2pstore.seams.clock import Clock


async def dial(host: str, port: int, *, clock: Clock, timeout_s: float) -> trio.SocketStream:
    """A TCP connection. Raises Unreachable, also when it takes too long."""
    with clock.move_on_after(timeout_s):
        try:
            return await trio.open_tcp_stream(host, port)
        except OSError as error:
            raise Unreachable(f"{host}:{port}: {error}") from None
    raise Unreachable(f"{host}:{port}: no answer in {timeout_s:g} s")
