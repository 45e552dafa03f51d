"""Figures and health over HTTP: few words are understood, and no client ends more than its own connection."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.daemon.http_door import Answer, Asked, HttpDoor, is_local, read_head
from p2pstore.daemon.watching import exposition
from p2pstore.edges.clock import RealClock
from p2pstore.errors import Malformed
from p2pstore.limits import HTTP_CONNECTIONS_MAX


async def _page() -> Answer:
    return Answer(200, "figures\n")


async def _ask(port: int, data: bytes) -> bytes:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        found = b""
        try:
            await stream.send_all(data)
            await stream.send_eof()
            async for piece in stream:
                found += bytes(piece)
        except trio.BrokenResourceError:
            pass  # it hung up on us
        return found


def play(act: object) -> None:
    async def main() -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(HttpDoor({"/metrics": _page}, clock=RealClock()).run, listeners)
            with trio.fail_after(20):
                await act(port)  # type: ignore[operator]
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_answers_get_and_nothing_else() -> None:
    async def act(port: int) -> None:
        good = await _ask(port, b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost:9100\r\n\r\n")
        assert good.startswith(b"HTTP/1.1 200 OK\r\n")
        assert good.endswith(b"\r\n\r\nfigures\n")
        assert b"Content-Length: 8\r\n" in good
        head = await _ask(port, b"HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert head.endswith(b"\r\n\r\n")
        for request, status in [
            (b"GET /etc HTTP/1.1\r\n\r\n", 404),
            (b"POST /metrics HTTP/1.1\r\n\r\n", 405),
            (b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
            (b"GET /metrics HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
            (b"GET metrics\r\n\r\n", 400),
            (b"\xff\xfe\r\n\r\n", 400),
            (b"", 400),
            (b"GET /" + b"a" * 40_000, 400),
        ]:
            answer = await _ask(port, request)
            assert answer.startswith(b"HTTP/1.1 %d " % status) or (status == 400 and not answer), request[:40]

    play(act)


def test_whoever_only_holds_connections_open_is_bounded_and_others_are_served_when_it_goes() -> None:
    async def act(port: int) -> None:
        idle = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(HTTP_CONNECTIONS_MAX)]
        await trio.sleep(0.2)
        assert await _ask(port, b"GET /metrics HTTP/1.1\r\n\r\n") == b""
        for stream in idle:
            await stream.aclose()
        await trio.sleep(0.2)
        assert b"200 OK" in await _ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")

    play(act)


@given(st.binary(max_size=300))
def test_any_head_is_a_request_or_malformed(data: bytes) -> None:
    try:
        asked = read_head(data)
    except Malformed:
        return
    assert isinstance(asked, Asked)
    assert asked.path.startswith("/")


@given(st.text(max_size=40))
def test_any_host_is_local_or_not(host: str) -> None:
    assert is_local(host) in (True, False)


def test_only_this_machine_is_local() -> None:
    assert all(is_local(host) for host in ("localhost", "localhost:9", "127.0.0.1:9", "[::1]:9", "[::1]", "127.8.0.1"))
    assert not any(is_local(host) for host in ("a.example", "192.168.1.2:9", "localhost.evil:9", "0.0.0.0"))


def test_the_text_is_prometheus_s_whatever_a_machine_is_called() -> None:
    text = exposition([
        ("gauge", "about", [("m", {"name": 'a"b\\c\nd'}, 1.0), ("m", {"name": "x"}, 0.5)]),
        ("counter", "none", []),
        ("counter", "n", [("n", {}, 3.0)]),
    ])
    assert text.splitlines() == [
        "# HELP m about", "# TYPE m gauge", 'm{name="a\\"b\\\\c\\nd"} 1', 'm{name="x"} 0.5',
        "# HELP n n", "# TYPE n counter", "n 3",
    ]  # fmt: skip
