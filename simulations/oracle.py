"""What really happened: every operation that any ledger ever made durable, and every content that any person stored.

It is a model of its own: which operations are live follows from who superseded whom alone, as the signed commits say,
not from any code of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from p2pstore.ids import Dot, GenerationId
from p2pstore.metadata.commits import Commit, decode_commit
from p2pstore.metadata.operations import SealedOperation, decode_operation, open_operation
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.metadata.version import Version

if TYPE_CHECKING:
    from simulations.machine import Machine

MTIME_BASE_NS: Final = 1_700_000_000_000_000_000
"""Every stored content gets an mtime of its own from here on, so that a version names the put that made it."""


@dataclass(frozen=True, slots=True)
class Known:
    """One operation as its author's ledger made it durable.

    Attributes:
        dot: its name.
        at_s: when it was first seen.
        machine: whose.
        superseded: what it replaces.
        version: what it says, if it is about an entry.
        commit: hash of its commit.
    """

    dot: Dot
    at_s: float
    machine: int
    superseded: tuple[Dot, ...]
    version: Version | None
    commit: bytes


@dataclass(slots=True)
class Stored:
    """One put of a person.

    Attributes:
        number: of the put; its mtime is MTIME_BASE_NS + number.
        machine: where.
        path: in the store.
        data: its bytes.
        begun_s: when.
        level: what was acknowledged; "" for nothing (yet).
        acked_s: when; -1 for never.
        dot: the operation that made it, once seen.
        bears: how many machines may be lost, as the household promised while it was stored.
    """

    number: int
    machine: int
    path: bytes
    data: bytes = field(repr=False)
    begun_s: float
    level: str = ""
    acked_s: float = -1.0
    dot: Dot | None = None
    bears: int = 1


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that did not hold.

    Attributes:
        invariant: its name, a file in simulations/invariants.
        at_s: when it was noticed.
        what: in one sentence.
    """

    invariant: str
    at_s: float
    what: str


class Oracle:
    """Sees everything, takes part in nothing."""

    def __init__(self) -> None:
        self.operations: dict[Dot, Known] = {}
        self.contents: dict[int, Stored] = {}
        self.violations: list[Violation] = []
        self.doubled: dict[Dot, tuple[bytes, bytes]] = {}
        """Dots that two commits carry, with the hashes of both."""
        self._nonces: dict[tuple[Writer, GenerationId, bytes], bytes] = {}
        self._seen: dict[int, Vector] = {}
        self._mtimes: dict[int, Dot] = {}

    def violate(self, invariant: str, at_s: float, what: str) -> None:
        """Note that an invariant does not hold; each sentence once."""
        if not any(each.invariant == invariant and each.what == what for each in self.violations):
            self.violations.append(Violation(invariant, at_s, what))

    def begin_put(self, machine: int, path: bytes, data: bytes, at_s: float) -> Stored:
        """A person stores something."""
        stored = Stored(len(self.contents) + 1, machine, path, data, at_s)
        self.contents[MTIME_BASE_NS + stored.number] = stored
        return stored

    def content_of(self, mtime_ns: int) -> Stored | None:
        """The put whose content a version with this mtime has."""
        return self.contents.get(mtime_ns)

    # --- looking --------------------------------------------------------------------------------------------------

    def observe(self, machine: Machine, at_s: float) -> None:
        """Take in what a running machine's ledger has written of its own since the last look."""
        node = machine.node
        assert node is not None
        vector = node.ledger.vector()
        own = node.ledger.own_writer
        before = self._seen.get(machine.number)
        if before is not None and not vector.covers_all(before):
            self.violate("monotone", at_s, f"{machine}: its vector went backwards")
        self._seen[machine.number] = vector
        first = 0 if before is None else before[own]
        if vector[own] > first:
            database = node.ledger._store.database
            rows = database.execute(
                "SELECT raw FROM commits JOIN writers USING(slot) WHERE author = ? AND incarnation = ? AND last > ?"
                " AND last <= ? ORDER BY first",
                (*own, first, vector[own]),
            )
            for (raw,) in rows:
                self._take(decode_commit(raw), machine, at_s)

    def lost_memory(self, machine: Machine) -> None:
        """The machine's ledger is not what it was: its vector may be anything."""
        self._seen.pop(machine.number, None)

    def _take(self, commit: Commit, machine: Machine, at_s: float) -> None:
        assert machine.node is not None
        keys = None if commit.generation is None else machine.node.membership.metadata_keys_of(commit.generation)
        for sequence, raw in enumerate(commit.operations, commit.first):
            dot = Dot(*commit.writer, sequence)
            known = self.operations.get(dot)
            if known is not None:
                if known.commit != commit.hash:
                    self.doubled[dot] = (known.commit, commit.hash)
                continue
            operation = decode_operation(raw, commit.writer)
            superseded: tuple[Dot, ...] = ()
            version: Version | None = None
            if isinstance(operation, SealedOperation):
                superseded = operation.superseded
                assert keys is not None
                before = self._nonces.setdefault((commit.writer, keys.generation, operation.nonce), operation.box)
                if before != operation.box:
                    self.violate("nonces", at_s, f"{machine}: operation {sequence} is sealed under a used nonce")
                body = open_operation(operation, dot, keys)
                version = body if isinstance(body, Version) else None
            self.operations[dot] = Known(dot, at_s, machine.number, superseded, version, commit.hash)
            if version is not None and not version.deleted and version.mtime_ns in self.contents:
                stored = self.contents[version.mtime_ns]
                if stored.dot is None and stored.machine == machine.number:
                    stored.dot = dot

    # --- asking ---------------------------------------------------------------------------------------------------

    def live(self, dots: Iterable[Dot]) -> set[Dot]:
        """Of these operations on entries, those that none of them supersedes."""
        known = [self.operations[dot] for dot in dots if dot in self.operations]
        superseded = {dot for each in known for dot in each.superseded}
        return {each.dot for each in known if each.version is not None} - superseded

    def covered(self, vectors: Iterable[Vector]) -> list[Dot]:
        """Every operation that at least one of these vectors covers."""
        joined = Vector()
        for vector in vectors:
            joined = joined.join(vector)
        return sorted(dot for dot in self.operations if joined.covers(dot))


def live_dots(machine: Machine) -> set[Dot]:
    """The versions that a running machine's ledger takes for live."""
    assert machine.node is not None
    rows = machine.node.ledger._store.database.execute(
        "SELECT writers.author, writers.incarnation, versions.sequence FROM versions"
        " JOIN writers ON writers.slot = versions.slot WHERE versions.live = 1"
    )
    return {Dot(*row) for row in rows}
