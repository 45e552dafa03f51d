"""Planted bugs: what people have got wrong before, put into the real code for the length of a block.

A checker that never catches anything proves nothing. Each of these must be caught within a stated number of seeds
(tests/simulations/test_mutants.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any, Final
from unittest.mock import patch

from p2pstore.ids import Dot, EncodingId
from p2pstore.ledger import drafting as drafting_module
from p2pstore.ledger import ledger as ledger_module
from p2pstore.ledger import store as store_module
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.live_dots import LiveDots
from p2pstore.ledger.store import Store
from p2pstore.ledger.tree_index import TreeIndex
from p2pstore.metadata import operations
from p2pstore.metadata.collection import CondemnedList
from p2pstore.metadata.vector import Vector, writer_of
from p2pstore.packing import pack
from p2pstore.placement.promise import Promise, StripeHealth
from p2pstore.services import placer as placer_module
from p2pstore.services.download import Downloader
from p2pstore.services.membership import Membership
from p2pstore.services.metadata_sync import MetadataSync
from p2pstore.services.placer import Placer
from p2pstore.services.placing import PlacedStripe
from p2pstore.services.quarantine import Quarantine
from p2pstore.services.shards import PUT, ShardServer
from simulations.disk import SimulatedDisk, SimulatedFile
from simulations.disk_sqlite import SimulatedDatabase
from simulations.schedule import Fault, Plan, Work
from simulations.swarm import household

Planting = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug and the weather in which it shows.

    Attributes:
        plant: puts it there; its docstring says what is wrong.
        faults: what befalls the household.
        caught_by: the invariant that shows it.
        seeds: within so many it must be caught.
    """

    plant: Planting
    faults: tuple[Fault, ...]
    caught_by: frozenset[str]
    seeds: int = 3

    def plan(self, seed: int) -> Plan:
        """A short run of a small, busy household."""
        load_s = 240.0 if self.faults else 100.0
        return Plan("mutant", seed, household(3), Work(6.0, 6), load_s, 300.0, self.faults)


_MAINS: Final = tuple(
    Fault(at_s + number / 100, "crash", number, -1, 10.0) for at_s in (90.0, 170.0, 238.0) for number in range(3)
)
"""All lose power together, three times."""

_ALONE: Final = tuple(Fault(40.0 + 60.0 * number, "isolate", number, -1, 55.0) for number in range(3))
"""Each is cut off for a while, one after the other."""

_DYING: Final = tuple(Fault(30.0 + 20.0 * number, "crash", number % 3, -1, 15.0) for number in range(10))
"""One of the three is always just dying."""

_YESTERDAY: Final = (
    Fault(60.0, "rollback", 1, -1, 60.0, 0.0, "database"),
    Fault(119.5, "isolate", 1, -1, 60.0),
)
"""A backup of the database alone is put back, and nobody is there to say so."""


@contextmanager
def _patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for owner, name, value in changes:
            stack.enter_context(patch.object(owner, name, value))
        yield


def wal_without_fsync() -> AbstractContextManager[None]:
    """The ledger is opened as what can be rebuilt: a commit does not wait for the disk."""
    honest = SimulatedDatabase.__init__

    def hasty(self: SimulatedDatabase, disk: SimulatedDisk, name: str, *, rebuildable: bool) -> None:
        honest(self, disk, name, rebuildable=rebuildable or name == "ledger.db")

    return _patched((SimulatedDatabase, "__init__", hasty))


def acknowledge_before_fsync() -> AbstractContextManager[None]:
    """Packs of shards are receipted without being synced."""
    honest = SimulatedDisk.open

    def hasty(self: SimulatedDisk, name: str, *, create: bool = False) -> SimulatedFile:
        file = honest(self, name, create=create)
        return _Unsynced(self, file.content) if name.endswith(".pack") else file

    return _patched((SimulatedDisk, "open", hasty))


class _Unsynced(SimulatedFile):
    def sync(self) -> None:
        """Says that it did."""


def sequence_reuse() -> AbstractContextManager[None]:
    """A ledger set back to yesterday goes on with yesterday's numbers, and does not listen to those who know better."""

    async def deaf(_self: Ledger, _vector: Vector) -> None:
        return

    def trusting(_disk: Any, store: Store, _machine: bytes) -> None:
        if store.setting("incarnation") is None:
            with store.database.transaction():
                store.take_incarnation()

    return _patched((ledger_module, "take_up_life", trusting), (Ledger, "heard", deaf))


def receipts_unread() -> AbstractContextManager[None]:
    """A commit counts as being everywhere the moment it is sent."""

    def trusting(_self: MetadataSync, _upto: Dot, peers: Any) -> frozenset[Any]:
        return frozenset(peers)

    return _patched((MetadataSync, "receipted", trusting))


def owed_forgotten() -> AbstractContextManager[None]:
    """Who waits for "safe" is told so while stripes are still owed."""

    async def impatient(_self: Placer, _encodings: Any, *, patience_s: float) -> bool:  # noqa: ARG001
        return True

    return _patched((Placer, "wait_safe", impatient))


def promise_overcounted() -> AbstractContextManager[None]:
    """A stripe is taken to survive one loss more than it does."""
    honest = PlacedStripe.health

    def kind(self: PlacedStripe) -> StripeHealth:
        health = honest(self)
        return StripeHealth(health.readable, health.survives + 1) if health.readable else health

    return _patched((PlacedStripe, "health", kind))


def unverified_reads() -> AbstractContextManager[None]:
    """A reader takes what it is given: the last byte of every piece is not what it was."""
    honest = Downloader.deliver

    async def careless(self: Downloader, wanted: Any, sink: Any) -> None:
        async def spoilt(number: int, plain: memoryview) -> None:
            await sink(number, memoryview(bytes(plain[:-1]) + bytes([plain[-1] ^ 1])))

        await honest(self, wanted, spoilt)

    return _patched((Downloader, "deliver", careless))


def receipt_without_shard() -> AbstractContextManager[None]:
    """A holder signs a receipt and does not keep the shard."""
    honest = ShardServer.handle

    async def forgetful(self: Any, message: Any) -> Any:
        reply = await honest(self, message)
        if message.kind == PUT:
            for change in await self._store.changes_since(0, 10_000):
                if change.held:
                    await self._store.drop(change.shard)
        return reply

    return _patched((ShardServer, "handle", forgetful))


def superseded_kept() -> AbstractContextManager[None]:
    """Merging forgets that one operation replaces another: what was deleted stays."""
    return _patched((TreeIndex, "_bury", lambda *_: []))


def rows_lost_with_the_vector_kept() -> AbstractContextManager[None]:
    """A vector advances over operations whose rows were never written."""
    honest = TreeIndex.add
    numbers = count(1)

    def lossy(self: TreeIndex, *what: Any) -> None:
        if next(numbers) % 10:
            honest(self, *what)

    return _patched((TreeIndex, "add", lossy))


def fingerprint_drifts() -> AbstractContextManager[None]:
    """What is superseded now and then stays live in the fingerprint."""
    honest = LiveDots.bury
    numbers = count(1)

    def forgetful(self: LiveDots, dots: Any) -> None:
        if next(numbers) % 10:
            honest(self, dots)

    return _patched((LiveDots, "bury", forgetful))


def drop_alone() -> AbstractContextManager[None]:
    """Once a stripe was owed, this machine drops its shards of it without asking whether they are needed."""

    def greedy(_needed: int, held: Any, peer: Any, _promise: Promise, _sites: Any) -> list[int]:
        return sorted(held.get(peer, ()))

    return _patched((placer_module, "surplus", greedy))


def shared_nonce() -> AbstractContextManager[None]:
    """Every operation of a writer is sealed under the same nonce."""
    honest = operations.seal_operation

    def lazy(body: Any, dot: Dot, keys: Any, superseded: Any = ()) -> bytes:
        writer = writer_of(dot)
        sealed = operations.decode_operation(honest(body, dot, keys, superseded), writer)
        assert isinstance(sealed, operations.SealedOperation)
        cipher, _ = operations._cipher(keys.metadata, writer)
        replaced = operations._superseded_fields(sealed.superseded, writer)
        associated = operations._associated(dot, sealed.tag, replaced)
        padded = cipher.decrypt(sealed.nonce, sealed.box, associated)
        nonce = bytes(len(sealed.nonce))
        kind = int(operations.OperationKind.SEALED)
        return pack([kind, sealed.tag, replaced, nonce, cipher.encrypt(nonce, padded, associated)])

    return _patched((store_module, "seal_operation", lazy))


def signs_unseen() -> AbstractContextManager[None]:
    """Members sign condemned lists, and write them, without a look at what their own trees refer to."""

    def careless(_self: Store, _search: Any, encodings: Any) -> list[EncodingId]:
        return list(encodings)

    return _patched((Store, "unreferenced", careless))


def one_signature_suffices() -> AbstractContextManager[None]:
    """A holder purges what anybody has signed away."""
    return _patched((CondemnedList, "condemned_by", CondemnedList.unspared_by))


def lists_are_final() -> AbstractContextManager[None]:
    """Who stores again what was condemned takes it off no list, neither at its holders nor in the log."""

    async def deaf(_self: Quarantine, _encoding: Any, _lists: Any) -> None:
        return

    return _patched((Quarantine, "taken_again", deaf), (drafting_module, "sparing", lambda *_: []),
                    (Store, "consent", _consents_once(Store.consent)))


def _consents_once(honest: Callable[..., Any]) -> Callable[..., Any]:
    def once(self: Store, search: Any, wanted: Any, running: Any, *, signed: bool) -> Any:
        return None if signed else honest(self, search, wanted, running, signed=signed)

    return once


def set_iterated() -> AbstractContextManager[None]:
    """Who else belongs to the household is said in the order of a set."""
    honest = Membership.others
    return _patched((Membership, "others", lambda self: list(set(honest(self)))))


MUTANTS: Final[dict[str, Mutant]] = {
    "wal-without-fsync": Mutant(wal_without_fsync, _MAINS, frozenset({"monotone", "causality", "durability"})),
    "acknowledge-before-fsync": Mutant(acknowledge_before_fsync, _MAINS, frozenset({"durability", "acknowledged"})),
    "sequence-reuse": Mutant(sequence_reuse, _YESTERDAY, frozenset({"monotone", "causality", "convergence"})),
    "receipts-unread": Mutant(receipts_unread, _ALONE, frozenset({"acknowledged"})),
    "owed-forgotten": Mutant(owed_forgotten, _ALONE, frozenset({"acknowledged"})),
    "promise-overcounted": Mutant(promise_overcounted, _DYING, frozenset({"acknowledged"})),
    "unverified-reads": Mutant(unverified_reads, (), frozenset({"reads"}), 1),
    "receipt-without-shard": Mutant(receipt_without_shard, (), frozenset({"acknowledged"}), 1),
    "superseded-kept": Mutant(superseded_kept, (), frozenset({"causality"}), 1),
    "rows-lost": Mutant(rows_lost_with_the_vector_kept, (), frozenset({"causality"}), 1),
    "fingerprint-drifts": Mutant(fingerprint_drifts, (), frozenset({"sound"}), 1),
    "shared-nonce": Mutant(shared_nonce, (), frozenset({"nonces"}), 1),
    "signs-unseen": Mutant(signs_unseen, (), frozenset({"collection"}), 1),
    "drop-alone": Mutant(drop_alone, _ALONE, frozenset({"acknowledged", "durability"})),
}
"""By name. `set_iterated` is for the determinism check alone: it breaks no promise."""
