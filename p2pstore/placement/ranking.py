"""Which machines take a stripe: each has a price, which rises as it fills up.

The price of a shard is given / free^2: what lies in the last free half of a disk is worth more than what lies in the
first. Layouts chosen by it reach 95 to 100 % of what a linear program could store in unequal households (docs/decisions
0060). The choice is a fact that is recorded, not a function that is recomputed, so that a new machine moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from p2pstore.ids import EncodingId, PeerId

AWAKE: Final[Mapping[str, float]] = {"always-on": 0.99, "desktop": 0.6, "laptop": 0.45}
"""Share of the time that a machine of each kind is on, before anything was learned of it (facts: simulation, 4.1)."""

STEADY_FROM: Final = 0.9
"""On for so much of the time, a machine is one that reading can count on."""


_SPREAD: Final = 0.1
"""Prices differ by so much from stripe to stripe: machines that are equally full take turns."""


def awake_share(steadiness: str) -> float:
    """How much of the time a machine is on; one of a kind that this build does not know is a desktop."""
    return AWAKE.get(steadiness, AWAKE["desktop"])


@dataclass(frozen=True, slots=True)
class Candidate:
    """A machine that could take a shard.

    Attributes:
        peer: who.
        free_bytes: what its stores would still accept.
        awake: share of the time it is on, 0 to 1.
        site: where it stands.
        given_bytes: what its stores may take in all; 0 where that is not known.
    """

    peer: PeerId
    free_bytes: int
    awake: float = 1.0
    site: str = ""
    given_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Offer:
    """A candidate, for one stripe.

    Attributes:
        peer: who.
        price: of one shard there; only compared.
        room: shards that it could take.
        awake: share of the time it is on, 0 to 1.
        site: where it stands.
    """

    peer: PeerId
    price: float = 1.0
    room: int = 255
    awake: float = 1.0
    site: str = ""

    @property
    def steady(self) -> bool:
        """Whether reading can count on it."""
        return self.awake >= STEADY_FROM


def offers_of(
    encoding: EncodingId | bytes, candidates: Iterable[Candidate], *, shard_bytes: int
) -> list[Offer]:
    """Machines with room for a shard of `shard_bytes`, the cheapest first; the order differs from stripe to stripe."""
    offers = []
    for candidate in candidates:
        room = candidate.free_bytes // max(1, shard_bytes)
        if room < 1:
            continue
        draw = int.from_bytes(blake3(bytes(encoding) + candidate.peer).digest(length=8), "big") / 2**64
        given = max(candidate.given_bytes, candidate.free_bytes)
        price = given / float(candidate.free_bytes) ** 2 * (1 + _SPREAD * (draw - 0.5))
        offers.append(Offer(candidate.peer, price, room, candidate.awake, candidate.site))
    return sorted(offers, key=lambda offer: (offer.price, offer.peer))


def rank(encoding: EncodingId | bytes, candidates: Iterable[Candidate], *, shard_bytes: int) -> list[PeerId]:
    """The same without their prices."""
    return [offer.peer for offer in offers_of(encoding, candidates, shard_bytes=shard_bytes)]


def plain_offers(peers: Iterable[PeerId], sites: Mapping[PeerId, str]) -> list[Offer]:
    """Machines of which nothing is asked but where they stand, the first the cheapest."""
    return [Offer(peer, 1 + number * 1e-6, site=sites.get(peer, "")) for number, peer in enumerate(peers)]
