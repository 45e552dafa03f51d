"""Households of real daemons on loopback with chosen roles, and the words of their paper key."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from p2pstore.cli.demo import Machine
from p2pstore.control.listening import remove_left_socket
from p2pstore.daemon.setup import create_household, join_household

WAIT_S = 20.0


@dataclass
class Family:
    """A running household.

    Attributes:
        machines: by name.
        words: the paper key, as typed.
        kit: a file with the page.
    """

    machines: dict[str, Machine]
    words: str
    kit: Path

    def __getitem__(self, name: str) -> Machine:
        return self.machines[name]

    def all(self) -> list[Machine]:
        return [self.machines[name] for name in sorted(self.machines)]

    def add(self, folder: Path, name: str, *, role: str = "member", by: str | None = None) -> Machine:
        """One more machine, invited by `by` (the first by default)."""
        inviter = self.machines[by] if by is not None else next(iter(self.machines.values()))
        code = inviter.ask("invite", {"role": role, "ttl_s": 600})["code"]
        machine = Machine(name, folder / name)
        join_household(
            machine.home,
            code=code,
            at=at(inviter),
            name=name,
            site="home",
            size_bytes=2**33,
            steadiness="always-on",
            timeout_s=30,
        )
        self.machines[name] = machine
        start(machine)
        return machine


@contextmanager
def family(folder: Path, names: str, *, roles: dict[str, str] | None = None) -> Iterator[Family]:
    """Machines of one new household, one letter each, all linked; the first is an admin."""
    first = Machine(names[0], folder / names[0])
    made = create_household(
        first.home, household="Bakers", name=first.name, site="home", size_bytes=2**33, steadiness="always-on"
    )
    kit = folder / "kit"
    kit.write_text(made.kit_text)
    found = Family({first.name: first}, " ".join(made.words), kit)
    try:
        start(first)
        for name in names[1:]:
            found.add(folder, name, role=(roles or {}).get(name, "member"))
        wait_linked(found.all())
        yield found
    finally:
        for machine in found.machines.values():
            machine.kill()
            remove_left_socket(machine.home)


def start(machine: Machine) -> None:
    machine.start()
    machine.wait_ready()


def at(machine: Machine) -> tuple[str, int]:
    host, _, port = str(machine.ask("status")["address"]).rpartition(":")
    return host, int(port)


def wait_until(true: Callable[[], object], what: str, *, timeout_s: float = WAIT_S) -> None:
    """Poll daemons, which are other processes; ends."""
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s: {what}"
        time.sleep(0.05)


def wait_linked(machines: Sequence[Machine]) -> None:
    """Every one of `machines` hears every other."""
    names = {machine.name for machine in machines}
    for machine in machines:
        wait_until(
            lambda machine=machine: names <= heard_by(machine),  # type: ignore[misc]
            f"{machine.name} hears {sorted(names)}",
        )


def heard_by(machine: Machine) -> set[str]:
    return {peer["name"] for peer in machine.ask("peers")["peers"] if peer["state"] != "away"}


def names_on(machine: Machine) -> set[str]:
    return {peer["name"] for peer in machine.ask("peers")["peers"]}


def tree_on(machine: Machine) -> set[bytes]:
    """All paths that a machine shows."""
    found: list[bytes] = []
    machine.ask(
        "tree", {"path": b"/", "depth": None}, on_item=lambda page: found.extend(e["path"] for e in page["entries"])
    )
    return set(found)


def make_files(folder: Path, sizes: Sequence[int], *, seed: int) -> None:
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes):
        (folder / f"{seed}-{number}-{size}.bin").write_bytes(rng.randbytes(size))


def digests(folder: Path) -> dict[str, str]:
    """Each file below `folder`, and what it holds."""
    return {
        os.path.relpath(path, folder): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
