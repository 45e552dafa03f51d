"""A house burns in a household of the catalogue whose root promises `house`: what is left must read everything back.

Usage: python -m simulations.house_fire [SEED]     every place of every household; exit code 1 if anything was lost
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random
from time import process_time

import trio

from p2pstore.ids import ROOT_ENTRY
from p2pstore.ledger.drafts import SetPromise
from p2pstore.metadata.folder_promise import FolderPromise
from p2pstore.placement.promise import Promise
from simulations.catalogue import CATALOGUE
from simulations.machine import Fitting, Machine
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World

BYTES_PER_GIGABYTE = 500_000
"""Disks are so much smaller; what counts is how they compare."""

FILES = 6
SETTLE_S = 30.0


@dataclass(frozen=True, slots=True)
class Burnt:
    """What a fire left.

    Attributes:
        machines: that burnt.
        files: that were read back, each by every machine that is left.
        wrong: sentences on what could not be read back, or wrongly.
    """

    machines: int
    files: int
    wrong: tuple[str, ...]


class _Call:
    """A request of a client that listens to nothing."""

    def __init__(self, args: dict[str, object]) -> None:
        self.args = args
        self.scope = trio.CancelScope()

    def report(self, item: object) -> None:
        """Nobody listens."""


def promised() -> list[tuple[str, str]]:
    """(household, site) of every fire: every place of every household that can promise to survive a house."""
    return [
        (name, site)
        for name, machines in CATALOGUE.items()
        if len(sites := sorted({each.site for each in machines})) > 1
        for site in sites
    ]


def burn(name: str, site: str, *, promise: Promise = Promise.HOUSE, seed: int = 1) -> Burnt:
    """Store files, wait until they are called safe, burn every machine at `site` at once, and read everything back."""
    fittings = [
        Fitting(f"m{number}", each.site, each.steadiness, given_bytes=each.gigabytes * BYTES_PER_GIGABYTE)
        for number, each in enumerate(CATALOGUE[name])
    ]
    found: list[Burnt] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, trace=Trace(keep=False))
            await world.found(fittings)
            await trio.sleep(SETTLE_S)
            contents = await _store(world, promise, Random(seed))
            burnt = [machine for machine in world.machines if machine.fitting.site == site]
            for machine in burnt:
                await machine.crash(power_cut=True)
            wrong = [bug.what for bug in world.bugs]
            left = [machine for machine in world.machines if machine not in burnt]
            for machine in left:
                for path, content in contents.items():
                    wrong += await _difference(machine, path, content)
            found.append(Burnt(len(burnt), len(contents), tuple(wrong)))
            for machine in left:
                await machine.stop()
            nursery.cancel_scope.cancel()

    run_virtual(main, seed=seed)
    return found[0]


async def _store(world: World, promise: Promise, rng: Random) -> dict[bytes, bytes]:
    """Small and large files, put by one machine after the other; each was called safe."""
    first = world.machines[0]
    assert first.node is not None
    await first.node.ledger.commit([SetPromise(FolderPromise(ROOT_ENTRY, promise.value))])
    await trio.sleep(SETTLE_S)
    contents: dict[bytes, bytes] = {}
    for number in range(FILES):
        machine = world.machines[number % len(world.machines)]
        path = b"/f%d" % number
        contents[path] = content = rng.randbytes((500, 40_000, 900_000)[number % 3])
        machine.files.write_file(path, content, mtime_ns=1)
        assert machine.operations is not None
        call = _Call({"sources": [{"path": path, "name": path[1:]}], "destination": path, "ack": "safe"})
        result = await machine.operations["put"](call)  # type: ignore[arg-type]
        if result["level"] != "safe":
            raise AssertionError(f"{path.decode()} was not called safe: {result['sentence']}")
    return contents


async def _difference(machine: Machine, path: bytes, content: bytes) -> list[str]:
    """What is wrong with one file as one machine reads it; [] for nothing."""
    assert machine.node is not None
    item = await machine.node.ledger.resolve((path[1:],))
    if item is None:
        return [f"{machine}: {path.decode()} has no name any more"]
    read = bytearray()

    async def sink(piece: memoryview) -> None:
        read.extend(piece)

    try:
        await machine.node.exporter.read(item, 0, item.size, sink)
    except Exception as error:  # noqa: BLE001 - whatever it is, the file was not read back
        return [f"{machine}: {path.decode()}: {type(error).__name__}: {error}"]
    return [] if bytes(read) == content else [f"{machine}: {path.decode()}: other bytes"]


def main() -> int:
    """A line for each fire."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    lost = 0
    began_s = process_time()
    for name, site in promised():
        burnt = burn(name, site, seed=seed)
        lost += bool(burnt.wrong)
        what = f"{name}, {site}: {burnt.machines} burnt, {burnt.files} files, {len(burnt.wrong)} wrong"
        print(what, *burnt.wrong[:3])
    print(f"{len(promised())} fires, {lost} with losses, {process_time() - began_s:.0f} s")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
