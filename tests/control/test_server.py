"""The server's promises to its daemon: nothing waits for a client, and nothing a client does ends it."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from p2pstore.control.faults import Failure
from p2pstore.control.frames import (
    Cancel,
    Data,
    Decoder,
    End,
    Failed,
    Hello,
    Item,
    Message,
    Request,
    Result,
    Want,
    encode,
)
from p2pstore.control.listening import remove_left_socket
from p2pstore.control.paths import READY_VARIABLE, private_folder, socket_path, socket_paths
from p2pstore.control.server import Call, ClientGone, ControlServer
from p2pstore.control.topics import Topics
from p2pstore.limits import CONTROL_API_CALLS_MAX, CONTROL_API_FEED_DELTAS_MAX, CONTROL_API_UPLOAD_WINDOW


class Peer:
    """A client that says exactly what it is told to."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.decoder = Decoder()
        self.heard: list[Message] = []

    async def say(self, *messages: Message) -> None:
        await self.stream.send_all(b"".join(encode(message) for message in messages))

    async def hear(self) -> Message | None:
        while not self.heard:
            data = await self.stream.receive_some(65536)
            if not data:
                return None
            self.heard += self.decoder.feed(data)
        return self.heard.pop(0)


async def connect(path: Path) -> Peer:
    peer = Peer(await trio.open_unix_socket(path))
    assert isinstance(await peer.hear(), Hello)
    return peer


async def test_an_upload_window_is_granted_piece_by_piece(home: Path) -> None:
    gate = trio.Event()
    total = 0

    async def slow(call: Call) -> Any:
        nonlocal total
        await gate.wait()
        while (piece := await call.receive()) is not None:
            total += len(piece)
        return total

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"slow": slow}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "slow", {}), *[Data(1, b"12345")] * CONTROL_API_UPLOAD_WINDOW)
        gate.set()
        for _ in range(CONTROL_API_UPLOAD_WINDOW):
            assert await peer.hear() == Want(1, 1)
        await peer.say(Data(1, b"6"), End(1))
        assert await peer.hear() == Want(1, 1)
        assert await peer.hear() == Result(1, 5 * CONTROL_API_UPLOAD_WINDOW + 1)
        nursery.cancel_scope.cancel()


async def test_data_beyond_the_window_ends_the_connection(home: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"wait": _wait}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "wait", {}), *[Data(1, b"x")] * (CONTROL_API_UPLOAD_WINDOW + 2))
        assert await peer.hear() is None
        await connect(socket_path(home))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "rude",
    [
        [Hello(1, 1, "x", 1)],
        [Result(1, None)],
        [Want(1, 1)],
        [Request(1, "wait", {}), Request(1, "wait", {})],
        [Request(1, "wait", {}), End(1), End(1)],
        [Request(1, "wait", {}), End(1), Data(1, b"")],
    ],
)
async def test_what_a_client_may_not_say_ends_its_connection_only(home: Path, rude: list[Message]) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"wait": _wait}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(*rude)
        while await peer.hear() is not None:
            pass
        await connect(socket_path(home))
        nursery.cancel_scope.cancel()


async def test_messages_about_requests_that_have_ended_are_passed_over(home: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"done": _done}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Data(5, b"late"), End(5), Cancel(5), Request(6, "done", {}))
        assert await peer.hear() == Result(6, "done")
        nursery.cancel_scope.cancel()


async def test_requests_of_a_client_that_hangs_up_are_cancelled_unless_they_outlive_it(home: Path) -> None:
    ended: list[str] = []
    gate = trio.Event()

    async def short(call: Call) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(f"short {call.cancelled}")

    async def long(call: Call) -> Any:
        await gate.wait()
        call.report("unheard")
        await call.emit("unheard")
        ended.append(f"long {call.cancelled}")

    async with trio.open_nursery() as nursery:
        server = ControlServer({"short": short, "long": long}, outliving={"long"})
        await nursery.start(server.run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "short", {}), Request(2, "long", {}))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ended == ["short True"]
        gate.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert ended == ["short True", "long False"]
        nursery.cancel_scope.cancel()


async def test_a_client_that_hangs_up_amid_its_data_is_not_taken_for_one_that_ended_it(home: Path) -> None:
    outcome: list[str] = []

    async def store(call: Call) -> Any:
        try:
            while await call.receive() is not None:
                pass
            outcome.append("whole")
        except ClientGone:
            outcome.append("gone")
            raise

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"store": store}, outliving={"store"}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "store", {}), Data(1, b"half"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await peer.stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert outcome == ["gone"]
        nursery.cancel_scope.cancel()


async def test_progress_is_dropped_when_nobody_reads_and_the_work_goes_on(home: Path) -> None:
    async def work(call: Call) -> Any:
        for _ in range(2000):
            call.report({"filler": bytes(1000)})
        return "worked"

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"work": work}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "work", {}))
        last: Message | None = None
        count = 0
        while not isinstance(last, Result):
            last = await peer.hear()
            count += 1
        assert last.value == "worked"
        assert count < 2000
        nursery.cancel_scope.cancel()


async def test_a_stream_waits_for_its_reader_but_not_for_ever(home: Path) -> None:
    outcome: list[str] = []
    gave_up = trio.Event()

    async def pour(call: Call) -> Any:
        try:
            while True:
                await call.emit(bytes(100_000), patience_s=0.05)
        except Failure as failure:
            outcome.append(failure.fault.code)
            gave_up.set()
            raise

    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"pour": pour, "done": _done}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "pour", {}))
        with trio.fail_after(5):
            await gave_up.wait()
        assert outcome == ["reader-too-slow"]
        last: Message | None = Item(0, None)
        while isinstance(last, Item):
            last = await peer.hear()
        assert isinstance(last, Failed)
        await peer.say(Request(2, "done", {}))
        assert await peer.hear() == Result(2, "done")
        nursery.cancel_scope.cancel()


async def test_one_client_cannot_have_too_many_requests_at_once(home: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"wait": _wait}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(*(Request(n, "wait", {}) for n in range(CONTROL_API_CALLS_MAX + 1)))
        answer = await peer.hear()
        assert isinstance(answer, Failed)
        assert answer.fault.code == "busy"
        nursery.cancel_scope.cancel()


async def test_a_cancel_reaches_a_request_whose_data_nobody_takes(home: Path) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"wait": _wait}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "wait", {}), *[Data(1, bytes(200_000))] * CONTROL_API_UPLOAD_WINDOW, Cancel(1))
        answer = await peer.hear()
        assert isinstance(answer, Failed)
        assert answer.fault.code == "cancelled"
        nursery.cancel_scope.cancel()


# --- subscriptions ------------------------------------------------------------------------------------------------


async def test_a_subscription_is_a_snapshot_and_then_numbered_deltas(home: Path) -> None:
    topics = Topics({"peers": lambda: ["nas"], "transfers": dict})
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"subscribe": topics.subscribe}).run, socket_path(home))
        topics.publish("peers", "before")
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "subscribe", {"topics": ["transfers", "peers"]}))
        assert await peer.hear() == Item(1, {"topic": "peers", "seq": 1, "snapshot": ["nas"]})
        assert await peer.hear() == Item(1, {"topic": "transfers", "seq": 0, "snapshot": {}})
        topics.publish("peers", "+attic")
        topics.publish("transfers", 5)
        assert await peer.hear() == Item(1, {"topic": "peers", "seq": 2, "delta": "+attic"})
        assert await peer.hear() == Item(1, {"topic": "transfers", "seq": 1, "delta": 5})
        await peer.say(Cancel(1))
        assert isinstance(await peer.hear(), Failed)
        await peer.say(Request(2, "subscribe", {"topics": ["weather"]}))
        refused = await peer.hear()
        assert isinstance(refused, Failed)
        assert refused.fault.code == "misuse"
        nursery.cancel_scope.cancel()


async def test_a_subscriber_that_falls_behind_is_told_to_ask_again_and_hears_no_gap(home: Path) -> None:
    topics = Topics({"log": lambda: None})
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"subscribe": topics.subscribe}).run, socket_path(home))
        peer = await connect(socket_path(home))
        await peer.say(Request(1, "subscribe", {"topics": ["log"]}))
        assert isinstance(await peer.hear(), Item)
        for _ in range(CONTROL_API_FEED_DELTAS_MAX + 100):
            topics.publish("log", "line")  # never waits: no await here
        expected = 0
        while isinstance(message := await peer.hear(), Item):
            expected += 1
            assert message.value["seq"] == expected
        assert isinstance(message, Failed)
        assert message.fault.code == "resync"
        await peer.say(Request(2, "subscribe", {"topics": ["log"]}))
        again = await peer.hear()
        assert again == Item(2, {"topic": "log", "seq": CONTROL_API_FEED_DELTAS_MAX + 100, "snapshot": None})
        nursery.cancel_scope.cancel()


# --- the socket ---------------------------------------------------------------------------------------------------


async def test_only_this_user_can_reach_the_socket(home: Path) -> None:
    path = socket_path(home)
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({}).run, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        nursery.cancel_scope.cancel()
    assert list(path.parent.iterdir()) == []


async def test_a_process_of_another_user_is_hung_up_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({}).run, socket_path(home))
        real = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: real + 1)
        stream = await trio.open_unix_socket(socket_path_of(home, real))
        assert await stream.receive_some(100) == b""
        nursery.cancel_scope.cancel()


def socket_path_of(home: Path, uid: int) -> Path:
    return next(path for path in socket_paths(home) if path.exists())


async def test_a_second_daemon_is_refused_and_a_socket_left_by_a_crash_replaced(home: Path) -> None:
    path = socket_path(home)
    private_folder(path.parent)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({"done": _done}).run, path)
        with pytest.raises(Failure) as caught:
            await ControlServer({}).run(path)
        assert caught.value.fault.code == "already-running"
        await connect(path)
        nursery.cancel_scope.cancel()


async def test_what_a_killed_daemon_left_can_be_removed_and_a_living_one_is_left_alone(home: Path) -> None:
    path = socket_path(home)
    private_folder(path.parent)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    path.with_suffix(".lock").touch()
    remove_left_socket(home)
    assert list(path.parent.iterdir()) == []
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({}).run, path)
        remove_left_socket(home)
        await connect(path)
        nursery.cancel_scope.cancel()


def test_a_folder_that_is_not_ours_alone_is_refused_or_closed(home: Path) -> None:
    home.mkdir()
    open_folder = home / "open"
    open_folder.mkdir(mode=0o755)
    private_folder(open_folder)
    assert stat.S_IMODE(open_folder.stat().st_mode) == 0o700
    (home / "link").symlink_to(open_folder)
    with pytest.raises(Failure) as caught:
        private_folder(home / "link")
    assert caught.value.fault.code == "unsafe-folder"


def test_socket_paths_fit_and_differ_by_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_path(home) != socket_path(home.parent / "other")
    assert socket_path(home).parent.parent == home.parent
    assert socket_path(Path("/" + "very-long/" * 50)).name.endswith(".sock")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/" + "x" * 100)
    assert all(len(os.fsencode(path)) <= 107 for path in socket_paths(home))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert socket_paths(home)[-1].parent == Path(f"/tmp/p2pstore-{os.getuid()}")


async def test_who_started_the_daemon_is_told_once_that_it_listens(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    monkeypatch.setenv(READY_VARIABLE, str(writing))
    async with trio.open_nursery() as nursery:
        await nursery.start(ControlServer({}).run, socket_path(home))
        assert os.read(reading, 10) == b"\n"
        assert os.read(reading, 10) == b""
        assert READY_VARIABLE not in os.environ
        nursery.cancel_scope.cancel()
    os.close(reading)


async def _wait(call: Call) -> Any:
    await trio.sleep_forever()


async def _done(call: Call) -> Any:
    return "done"
