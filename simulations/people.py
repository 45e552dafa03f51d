"""The people of a simulated household: they store, edit, rename, delete and read, as their programs ask the daemon to.

All share a few names, so that they get in each other's way. Every content is unique, and its mtime says which it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Final, cast

import trio

from p2pstore.control.faults import Failure
from p2pstore.errors import P2PStoreError, PathFault
from p2pstore.placement.levels import Level
from simulations.invariants import acknowledged, reads
from simulations.oracle import MTIME_BASE_NS
from simulations.randomness import derived
from simulations.schedule import Work

if TYPE_CHECKING:
    from p2pstore.control.server import Call
    from simulations.machine import Machine
    from simulations.world import World

FOLDERS: Final = (b"/docs", b"/photos", b"/docs/letters")

DEEDS: Final = {"store": 50, "read": 28, "rename": 9, "delete": 9, "list": 4}
"""What people do, in percent."""

LEVELS: Final = {Level.SAFE: 60, Level.PLACED: 25, Level.HERE: 15}
"""What `put` waits for, in percent."""


class LocalCall:
    """A request of a program on the same machine, without a socket; what the handler of an operation uses of a Call."""

    def __init__(self, **args: Any) -> None:
        self.args: Mapping[str, Any] = args
        self.items: list[Any] = []
        self.scope = trio.CancelScope()

    async def emit(self, item: Any, *, patience_s: float = 0.0) -> None:  # noqa: ARG002  the program reads at once
        """Take an element of the stream."""
        self.items.append(item)
        await trio.lowlevel.checkpoint()

    def report(self, item: Any) -> None:
        """Progress is of no interest."""

    async def receive(self) -> None:
        """There are no bytes to be streamed."""
        await trio.lowlevel.checkpoint()


def call(**args: Any) -> Call:
    """A request with these arguments."""
    return cast("Call", LocalCall(**args))


class People:
    """Everybody's habits.

    Attributes:
        busy: while false nobody begins anything.
        done: how often each deed succeeded.
        failed: how often each failed, with the error's code.
    """

    def __init__(self, world: World, work: Work) -> None:
        self._world = world
        self._work = work
        self.busy = True
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._gets = 0

    async def live_at(self, machine: Machine) -> None:
        """What one person does at a machine while it runs."""
        if not machine.fitting.has_person:
            return
        rng = derived(self._world.seed, "person", machine.number, machine.lives)
        while True:
            await machine.clock.sleep(rng.expovariate(1 / self._work.think_s))
            if self.busy:
                await self.act(machine, rng)

    async def act(self, machine: Machine, rng: Random) -> None:
        """Do one thing."""
        deed = rng.choices(list(DEEDS), list(DEEDS.values()))[0]
        path = self._path(rng)
        match deed:
            case "store":
                level = rng.choices(list(LEVELS), list(LEVELS.values()))[0]
                await self.store(machine, path, self._content(rng), level)
            case "read":
                await self.read(machine, path)
            case "rename":
                await self._ask(machine, "mv", sources=[path], destination=self._path(rng))
            case "delete":
                await self._ask(machine, "rm", paths=[path])
            case "list":
                await self._ask(machine, "ls", path=rng.choice(FOLDERS))

    def _path(self, rng: Random) -> bytes:
        number = rng.randrange(self._work.names)
        return b"%b/file-%d.bin" % (FOLDERS[number % len(FOLDERS)], number)

    def _content(self, rng: Random) -> bytes:
        work = self._work
        if work.large and rng.randrange(work.large) == 0:
            size = rng.randrange(work.large_bytes // 2, work.large_bytes)
        elif rng.random() < 0.4:
            size = rng.randrange(1, 4097)  # lies in its version
        else:
            size = int(4097 * (work.bytes_max / 4097) ** rng.random())
        return rng.randbytes(size)

    async def make_folders(self, machine: Machine) -> None:
        """The folders that everything lies in."""
        for folder in FOLDERS:
            await self._ask(machine, "mkdir", path=folder, parents=True)

    async def store(self, machine: Machine, path: bytes, data: bytes, level: Level) -> bool:
        """Store a content; whether it was acknowledged at that level."""
        world = self._world
        stored = world.oracle.begin_put(machine.number, path, data, world.now_s)
        stored.bears = world.promise.machines
        local = b"/home/%d" % stored.number
        machine.files.write_file(local, data, mtime_ns=MTIME_BASE_NS + stored.number)
        result = await self._ask(
            machine, "put", sources=[{"path": local, "name": b"x"}], destination=path, ack=level.value
        )
        machine.files.remove(local)
        if result is None:
            return False
        if result["files"] != 1:
            codes = [each["code"] for each in result["failed"]]
            self.failed[f"put {codes[0] if codes else 'nothing'}"] += 1
            return False
        stored.level, stored.acked_s = result["level"], world.now_s
        stored.bears = min(stored.bears, world.promise.machines)
        world.trace.note("acked", stored.number, stored.level)
        world.observe(machine)
        await acknowledged.check(world, machine, stored)
        if stored.level != level.value:
            self.failed[f"put below {level.value}"] += 1
        return bool(stored.level == level.value)

    async def read(self, machine: Machine, path: bytes) -> bool:
        """Fetch a file and look at every byte; whether there was one."""
        self._gets += 1
        local = b"/got/%d" % self._gets
        machine.files.make_folder(b"/got")
        result = await self._ask(machine, "get", sources=[path], destination=local)
        if result is None:
            return False
        if result["files"] != 1:
            codes = [each["code"] for each in result["failed"]]
            self.failed[f"get {codes[0] if codes else 'nothing'}"] += 1
            return False
        data, mtime_ns = machine.files.read_file(local)
        machine.files.remove(local)
        reads.check(self._world, machine, path, data, mtime_ns)
        return True

    async def _ask(self, machine: Machine, name: str, **args: Any) -> dict[str, Any] | None:
        """One request; None if it was refused."""
        operations = machine.operations
        if operations is None:
            return None
        began_s = self._world.now_s
        code = ""
        result: dict[str, Any] | None = None
        try:
            result = await operations[name](call(**args))
        except Failure as failure:
            code = failure.fault.code
        except PathFault as fault:
            code = fault.code
        except (P2PStoreError, OSError) as error:
            code = type(error).__name__
        except Exception as error:  # noqa: BLE001  the daemon answers "internal" and goes on; here it is a finding
            self._world.bug(machine, error)
            code = "bug"
        self._world.trace.note("deed", machine.number, name, code, f"{self._world.now_s - began_s:.3f}")
        if result is None:
            self.failed[f"{name} {code}"] += 1
        else:
            self.done[name] += 1
        return result
