"""`doctor`: what is wrong with this machine, its home, its disk and its network, and what helps."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any, Final

from p2pstore.control.server import Call, Op
from p2pstore.daemon.doctor import examine
from p2pstore.daemon.doctor_check import check
from p2pstore.edges.beacon import MulticastBeacon, loopback_interfaces
from p2pstore.errors import Unavailable
from p2pstore.limits import MIB
from p2pstore.node import Node
from p2pstore.pipeline.erasure.kernels import kernel_name

DISK_FREE_SHARE: Final = 0.05
"""Most file systems slow down, and most people run out, when less than a twentieth is free."""

DISK_FREE_BYTES: Final = 512 * MIB
"""The ledger must always have room to write; below this something else on the disk takes it soon."""

DIAL_TIMEOUT_S: Final = 2.0
"""A port of this machine answers at once, or not at all."""

LISTENERS: Final = {0: "control", 1: "bulk"}
"""What always listens at which port, counted from the first (docs/decisions/0001); enrolment does while somebody is
invited."""


class DoctorOperations:
    """The operation of one daemon that looks for problems.

    Args:
        node: whose services are asked.
        home: its folder on this machine.
        host: the address that it listens on; "*" is every one.
        port: the first of its ports.
    """

    def __init__(self, node: Node, *, home: Path, host: str, port: int) -> None:
        self._node = node
        self._home = home
        self._host = host
        self._port = port

    def handlers(self) -> dict[str, Op]:
        """By name, for the control server."""
        return {"doctor": self.doctor}

    async def doctor(self, call: Call) -> dict[str, Any]:
        """Checks with what helps; rebuilds the index of shards when asked to."""
        if call.args.get("rebuild_index") is True:
            await self._node.store.have_index_rebuilt()
            await self._node.ledger.rebuild_index()
        checks = await examine(self._node, self._port)
        checks += await self._node.seams.io.run(look_around, self._home, self._host, self._port)
        checks.append(check_multicast(self._host))
        return {"checks": checks, "kernel": kernel_name()}


def look_around(home: Path, host: str, port: int) -> list[dict[str, Any]]:
    """The checks that touch this machine's disk and ports. Blocking."""
    return [check_permissions(home), check_disk(home), check_ports(host, port)]


def check_permissions(home: Path) -> dict[str, Any]:
    """Nobody else may read the home: keys lie in it in clear unless a passphrase was set."""
    if stat.S_IMODE(home.stat().st_mode) & 0o077:
        what = f"other users of this machine can look into {home}"
        return check("permissions", "bad", what, f"chmod 700 {home}")
    keys = home / "keys"
    if keys.is_file() and stat.S_IMODE(keys.stat().st_mode) & 0o077:
        return check("permissions", "bad", "other users of this machine can read the keys", f"chmod 600 {keys}")
    if not os.access(home, os.W_OK):
        return check("permissions", "bad", f"{home} cannot be written to", f"ls -ld {home}")
    return check("permissions", "ok", "the home is this user's alone")


def check_disk(home: Path) -> dict[str, Any]:
    """Whether the disk has room beside what is given to the store."""
    state = os.statvfs(home)
    free, total = state.f_bavail * state.f_frsize, state.f_blocks * state.f_frsize
    what = f"{free:,} of {total:,} bytes are free on the disk of {home}"
    if free < DISK_FREE_BYTES:
        return check("disk", "bad", what, f"make room on the disk of {home}")
    if free < DISK_FREE_SHARE * total:
        return check("disk", "warn", what, f"make room on the disk of {home}")
    return check("disk", "ok", what)


def check_ports(host: str, port: int) -> dict[str, Any]:
    """Whether this machine can reach its own ports."""
    address = "127.0.0.1" if host == "*" else host
    silent = []
    for offset, name in LISTENERS.items():
        try:
            socket.create_connection((address, port + offset), DIAL_TIMEOUT_S).close()
        except OSError:
            silent.append(f"{port + offset} ({name})")
    if silent:
        what = f"nothing answers at {address}, port {', '.join(silent)}"
        return check("ports", "bad", what, "p2pstore down; p2pstore up")
    what = f"{port} and {port + 1} answer at {address}; other machines need to reach them too, and UDP {port}"
    return check("ports", "ok", what)


def check_multicast(host: str) -> dict[str, Any]:
    """Whether machines on the same network can find this one by themselves."""
    interfaces = loopback_interfaces() if host.startswith("127.") or host == "::1" else None
    try:
        with MulticastBeacon(listen=True, interfaces=interfaces):
            return check("multicast", "ok", "machines on this network find each other by themselves")
    except (Unavailable, OSError) as error:
        what = f"no multicast here ({error}): machines do not find each other by themselves"
        return check("multicast", "warn", what, "p2pstore join CODE --at HOST:PORT")
