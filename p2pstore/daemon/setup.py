"""Makes this machine the first of a household, or one more of it: what `init` and `join` do, without a daemon.

The household secret exists in memory only, for the length of `create_household`, and in what it returns.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import trio

from p2pstore.daemon.home import Home, Settings
from p2pstore.edges.beacon import MulticastBeacon
from p2pstore.edges.clock import RealClock
from p2pstore.edges.disk import RealDisk
from p2pstore.edges.streams import dial
from p2pstore.edges.workers import ThreadWorkers
from p2pstore.errors import Malformed
from p2pstore.ids import NetworkId, PeerId, network_id
from p2pstore.keys.generation import Keyring
from p2pstore.keys.household import HouseholdKeys, RecoveryKit, new_secret, words_of
from p2pstore.keys.identity import Identity
from p2pstore.keys.keyfile import KeyFile
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import found
from p2pstore.metadata.roster_statements import Profile
from p2pstore.packing import Fields, pack, unpack
from p2pstore.protocols.invite_code import InviteCode
from p2pstore.protocols.joining import JoinOutcome
from p2pstore.services.discovery import find_inviter
from p2pstore.services.enrolment import join
from p2pstore.storage.store import ShardStore

ENROLMENT_PORT_OFFSET: Final = 2
"""The enrolment listener's port, counted from the daemon's address (docs/decisions/0001)."""

ROSTER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Statements about a thousand members with their envelopes are a few megabytes."""


@dataclass(frozen=True, slots=True)
class CreatedHousehold:
    """What a person gets from `init`, once.

    Attributes:
        words: the household secret as 24 words; nothing else holds it.
        kit_text: the page to print.
        qr_text: the words as a QR code of block characters.
        network_id: names the household.
        peer_id: names this machine.
    """

    words: list[str] = field(repr=False)
    kit_text: str = field(repr=False)
    qr_text: str = field(repr=False)
    network_id: NetworkId
    peer_id: PeerId


@dataclass(frozen=True, slots=True)
class Joined:
    """What became of `join`."""

    household: str
    peer_id: PeerId
    name: str
    network_id: NetworkId


def create_household(
    home: Path, *, household: str, name: str, site: str, size_bytes: int, steadiness: str
) -> CreatedHousehold:
    """Make a household of which `home` is the first machine.

    Raises:
        AlreadyHome, Misuse: the folder is taken, or a name is none.
    """
    rng = random.SystemRandom()
    now_s = time.time()
    folder = Home(home)
    profile = Profile(name, "admin", site, steadiness, size_bytes)
    secret = new_secret(rng)
    identity = Identity.generate(rng)
    founding = found(HouseholdKeys.derive(secret), identity, name=household, profile=profile, now_s=now_s, rng=rng)
    folder.create()
    _write_home(folder, identity, founding.keyring, founding.roster, profile, rng)
    words = words_of(secret)
    kit = RecoveryKit(household, now_s, founding.roster.network_id, words)
    return CreatedHousehold(
        list(words), kit.page(), kit.qr_terminal(), founding.roster.network_id, identity.peer_id
    )


def join_household(
    home: Path,
    *,
    code: str,
    at: tuple[str, int] | None,
    name: str,
    site: str,
    size_bytes: int,
    steadiness: str,
    timeout_s: float,
) -> Joined:
    """Make `home` one more machine of the household whose member gave out `code`.

    Args:
        home: a folder that is empty or not there.
        code: as typed.
        at: the inviter's address; None: ask the local network.
        name, site, size_bytes, steadiness: this machine's.
        timeout_s: for everything.

    Raises:
        Misuse: a code that is none; the folder is taken.
        NobodyInvites, SeveralInvite: the local network did not help.
        Refused, Forged, Unreachable, TimedOut: see `services.enrolment.join`.
    """
    rng = random.SystemRandom()
    typed = InviteCode.parse(code)
    folder = Home(home)
    was_there = home.exists()
    folder.create()
    identity = Identity.generate(rng)
    wishes = Profile(name, "member", site, steadiness, size_bytes)
    try:
        outcome = trio.run(_join, typed, at, identity, wishes, rng, timeout_s)
    except BaseException:
        if not was_there:
            home.rmdir()
        raise
    roster = Roster.from_statements(outcome.statements)
    member = roster.member(identity.peer_id)
    if member is None:
        raise Malformed("the household's roster does not name this machine")
    profile = Profile(member.name, member.role, site, steadiness, size_bytes)
    _write_home(folder, identity, outcome.keyring, roster, profile, rng)
    return Joined(roster.name, identity.peer_id, member.name, roster.network_id)


async def _join(
    code: InviteCode,
    at: tuple[str, int] | None,
    identity: Identity,
    wishes: Profile,
    rng: random.Random,
    timeout_s: float,
) -> JoinOutcome:
    clock = RealClock()
    if at is None:
        with MulticastBeacon(listen=False) as datagrams:
            host, port = await find_inviter(datagrams, code, clock=clock, rng=rng)
    else:
        host, port = at[0], at[1] + ENROLMENT_PORT_OFFSET
    stream = await dial(host, port, clock=clock, timeout_s=timeout_s)
    return await join(
        stream, code, identity=identity, wishes=wishes, clock=clock, workers=ThreadWorkers(1), rng=rng
    )


def _write_home(
    home: Home, identity: Identity, keyring: Keyring, roster: Roster, profile: Profile, rng: random.Random
) -> None:
    """Write everything; the settings, which make the folder a home, last."""
    home.write_private("keys", KeyFile(identity, keyring).encode(rng=rng))
    home.write_private("roster", encode_roster(roster))
    for path in (home.ledger_path, home.store_path, home.log_path.parent):
        path.mkdir(mode=0o700, exist_ok=True)
    trio.run(_create_store, home.store_path, rng)
    home.write_settings(
        Settings(
            household=roster.name,
            name=profile.name,
            site=profile.site,
            steadiness=profile.steadiness,
            size_bytes=profile.capacity_bytes,
        )
    )


async def _create_store(path: Path, rng: random.Random) -> None:
    await ShardStore.create(RealDisk(path), ThreadWorkers(1), rng=rng)


def encode_roster(roster: Roster) -> bytes:
    """A roster's statements for the file that a machine starts from."""
    statements: Sequence[bytes] = roster.statements()
    return pack([1, roster.network_id, list(statements)])


def decode_roster(data: bytes) -> Roster:
    """The way back. Raises Malformed."""
    fields = Fields(unpack(data, bytes_max=ROSTER_BYTES_MAX), "roster file", version=1)
    network = network_id(fields.raw(32))
    statements = fields.array(most=100_000)
    fields.end()
    if any(type(statement) is not bytes for statement in statements):
        raise Malformed("roster file: a statement that is none")
    return Roster.from_statements(statements, network)
