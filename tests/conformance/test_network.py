"""What every network keeps to, real or simulated."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import pytest
import trio
import trio.testing

from p2pstore.errors import (
    Busy,
    Corrupt,
    DiskAsleep,
    Malformed,
    Misuse,
    NoSpace,
    P2PStoreError,
    Refused,
    TimedOut,
    TooFewShards,
    Unreachable,
)
from p2pstore.ids import PeerId
from p2pstore.limits import BULK_PAYLOAD_BYTES_MAX, KIB, MIB
from p2pstore.seams.network import Message, Plane
from tests.network.twins import World, both_twins, echo, peer_id_of

ANNA, BEN, CLEO = (peer_id_of(name) for name in ("anna", "ben", "cleo"))
PING = Message("ping")


@both_twins
async def test_a_request_gets_its_reply(world: World) -> None:
    asked = []

    async def double(peer: PeerId, message: Message) -> Message:
        asked.append(peer)
        return Message("", {"kind": message.kind, "number": 2 * message.args["number"]}, bytes(message.payload) * 2)

    await world.start("anna", double)
    ben = await world.start("ben", echo)
    for plane in Plane:
        reply = await ben.request(ANNA, Message("double.it", {"number": 21}, b"ab"), plane=plane)
        assert reply.args == {"kind": "double.it", "number": 42}
        assert reply.payload == b"abab"
    assert asked == [BEN, BEN]
    assert ben.linked_peers() == [ANNA]
    stats = ben.link_stats(ANNA)
    assert stats.linked
    assert stats.sent_bytes > 0
    assert stats.received_bytes > 0


@both_twins
async def test_a_peer_that_cannot_be_dialled_is_called_over_the_links_it_keeps(world: World) -> None:
    anna = await world.start("anna", echo)
    ben = await world.start("ben", echo, listening=False)
    with pytest.raises(Unreachable):
        await anna.request(BEN, PING)
    ben.keep_linked([ANNA, BEN])
    await world.watch("anna").wait_linked(BEN)
    payload = bytes(range(256)) * 4096
    assert (await anna.request(BEN, PING)).payload == b""
    reply = await anna.request(BEN, Message("ping", {}, payload), plane=Plane.BULK)
    assert reply.payload == payload


@both_twins
async def test_kept_links_come_back_by_themselves(world: World) -> None:
    anna = await world.start("anna", echo)
    ben = await world.start("ben", echo, listening=False)
    ben.keep_linked([ANNA])
    await world.watch("ben").wait_linked(ANNA)
    await world.stop("anna")
    await world.watch("ben").wait_linked(ANNA, up=False)
    anna = await world.start("anna", echo)
    await world.watch("anna").wait_linked(BEN)
    assert (await anna.request(BEN, Message("ping", {"n": 1}))).args == {"n": 1}
    await world.watch("ben").wait_linked(ANNA)
    assert world.watch("ben").changes == [(ANNA, True), (ANNA, False), (ANNA, True)]


@both_twins
async def test_redial_makes_fresh_links_at_once(world: World) -> None:
    await world.start("anna", echo)
    ben = await world.start("ben", echo)
    ben.keep_linked([ANNA])
    await world.watch("ben").wait_linked(ANNA)
    ben.redial()
    assert ben.linked_peers() == []
    await world.watch("ben").wait_linked(ANNA)


@both_twins
async def test_peers_that_dial_each_other_use_any_live_link(world: World) -> None:
    anna = await world.start("anna", echo)
    ben = await world.start("ben", echo)
    anna.keep_linked([BEN])
    ben.keep_linked([ANNA])
    for plane in Plane:
        assert (await anna.request(BEN, PING, plane=plane)).args == {}
        assert (await ben.request(ANNA, PING, plane=plane)).args == {}


@both_twins
async def test_an_error_of_the_handler_becomes_a_refusal_with_its_code(world: World) -> None:
    errors: dict[str, P2PStoreError] = {
        "full": NoSpace(),
        "malformed": Malformed("three bytes"),
        "corrupt": Corrupt(),
        "disk-asleep": DiskAsleep(),
        "too-few-shards": TooFewShards(4, 3),
        "not-found": Refused("not-found", "no such shard"),
        "unknown-kind": Refused("unknown-kind"),
        "failed": P2PStoreError("/home/anna/secret plans"),
    }

    async def fail(_: PeerId, message: Message) -> Message:
        raise errors[message.args["code"]]

    async def fail_in_a_nursery(peer: PeerId, message: Message) -> Message:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, peer, message)
        raise AssertionError

    await world.start("anna", fail)
    await world.start("cleo", fail_in_a_nursery)
    ben = await world.start("ben", echo)
    for peer in (ANNA, CLEO):
        for code in errors:
            with pytest.raises(Refused) as refused:
                await ben.request(peer, Message("fail", {"code": code}))
            assert refused.value.code == code
            assert "secret" not in str(refused.value)
    assert world.watch("anna").faults == []


@both_twins
async def test_a_bug_in_a_handler_is_answered_and_reported_and_ends_nothing(world: World) -> None:
    async def stumble(_: PeerId, message: Message) -> Message:
        if message.kind == "huge":
            return Message("", {"text": "x" * MIB})
        return Message("", {"ratio": 1 / message.args["number"]})

    await world.start("anna", stumble)
    ben = await world.start("ben", echo)
    for message in (Message("divide", {"number": 0}), Message("huge")):
        with pytest.raises(Refused) as refused:
            await ben.request(ANNA, message)
        assert refused.value.code == "internal"
    assert [(peer, type(error)) for peer, error in world.watch("anna").faults] == [
        (BEN, ZeroDivisionError),
        (BEN, Misuse),
    ]
    assert (await ben.request(ANNA, Message("divide", {"number": 2}))).args == {"ratio": 0.5}


@both_twins
async def test_what_does_not_fit_a_message_is_misuse(world: World) -> None:
    ben = await world.start("ben", echo)
    for message, plane in [
        (Message("put", {}, bytes(BULK_PAYLOAD_BYTES_MAX + 1)), Plane.BULK),
        (Message("put", {}, bytes(MIB + 1)), Plane.CONTROL),
        (Message("put", {"text": "x" * 65 * KIB}), Plane.BULK),
        (Message("put", {"thing": object()}), Plane.BULK),
        (Message("Put it there!"), Plane.CONTROL),
    ]:
        with pytest.raises(Misuse):
            await ben.request(ANNA, message, plane=plane)


@both_twins
async def test_a_request_without_a_reply_times_out_and_a_late_reply_is_dropped(world: World) -> None:
    go = trio.Event()
    served = []

    async def wait(_: PeerId, message: Message) -> Message:
        if message.kind == "wait":
            await go.wait()
            served.append(message.args["n"])
        return Message("", message.args, b"payload")

    await world.start("anna", wait)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING)
    with pytest.raises(TimedOut):
        await ben.request(ANNA, Message("wait", {"n": 1}), timeout_s=0.1)
    go.set()
    for n in range(3):
        assert (await ben.request(ANNA, Message("ping", {"n": n}))).args == {"n": n}
    assert served == [1]


@both_twins
async def test_a_handler_is_stopped_when_nobody_waits_any_more(world: World) -> None:
    stopped = trio.Event()

    async def hang(_: PeerId, message: Message) -> Message:
        try:
            await trio.sleep(0 if message.kind == "ping" else 1000)
        finally:
            if message.kind == "hang":
                stopped.set()
        return Message("")

    await world.start("anna", hang)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING)
    with pytest.raises(TimedOut):
        await ben.request(ANNA, Message("hang"), timeout_s=0.1)
    await stopped.wait()


@both_twins
async def test_more_requests_at_once_than_a_peer_serves_are_busy(world: World) -> None:
    go = trio.Event()
    outcomes: Counter[str] = Counter()

    async def wait(_: PeerId, message: Message) -> Message:
        if message.kind == "wait":
            await go.wait()
        return Message("")

    await world.start("anna", wait, handlers_max=4)
    ben = await world.start("ben", echo)

    async def ask() -> None:
        try:
            await ben.request(ANNA, Message("wait"), plane=Plane.BULK)
        except Busy:
            outcomes["busy"] += 1
            if outcomes["busy"] == 3:
                go.set()
        else:
            outcomes["served"] += 1

    async with trio.open_nursery() as nursery:
        for _ in range(7):
            nursery.start_soon(ask)
        await ben.request(ANNA, PING)
    assert outcomes == {"busy": 3, "served": 4}
    await ben.request(ANNA, Message("wait"), plane=Plane.BULK)


@both_twins
async def test_payload_bytes_in_flight_stay_within_the_window_and_go_in_order(world: World) -> None:
    now = most = 0
    order = []

    async def hold(_: PeerId, message: Message) -> Message:
        nonlocal now, most
        now += len(message.payload)
        most = max(most, now)
        order.append(message.args["n"])
        await trio.sleep(0.002)
        now -= len(message.payload)
        return Message("")

    window = {Plane.CONTROL: MIB, Plane.BULK: MIB}
    await world.start("anna", hold)
    ben = await world.start("ben", echo, window_bytes=window)
    await ben.request(ANNA, Message("put", {"n": -1}), plane=Plane.BULK)

    async with trio.open_nursery() as nursery:
        for n in range(20):
            message = Message("put", {"n": n}, bytes(256 * KIB))
            nursery.start_soon(partial(ben.request, ANNA, message, plane=Plane.BULK))
    assert most <= MIB
    assert sorted(order) == list(range(-1, 20))

    order.clear()
    async with trio.open_nursery() as nursery:
        for n in range(20):
            message = Message("put", {"n": n}, bytes(MIB))
            nursery.start_soon(partial(ben.request, ANNA, message, plane=Plane.BULK))
            await trio.testing.wait_all_tasks_blocked(0.001)
    assert order == list(range(20))
    payload = bytes(2 * MIB)
    await ben.request(ANNA, Message("put", {"n": 0}, payload), plane=Plane.BULK)


@both_twins
async def test_replies_are_held_back_by_a_window_too_and_all_arrive(world: World) -> None:
    async def give(_: PeerId, message: Message) -> Message:
        return Message("", message.args, bytes([message.args["n"]]) * 300 * KIB)

    window = {Plane.CONTROL: MIB, Plane.BULK: MIB}
    await world.start("anna", give, window_bytes=window)
    ben = await world.start("ben", echo)
    got = {}

    async def get(n: int) -> None:
        got[n] = (await ben.request(ANNA, Message("get", {"n": n}), plane=Plane.BULK)).payload

    async with trio.open_nursery() as nursery:
        for n in range(30):
            nursery.start_soon(get, n)
    assert all(got[n] == bytes([n]) * 300 * KIB for n in range(30))


@both_twins
async def test_a_stranger_gets_nothing_and_the_others_are_served(world: World) -> None:
    async def tell(peer: PeerId, _: Message) -> Message:
        assert peer == BEN
        return Message("", {"secret": 7})

    await world.start("anna", tell)
    ben = await world.start("ben", echo)
    stranger = await world.start("mallory", echo, listening=False, member=False)
    for plane in Plane:
        with pytest.raises(Unreachable):
            await stranger.request(ANNA, PING, plane=plane)
        assert (await ben.request(ANNA, PING, plane=plane)).args == {"secret": 7}
    assert world.watch("anna").changes == [(BEN, True)]
    assert world.watch("anna").faults == []


@both_twins
async def test_a_removed_peer_is_cut_off_and_does_not_come_back(world: World) -> None:
    served = []

    async def count(peer: PeerId, message: Message) -> Message:
        served.append(peer)
        return message

    anna = await world.start("anna", count)
    ben = await world.start("ben", echo, listening=False)
    cleo = await world.start("cleo", echo)
    ben.keep_linked([ANNA])
    for plane in Plane:
        await ben.request(ANNA, PING, plane=plane)
        await cleo.request(ANNA, PING, plane=plane)
    world.remove("ben")
    anna.drop(BEN)
    assert anna.linked_peers() == [CLEO]
    await world.watch("ben").wait_linked(ANNA, up=False)
    for plane in Plane:
        with pytest.raises(Unreachable):
            await ben.request(ANNA, PING, plane=plane)
        await cleo.request(ANNA, PING, plane=plane)
    with pytest.raises(Unreachable):
        await anna.request(BEN, PING)
    assert served == [BEN, CLEO, BEN, CLEO, CLEO, CLEO]


@both_twins
async def test_requests_fail_at_once_when_the_peer_stops_and_work_when_it_is_back(world: World) -> None:
    arrived = trio.Event()

    async def hang(_: PeerId, __: Message) -> Message:
        arrived.set()
        await trio.sleep_forever()

    await world.start("anna", hang)
    ben = await world.start("ben", echo)
    started = trio.current_time()
    failed = 0

    async def ask(plane: Plane) -> None:
        nonlocal failed
        with pytest.raises(Unreachable):
            await ben.request(ANNA, Message("hang"), plane=plane, timeout_s=500)
        failed += 1

    async with trio.open_nursery() as nursery:
        for plane in Plane:
            nursery.start_soon(ask, plane)
        await arrived.wait()
        await world.stop("anna")
    assert failed == 2
    assert trio.current_time() - started < 10
    with pytest.raises(Unreachable):
        await ben.request(ANNA, PING)
    await world.start("anna", echo)
    for plane in Plane:
        assert (await ben.request(ANNA, Message("ping", {"n": 5}), plane=plane)).args == {"n": 5}


@both_twins
async def test_a_listeners_requests_fail_at_once_when_the_dialler_stops(world: World) -> None:
    arrived = trio.Event()

    async def hang(_: PeerId, __: Message) -> Message:
        arrived.set()
        await trio.sleep_forever()

    anna = await world.start("anna", echo)
    ben = await world.start("ben", hang, listening=False)
    await ben.request(ANNA, PING)
    started = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Unreachable):
                await anna.request(BEN, Message("hang"), timeout_s=500)

        nursery.start_soon(ask)
        await arrived.wait()
        await world.stop("ben")
    assert trio.current_time() - started < 10
    assert anna.linked_peers() == []


@both_twins
async def test_a_silent_peer_times_out_and_the_others_are_not_affected(world: World) -> None:
    anna = await world.start("anna", echo)
    await world.start("ben", echo, stallable=True)
    await world.start("cleo", echo)
    for peer in (BEN, CLEO):
        for plane in Plane:
            await anna.request(peer, PING, plane=plane)
    world.stall("ben")
    started = trio.current_time()
    times: list[float] = []

    async def ask_ben(plane: Plane) -> None:
        with pytest.raises(TimedOut):
            await anna.request(BEN, Message("ping", {}, bytes(MIB)), plane=plane, timeout_s=0.2)

    async def ask_cleo() -> None:
        for _ in range(21):
            asked = trio.current_time()
            await anna.request(CLEO, PING)
            times.append(trio.current_time() - asked)

    async with trio.open_nursery() as nursery:
        for plane in Plane:
            nursery.start_soon(ask_ben, plane)
        nursery.start_soon(ask_cleo)
    assert sorted(times)[10] < 0.15
    # Heartbeats tell in the end, and then even long requests fail.
    with pytest.raises(Unreachable):
        await anna.request(BEN, PING, timeout_s=500)
    assert trio.current_time() - started < 10
    assert anna.linked_peers() == [CLEO]


@both_twins
async def test_pings_stay_fast_beside_large_payloads(world: World) -> None:
    await world.start("anna", echo, uplink_bytes_per_s=2.5e6)
    ben = await world.start("ben", echo)
    await ben.request(ANNA, PING, plane=Plane.BULK)
    payload = bytes(8 * MIB)
    pings: list[float] = []
    started = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def ping() -> None:
            while True:
                asked = trio.current_time()
                await ben.request(ANNA, PING)
                pings.append(trio.current_time() - asked)
                await trio.sleep(0.005)

        nursery.start_soon(ping)
        async with trio.open_nursery() as transfers:
            for _ in range(4):
                message = Message("echo", {}, payload)
                transfers.start_soon(partial(ben.request, ANNA, message, plane=Plane.BULK, timeout_s=60))
        nursery.cancel_scope.cancel()
    # One connection for both would make every ping wait for all that is queued before it.
    assert sorted(pings)[len(pings) // 2] < (trio.current_time() - started) / 4


@both_twins
async def test_nothing_is_lost_or_doubled_under_random_cancellation(world: World) -> None:
    rng = random.Random(7)
    served: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    ended: Counter[str] = Counter()

    async def serve(_: PeerId, message: Message) -> Message:
        served[message.args["name"]] += 1
        if message.args["slow"]:
            await trio.sleep(0.001)
        return Message("", {"name": message.args["name"]}, message.payload)

    anna = await world.start("anna", serve)
    ben = await world.start("ben", serve)
    await ben.request(ANNA, Message("ask", {"name": "first", "slow": False}), plane=Plane.BULK)

    async def ask(name: str, count: int) -> None:
        network, peer = (anna, BEN) if name.startswith("a") else (ben, ANNA)
        for n in range(count):
            args = {"name": f"{name}{n}", "slow": rng.random() < 0.2}
            payload = rng.randbytes(16) + bytes(rng.choice([0, 1000, 70_000]))
            plane = rng.choice(list(Plane))
            patience_s = rng.choice([0.00002, 0.0005, 0.01, 500.0])
            with trio.move_on_after(patience_s) as scope:
                reply = await network.request(peer, Message("ask", args, payload), plane=plane)
                assert reply.args["name"] == args["name"]
                assert reply.payload == payload
                answered[reply.args["name"]] += 1
            ended["cancelled" if scope.cancelled_caught else "answered"] += 1

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(ask, f"{'ab'[number % 2]}{number}-", 60)
    assert ended["cancelled"] + ended["answered"] == 480
    assert ended["cancelled"] > 20
    assert ended["answered"] > 100
    assert set(served.values()) == {1}
    assert set(answered.values()) == {1}
    assert answered.keys() <= served.keys()
    # And it still works, with nothing left in the windows.
    for network, peer in ((anna, BEN), (ben, ANNA)):
        for plane in Plane:
            await network.request(peer, Message("ask", {"name": f"{peer!r}{plane}", "slow": False}), plane=plane)


@both_twins
async def test_a_stopped_network_is_unreachable_and_fails_what_waits(world: World) -> None:
    async def hang(_: PeerId, __: Message) -> Message:
        await trio.sleep_forever()

    await world.start("anna", hang)
    ben = await world.start("ben", echo)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(Unreachable):
                await ben.request(ANNA, PING, timeout_s=500)

        nursery.start_soon(ask)
        await world.watch("ben").wait_linked(ANNA)
        await world.stop("ben")
    assert ben.bound is None
    with pytest.raises(Unreachable):
        await ben.request(ANNA, PING)


@both_twins
async def test_nobody_calls_himself(world: World) -> None:
    anna = await world.start("anna", echo)
    with pytest.raises(Unreachable):
        await anna.request(ANNA, PING)
