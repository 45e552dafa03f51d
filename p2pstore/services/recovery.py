"""Reads a household with nothing but the paper key: the roster, the keys, all names, who holds what.

The machine that does so is no member and writes nothing anywhere. It asks every surviving machine for everything, so
that what one of them has not heard another one tells.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import trio

from p2pstore.errors import Forged, Misuse, PeerFault, Refused, Unavailable
from p2pstore.ids import PeerId
from p2pstore.keys.generation import Keyring
from p2pstore.keys.household import HouseholdKeys
from p2pstore.ledger.holdings import Holding
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import open_generations
from p2pstore.metadata.roster_statements import StatementId, statement_id_of
from p2pstore.protocols import sync
from p2pstore.protocols.recovery_door import DOOR_FRAME_BYTES_MAX, Doorkeeper, ask, read_answer
from p2pstore.protocols.sync import Statements, StoreMark
from p2pstore.protocols.wire import UNKNOWN_KIND
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network, PeerEndpoint
from p2pstore.services.framed_streams import FramedStream

PULL_TIMEOUT_S: Final = 30.0
"""As between members: a batch on a 1 Mbit/s line takes 1.6 s."""

ROSTER_ROUNDS_MAX: Final = 8
"""Each round asks the machines that the last one made known; who lies about ever more machines ends nothing."""


class WrongPaper(Misuse):
    """The words are those of another household than the one that was asked."""


class NobodyAnswers(Unavailable):
    """No machine of the household could be reached."""


async def ask_door(
    stream: trio.abc.Stream, keys: HouseholdKeys, *, clock: Clock, rng: random.Random, timeout_s: float
) -> Doorkeeper:
    """Ask who is at the other end of a connection to a recovery door; closes it.

    Raises:
        WrongPaper: it hung up: it belongs to another household, or is no such machine.
        Forged, Malformed: it does not know the household.
        Unavailable: it does not answer.
    """
    frames = FramedStream(stream, frame_bytes_max=DOOR_FRAME_BYTES_MAX)
    question = ask(keys.recovery_curve_public, rng)
    try:
        with clock.move_on_after(timeout_s):
            await frames.send(question.frame)
            try:
                reply = await frames.receive()
            except Unavailable:
                raise WrongPaper("that machine does not know these words: it belongs to another household") from None
            return read_answer(question, reply, keys.recovery_curve_secret)
        raise NobodyAnswers(f"no answer in {timeout_s:g} s")
    finally:
        await frames.aclose()


@dataclass(slots=True)
class Contacts:
    """How machines can be dialled: what a person typed first, then what the roster says.

    Attributes:
        typed: by peer, what answered at an address that somebody typed.
        roster: who belongs to the household, as far as it is known.
    """

    typed: dict[PeerId, PeerEndpoint] = field(default_factory=dict)
    roster: Roster | None = None

    def endpoint(self, peer: PeerId) -> PeerEndpoint | None:
        """For the network."""
        typed = self.typed.get(peer)
        member = self.roster.member(peer) if self.roster is not None else None
        if typed is None or member is None:
            return typed or (member.peer_endpoint if member is not None else None)
        said = member.peer_endpoint
        return PeerEndpoint(
            tuple(dict.fromkeys(typed.control + said.control)),
            tuple(dict.fromkeys(typed.bulk + said.bulk)),
            said.curve_public,
        )


@dataclass(frozen=True, slots=True)
class Survivors:
    """The machines of a household, and which of them answer.

    Attributes:
        roster: all that any of them said, rooted in the paper key.
        answering: those that can be asked, sorted.
        silent: the other members, sorted.
    """

    roster: Roster
    answering: tuple[PeerId, ...]
    silent: tuple[PeerId, ...]

    def keyring(self, keys: HouseholdKeys) -> Keyring:
        """Every key generation, from the envelopes to the recovery key."""
        return open_generations(self.roster, keys.recovery_public, keys.recovery_secret)


async def find_survivors(network: Network, contacts: Contacts, keys: HouseholdKeys) -> Survivors:
    """Learn the roster from whoever was typed, then from everybody that it names.

    Args:
        network: running; dials by `contacts`.
        contacts: holds at least one typed address; gets the roster.
        keys: of the paper.

    Raises:
        WrongPaper: the roster is not rooted in this paper.
        NobodyAnswers: no roster could be fetched.
    """
    found: dict[StatementId, bytes] = {}
    asked: set[PeerId] = set()
    answering: set[PeerId] = set()

    async def learn(peer: PeerId) -> None:
        try:
            await _pull_statements(network, peer, found)
            answering.add(peer)
        except (Unavailable, PeerFault):
            return

    to_ask: Iterable[PeerId] = contacts.typed
    for _ in range(ROSTER_ROUNDS_MAX):
        async with trio.open_nursery() as nursery:
            for peer in sorted(to_ask):
                asked.add(peer)
                nursery.start_soon(learn, peer)
        if not found:
            raise NobodyAnswers("no machine of the household answers")
        roster = _rooted(found.values(), keys)
        contacts.roster = roster
        to_ask = [member.peer_id for member in roster.members() if member.peer_id not in asked]
        if not to_ask:
            break
    members = {member.peer_id for member in roster.members()}
    return Survivors(roster, tuple(sorted(members & answering)), tuple(sorted(members - answering)))


def _rooted(statements: Iterable[bytes], keys: HouseholdKeys) -> Roster:
    roster = Roster.from_statements(statements)
    if roster.root_public != keys.public or roster.recovery_public != keys.recovery_public:
        raise WrongPaper(f"these words are not those of {roster.name!r}")
    return roster


async def _pull_statements(network: Network, peer: PeerId, found: dict[StatementId, bytes]) -> None:
    """Every statement that a machine has and we lack."""
    while True:
        had = len(found)
        request = sync.statements_message(sync.ROSTER_PULL, Statements((), tuple(sorted(found))))
        told = sync.read_statements(await network.request(peer, request, timeout_s=PULL_TIMEOUT_S))
        found.update((statement_id_of(data), data) for data in told.statements)
        if len(found) == had:
            return


@dataclass(slots=True)
class Fetched:
    """What became of fetching all metadata.

    Attributes:
        complete: machines whose commits and inventories are all here.
        broken: machines that stopped answering in the middle.
        waiting: commits that build on others which no machine has.
    """

    complete: list[PeerId] = field(default_factory=list)
    broken: list[PeerId] = field(default_factory=list)
    waiting: int = 0


async def fetch_metadata(network: Network, ledger: Ledger, peers: Sequence[PeerId]) -> Fetched:
    """All commits and inventories that `peers` have, into a running ledger; one after the other, for most of what the
    second could tell has come from the first."""
    fetched = Fetched()
    for peer in peers:
        try:
            await _pull_commits(network, ledger, peer, fetched)
            await _pull_inventories(network, ledger, peer)
            fetched.complete.append(peer)
        except (Unavailable, PeerFault):
            fetched.broken.append(peer)
    return fetched


async def _pull_commits(network: Network, ledger: Ledger, peer: PeerId, fetched: Fetched) -> None:
    more = True
    while more:
        before = ledger.vector()
        request = sync.pull_message(ledger.wanted_vector())
        commits, more = sync.read_commits(await network.request(peer, request, timeout_s=PULL_TIMEOUT_S))
        applied = await ledger.apply(commits)
        fetched.waiting = applied.waiting
        if ledger.vector() == before:
            return  # the rest cannot be applied, or the machine repeats itself


async def _pull_inventories(network: Network, ledger: Ledger, peer: PeerId) -> None:
    more = True
    while more:
        known = [StoreMark(each.store, each.epoch, each.counter) for each in await ledger.store_positions(peer)]
        request = sync.marks_message(sync.INVENTORY_PULL, known)
        stores = sync.read_inventory(await network.request(peer, request, timeout_s=PULL_TIMEOUT_S))
        for store in stores:
            held = [Holding(each.encoding, each.index, each.payload_bytes, each.held) for each in store.changes]
            taken = await ledger.put_holdings(
                peer, store.store, epoch=store.epoch, after=store.after, upto=store.upto, changes=held
            )
            if not taken:
                raise Forged("an inventory with a gap")
        more = any(store.more and store.changes for store in stores)


async def serve_nobody(_peer: PeerId, message: Message) -> Message:
    """What a restoring machine answers to whoever asks it something."""
    raise Refused(UNKNOWN_KIND, f"{message.kind}: this machine restores, and is no member")
