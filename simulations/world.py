"""A household of real nodes in one process, in virtual time: machines, what joins them, and what can befall them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

import trio
from blake3 import blake3

from p2pstore.errors import P2PStoreError
from p2pstore.ids import EncodingId, PeerId
from p2pstore.keys.household import HouseholdKeys, new_secret
from p2pstore.keys.identity import Identity
from p2pstore.metadata.roster_changes import enrol, found, mend_generations, open_generations, remove
from p2pstore.metadata.roster_codec import make_card, make_update
from p2pstore.metadata.roster_statements import Fact
from p2pstore.node import Node
from p2pstore.placement.promise import Promise, household_promise
from simulations.clock import WALL_START_S
from simulations.datagrams import DatagramNetwork, DatagramWeather
from simulations.machine import DATAGRAM_PORT, Fitting, Habit, Machine
from simulations.network import Fabric, LinkWeather
from simulations.oracle import Oracle
from simulations.randomness import derived
from simulations.trace import Trace

START_TIMEOUT_S: Final = 120.0
"""Virtual seconds until a machine that was switched on serves."""

Ways = frozenset[tuple[int, int]]
"""(source, target) machines between which nothing passes."""


@dataclass(frozen=True, slots=True)
class Bug:
    """Something that no fault explains.

    Attributes:
        at_s: when.
        machine: where; -1 for the world.
        what: the error, in one line.
    """

    at_s: float
    machine: int
    what: str


class World:
    """All machines and everything between them.

    Args:
        seed: decides all chance.
        nursery: where machines live; cancelling it ends the world.
        trace: takes down what happens.
        pace: how many times slower than usual upkeep is done (`simulations.pace`).

    Attributes:
        lost_bytes: shards that were lost with a disk or a machine: the floor of what repair must rebuild.
    """

    def __init__(self, seed: int, nursery: trio.Nursery, *, trace: Trace, pace: float = 1.0) -> None:
        self.seed = seed
        self.pace = pace
        self.lost_bytes = 0
        self.founded_promise = 1
        self.nursery = nursery
        self.trace = trace
        self.fabric = Fabric(derived(seed, "network"), LinkWeather())
        self.datagrams = DatagramNetwork(derived(seed, "datagrams"), DatagramWeather())
        self.machines: list[Machine] = []
        self.habits: list[Habit] = []
        self.oracle = Oracle()
        self.bugs: list[Bug] = []
        self.household: HouseholdKeys | None = None
        self._cuts: dict[int, Ways] = {}
        self._cut_numbers = count(1)
        self.fabric.on_delivery = self._delivered
        self.datagrams.on_delivery = lambda address, data: trace.note("udp", address[0], len(data))

    def _delivered(self, peer: PeerId, header: bytes, payload: bytes) -> None:
        self.trace.note("msg", peer[:4], blake3(header).digest(4), len(payload))

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return trio.current_time()

    @property
    def promise(self) -> Promise:
        """What the household promises now."""
        return household_promise(len(self.members()))

    def members(self) -> list[Machine]:
        """Everybody who belongs to the household, whatever state they are in."""
        return [machine for machine in self.machines if machine.enrolled]

    def bug(self, machine: Machine | None, error: BaseException) -> None:
        """Note what no fault explains; each sentence once."""
        what = _one_line(error)
        self.trace.note("bug", machine, what)
        if not any(known.what == what for known in self.bugs):
            self.bugs.append(Bug(self.now_s, -1 if machine is None else machine.number, what))

    # --- founding -------------------------------------------------------------------------------------------------

    async def found(self, fittings: Sequence[Fitting]) -> None:
        """Make a household of these machines, all running; the first is its admin."""
        await self.nursery.start(self.fabric.run)
        await self.nursery.start(self.datagrams.run)
        rng = derived(self.seed, "founding")
        self.machines = [
            Machine(self, number, fitting, Identity.generate(rng)) for number, fitting in enumerate(fittings)
        ]
        first = self.machines[0]
        now_s = WALL_START_S
        keys = self.household = HouseholdKeys.derive(new_secret(rng))
        founding = found(keys, first.identity, name="simulated", profile=first.profile, now_s=now_s, rng=rng)
        roster = founding.roster
        members = self.members()
        self.founded_promise = self.promise.machines
        for machine in members[1:]:
            card = make_card(machine.identity, roster.network_id)
            statement = enrol(
                first.identity, roster, founding.keyring, card=card, profile=machine.profile, now_s=now_s, rng=rng
            )
            roster = roster.with_statements([statement])
        roster = roster.with_statements(
            [
                make_update(
                    machine.identity,
                    roster.network_id,
                    subject=machine.me,
                    about=Fact.ENDPOINTS,
                    sequence=1,
                    value=machine.endpoints,
                )
                for machine in members
            ]
        )
        mended = mend_generations(first.identity, roster, founding.keyring, now_s=now_s, rng=rng)
        roster = roster.with_statements(mended.statements)
        for machine in members:
            machine.roster = roster
            identity = machine.identity
            machine.keyring = open_generations(roster, identity.curve_public, identity.curve_secret)
            await machine.format_store()
        for machine in members:
            machine.begin()
            if not await machine.wait_ready():
                self.bug(machine, RuntimeError("did not start"))

    async def enrol(self, machine: Machine, by: Machine) -> bool:
        """An admin that runs takes a new machine in; it is switched on with an empty disk."""
        assert by.node is not None
        membership = by.node.membership
        rng = derived(self.seed, "enrolment", machine.number)
        card = make_card(machine.identity, membership.network_id)
        endpoints = make_update(
            machine.identity,
            membership.network_id,
            subject=machine.me,
            about=Fact.ENDPOINTS,
            sequence=1,
            value=machine.endpoints,
        )
        now_s = by.clock.wall_s()
        statement = enrol(
            by.identity, membership.roster, membership.keyring, card=card, profile=machine.profile, now_s=now_s, rng=rng
        )
        try:
            await membership.change(by.identity, [statement, endpoints])
        except P2PStoreError:
            return False  # a full disk: nobody has joined
        machine.roster = membership.roster
        identity = machine.identity
        machine.keyring = open_generations(membership.roster, identity.curve_public, identity.curve_secret)
        machine.enrolled = True
        await machine.format_store()
        return await self.restart(machine)

    async def remove(self, machine: Machine, by: Machine) -> bool:
        """An admin that runs removes a machine for good."""
        assert by.node is not None
        membership = by.node.membership
        cut = by.node.ledger.vector().encode()
        statement = remove(by.identity, membership.roster, machine.me, now_s=by.clock.wall_s(), cut=cut)
        try:
            await membership.change(by.identity, [statement])
        except P2PStoreError:
            return False
        machine.enrolled = False
        return True

    # --- what goes on ---------------------------------------------------------------------------------------------

    async def watch(self, machine: Machine, node: Node) -> None:
        """Look at every change of a machine's ledger, for as long as it lives."""
        with node.ledger.subscribe() as news:
            self.observe(machine)
            async for change in news:
                if change.own or change.remote:
                    self.observe(machine)

    def observe(self, machine: Machine) -> None:
        """Look at a machine's ledger now."""
        if machine.node is not None:
            before = len(self.oracle.operations)
            self.oracle.observe(machine, self.now_s)
            self.trace.note("ledger", machine.number, machine.node.ledger.vector().root()[:6], before)

    async def restart(self, machine: Machine) -> bool:
        """Switch a machine on that is off; whether it serves within START_TIMEOUT_S."""
        if machine.gone or machine.is_up or not machine.enrolled:
            return machine.is_up
        await machine.wait_settled()
        if not machine.can_begin:
            return machine.is_up
        machine.begin()
        with trio.move_on_after(START_TIMEOUT_S):
            return await machine.wait_ready()
        self.bug(machine, RuntimeError(f"did not start within {START_TIMEOUT_S:g} s"))
        return False

    async def restart_later(self, machine: Machine, after_s: float) -> None:
        """What a service manager does when a daemon has ended by itself."""
        await trio.sleep(after_s)
        await machine.wait_settled()
        if machine.can_begin:
            await machine.crash(power_cut=False)
            await self.restart(machine)

    # --- the network ----------------------------------------------------------------------------------------------

    def cut(self, ways: Collection[tuple[int, int]]) -> int:
        """Nothing passes on these ways from now on; the number to end that with."""
        number = next(self._cut_numbers)
        self._cuts[number] = frozenset(ways)
        self._apply_cuts()
        return number

    def mend(self, number: int) -> None:
        """End one cut."""
        if self._cuts.pop(number, None) is not None:
            self._apply_cuts()

    def _apply_cuts(self) -> None:
        ways = sorted(frozenset().union(*self._cuts.values()))
        machines = self.machines
        self.fabric.set_cuts([(machines[a].me, machines[b].me) for a, b in ways])
        self.datagrams.set_cuts(
            [((machines[a].host, DATAGRAM_PORT), (machines[b].host, DATAGRAM_PORT)) for a, b in ways]
        )

    def weather(self, *, loss: float) -> None:
        """How much of everything is lost from now on."""
        self.fabric.weather = replace(self.fabric.weather, loss=loss)
        self.datagrams.weather = replace(self.datagrams.weather, loss=loss)

    async def heal(self, *, only: Collection[int] | None = None) -> None:
        """Everything that can be put right is: lines, lids, disks that are full; machines that are off start.

        Args:
            only: machines to put right (all lines are mended in any case); None: all.
        """
        self._cuts.clear()
        self._apply_cuts()
        self.weather(loss=0.0)
        chosen = [machine for machine in self.machines if only is None or machine.number in only]
        for machine in chosen:
            machine.wake(stalled=False)
            machine.hide(False)
            for disk in machine.disks:
                disk.unstick()
                disk.slowness = 1.0
                disk.capacity_bytes = None
                disk.dies_at_step = None
            if machine.network is not None:
                machine.network.set_line(latency_s=0.01)
        for machine in chosen:
            await machine.wait_settled()
            if machine.can_begin:
                await machine.crash(power_cut=False)
                await self.restart(machine)

    # --- what the all-seeing eye sees -----------------------------------------------------------------------------

    def living(self) -> list[Machine]:
        """Machines whose node runs."""
        return [machine for machine in self.machines if machine.is_up]

    def holders_of(self, encoding: EncodingId) -> dict[PeerId, list[int]] | None:
        """Where the shards of a stripe really are, on machines that are off too; None if one cannot be looked at."""
        found: dict[PeerId, list[int]] = {}
        for machine in self.machines:
            indices = machine.shards_of(encoding)
            if indices is None:
                return None
            found[machine.me] = indices
        return found

    @property
    def beyond_promise(self) -> bool:
        """More machines have lost data than the household promises to bear."""
        return len(self.damaged_after(0.0)) > self.founded_promise

    @property
    def repaired_bytes(self) -> int:
        """Shards that repair has rebuilt since the beginning."""
        running = sum(each.node.repairer.work.bytes for each in self.machines if each.node is not None)
        return running + sum(each.repaired_bytes for each in self.machines)

    def lose_shards(self, machine: Machine, at_s: float) -> None:
        """The shards of a machine are lost from now on."""
        machine.damage.store_at_s = at_s
        if machine.node is not None:
            self.lost_bytes += machine.node.store.usage().used_bytes

    def damaged_after(self, at_s: float) -> list[Machine]:
        """Machines that lost something at or after a moment."""
        return [machine for machine in self.machines if machine.damage.any_after(at_s)]


def _one_line(error: BaseException) -> str:
    """What it was, and the last places that it passed on its way."""
    places: list[str] = []
    while True:
        trace = error.__traceback__
        while trace is not None:
            name = str(trace.tb_frame.f_globals.get("__name__", ""))
            if name.startswith(("p2pstore", "dht")):
                places.append(f"{name.removeprefix('p2pstore.')}.{trace.tb_frame.f_code.co_name}")
            trace = trace.tb_next
        if not isinstance(error, BaseExceptionGroup):
            break
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error} ({' > '.join(places[-4:])})"
