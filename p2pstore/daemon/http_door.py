"""A small HTTP answerer on loopback, for those who watch: one GET a connection, everything bounded.

Reading a request is a pure function; nothing a client sends ends more than its own connection.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from p2pstore.errors import Malformed
from p2pstore.limits import HTTP_CONNECTIONS_MAX, HTTP_HEAD_BYTES_MAX
from p2pstore.seams.clock import Clock

REQUEST_TIMEOUT_S: Final = 10.0
"""From the first byte to the last of the answer; who scrapes is on the same machine."""

_REASONS: Final = {
    200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: what for, and in whose name ("" for none)."""

    method: str
    path: str
    host: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, a text and its kind."""

    status: int
    text: str
    kind: str = "text/plain; charset=utf-8"

    def encode(self, *, body: bool = True) -> bytes:
        """As bytes of HTTP/1.1; the connection ends with it."""
        data = self.text.encode()
        head = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}\r\nContent-Type: {self.kind}\r\n"
            f"Content-Length: {len(data)}\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        return head.encode("ascii") + (data if body else b"")


def read_head(data: bytes) -> Asked:
    """The request in a head that ends with an empty line. Raises Malformed."""
    try:
        first, *lines = data.decode("ascii").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise Malformed("http: no request") from None
    if not version.startswith("HTTP/1.") or not target.startswith("/"):
        raise Malformed("http: not HTTP/1")
    hosts = []
    for line in lines:
        name, colon, value = line.partition(":")
        if line and not colon:
            raise Malformed("http: not a header")
        if name.lower() == "host":
            hosts.append(value.strip())
    if len(hosts) > 1:
        raise Malformed("http: two hosts")
    return Asked(method, target.partition("?")[0], hosts[0] if hosts else "")


def is_local(host: str) -> bool:
    """Whether a Host header names this machine by a number or as localhost: a page in a browser that had a name of its
    own point here is sent away."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and host.count(":") != 0 else host
    name = name.strip("[]")
    if name in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class HttpDoor:
    """Answers GET for a few paths."""

    def __init__(self, pages: Mapping[str, Callable[[], Awaitable[Answer]]], *, clock: Clock) -> None:
        self._pages = pages
        self._clock = clock
        self._busy = 0

    async def run(self, listeners: Sequence[trio.SocketListener]) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self._serve, list(listeners))

    async def _serve(self, stream: trio.SocketStream) -> None:
        if self._busy >= HTTP_CONNECTIONS_MAX:
            await stream.aclose()
            return
        self._busy += 1
        try:
            with self._clock.move_on_after(REQUEST_TIMEOUT_S):
                answer, body = await self._answer(stream)
                await stream.send_all(answer.encode(body=body))
                await stream.send_eof()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it hung up
        finally:
            self._busy -= 1
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    async def _answer(self, stream: trio.SocketStream) -> tuple[Answer, bool]:
        data = b""
        while b"\r\n\r\n" not in data:
            if len(data) > HTTP_HEAD_BYTES_MAX:
                return Answer(400, "too long\n"), True
            piece = await stream.receive_some(HTTP_HEAD_BYTES_MAX)
            if not piece:
                return Answer(400, "no request\n"), True
            data += piece
        try:
            asked = read_head(data.partition(b"\r\n\r\n")[0])
        except Malformed as error:
            return Answer(400, f"{error}\n"), True
        if asked.method not in ("GET", "HEAD"):
            return Answer(405, "only GET\n"), True
        body = asked.method == "GET"
        if not is_local(asked.host):
            return Answer(403, "not by this name\n"), body
        page = self._pages.get(asked.path)
        if page is None:
            return Answer(404, "".join(f"{path}\n" for path in sorted(self._pages))), body
        return await page(), body
