"""What each kind of fault does to a world, and how it ends.

A fault that meets a machine which is off, or that would exceed the fault budget, does nothing and is counted as such.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import trio

from p2pstore.ledger.life import LIFE_NAME
from p2pstore.ledger.opening import DATABASE_NAME
from simulations.disk import SECTOR_BYTES
from simulations.hostile import hostility
from simulations.machine import Machine
from simulations.randomness import derived
from simulations.schedule import Fault
from simulations.world import World

SLOW_DISK: Final = 100.0
YEAR_2000_SKEW_S: Final = -26 * 365.25 * 86400
PACKS: Final = "pack"
LOSABLE: Final = {
    "commits": "id",
    "versions": "id",
    "entries": "entry",
    "stripes": "encoding",
    "manifest_pages": "manifest",
    "tags": "entry",
}
"""Tables of a ledger that lose rows, and by which column they are chosen."""

MEMBERS_WAIT_S: Final = 30.0
"""Who wants to join or is to leave looks so often whether an admin is there."""


class Faults:
    """Lets a schedule happen.

    Attributes:
        happened: how often each kind took effect; a kind that never does is a hole in the test.
        passed: how often one met nothing that it could befall.
    """

    def __init__(self, world: World, *, damage_max: int) -> None:
        self._world = world
        self._damage_max = damage_max
        self._damaged: set[int] = set()
        self._rng = derived(world.seed, "faults")
        self._enrolling = trio.Lock()
        self.happened: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()

    async def run(self, faults: Sequence[Fault]) -> None:
        """Let them happen, each in its time; cancel to leave the rest out and to stop waiting for the ends."""
        async with trio.open_nursery() as watched:
            watched.start_soon(self._free_admin)
            async with trio.open_nursery() as nursery:
                for fault in sorted(faults, key=lambda each: each.at_s):
                    await trio.sleep_until(fault.at_s)
                    nursery.start_soon(self._one, fault)
            watched.cancel_scope.cancel()

    async def _free_admin(self) -> None:
        """When all is over: who joins or leaves just then is waited for, and may wait for an admin's stuck disk."""
        try:
            await trio.sleep_forever()
        finally:
            if self._enrolling.locked():
                for disk in (disk for machine in self._world.machines for disk in machine.disks):
                    disk.unstick()

    async def _one(self, fault: Fault) -> None:
        machine = self._world.machines[fault.machine] if 0 <= fault.machine < len(self._world.machines) else None
        if machine is not None and not machine.is_up and fault.kind not in WHILE_OFF:
            self.passed[fault.kind] += 1
            return
        if fault.kind in DAMAGING and machine is not None and not self._may_damage(machine):
            self.passed[fault.kind] += 1
            return
        self._world.trace.note("fault", fault.kind, fault.machine, fault.what)
        self.happened[fault.kind] += 1
        await KINDS[fault.kind](self, fault)

    def _may_damage(self, machine: Machine) -> bool:
        return self._may_damage_all([machine.number])

    def _may_damage_all(self, numbers: Sequence[int]) -> bool:
        damaged = self._damaged.union(numbers)
        if len(damaged) > max(self._damage_max, len(self._damaged)):
            return False
        self._damaged = damaged
        return True

    def _of(self, fault: Fault) -> Machine:
        return self._world.machines[fault.machine]

    async def _down(self, fault: Fault, *, power_cut: bool) -> Machine:
        machine = self._of(fault)
        with trio.CancelScope(shield=True):
            await machine.crash(power_cut=power_cut)
        return machine

    async def _up_later(self, fault: Fault) -> None:
        await trio.sleep(fault.lasts_s)
        with trio.CancelScope(shield=True):
            await self._world.restart(self._of(fault))

    # --- machines -------------------------------------------------------------------------------------------------

    async def crash(self, fault: Fault) -> None:
        """The power fails; it is back after `lasts_s`."""
        await self._down(fault, power_cut=True)
        await self._up_later(fault)

    async def kill(self, fault: Fault) -> None:
        """The daemon is killed; the kernel writes what it had."""
        await self._down(fault, power_cut=False)
        await self._up_later(fault)

    async def stop(self, fault: Fault) -> None:
        """It is shut down in good order, and started again after `lasts_s`."""
        with trio.CancelScope(shield=True):
            await self._of(fault).stop()
        await self._up_later(fault)

    async def torn(self, fault: Fault) -> None:
        """The power fails in the middle of the `amount`-th change from now that reaches its disk `what`."""
        machine = self._of(fault)
        disk = machine.ledger_disk if fault.what == "ledger" else machine.store_disk
        disk.dies_at_step = disk.steps + max(1, int(fault.amount))
        with trio.move_on_after(fault.lasts_s):
            await machine.wait_ended()
        disk.dies_at_step = None
        with trio.CancelScope(shield=True):
            await machine.wait_settled()
            if machine.can_begin:
                await machine.crash(power_cut=True)
                await self._world.restart(machine)

    async def wipe(self, fault: Fault) -> None:
        """The power fails, and what comes back has lost its "ledger", its "store" or "both"; keys are kept."""
        lost_bytes = self._shard_bytes(fault)
        machine = await self._down(fault, power_cut=True)
        at_s = self._world.now_s
        if fault.what in ("ledger", "both"):
            machine.ledger_disk.wipe()
            machine.damage.ledger_at_s = at_s
            self._world.oracle.lost_memory(machine)
        if fault.what in ("store", "both"):
            self._world.lost_bytes += lost_bytes
            machine.store_disk.wipe()
            machine.forget_shards()
            machine.damage.store_at_s = at_s
            with trio.CancelScope(shield=True):
                await machine.format_store()
        await self._up_later(fault)

    async def rollback(self, fault: Fault) -> None:
        """After `lasts_s` its "ledger" (or "both" disks, or the "database" of the ledger without the file beside it) is
        set back to what it is now, as from a backup."""
        machine = self._of(fault)
        images = [disk.snapshot() for disk in machine.disks]
        await trio.sleep(fault.lasts_s)
        if not machine.is_up:
            return
        await self._down(fault, power_cut=False)
        if fault.what == "database":
            images[0][LIFE_NAME] = machine.ledger_disk.snapshot()[LIFE_NAME]
        else:
            machine.damage.unwitnessed = True
        machine.ledger_disk.restore(images[0])
        machine.damage.ledger_at_s = self._world.now_s
        self._world.oracle.lost_memory(machine)
        if fault.what == "both":
            machine.store_disk.restore(images[1])
            machine.forget_shards()
            machine.damage.store_at_s = self._world.now_s
        with trio.CancelScope(shield=True):
            await self._world.restart(machine)

    async def destroy(self, fault: Fault) -> None:
        """It burns; it never comes back."""
        self._world.lost_bytes += self._shard_bytes(fault)
        machine = await self._down(fault, power_cut=True)
        machine.gone = True
        machine.damage.ledger_at_s = machine.damage.store_at_s = self._world.now_s

    def _shard_bytes(self, fault: Fault) -> int:
        node = self._of(fault).node
        return 0 if node is None else node.store.usage().used_bytes

    async def swap(self, fault: Fault) -> None:
        """At a power cut somebody puts the shards' disks of it and of `other` back the wrong way round."""
        pair = (self._of(fault), self._world.machines[fault.other])
        if not pair[1].is_up or not self._may_damage_all([each.number for each in pair]):
            return
        with trio.CancelScope(shield=True):
            for machine in pair:
                self._world.lose_shards(machine, self._world.now_s)
                await machine.crash(power_cut=True)
                machine.forget_shards()
            images = [machine.store_disk.snapshot() for machine in pair]
            for machine, image in zip(pair, reversed(images), strict=True):
                machine.store_disk.restore(image)
        await trio.sleep(fault.lasts_s)
        with trio.CancelScope(shield=True):
            for machine in pair:
                await self._world.restart(machine)

    async def misdirect(self, fault: Fault) -> None:
        """`amount` sectors of its packs are where others should be: the disk wrote them to the wrong place."""
        machine = self._of(fault)
        disk = machine.store_disk
        names = [name for name in disk.all_names() if PACKS in name and disk.size_of(name) >= 2 * SECTOR_BYTES]
        if names:
            machine.damage.store_at_s = self._world.now_s
            for _ in range(max(1, int(fault.amount))):
                disk.misdirect(self._rng.choice(names))

    async def hostile(self, fault: Fault) -> None:
        """From now on it works against the household, as `simulations.hostile` says."""
        machine = self._of(fault)
        machine.damage.store_at_s = math.inf  # what it says that it holds was never so
        machine.damage.unwitnessed = True
        await hostility(self._world, machine, lasts_s=fault.lasts_s)

    async def upgrade(self, fault: Fault) -> None:
        """It is stopped, gets a build that knows more than the others', and is started again."""
        machine = self._of(fault)
        with trio.CancelScope(shield=True):
            await machine.stop()
        machine.is_newer = True
        await self._up_later(fault)

    # --- members --------------------------------------------------------------------------------------------------

    async def _wait_admin(self, but: Machine) -> Machine:
        """An admin that is there; the first machine is the only one."""
        admin = self._world.machines[0]
        while not admin.is_awake or admin is but:  # noqa: ASYNC110  no event tells of lids that open
            await trio.sleep(MEMBERS_WAIT_S)
        return admin

    async def join(self, fault: Fault) -> None:
        """It becomes a member, with an empty disk. Waits for an admin for `lasts_s`."""
        machine = self._of(fault)
        if machine.enrolled or machine.gone or self._world.machines[0].damage.ledger_at_s >= 0:
            return
        with trio.move_on_after(fault.lasts_s):
            admin = await self._wait_admin(machine)
            with trio.CancelScope(shield=True):
                async with self._enrolling:
                    if not machine.enrolled and admin.is_up:
                        await self._world.enrol(machine, admin)

    async def leave(self, fault: Fault) -> None:
        """It is removed from the household, if it is gone already or if that does not exceed the fault budget, and
        never comes back. Waits for an admin for `lasts_s`."""
        machine = self._of(fault)
        with trio.move_on_after(fault.lasts_s):
            admin = await self._wait_admin(machine)
            with trio.CancelScope(shield=True):
                async with self._enrolling:
                    await self._leave(machine, admin)

    async def _leave(self, machine: Machine, admin: Machine) -> None:
        if not machine.enrolled or not admin.is_up or not (machine.gone or self._may_damage(machine)):
            return
        if machine.is_up and machine.node is not None:
            self._world.lost_bytes += machine.node.store.usage().used_bytes
            await machine.stop()
        if admin.is_up and await self._world.remove(machine, admin):
            machine.gone = True
            machine.damage.ledger_at_s = machine.damage.store_at_s = self._world.now_s
        else:
            await self._world.restart(machine)

    # --- asleep ---------------------------------------------------------------------------------------------------

    async def suspend(self, fault: Fault) -> None:
        """The lid is closed for `lasts_s`; its clock stands still."""
        machine = self._of(fault)
        machine.sleep()
        await trio.sleep(fault.lasts_s)
        machine.wake(stalled=False)

    async def stall(self, fault: Fault) -> None:
        """It does nothing for `lasts_s`, then everything is overdue: a paused virtual machine."""
        machine = self._of(fault)
        machine.sleep()
        await trio.sleep(fault.lasts_s)
        machine.wake(stalled=True)

    # --- lines ----------------------------------------------------------------------------------------------------

    async def _cut_for(self, ways: Sequence[tuple[int, int]], lasts_s: float) -> None:
        number = self._world.cut(ways)
        await trio.sleep(lasts_s)
        self._world.mend(number)

    def _both_ways(self, machine: int) -> list[tuple[int, int]]:
        others = [each.number for each in self._world.machines if each.number != machine]
        return [way for other in others for way in ((machine, other), (other, machine))]

    async def isolate(self, fault: Fault) -> None:
        """Its line is dead for `lasts_s`."""
        await self._cut_for(self._both_ways(fault.machine), fault.lasts_s)

    async def partition(self, fault: Fault) -> None:
        """Machines below number `amount` and the others do not hear each other for `lasts_s`."""
        numbers = range(len(self._world.machines))
        await self._cut_for(
            [(a, b) for a in numbers for b in numbers if (a < fault.amount) != (b < fault.amount)], fault.lasts_s
        )

    async def swizzle(self, fault: Fault) -> None:
        """Within `lasts_s` some machines lose their lines one by one and get them back in another order: what swizzled
        clogging finds in databases, a household's flaky routers do too."""
        numbers = [machine.number for machine in self._world.members()]
        clogged = self._rng.sample(numbers, self._rng.randrange(1, len(numbers) + 1))
        pause_s = fault.lasts_s / (2 * len(clogged))
        cuts = {}
        for number in clogged:
            cuts[number] = self._world.cut(self._both_ways(number))
            await trio.sleep(self._rng.uniform(0.5, 1.5) * pause_s)
        for number in self._rng.sample(clogged, len(clogged)):
            self._world.mend(cuts[number])
            await trio.sleep(self._rng.uniform(0.5, 1.5) * pause_s)

    async def nat(self, fault: Fault) -> None:
        """For `lasts_s` nobody can dial it; it dials the others."""
        machine = self._of(fault)
        machine.hide(True)
        await trio.sleep(fault.lasts_s)
        machine.hide(False)

    async def cut(self, fault: Fault) -> None:
        """Nothing passes from it to the other one for `lasts_s`; the other way is open."""
        await self._cut_for([(fault.machine, fault.other)], fault.lasts_s)

    async def flap(self, fault: Fault) -> None:
        """For `lasts_s` its line is dead half of the time, in turns of about `amount` seconds."""
        ends_s = self._world.now_s + fault.lasts_s
        while self._world.now_s < ends_s:
            await self._cut_for(self._both_ways(fault.machine), self._rng.uniform(0.5, 1.5) * fault.amount)
            await trio.sleep(self._rng.uniform(0.5, 1.5) * fault.amount)

    async def slow(self, fault: Fault) -> None:
        """For `lasts_s` it is `amount` seconds away and sends 20 kB a second."""
        network = self._of(fault).network
        if network is None:
            return
        before_s = network.latency_s
        network.set_line(latency_s=fault.amount, uplink_bytes_per_s=20_000)
        await trio.sleep(fault.lasts_s)
        network.set_line(latency_s=before_s)

    async def loss(self, fault: Fault) -> None:
        """For `lasts_s` a share `amount` of everything is lost."""
        self._world.weather(loss=fault.amount)
        await trio.sleep(fault.lasts_s)
        self._world.weather(loss=0.0)

    # --- disks ----------------------------------------------------------------------------------------------------

    async def full(self, fault: Fault) -> None:
        """For `lasts_s` its disk `what` has room for `amount` bytes more."""
        machine = self._of(fault)
        disk = machine.ledger_disk if fault.what == "ledger" else machine.store_disk
        disk.capacity_bytes = disk.used_bytes + int(fault.amount)
        await trio.sleep(fault.lasts_s)
        disk.capacity_bytes = None

    async def slow_disk(self, fault: Fault) -> None:
        """For `lasts_s` its disks take a hundred times as long."""
        for disk in self._of(fault).disks:
            disk.slowness = SLOW_DISK
        await trio.sleep(fault.lasts_s)
        for disk in self._of(fault).disks:
            disk.slowness = 1.0

    async def stuck_disk(self, fault: Fault) -> None:
        """For `lasts_s` no call to its disks returns."""
        for disk in self._of(fault).disks:
            disk.stick()
        await trio.sleep(fault.lasts_s)
        for disk in self._of(fault).disks:
            disk.unstick()

    async def rot(self, fault: Fault) -> None:
        """`amount` bits flip in its packs of shards, or in the index of them."""
        machine = self._of(fault)
        disk = machine.store_disk
        names = sorted(name for name in disk.all_names() if (PACKS in name) == (fault.what != "index"))
        if not names:
            return
        machine.damage.rotted = True
        if fault.what != "index":
            machine.damage.store_at_s = self._world.now_s
        for _ in range(max(1, int(fault.amount))):
            name = self._rng.choice(names)
            if disk.size_of(name):
                disk.flip_bit(name, offset=self._rng.randrange(disk.size_of(name)))

    async def lose_rows(self, fault: Fault) -> None:
        """The power fails, and `amount` of a hundred rows of its ledger's table `what` are gone; its vector is not.
        "half" is a snapshot written by half: the later half of the log, with all that follows from it."""
        machine = await self._down(fault, power_cut=True)
        machine.damage.ledger_rows = True
        machine.damage.ledger_at_s = self._world.now_s
        database = machine.ledger_disk.open_database(DATABASE_NAME)
        if fault.what == "half":
            [(middle,)] = database.execute("SELECT coalesce(max(id), 0) / 2 FROM commits")
            database.execute("DELETE FROM commits WHERE id > ?", (middle,))
            for table in ("versions", "tags", "stripes", "manifest_pages", "replaced"):
                database.execute(
                    f"DELETE FROM {table} AS t WHERE NOT EXISTS (SELECT 1 FROM commits c WHERE c.slot = t.slot"  # noqa: S608
                    " AND c.first <= t.sequence AND c.last >= t.sequence)"
                )
            database.execute("DELETE FROM entries WHERE version NOT IN (SELECT id FROM versions)")
        else:
            assert fault.what in LOSABLE
            keys = [row[0] for row in database.execute(f"SELECT {LOSABLE[fault.what]} FROM {fault.what}")]  # noqa: S608
            for key in sorted(keys):
                if self._rng.uniform(0, 100) < fault.amount:
                    database.execute(
                        f"DELETE FROM {fault.what} WHERE {LOSABLE[fault.what]} = ?",  # noqa: S608
                        (key,),
                    )
        database.close()
        await self._up_later(fault)

    # --- clocks ---------------------------------------------------------------------------------------------------

    async def skew(self, fault: Fault) -> None:
        """For `lasts_s` its wall clock is `amount` seconds off; jumps there and back."""
        clock = self._of(fault).clock
        clock.skew_s += fault.amount
        await trio.sleep(fault.lasts_s)
        clock.skew_s -= fault.amount

    async def year_2000(self, fault: Fault) -> None:
        """For `lasts_s` it believes that it is the year 2000: a dead clock battery."""
        clock = self._of(fault).clock
        clock.skew_s += YEAR_2000_SKEW_S
        await trio.sleep(fault.lasts_s)
        clock.skew_s -= YEAR_2000_SKEW_S


KINDS: Final[dict[str, Callable[[Faults, Fault], Awaitable[None]]]] = {
    "crash": Faults.crash,
    "kill": Faults.kill,
    "stop": Faults.stop,
    "torn": Faults.torn,
    "wipe": Faults.wipe,
    "rollback": Faults.rollback,
    "destroy": Faults.destroy,
    "swap": Faults.swap,
    "misdirect": Faults.misdirect,
    "hostile": Faults.hostile,
    "upgrade": Faults.upgrade,
    "join": Faults.join,
    "leave": Faults.leave,
    "suspend": Faults.suspend,
    "stall": Faults.stall,
    "isolate": Faults.isolate,
    "partition": Faults.partition,
    "cut": Faults.cut,
    "swizzle": Faults.swizzle,
    "nat": Faults.nat,
    "flap": Faults.flap,
    "slow": Faults.slow,
    "loss": Faults.loss,
    "full": Faults.full,
    "slow-disk": Faults.slow_disk,
    "stuck-disk": Faults.stuck_disk,
    "rot": Faults.rot,
    "lose-rows": Faults.lose_rows,
    "skew": Faults.skew,
    "year-2000": Faults.year_2000,
}
"""Every kind of fault by its name in a schedule."""

DAMAGING: Final = frozenset({"wipe", "rollback", "destroy", "rot", "lose-rows", "misdirect", "hostile"})
"""Kinds that lose data for good: they count against the fault budget. "swap" and "leave" ask for themselves."""

WHILE_OFF: Final = frozenset({"join", "leave"})
"""Kinds that befall machines which are off, or no members yet."""
