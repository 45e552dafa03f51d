"""How well the DHT finds its way among many nodes: share of the truly nearest found, time and datagrams of a lookup."""

from __future__ import annotations

from statistics import median
from time import process_time

import trio

from dht import limits
from simulations.dht_nodes import DhtWorld
from simulations.virtual import run_virtual


def dht_figures(node_count: int, *, lookups: int = 50, seed: int = 0, dead_share: float = 0.0) -> dict[str, float]:
    """Figures of a network in which everybody has had hours to get to know the others.

    Args:
        node_count: nodes.
        lookups: random keys looked up by random nodes, one after the other.
        seed: decides everything.
        dead_share: of the nodes, die before the first lookup.
    """
    figures: dict[str, float] = {"nodes": node_count, "lookups": lookups}

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = DhtWorld(nursery, seed=seed)
            for _ in range(node_count):
                world.add()
            world.acquaint()
            dead = world.rng.sample(world.nodes[1:], int(dead_share * node_count))
            for node in dead:
                world.network.kill(node.address)
            gone = {node.id for node in dead}
            alive = [node for node in world.nodes if node.id not in gone]
            found_shares, times_s = [], []
            sent = world.network.sent
            for _ in range(lookups):
                asker, key = world.rng.choice(alive), world.rng.randbytes(32)
                began_s = trio.current_time()
                found = {contact.id for contact in await asker.dht.find_node(key, limits.BUCKET_SIZE)}
                times_s.append(trio.current_time() - began_s)
                wanted = set(world.nearest(key, limits.BUCKET_SIZE, but=asker))
                found_shares.append(len(found & wanted) / max(1, len(wanted)))
            figures["found_share"] = sum(found_shares) / lookups
            figures["lookup_s_median"] = median(times_s)
            figures["lookup_s_worst"] = max(times_s)
            figures["datagrams_per_lookup"] = (world.network.sent - sent) / lookups
            figures["virtual_s"] = trio.current_time()
            nursery.cancel_scope.cancel()

    began_s = process_time()
    run_virtual(main, seed=seed)
    figures["cpu_s"] = process_time() - began_s
    return figures
