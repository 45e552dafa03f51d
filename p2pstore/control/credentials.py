"""Who is at the other end of a unix socket."""

from __future__ import annotations

import socket
import struct
from typing import Final, NamedTuple, Protocol

_PEERCRED: Final = struct.Struct("3i")


class HasOptions(Protocol):
    """A socket of the standard library or of trio."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Read a socket option."""
        ...


class Credentials(NamedTuple):
    """What the kernel says about the process that connected or listens."""

    pid: int
    uid: int


def peer_credentials(sock: HasOptions) -> Credentials | None:
    """Process and user at the other end, or None where the platform cannot say (the 0700 folder must do)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    pid, uid, _ = _PEERCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, option, _PEERCRED.size))
    return Credentials(pid, uid)
