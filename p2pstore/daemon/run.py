"""The composition root: real seams, a `Node` on them, the local API, and a clean end."""

from __future__ import annotations

import logging
import random
import signal
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import trio

from dht.udp import UdpDatagrams
from p2pstore.control.paths import socket_path
from p2pstore.control.server import ControlServer
from p2pstore.daemon.home import Home, Retired, Settings
from p2pstore.daemon.http_door import HttpDoor
from p2pstore.daemon.logs import logged
from p2pstore.daemon.operations_adoption import AdoptionOperations
from p2pstore.daemon.operations_api import ProgramOperations
from p2pstore.daemon.operations_brake import BrakeOperations
from p2pstore.daemon.operations_collection import CollectionOperations
from p2pstore.daemon.operations_doctor import DoctorOperations
from p2pstore.daemon.operations_feed import Feed
from p2pstore.daemon.operations_find import FindOperations
from p2pstore.daemon.operations_history import HistoryOperations
from p2pstore.daemon.operations_household import HouseholdOperations
from p2pstore.daemon.operations_members import MemberOperations
from p2pstore.daemon.operations_promise import PromiseOperations
from p2pstore.daemon.operations_recovery import RecoveryOperations
from p2pstore.daemon.operations_retention import RetentionOperations
from p2pstore.daemon.operations_safety import SafetyOperations
from p2pstore.daemon.operations_transfer import TransferOperations
from p2pstore.daemon.operations_tree import TreeOperations
from p2pstore.daemon.operations_watch import WatchOperations
from p2pstore.daemon.setup import ENROLMENT_PORT_OFFSET, decode_roster, encode_roster
from p2pstore.daemon.watching import Watching
from p2pstore.edges.beacon import MulticastBeacon, loopback_interfaces
from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.folder_events import RealFolderEvents
from p2pstore.edges.local_files import RealFiles
from p2pstore.edges.transport_zmq import ZmqNetwork
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Misuse, Unavailable
from p2pstore.ids import PeerId, short
from p2pstore.keys.generation import Keyring
from p2pstore.keys.keyfile import KeyFile
from p2pstore.limits import RECOVERY_PORT_OFFSET
from p2pstore.metadata.roster_statements import Endpoints
from p2pstore.node import Node, Seams
from p2pstore.protocols.beacon import Presence
from p2pstore.seams.network import Listen
from p2pstore.services.discovery import Discovery
from p2pstore.services.enrolment import EnrolmentListener, Listeners
from p2pstore.services.membership import Membership
from p2pstore.services.recovery_door import RecoveryDoor

log = logging.getLogger("p2pstore")

PORT_ATTEMPTS: Final = 200
"""Random ports tried for four free ones in a row; on a machine with a thousand sockets one try in fifty fails."""

PORTS: Final = (20000, 60000)
"""Above the registered services, below most systems' ports for outgoing connections' upper end."""

SWITCH_INTERVAL_S: Final = 0.0005
"""A worker that has finished waits at most so long for the interpreter lock while the loop is busy; the default of
5 ms held up a third of an upload's hops (docs/measurements.md)."""

CPU_THREADS: Final = 2
IO_THREADS: Final = 3
"""One for the ledger's fsync, one for the store's, one for reading a person's files."""


class NoPort(Misuse):
    """The ports that were asked for, or any, cannot be bound."""


def run_daemon(
    home_path: Path,
    *,
    port: int | None,
    listen: str | None,
    metrics_port: int | None = None,
    log_requests: bool = False,
) -> int:
    """Run until told to end. Returns the process's exit code.

    Raises:
        NoHousehold, AlreadyRunning, NoPort: nothing was started.
    """
    home = Home(home_path)
    settings = home.read_settings() if not home.is_retired else None
    home.lock()
    if settings is None:
        home.erase()  # what was left when an erasure was interrupted
        raise Retired("this machine has left its household; nothing of it is left here")
    _tune_malloc()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    arguments = (home, settings, port, listen, metrics_port, log_requests)
    trio.run(_run, *arguments, restrict_keyboard_interrupt_to_checkpoints=True)
    return 0


async def _run(
    home: Home,
    settings: Settings,
    port: int | None,
    listen: str | None,
    metrics_port: int | None,
    log_requests: bool,
) -> None:
    rng = random.SystemRandom()
    host = listen or settings.listen
    datagrams, base = _claim_ports(host, port if port is not None else settings.port or None, rng)
    settings = home.remember_port(settings, listen=host, port=base)
    addresses = _addresses(host, base)
    keys = KeyFile.decode(home.keys_path.read_bytes())
    roster = decode_roster((home.path / "roster").read_bytes())
    clock = RealClock()
    io = ThreadWorkers(IO_THREADS)

    async def save_keyring(keyring: Keyring) -> None:
        data = KeyFile(keys.identity, keyring).encode(rng=rng)
        await io.run(home.write_private, "keys", data)

    def make_network(membership: Membership) -> ZmqNetwork:
        network = ZmqNetwork(
            membership.me,
            keys.identity.curve_public,
            keys.identity.curve_secret,
            clock,
            membership.admit,
            membership.endpoint,
            rng=rng,
        )
        network.on_fault = _log_fault
        return network

    seams = Seams(
        clock=clock,
        rng=rng,
        cpu=ThreadWorkers(CPU_THREADS),
        io=io,
        ledger_disk=RealDisk(home.ledger_path),
        store_disk=RealDisk(home.store_path),
        files=RealFiles(),
        folder_events=RealFolderEvents(),
        make_network=make_network,
        datagrams=datagrams,
    )
    node = await Node.open(
        seams,
        identity=keys.identity,
        keyring=keys.keyring,
        roster=roster,
        given_bytes=settings.size_bytes,
        save_keyring=save_keyring,
        machine=_machine_name(),
    )
    membership = node.membership
    node.auditor.on_failure = lambda name: log.warning("%s could not prove a shard that it says it has", name)

    async def make_durable(statements: Sequence[bytes]) -> None:
        await membership.accept(statements)

    async def open_listeners() -> Listeners:
        wanted = None if host == "*" else host
        return await trio.open_tcp_listeners(base + ENROLMENT_PORT_OFFSET, host=wanted)

    enrolment = EnrolmentListener(
        identity=keys.identity,
        roster=lambda: membership.roster,
        keyring=lambda: membership.keyring,
        make_durable=make_durable,
        open_listeners=open_listeners,
        port=base + ENROLMENT_PORT_OFFSET,
        clock=clock,
        workers=io,
        rng=rng,
    )
    end = trio.Event()
    program = _version()
    household = HouseholdOperations(
        node, settings=settings, address=addresses[0], enrolment=enrolment, version=program, shut_down=end.set
    )
    feed = Feed(node, status=household.describe)
    handlers = household.handlers() | feed.handlers() | ProgramOperations(node).handlers()
    handlers |= TransferOperations(node).handlers() | TreeOperations(node).handlers()
    handlers |= DoctorOperations(node, home=home.path, host=host, port=base).handlers()
    handlers |= FindOperations(node).handlers()
    handlers |= HistoryOperations(node).handlers()
    handlers |= PromiseOperations(node).handlers()
    handlers |= BrakeOperations(node).handlers()
    handlers |= RetentionOperations(node).handlers()
    handlers |= AdoptionOperations(node).handlers()
    handlers |= SafetyOperations(node).handlers()
    handlers |= CollectionOperations(node).handlers()
    handlers |= WatchOperations(node, home=home.path).handlers()
    handlers |= RecoveryOperations(node).handlers()
    members = MemberOperations(node, home=home)
    handlers = members.guarding(handlers | members.handlers())
    if log_requests:
        handlers = logged(handlers, clock)
    feed.operations = tuple(sorted(handlers))
    server = ControlServer(handlers, version=program, outliving={"put"})
    async with trio.open_nursery() as nursery:
        await nursery.start(node.run, Listen(host, base, base + 1))
        await nursery.start(enrolment.run)
        await membership.announce(
            Endpoints(
                control=tuple(addresses),
                bulk=tuple(_with_port(address, base + 1) for address in addresses),
                datagram=tuple(addresses),
            )
        )
        nursery.start_soon(_discover, node, enrolment, host, base, tuple(addresses), rng)
        nursery.start_soon(feed.run)
        nursery.start_soon(_keep_roster_file, node, home)
        nursery.start_soon(_keep_recovery_door, node, host, base, rng)
        if metrics_port is not None:
            nursery.start_soon(_tell_watchers, node, metrics_port, program)
        nursery.start_soon(_end_on_signal, end)
        nursery.start_soon(_end_when_over, node, end)
        log.info("%s: %s listens at %s", membership.roster.name, settings.name, addresses[0])
        await nursery.start(server.run, socket_path(home.path))
        await end.wait()
        log.info("ending")
        nursery.cancel_scope.cancel()
    datagrams.close()
    if node.departure.over.is_set():
        home.retire(household=membership.roster.name, name=settings.name, at_s=clock.wall_s())
        home.erase()
        log.info("this machine has left %s: its keys and shards are erased", membership.roster.name)
    log.info("ended")


async def _keep_roster_file(node: Node, home: Home) -> None:
    """Keep the paper's public keys where `recovery-kit check` finds them while no daemon runs."""
    membership = node.membership
    written = decode_roster((home.path / "roster").read_bytes()).root_public
    while True:
        changed = membership.changed
        roster = membership.roster
        if roster.root_public != written:
            try:
                await node.seams.io.run(home.write_private, "roster", encode_roster(roster))
                written = roster.root_public
            except OSError as error:
                log.warning("the roster's file could not be written: %s", error)
        await changed.wait()


async def _keep_recovery_door(node: Node, host: str, base: int, rng: random.Random) -> None:
    """Answer machines that come with the paper key; a port that is taken is no reason not to run."""
    door = RecoveryDoor(
        me=node.membership.me,
        curve_public=node.membership.identity.curve_public,
        recovery_curve_public=lambda: node.membership.roster.recovery_curve_public,
        clock=node.seams.clock,
        rng=rng,
    )
    try:
        listeners = await trio.open_tcp_listeners(base + RECOVERY_PORT_OFFSET, host=None if host == "*" else host)
    except OSError as error:
        log.warning("no recovery door at port %s: %s", base + RECOVERY_PORT_OFFSET, error)
        return
    await door.run(listeners)


async def _tell_watchers(node: Node, port: int, program: str) -> None:
    """Figures and health on loopback; a port that is taken is no reason not to run."""
    try:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as error:
        log.warning("no metrics at port %s: %s", port, error)
        return
    log.info("metrics at http://127.0.0.1:%s/metrics", listeners[0].socket.getsockname()[1])
    await HttpDoor(Watching(node, version=program).pages(), clock=node.seams.clock).run(listeners)


async def _end_when_over(node: Node, end: trio.Event) -> None:
    await node.departure.over.wait()
    end.set()


async def _end_on_signal(end: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            end.set()


async def _discover(
    node: Node,
    enrolment: EnrolmentListener,
    host: str,
    port: int,
    addresses: tuple[str, ...],
    rng: random.Random,
) -> None:
    """Say on the local network that we are here; a network without multicast is no reason not to run."""

    def sighted(peer: PeerId, where: tuple[str, ...]) -> None:
        if node.membership.is_member(peer):
            log.info("heard %s at %s", node.membership.name_of(peer), ", ".join(where))
            node.network.keep_linked(node.membership.others())

    interfaces = loopback_interfaces() if host.startswith("127.") or host == "::1" else None
    try:
        with MulticastBeacon(listen=True, interfaces=interfaces) as beacon:
            discovery = Discovery(
                datagrams=beacon,
                presence=lambda: Presence(node.membership.me, port, addresses),
                datagram_keys=node.membership.datagram_keys,
                invitations=enrolment.open_invitations,
                on_sighting=sighted,
                clock=node.seams.clock,
                rng=rng,
            )
            await discovery.run()
    except (Unavailable, OSError) as error:
        log.warning("no beacon on the local network: %s", error)


def _claim_ports(host: str, base: int | None, rng: random.Random) -> tuple[UdpDatagrams, int]:
    """A bound UDP socket for the DHT, and a base P such that TCP P, P+1 and P+2 are free too."""
    bind_host = "::" if host == "*" else host
    candidates = [base] if base is not None else [rng.randrange(*PORTS) for _ in range(PORT_ATTEMPTS)]
    failure: OSError | None = None
    for candidate in candidates:
        try:
            # a port once kept stays, whoever has taken the recovery door's meanwhile
            for offset in range(3 if base is not None else 1 + RECOVERY_PORT_OFFSET):
                _try_bind(bind_host, candidate + offset)
            return UdpDatagrams(bind_host, candidate), candidate
        except OSError as error:
            failure = error
    what = f"port {base} to {base + 2}" if base is not None else "any ports"
    raise NoPort(f"cannot listen on {host}, {what}: {failure}")


def _try_bind(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))


def _addresses(host: str, port: int) -> list[str]:
    """Where this machine can be dialled, best first."""
    if host not in ("*", "::", "0.0.0.0"):  # noqa: S104  compared, not bound
        return [_join_address(host, port)]
    found = []
    # The address that a packet to the outside would carry; connecting a datagram socket sends nothing.
    for family, outside in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect((outside, 9))
            except OSError:
                continue
            own = probe.getsockname()[0]
            if own not in ("0.0.0.0", "::"):  # noqa: S104  compared, not bound
                found.append(_join_address(own, port))
    return found or [_join_address("127.0.0.1", port)]


def _join_address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"


def _log_fault(peer: PeerId | None, error: BaseException) -> None:
    who = "somebody" if peer is None else short(peer)
    if isinstance(error, (Unavailable, Misuse)) or type(error).__module__ == "p2pstore.errors":
        log.warning("fault of %s: %s: %s", who, type(error).__name__, error)
    else:
        log.error("a request of %s met a bug", who, exc_info=error)


def _machine_name() -> bytes:
    """What names this machine, so that a copied home is noticed; b"" where nothing does."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            return Path(path).read_bytes().strip()
        except OSError:
            continue
    return b""


def _version() -> str:
    try:
        return version("p2pstore")
    except PackageNotFoundError:
        return "unknown"


def _tune_malloc() -> None:
    """Keep buffers of some megabytes in the heap: mapping and unmapping each costs 240 page faults a mebibyte and four
    times the CPU of sealing it (facts: transport, E). glibc only."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-8, 2)  # M_ARENA_MAX: one heap for the loop, one for its workers; each keeps what it once had
        mallopt(-3, 6 << 20)  # M_MMAP_THRESHOLD: only the blocks that files are read in are larger
        mallopt(-1, 32 << 20)  # M_TRIM_THRESHOLD
