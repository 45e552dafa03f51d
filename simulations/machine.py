"""One machine of a virtual household: its disks, clock, files and keys, and the real `Node` that lives on them.

A life ends in one of three ways: it is stopped (all cleanup code runs), killed (the process is gone, what it wrote is
there) or its power is cut (what was not synced is lost or torn). For the last two the seams are dead before the first
task is cancelled, so that no cleanup code reaches anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Final

import apsw
import trio

from p2pstore.control.server import Op
from p2pstore.daemon.operations_transfer import TransferOperations
from p2pstore.daemon.operations_tree import TreeOperations
from p2pstore.errors import NoSpace, P2PStoreError
from p2pstore.ids import EncodingId, PeerId
from p2pstore.keys.generation import Keyring
from p2pstore.keys.identity import Identity
from p2pstore.limits import REDIAL_MAX_S
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_statements import Endpoints, Profile
from p2pstore.node import Node, Seams
from p2pstore.protocols.links import LinkTiming
from p2pstore.seams.network import Listen, Plane
from p2pstore.services.membership import Membership
from p2pstore.storage.entries import ShardState
from p2pstore.storage.store import ShardStore
from simulations.clock import SimulatedClock
from simulations.datagrams import SimulatedDatagrams
from simulations.disk import SimulatedDisk
from simulations.folder_events import SimulatedFolderEvents
from simulations.local_files import SimulatedFiles
from simulations.network import SimulatedNetwork
from simulations.newer import speak_newer
from simulations.randomness import derived
from simulations.workers import InlineWorkers

if TYPE_CHECKING:
    from simulations.world import World

CONTROL_PORT: Final = 49152
DATAGRAM_PORT: Final = 4000

STOP_TIMEOUT_S: Final = 600.0
"""Virtual seconds that a stopped machine may take to end; more is a task that does not end."""


@dataclass(frozen=True, slots=True)
class Fitting:
    """What a machine is.

    Attributes:
        name: what people call it.
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        given_bytes: how much of its disk is given to shards.
        has_person: whether somebody uses it.
        role: "member" or "storage"; the first machine is the admin.
        joins_later: it is no member at first; the fault "join" enrols it.
    """

    name: str
    site: str = "home"
    steadiness: str = "always-on"
    given_bytes: int = 1 << 30
    has_person: bool = True
    role: str = "member"
    joins_later: bool = False


class _MachineDisk(SimulatedDisk):
    """A disk whose death is the machine's."""

    def __init__(self, rng: Random, on_death: Callable[[], None]) -> None:
        super().__init__(rng)
        self._on_death = on_death

    def kill(self) -> None:
        super().kill()
        self._on_death()


class _Both:
    """Both disks, as the workers suffer them."""

    def __init__(self, *disks: SimulatedDisk) -> None:
        self._disks = disks

    def take_elapsed_s(self) -> float:
        return sum(disk.take_elapsed_s() for disk in self._disks)

    async def wait_unstuck(self) -> None:
        for disk in self._disks:
            await disk.wait_unstuck()


@dataclass(slots=True)
class Damage:
    """What a machine has lost for good.

    Attributes:
        ledger_at_s: when its ledger was last wiped, rolled back or rotted; -1 for never.
        store_at_s: the same for its shards.
        unwitnessed: its ledger was set back together with the file that would tell.
        ledger_rows: its ledger lost rows, and kept its vector.
        rotted: its disk changed something that it had stored.
    """

    ledger_at_s: float = -1.0
    store_at_s: float = -1.0
    unwitnessed: bool = False
    ledger_rows: bool = False
    rotted: bool = False

    def any_after(self, at_s: float) -> bool:
        """Whether anything was lost at or after a moment."""
        return self.ledger_at_s >= at_s or self.store_at_s >= at_s


@dataclass(slots=True, eq=False)
class _Life:
    """From one start to its end."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    ready: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)


class Machine:
    """One machine; lives in the world's nursery.

    Attributes:
        number: from 0.
        node: its node while it runs.
        operations: what its person's programs ask of it while it runs.
        is_up: a node runs and nothing has killed it.
        gone: destroyed or removed; it never comes back.
        enrolled: a member of the household, as far as the all-seeing eye is concerned.
        is_nat: nobody can dial it.
        is_newer: it runs a build that knows more than the others'.
        repaired_bytes: rebuilt by its earlier lives.
        damage: what it lost.
    """

    def __init__(self, world: World, number: int, fitting: Fitting, identity: Identity) -> None:
        self.world = world
        self.number = number
        self.fitting = fitting
        self.identity = identity
        self.keyring = Keyring(())
        self.roster: Roster | None = None
        self.clock = SimulatedClock()
        self.files = SimulatedFiles()
        self.folder_events = SimulatedFolderEvents(self.files, self.clock)
        self.ledger_disk = _MachineDisk(derived(world.seed, "disk", number, "ledger"), self._died)
        self.store_disk = _MachineDisk(derived(world.seed, "disk", number, "store"), self._died)
        self.node: Node | None = None
        self.operations: dict[str, Op] | None = None
        self.gone = False
        self.enrolled = not fitting.joins_later
        self.is_nat = False
        self.is_newer = False
        self.repaired_bytes = 0
        self.damage = Damage()
        self.lives = 0
        self.network: SimulatedNetwork | None = None
        self._socket: SimulatedDatagrams | None = None
        self._life: _Life | None = None
        self._power_cut = False
        self._shards_at_death: dict[EncodingId, list[int]] | None = {}

    def __repr__(self) -> str:
        return self.fitting.name

    @property
    def me(self) -> PeerId:
        """Its PeerId."""
        return self.identity.peer_id

    @property
    def host(self) -> str:
        """The fabric's name for it: machines start in order the first time."""
        return f"10.0.0.{self.number + 1}"

    @property
    def endpoints(self) -> Endpoints:
        """Where it listens, in all its lives."""
        return Endpoints(
            control=(f"{self.host}:{CONTROL_PORT + Plane.CONTROL}",),
            bulk=(f"{self.host}:{CONTROL_PORT + Plane.BULK}",),
            datagram=(f"{self.host}:{DATAGRAM_PORT}",),
        )

    @property
    def profile(self) -> Profile:
        """What its enrolment says."""
        fit = self.fitting
        role = "admin" if self.number == 0 else fit.role
        return Profile(fit.name, role, fit.site, fit.steadiness, fit.given_bytes)

    @property
    def disks(self) -> tuple[SimulatedDisk, SimulatedDisk]:
        """Ledger and store."""
        return self.ledger_disk, self.store_disk

    @property
    def is_up(self) -> bool:
        """A node runs here, awake or not."""
        return self.node is not None

    @property
    def is_awake(self) -> bool:
        """A node runs here and its clock ticks."""
        return self.node is not None and not self.clock.suspended

    @property
    def can_begin(self) -> bool:
        """It is off, and not for ever."""
        return self._life is None and not self.gone and self.enrolled

    # --- a life ---------------------------------------------------------------------------------------------------

    async def format_store(self) -> None:
        """Make an empty store on the store's disk."""
        rng = derived(self.world.seed, "store", self.number, self.lives)
        await ShardStore.create(self.store_disk, self._workers(), rng=rng)

    def _workers(self) -> InlineWorkers:
        return InlineWorkers(self.clock, _Both(*self.disks))

    def begin(self) -> None:
        """Switch it on; `wait_ready` says when it serves."""
        assert self._life is None, "it runs"
        assert not self.gone, "it is no more"
        life = self._life = _Life()
        self.lives += 1
        self.world.trace.note("start", self.number, self.lives)
        self.world.nursery.start_soon(self._live, life)

    async def wait_ready(self) -> bool:
        """Wait until it serves; False if it ended before."""
        life = self._life
        if life is None:
            return False
        await life.ready.wait()
        return self.node is not None

    async def wait_settled(self) -> None:
        """Return when it neither starts nor ends: it is up, or off."""
        while self.node is None and (life := self._life) is not None:
            await (life.ended if life.ready.is_set() else life.ready).wait()

    async def wait_ended(self) -> None:
        """Return when no task of its last life runs any more."""
        if self._life is not None:
            await self._life.ended.wait()

    async def _live(self, life: _Life) -> None:
        failure: Exception | None = None
        try:
            with life.scope:
                await self._run_node(life)
        except Exception as error:  # noqa: BLE001  one machine's end, whatever it is, is not the world's
            failure = error
        alive = self.node is not None or self._socket is not None
        # A full disk may keep a daemon from starting: it says so, and is started again.
        honest = isinstance(failure, NoSpace) and self.node is None
        self._let_go()
        if failure is not None and alive:
            if not honest:
                self.world.bug(self, failure)
            self._power_cut = False
            self._die()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.network = None
        self._life = None
        life.ended.set()
        life.ready.set()
        if failure is not None and alive:
            self.world.nursery.start_soon(self.world.restart_later, self, 30.0)

    async def _run_node(self, life: _Life) -> None:
        rng = derived(self.world.seed, "machine", self.number, "life", self.lives)
        self._socket = self.world.datagrams.socket((self.host, DATAGRAM_PORT), is_nat=self.is_nat)
        seams = Seams(
            clock=self.clock,
            rng=rng,
            cpu=self._workers(),
            io=self._workers(),
            ledger_disk=self.ledger_disk,
            store_disk=self.store_disk,
            files=self.files,
            folder_events=self.folder_events,
            make_network=partial(self._make_network, rng),
            datagrams=self._socket,
        )
        assert self.roster is not None
        node = await Node.open(
            seams,
            identity=self.identity,
            keyring=self.keyring,
            roster=self.roster,
            given_bytes=self.fitting.given_bytes,
            save_keyring=self._save_keyring,
            machine=b"machine %d" % self.number,
        )
        core = node.dht.core
        core.settings = replace(core.settings, maintain_every_s=core.settings.maintain_every_s * self.world.pace)
        async with trio.open_nursery() as nursery:
            await nursery.start(node.run, Listen(self.host))
            await node.membership.announce(self.endpoints)
            self.node = node
            self.operations = TransferOperations(node).handlers() | TreeOperations(node).handlers()
            nursery.start_soon(self.world.watch, self, node)
            if self.is_newer:
                nursery.start_soon(speak_newer, self.world, self, node)
            for habit in self.world.habits:
                nursery.start_soon(habit, self)
            life.ready.set()
            await trio.sleep_forever()

    def _make_network(self, rng: Random, membership: Membership) -> SimulatedNetwork:
        network = SimulatedNetwork(
            self.world.fabric,
            self.me,
            self.identity.curve_public,
            self.clock,
            membership.admit,
            membership.endpoint,
            rng=rng,
            is_nat=self.is_nat,
            timing=LinkTiming(redial_max_s=REDIAL_MAX_S * self.world.pace),
        )
        assert network.host == self.host
        network.on_fault = self._fault
        self.network = network
        return network

    def _fault(self, _peer: PeerId | None, error: BaseException) -> None:
        if self.is_up and not isinstance(error, (P2PStoreError, OSError)):
            self.world.bug(self, error)

    async def _save_keyring(self, keyring: Keyring) -> None:
        self.keyring = keyring

    # --- its end --------------------------------------------------------------------------------------------------

    def _died(self) -> None:
        """A disk lost its power in the middle of a call, or `_die` killed it."""
        if self._life is not None and (self.node is not None or self._socket is not None):
            self._shards_at_death = None
            self._power_cut = True
            self._die()

    def _let_go(self) -> None:
        if self.node is not None:
            self.repaired_bytes += self.node.repairer.work.bytes
        self.node = self.operations = None

    def _die(self) -> None:
        """From here on nothing that its tasks do has any effect."""
        self.world.trace.note("death", self.number)
        self._let_go()
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()
        network, self.network = self.network, None
        if network is not None:
            self.world.fabric.crash(self.me, silent=self._power_cut)
        for disk in self.disks:
            disk.kill()
            disk.unstick()
            disk.slowness = 1.0
        if self.clock.suspended:
            self.clock.resume()
            self.world.fabric.resume(self.me)
        if self._life is not None:
            self._life.scope.cancel()

    async def crash(self, *, power_cut: bool) -> None:
        """End it without a line of cleanup code having an effect; then its disks are as the next life finds them."""
        if self._life is not None:
            self._shards_at_death = self._look_shards()
            self._power_cut = power_cut
            self._die()
            await self.wait_ended()
        for disk in self.disks:
            disk.restart(power_cut=self._power_cut)
        self._power_cut = False

    async def stop(self) -> None:
        """End it cleanly, as `p2pstore down` does."""
        if self._life is None:
            return
        self._shards_at_death = self._look_shards()
        if self.clock.suspended:
            self.wake(stalled=False)
        for disk in self.disks:
            disk.unstick()
        self._life.scope.cancel()
        with trio.move_on_after(STOP_TIMEOUT_S) as patience:
            await self.wait_ended()
        if patience.cancelled_caught:
            self.world.bug(self, RuntimeError("did not end within 600 s of being stopped"))
            await self.crash(power_cut=False)

    def hide(self, hidden: bool) -> None:
        """Put it behind a router that lets nobody in, or in front of it; what is connected stays so."""
        self.is_nat = hidden
        if self.network is not None:
            self.network.is_nat = hidden
        if self._socket is not None:
            self._socket.is_nat = hidden

    def sleep(self) -> None:
        """Close the lid."""
        if self.is_awake:
            self.clock.suspend()
            self.world.fabric.stall(self.me)
            if self._socket is not None:
                self._socket.is_alive = False

    def wake(self, *, stalled: bool) -> None:
        """Open the lid."""
        if self.clock.suspended:
            self.clock.resume(stalled=stalled)
            self.world.fabric.resume(self.me)
            if self._socket is not None:
                self._socket.is_alive = True

    # --- what the all-seeing eye sees -----------------------------------------------------------------------------

    def shards_of(self, encoding: EncodingId) -> list[int] | None:
        """Which shards of a stripe lie on its disk, as its index says; None if that cannot be seen now."""
        if self.gone:
            return []
        if self.node is None:
            return None if self._shards_at_death is None else self._shards_at_death.get(encoding, [])
        return self.node.store._shelf.index.numbers_of(encoding)

    def _look_shards(self) -> dict[EncodingId, list[int]] | None:
        if self.node is None:
            return self._shards_at_death
        found: dict[EncodingId, list[int]] = {}
        try:
            entries = self.node.store._shelf.index.after(0, 2**31)
        except apsw.Error:
            return self._shards_at_death  # its index is closed: it was just being stopped
        for entry in entries:
            if entry.state is ShardState.HELD:
                found.setdefault(entry.shard.encoding, []).append(entry.shard.index)
        return found

    def forget_shards(self) -> None:
        """Its store was wiped, or rolled back to what nobody knows."""
        self._shards_at_death = None


Habit = Callable[[Machine], Awaitable[None]]
"""What somebody does at a machine for as long as it runs: a task of each life."""
