"""Who we are and who belongs to us: the roster and the keys as this machine knows them, kept in step with the ledger.

Statements are made durable before anybody acts on them; key generations go to the key file before anything is sealed
with them.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import trio

from p2pstore.errors import P2PStoreError
from p2pstore.ids import GenerationId, NetworkId, PeerId, short
from p2pstore.keys.generation import Generation, Keyring, NoKeyToWrite
from p2pstore.keys.identity import Identity, Signer, peer_id_of
from p2pstore.metadata.adoption import joined_cuts
from p2pstore.metadata.member import Member
from p2pstore.metadata.operations import MetadataKeys
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import may_sign, mend_generations, open_generations, share_generations
from p2pstore.metadata.roster_codec import make_update
from p2pstore.metadata.roster_statements import Endpoints, Fact
from p2pstore.metadata.vector import Vector
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import PeerEndpoint


class StatementStore(Protocol):
    """The ledger, as far as membership needs it."""

    async def statements(self) -> list[bytes]:
        """Every roster statement kept."""
        ...

    async def put_statements(self, statements: Iterable[bytes]) -> int:
        """Keep statements, durably; how many were new."""
        ...

    async def keys_arrived(self) -> int:
        """Open what was kept sealed for want of keys."""
        ...

    async def cut_off(self, cuts: Mapping[PeerId, Vector]) -> None:
        """Of these machines only what their cuts cover counts from now on."""
        ...


class Membership:
    """The roster and the keyring of this machine."""

    def __init__(
        self,
        *,
        identity: Identity,
        keyring: Keyring,
        roster: Roster,
        clock: Clock,
        rng: random.Random,
        save_keyring: Callable[[Keyring], Awaitable[None]],
    ) -> None:
        self.identity = identity
        self.keyring = keyring
        self.roster = roster
        self._clock = clock
        self._rng = rng
        self._save_keyring = save_keyring
        self._store: StatementStore | None = None
        self._sites_of: Roster | None = None
        self._sites: Mapping[PeerId, str] = {}
        self._cuts: dict[PeerId, Vector] | None = None
        self._changing = trio.Lock()
        self._mending = trio.Lock()
        self.changed = trio.Event()
        """Set, and replaced by a new one, whenever the roster or the keyring changes."""

    @property
    def me(self) -> PeerId:
        """This machine."""
        return self.identity.peer_id

    @property
    def network_id(self) -> NetworkId:
        """The household."""
        return self.roster.network_id

    @property
    def myself(self) -> Member | None:
        """This machine's line in the roster; None once it was removed."""
        return self.roster.member(self.me)

    def others(self) -> list[PeerId]:
        """Every other member, sorted; nobody once this machine was removed, for nobody would talk to it."""
        if self.myself is None:
            return []
        return [member.peer_id for member in self.roster.members() if member.peer_id != self.me]

    def leaving(self) -> frozenset[PeerId]:
        """Members on their way out, this machine among them or not: nothing new is to depend on them."""
        return frozenset(member.peer_id for member in self.roster.members() if member.leaves)

    def stays(self, peer: PeerId) -> bool:
        """Whether `peer` is a member, and not on its way out."""
        member = self.roster.member(peer)
        return member is not None and not member.leaves

    def successors_of(self, peers: Iterable[PeerId]) -> list[PeerId]:
        """Members that were named to take over from any of `peers`, members now or once; sorted."""
        named = {each.peer_id: each.successor for each in self.roster.removed()}
        named |= {each.peer_id: each.successor for each in self.roster.members()}
        found = {named.get(peer) for peer in peers}
        leaving = self.leaving()
        return sorted(peer for peer in found if peer is not None and self.is_member(peer) and peer not in leaving)

    def retired_by_curve(self, curve_public: bytes) -> PeerId | None:
        """The peer that left in good order whose CURVE key this is: it is told that it is out, and nothing else."""
        return next(
            (each.peer_id for each in self.roster.removed() if each.retired and each.curve_public == curve_public), None
        )

    def is_member(self, peer: PeerId) -> bool:
        """Whether `peer` belongs to the household now."""
        return self.roster.member(peer) is not None

    @property
    def recovery_peer(self) -> PeerId:
        """As whom a machine is admitted that has the paper key: no member, for reading only."""
        return peer_id_of(self.roster.recovery_curve_public)

    def admit(self, curve_public: bytes) -> PeerId | None:
        """Whose CURVE key this is, if a member's or that of the paper."""
        if curve_public == self.roster.recovery_curve_public:
            return self.recovery_peer
        member = self.roster.by_curve(curve_public)
        return self.retired_by_curve(curve_public) if member is None else member.peer_id

    def endpoint(self, peer: PeerId) -> PeerEndpoint | None:
        """Where a member last said that it listens."""
        member = self.roster.member(peer)
        return None if member is None else member.peer_endpoint

    def public_of(self, peer: PeerId) -> bytes | None:
        """The Ed25519 key of a member, or of one that was."""
        return self.roster.public_of(peer)

    def member(self, peer: PeerId) -> Member | None:
        """A member's line in the roster."""
        return self.roster.member(peer)

    def sites(self) -> Mapping[PeerId, str]:
        """Where each member stands."""
        if self._sites_of is not self.roster:
            self._sites_of = self.roster
            self._sites = {member.peer_id: member.site for member in self.roster.members()}
        return self._sites

    def name_of(self, peer: PeerId) -> str:
        """What people call a machine."""
        member = self.roster.member(peer)
        if member is not None:
            return member.name
        return next((removed.name for removed in self.roster.removed() if removed.peer_id == peer), short(peer))

    # --- keys -----------------------------------------------------------------------------------------------------

    def metadata_generations(self) -> list[GenerationId]:
        """Whose metadata keys this machine has: none on a storage peer."""
        return [each.id for each in self.keyring.generations if each.metadata is not None]

    def current_generation(self) -> Generation:
        """What to seal with. Raises NoKeyToWrite."""
        return self.keyring.current(self.roster)

    def sealing_keys(self) -> SealingKeys:
        """What to seal chunks with. Raises NoKeyToWrite, also on a storage peer."""
        generation = self.current_generation()
        if generation.content is None or generation.dedupe is None:
            raise NoKeyToWrite("this machine only stores; it has no content key")
        return SealingKeys(generation.id, generation.content, generation.dedupe)

    def sealing_keys_of(self, generation: GenerationId) -> SealingKeys | None:
        """What opens chunks of a generation, if this machine may."""
        for each in self.keyring.generations:
            if each.id == generation and each.content is not None and each.dedupe is not None:
                return SealingKeys(each.id, each.content, each.dedupe)
        return None

    def metadata_keys_of(self, generation: GenerationId) -> MetadataKeys | None:
        """What opens operations of a generation, if this machine may."""
        for each in self.keyring.generations:
            if each.id == generation and each.metadata is not None:
                return MetadataKeys(each.id, each.metadata)
        return None

    def current_metadata_keys(self) -> MetadataKeys | None:
        """What to seal operations with."""
        try:
            generation = self.current_generation()
        except NoKeyToWrite:
            return None
        return None if generation.metadata is None else MetadataKeys(generation.id, generation.metadata)

    def datagram_keys(self) -> list[bytes]:
        """Keys for datagrams and beacons, the newest first."""
        return [generation.datagram for generation in self.keyring.newest_first(self.roster)]

    # --- changes --------------------------------------------------------------------------------------------------

    async def attach(self, store: StatementStore) -> None:
        """Take the ledger's statements in, and keep new ones there from now on."""
        self._store = store
        known = await store.statements()
        async with self._changing:
            await self._become(self.roster.with_statements(known))
        await store.put_statements(self.roster.statements())

    async def accept(self, statements: Iterable[bytes]) -> int:
        """Take in statements that somebody sent or made; durable on return. How many were worth keeping.

        Invalid ones are dropped, whoever sent them.
        """
        async with self._changing:
            roster = self.roster.with_statements(statements)
            if roster is self.roster or roster == self.roster:
                return 0
            new = roster.missing(self.roster.statement_ids())
            if self._store is not None:
                await self._store.put_statements(new)
            await self._become(roster)
            return len(new)

    async def _become(self, roster: Roster) -> None:
        """Act on a roster whose statements are durable."""
        opened = open_generations(roster, self.identity.curve_public, self.identity.curve_secret)
        keyring = self.keyring.adding(opened.generations)
        fresh = keyring != self.keyring
        if fresh:
            await self._save_keyring(keyring)
        self.roster, self.keyring = roster, keyring
        if fresh and self._store is not None:
            await self._store.keys_arrived()
        if self._store is not None:
            cuts = joined_cuts((removed.peer_id, removed.cuts) for removed in roster.removed())
            if cuts != self._cuts:
                await self._store.cut_off(cuts)
                self._cuts = cuts
        self.changed.set()
        self.changed = trio.Event()

    async def mend(self) -> None:
        """As an admin, give the household a key generation that fits its members, if it has none."""
        member = self.myself
        if member is None or member.role != "admin":
            return
        await self.change(self.identity, ())

    async def change(self, signer: Signer, statements: Iterable[bytes]) -> None:
        """Take in statements made here, together with the keys that fit the members that they leave: nobody hears of
        one without the other.

        Args:
            signer: an admin's identity or the household's keys; of anybody else no keys are made.
            statements: may be none.

        Raises:
            NoSpace, Unavailable: nothing has changed.
        """
        async with self._mending:  # one at a time: a removal that comes back from others must not make keys twice
            await self._change(signer, list(statements))

    async def _change(self, signer: Signer, said: list[bytes]) -> None:
        roster = self.roster.with_statements(said)
        if may_sign(signer, roster):
            now_s = self._clock.wall_s()
            mended = mend_generations(signer, roster, self.keyring, now_s=now_s, rng=self._rng)
            said += mended.statements
            if mended.generations:
                keyring = self.keyring.adding(mended.generations)
                await self._save_keyring(keyring)
                self.keyring = keyring
            roster = roster.with_statements(mended.statements)
            said += share_generations(signer, roster, self.keyring, now_s=now_s, rng=self._rng)
        if said:
            await self.accept(said)

    async def announce(self, endpoints: Endpoints) -> None:
        """State where this machine listens, if that is news."""
        member = self.myself
        if member is None or member.endpoints == endpoints:
            return
        await self.accept([
            make_update(
                self.identity,
                self.network_id,
                subject=self.me,
                about=Fact.ENDPOINTS,
                sequence=self.roster.next_sequence(self.me, Fact.ENDPOINTS),
                value=endpoints,
            )
        ])

    async def run(self) -> None:
        """Keep the key generation right as members come and go."""
        while True:
            changed = self.changed
            with contextlib.suppress(P2PStoreError):  # a full disk: the next change tries again
                await self.mend()
            await changed.wait()
