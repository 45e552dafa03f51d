"""How the DHT does at a size: rounds, latency, success under churn, CPU and memory.

    python -m benchmarks.dht --nodes 1000            # tables as after hours of life
    python -m benchmarks.dht --nodes 300 --join      # every node joins through another

Everything runs in one process on virtual time, so latency is simulated and CPU is of all nodes together.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from random import Random

import trio
from trio.testing import MockClock

from simulations.datagrams import DatagramWeather
from simulations.dht_nodes import DhtWorld, SimulatedNode, ids

PAGE_BYTES = 4096


def resident_bytes() -> int:
    """Memory of this process now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def look_up(world: DhtWorld, askers: list[SimulatedNode], count: int, rng: Random, title: str) -> None:
    """Time `count` lookups of random keys and compare each with the truth."""
    virtual_s, rounds, requests, exact, recall = [], [], [], 0, 0
    cpu_s = 0.0
    for _ in range(count):
        asker, key = rng.choice(askers), rng.randbytes(32)
        stats = asker.dht.stats
        rounds_before, requests_before, start_s = stats.rounds_total, stats.requests_sent, trio.current_time()
        cpu_start_s = time.process_time()
        found = ids(await asker.dht.find_node(key))
        cpu_s += time.process_time() - cpu_start_s
        virtual_s.append(trio.current_time() - start_s)
        rounds.append(float(stats.rounds_total - rounds_before))
        requests.append(float(stats.requests_sent - requests_before))
        truth = world.nearest(key, 20, but=asker)
        exact += found == truth
        recall += len(set(found) & set(truth))
    print(
        f"{title}: exact {exact}/{count}, recall {recall / 20 / count:.3f}, rounds mean {sum(rounds) / count:.1f} "
        f"p99 {percentile(rounds, 0.99):.0f}, requests {sum(requests) / count:.0f}, latency p50 "
        f"{percentile(virtual_s, 0.5) * 1000:.0f} ms p95 {percentile(virtual_s, 0.95) * 1000:.0f} ms, "
        f"CPU {cpu_s / count * 1000:.1f} ms"
    )


async def get_records(askers: list[SimulatedNode], wanted: list[bytes], count: int, rng: Random, title: str) -> None:
    """Time `count` searches for records that were published."""
    virtual_s, found = [], 0
    cpu_s = time.process_time()
    for number in range(count):
        start_s = trio.current_time()
        found += await rng.choice(askers).dht.endpoint(wanted[number % len(wanted)]) is not None
        virtual_s.append(trio.current_time() - start_s)
    cpu_s = time.process_time() - cpu_s
    print(
        f"{title}: found {found}/{count}, latency p50 {percentile(virtual_s, 0.5) * 1000:.0f} ms "
        f"p95 {percentile(virtual_s, 0.95) * 1000:.0f} ms, CPU {cpu_s / count * 1000:.1f} ms"
    )


async def main(nodes: int, lookups: int, seed: int, join: bool) -> None:
    """Build, measure, kill a fifth, measure again."""
    rng = Random(seed)
    async with trio.open_nursery() as nursery:
        world = DhtWorld(nursery, seed=seed)
        before_bytes, cpu_s = resident_bytes(), time.process_time()
        if join:
            await world.grow(nodes)
        else:
            for _ in range(nodes):
                world.add()
            world.acquaint()
        cpu_s = time.process_time() - cpu_s
        contacts = sum(node.dht.table_size for node in world.nodes) / nodes
        print(
            f"{nodes} nodes, {contacts:.0f} contacts each: build {cpu_s / nodes * 1000:.1f} ms CPU a node, "
            f"{(resident_bytes() - before_bytes) / nodes / 1024:.0f} KiB a node, {resident_bytes() >> 20} MiB in all"
        )
        await look_up(world, world.nodes, lookups, rng, "all alive")
        published = rng.sample(world.nodes, min(50, nodes // 2))
        for node in published:
            await node.dht.publish(["192.0.2.1:7000"])
        wanted = [node.id for node in published]
        await get_records(world.nodes, wanted, lookups, rng, "records")
        for node in rng.sample([node for node in world.nodes if node.id not in wanted], nodes // 5):
            world.network.kill(node.address)
        world.network.weather = DatagramWeather(loss=0.02)
        alive = [node for node in world.nodes if node.socket.is_alive]
        await look_up(world, alive, lookups, rng, "a fifth dead at once, 2 % loss")
        await get_records(alive, wanted, lookups, rng, "records, likewise")
        dht_sent = sum(node.dht.stats.requests_sent + node.dht.stats.replies_sent for node in world.nodes)
        print(f"{dht_sent} datagrams, {resident_bytes() >> 20} MiB in all at the end")
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--lookups", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--join", action="store_true", help="build by joining, not by giving tables")
    options = parser.parse_args()
    trio.run(main, options.nodes, options.lookups, options.seed, options.join, clock=MockClock(autojump_threshold=0))
