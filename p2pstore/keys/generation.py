"""Key generations: the random keys that members share, and the envelopes in which each of them gets its copy."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from p2pstore.errors import Forged, Malformed, Unavailable
from p2pstore.ids import GenerationId, NetworkId, generation_id
from p2pstore.keys.identity import KEY_BYTES, agree, curve_public_of
from p2pstore.packing import Buffer, Fields, pack, unpack

GENERATION_VERSION: Final = 1
GENERATION_BYTES_MAX: Final = 256
ENVELOPE_VERSION: Final = 1
SEALED_GENERATION_BYTES_MAX: Final = 512

_ID_CONTEXT: Final = "p2pstore 2026 key generation id v1"
_ENVELOPE_INFO: Final = b"p2pstore generation envelope v1"
_ZERO_NONCE: Final = bytes(12)
"""Each envelope has its own key (a fresh ephemeral X25519 pair), used for this one message."""


class NoSuchGeneration(Unavailable):
    """A key generation that this machine has no envelope of, yet.

    Attributes:
        generation: its id.
    """

    def __init__(self, generation: GenerationId) -> None:
        super().__init__(f"no key of generation {generation.hex()}")
        self.generation = generation


class NoKeyToWrite(Unavailable):
    """No key generation belongs to the current members and nobody else; the next admin online makes one."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One set of household keys, named by their hash. A storage peer has the datagram key only.

    Attributes:
        id: first 16 bytes of the BLAKE3 of all four keys.
        content: seals chunks; 32 bytes, None for a storage peer, like the next two.
        metadata: seals operations and manifests.
        dedupe: keys chunk and manifest ids.
        datagram: authenticates DHT datagrams and beacons; 32 bytes.
    """

    id: GenerationId
    content: bytes | None = field(repr=False)
    metadata: bytes | None = field(repr=False)
    dedupe: bytes | None = field(repr=False)
    datagram: bytes = field(repr=False)

    @classmethod
    def generate(cls, rng: random.Random) -> Generation:
        """A new generation; `rng` is `random.SystemRandom()` wherever it matters."""
        content, metadata, dedupe, datagram = (rng.randbytes(KEY_BYTES) for _ in range(4))
        return cls(_id_of(content, metadata, dedupe, datagram), content, metadata, dedupe, datagram)

    @property
    def whole(self) -> bool:
        """Whether it holds all four keys, not only the datagram key."""
        return self.content is not None

    def blind(self) -> Generation:
        """The part that a storage peer gets."""
        return Generation(self.id, None, None, None, self.datagram)

    def encode(self) -> bytes:
        """All keys in clear: for the key file, and for the inside of an envelope."""
        return pack([GENERATION_VERSION, self.id, self.content, self.metadata, self.dedupe, self.datagram])

    @classmethod
    def decode(cls, data: Buffer) -> Generation:
        """The way back. Raises Malformed, Forged if whole keys do not hash to the id."""
        fields = Fields(unpack(data, bytes_max=GENERATION_BYTES_MAX), "generation", version=GENERATION_VERSION)
        name = generation_id(fields.raw(16))
        content, metadata, dedupe = (fields.optional_raw(KEY_BYTES) for _ in range(3))
        datagram = fields.raw(KEY_BYTES)
        fields.end()
        if content is None or metadata is None or dedupe is None:
            if not content is metadata is dedupe is None:
                raise Malformed("generation: neither whole nor blind")
        elif _id_of(content, metadata, dedupe, datagram) != name:
            raise Forged("generation: keys are not those that its id names")
        return cls(name, content, metadata, dedupe, datagram)


def _id_of(content: bytes, metadata: bytes, dedupe: bytes, datagram: bytes) -> GenerationId:
    return GenerationId(blake3(content + metadata + dedupe + datagram, derive_key_context=_ID_CONTEXT).digest(16))


class Recipient(NamedTuple):
    """Who gets an envelope.

    Attributes:
        public: X25519 public key, 32 bytes.
        whole: all four keys, or the datagram key only.
    """

    public: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Envelope:
    """A generation, sealed to one recipient. Safe to show to anybody.

    Attributes:
        generation: which.
        recipient: to whom, and how much of it.
        sealed: ephemeral X25519 public key (32 bytes) + ChaCha20-Poly1305 of the generation's encoding.
    """

    generation: GenerationId
    recipient: Recipient
    sealed: bytes = field(repr=False)


def seal_generation(
    generation: Generation, recipients: Iterable[Recipient], *, network: NetworkId, rng: random.Random
) -> tuple[Envelope, ...]:
    """One envelope per recipient, in their order."""
    return tuple(_seal(generation, recipient, network, rng) for recipient in recipients)


def _seal(generation: Generation, recipient: Recipient, network: NetworkId, rng: random.Random) -> Envelope:
    assert generation.whole or not recipient.whole
    ephemeral = rng.randbytes(KEY_BYTES)
    ephemeral_public = curve_public_of(ephemeral)
    key = _envelope_key(agree(ephemeral, recipient.public), ephemeral_public, recipient.public)
    plain = (generation if recipient.whole else generation.blind()).encode()
    bound = _bound(network, generation.id, recipient)
    sealed = ephemeral_public + ChaCha20Poly1305(key).encrypt(_ZERO_NONCE, plain, bound)
    return Envelope(generation.id, recipient, sealed)


def open_envelope(envelope: Envelope, curve_secret: bytes, *, network: NetworkId) -> Generation:
    """The generation inside.

    Raises:
        Forged: sealed to another key, for another network, as another generation, or damaged.
        Malformed: what is inside does not parse.
    """
    ephemeral_public, sealed = envelope.sealed[:KEY_BYTES], envelope.sealed[KEY_BYTES:]
    key = _envelope_key(agree(curve_secret, ephemeral_public), ephemeral_public, envelope.recipient.public)
    bound = _bound(network, envelope.generation, envelope.recipient)
    try:
        plain = ChaCha20Poly1305(key).decrypt(_ZERO_NONCE, sealed, bound)
    except InvalidTag:
        raise Forged("envelope does not open") from None
    generation = Generation.decode(plain)
    if generation.id != envelope.generation or generation.whole != envelope.recipient.whole:
        raise Forged("envelope holds other keys than it says")
    return generation


def _envelope_key(shared: bytes, ephemeral_public: bytes, recipient_public: bytes) -> bytes:
    kdf = HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=ephemeral_public + recipient_public, info=_ENVELOPE_INFO)
    return kdf.derive(shared)


def _bound(network: NetworkId, generation: GenerationId, recipient: Recipient) -> bytes:
    return pack([ENVELOPE_VERSION, network, generation, recipient.public, recipient.whole])


class Membership(Protocol):
    """What a keyring asks of a roster (`p2pstore.metadata.roster.Roster` answers)."""

    def generation_ids(self) -> list[GenerationId]:
        """Generations with envelopes, the newest first."""
        ...

    def recipients_of(self, generation: GenerationId) -> frozenset[Recipient]:
        """Everybody who was ever given this generation."""
        ...

    def recipients_wanted(self) -> frozenset[Recipient]:
        """The current members and the recovery key: who should be able to read what is written now."""
        ...


@dataclass(frozen=True, slots=True)
class Keyring:
    """The generations that this machine can open, sorted by id."""

    generations: tuple[Generation, ...] = ()

    def __post_init__(self) -> None:
        # A whole generation beats its blind part: a storage peer that became a member holds both for a while.
        best: dict[GenerationId, Generation] = {}
        for generation in sorted(self.generations, key=lambda each: (each.id, each.whole)):
            best[generation.id] = generation
        object.__setattr__(self, "generations", tuple(best[name] for name in sorted(best)))

    def adding(self, generations: Iterable[Generation]) -> Keyring:
        """This keyring and `generations`."""
        return Keyring((*self.generations, *generations))

    def find(self, generation: GenerationId) -> Generation:
        """The generation of this id. Raises NoSuchGeneration."""
        for each in self.generations:
            if each.id == generation:
                return each
        raise NoSuchGeneration(generation)

    def newest_first(self, roster: Membership) -> list[Generation]:
        """What we hold, in the roster's order, the newest first; what the roster does not name is left out."""
        held = {each.id: each for each in self.generations}
        return [held[name] for name in roster.generation_ids() if name in held]

    def current(self, roster: Membership) -> Generation:
        """The generation to write with: the newest whose recipients equal the current members.

        Raises:
            NoKeyToWrite: there is none.
        """
        wanted = roster.recipients_wanted()
        for generation in self.newest_first(roster):
            if roster.recipients_of(generation.id) == wanted:
                return generation
        raise NoKeyToWrite("no generation belongs to the current members")

    def may_write_with(self, roster: Membership) -> bool:
        """Whether `current` has an answer, and this machine has the content key of it."""
        try:
            return self.current(roster).whole
        except NoKeyToWrite:
            return False
