"""How fast the network is through its whole stack: two processes, loopback, CURVE.

    python -m benchmarks.network            about ten seconds
    python -m benchmarks.network --idle 60  also what an idle link costs in a minute
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import resource
import statistics
import time

import trio
import zmq
from zmq.utils import z85

from p2pstore.edges.clock import RealClock
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.ids import PeerId
from p2pstore.limits import KIB, MIB
from p2pstore.seams.network import Listen, Message, PeerEndpoint, Plane

SERVER, CLIENT = PeerId(bytes(32)), PeerId(bytes([1]) * 32)
Pair = tuple[bytes, bytes]


def key_pair() -> Pair:
    public, secret = zmq.curve_keypair()
    return z85.decode(public), z85.decode(secret)


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve(_: PeerId, message: Message) -> Message:
    match message.kind:
        case "get":
            return Message("", {}, PAYLOAD[: message.args["size"]])
        case "cpu":
            return Message("", {"cpu_s": cpu_s()})
        case _:
            return Message("")


PAYLOAD = bytes(8 * MIB)


def server(pair: Pair, client_public: bytes, pipe: multiprocessing.connection.Connection) -> None:
    async def main() -> None:
        def admit(key: bytes) -> PeerId | None:
            return CLIENT if key == client_public else None

        network = ZmqNetwork(SERVER, *pair, RealClock(), admit, lambda _: None)
        async with trio.open_nursery() as nursery:
            pipe.send(await nursery.start(lambda task_status: network.run(
                serve, listen=Listen("127.0.0.1"), task_status=task_status)))
            await trio.to_thread.run_sync(pipe.recv)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def measure(network: ZmqNetwork, idle_s: float) -> None:
    async def ask(message: Message, plane: Plane = Plane.CONTROL) -> Message:
        return await network.request(SERVER, message, plane=plane, timeout_s=60)

    async def server_cpu_s() -> float:
        return float((await ask(Message("cpu"))).args["cpu_s"])

    await ask(Message("ping"), Plane.BULK)
    times = []
    for _ in range(2000):
        started = time.perf_counter()
        await ask(Message("ping"))
        times.append(time.perf_counter() - started)
    print(f"ping: median {statistics.median(times) * 1e6:.0f} us, 99 % below {sorted(times)[1980] * 1e6:.0f} us")

    started = time.perf_counter()
    async with trio.open_nursery() as nursery:

        async def many() -> None:
            for _ in range(250):
                await ask(Message("ping"))

        for _ in range(32):
            nursery.start_soon(many)
    print(f"requests, 32 in flight: {8000 / (time.perf_counter() - started):.0f}/s")

    total = 512 * MIB
    for kind, size in (("put", 512 * KIB), ("get", 512 * KIB), ("put", 8 * MIB)):
        mutable = memoryview(bytearray(size))
        message = Message("put", {}, mutable) if kind == "put" else Message("get", {"size": size})
        cpu, their_cpu, started = cpu_s(), await server_cpu_s(), time.perf_counter()
        left = total // size

        async def transfer(message: Message = message) -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await ask(message, Plane.BULK)

        async with trio.open_nursery() as nursery:
            for _ in range(16):
                nursery.start_soon(transfer)
        took_s = time.perf_counter() - started
        ours, theirs = cpu_s() - cpu, await server_cpu_s() - their_cpu
        per_gb = 1e9 / total
        print(
            f"{kind} {size // KIB} KiB, 16 in flight: {total / took_s / 1e6:.0f} MB/s; CPU s/GB: "
            f"client {ours * per_gb:.2f}, server {theirs * per_gb:.2f}"
        )

    if idle_s:
        cpu, before = cpu_s(), await server_cpu_s()
        await trio.sleep(idle_s)
        print(f"idle {idle_s:.0f} s: CPU client {cpu_s() - cpu:.3f} s, server {await server_cpu_s() - before:.3f} s")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--idle", type=float, default=5.0)
    arguments = parser.parse_args()
    server_pair, client_pair = key_pair(), key_pair()
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=server, args=(server_pair, client_pair[0], there), daemon=True)
    process.start()
    bound = here.recv()
    endpoint = PeerEndpoint((f"127.0.0.1:{bound.control}",), (f"127.0.0.1:{bound.bulk}",), server_pair[0])

    async def run() -> None:
        network = ZmqNetwork(CLIENT, *client_pair, RealClock(), lambda _: None, lambda _: endpoint)
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: network.run(serve, task_status=task_status))
            await measure(network, arguments.idle)
            nursery.cancel_scope.cancel()

    trio.run(run)
    here.send("stop")
    process.join(10)


if __name__ == "__main__":
    main()
