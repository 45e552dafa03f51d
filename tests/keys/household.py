"""A household to test with: machines with seeded identities, and rosters made of what they sign."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from p2pstore.ids import PeerId
from p2pstore.keys.generation import Keyring
from p2pstore.keys.household import HouseholdKeys, new_secret
from p2pstore.keys.identity import Identity
from p2pstore.metadata.roster import Roster
from p2pstore.metadata.roster_changes import enrol, found, mend_generations, remove
from p2pstore.metadata.roster_codec import make_card, make_certificate
from p2pstore.metadata.roster_statements import Profile


def profile(name: str, role: str = "member") -> Profile:
    return Profile(name, role, "home", "desktop", 10**12)


@dataclass
class Household:
    """Keys of everybody, and the roster that the first admin sees."""

    seed: int = 1
    secret: bytes = b""
    rng: random.Random = field(init=False)
    machines: dict[str, Identity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.secret = self.secret or new_secret(self.rng)
        self.keys = HouseholdKeys.derive(self.secret)
        self.first = self.machine("first")
        founding = found(
            self.keys, self.first, name="The Bakers", profile=profile("first", "admin"), now_s=1000.0, rng=self.rng
        )
        self.roster: Roster = founding.roster
        self.keyring: Keyring = founding.keyring
        self.network = self.roster.network_id

    def machine(self, name: str) -> Identity:
        """The identity of a machine, made when first asked for."""
        if name not in self.machines:
            self.machines[name] = Identity.generate(self.rng)
        return self.machines[name]

    def peer(self, name: str) -> PeerId:
        return self.machine(name).peer_id

    def enrolment(self, name: str, role: str = "member", *, by: str = "first", roster: Roster | None = None) -> bytes:
        card = make_card(self.machine(name), self.network)
        return enrol(
            self.machine(by),
            roster or self.roster,
            self.keyring,
            card=card,
            profile=profile(name, role),
            now_s=2000.0 + len(self.machines),
            rng=self.rng,
        )

    def certificate(self, name: str, *, by: str) -> bytes:
        return make_certificate(self.machine(by), self.network, subject=self.peer(name))

    def removal(self, name: str, *, by: str, roster: Roster | None = None, **more: object) -> bytes:
        signer = self.keys if by == "root" else self.machine(by)
        return remove(signer, roster or self.roster, self.peer(name), now_s=5000.0, **more)  # type: ignore[arg-type]

    def learn(self, *statements: bytes) -> Roster:
        """Adds statements to the roster and gives it back."""
        self.roster = self.roster.with_statements(statements)
        return self.roster

    def enrolled(self, *names: str, role: str = "member", by: str = "first") -> Roster:
        for name in names:
            self.learn(self.enrolment(name, role, by=by))
        return self.roster

    def mend(self, by: str = "first") -> Roster:
        done = mend_generations(self.machine(by), self.roster, self.keyring, now_s=6000.0, rng=self.rng)
        self.keyring = self.keyring.adding(done.generations)
        return self.learn(*done.statements)

    def names(self, roster: Roster | None = None) -> list[str]:
        return sorted(each.name for each in (roster or self.roster).members())
