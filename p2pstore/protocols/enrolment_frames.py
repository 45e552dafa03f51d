"""What newcomer and inviter say to each other: frames in clear, and what lies in the sealed ones.

Format: docs/formats/enrolment.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from p2pstore.errors import Malformed
from p2pstore.ids import NetworkId, network_id
from p2pstore.keys.identity import KEY_BYTES, SIGNATURE_BYTES
from p2pstore.limits import ENROLMENT_BUNDLE_BYTES_MAX, ENROLMENT_FRAME_BYTES_MAX, ROSTER_STATEMENT_BYTES_MAX
from p2pstore.metadata.roster_codec import CARD_BYTES_MAX, profile_fields, read_profile
from p2pstore.metadata.roster_statements import ROLES, Profile
from p2pstore.packing import Buffer, Fields, pack, unpack
from p2pstore.protocols.enrolment_channel import MAC_BYTES, PAKE_BYTES, Channel
from p2pstore.protocols.invite_code import NAMEPLATE_MAX

ENROLMENT_VERSION: Final = 1

PIECE_BYTES: Final = 4000
"""Of a bundle, in one sealed frame: with tag and wrapping it stays below ENROLMENT_FRAME_BYTES_MAX."""

BUNDLE_STATEMENTS_MAX: Final = 50_000
"""Statements in one bundle; its bytes are the real bound."""


class FrameKind(IntEnum):
    """What a frame is. Numbers are for ever."""

    HELLO = 1
    ANSWER = 2
    CONFIRM = 3
    SEALED = 4
    REFUSED = 5


REFUSALS: Final = ("busy", "failed", "no-invitation", "wrong-code")
"""Why an inviter hangs up, in the only words that a stranger can hear from it."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, read.

    Attributes:
        kind: what it is.
        content: PAKE message, MAC, or sealed bytes.
        nameplate: of a hello.
        refusal: of a refused.
    """

    kind: FrameKind
    content: bytes = field(default=b"", repr=False)
    nameplate: int = 0
    refusal: str = ""

    def encode(self) -> bytes:
        """Its bytes."""
        match self.kind:
            case FrameKind.HELLO:
                rest: list[object] = [self.nameplate, self.content]
            case FrameKind.REFUSED:
                rest = [self.refusal]
            case _:
                rest = [self.content]
        return pack([ENROLMENT_VERSION, int(self.kind), *rest])

    @classmethod
    def decode(cls, data: Buffer) -> Frame:
        """The way back. Raises Malformed."""
        fields = Fields(unpack(data, bytes_max=ENROLMENT_FRAME_BYTES_MAX), "enrolment", version=ENROLMENT_VERSION)
        kind = FrameKind(fields.integer(min(FrameKind), max(FrameKind)))
        match kind:
            case FrameKind.HELLO:
                nameplate = fields.integer(1, NAMEPLATE_MAX)
                frame = cls(kind, fields.raw(PAKE_BYTES), nameplate=nameplate)
            case FrameKind.ANSWER:
                frame = cls(kind, fields.raw(PAKE_BYTES))
            case FrameKind.CONFIRM:
                frame = cls(kind, fields.raw(MAC_BYTES))
            case FrameKind.SEALED:
                frame = cls(kind, fields.raw(most=ENROLMENT_FRAME_BYTES_MAX))
            case FrameKind.REFUSED:
                refusal = fields.text(most=32)
                if refusal not in REFUSALS:
                    raise Malformed("enrolment: unknown refusal")
                frame = cls(kind, refusal=refusal)
        fields.end()
        return frame


def refused_frame(refusal: str) -> bytes:
    """A frame that says why the inviter hangs up."""
    assert refusal in REFUSALS
    return Frame(FrameKind.REFUSED, refusal=refusal).encode()


def sealed_frame(channel: Channel, plain: bytes) -> bytes:
    """A sealed frame, the next of its channel."""
    return Frame(FrameKind.SEALED, channel.seal(plain)).encode()


def expect(frame: Frame, kind: FrameKind) -> bytes:
    """The content of a frame that has to be of this kind. Raises Malformed."""
    if frame.kind is not kind:
        raise Malformed(f"enrolment: wanted {kind.name.lower()}, found {frame.kind.name.lower()}")
    return frame.content


def pieces_of(bundle: bytes) -> list[bytes]:
    """A bundle, cut for sealed frames."""
    starts = range(0, len(bundle), PIECE_BYTES)
    return [
        pack([ENROLMENT_VERSION, start + PIECE_BYTES < len(bundle), bundle[start : start + PIECE_BYTES]])
        for start in starts
    ]


def read_done(plain: bytes) -> None:
    """Checks a newcomer's last word. Raises Malformed."""
    fields = Fields(unpack(plain, bytes_max=16), "enrolment done", version=ENROLMENT_VERSION)
    if not fields.truth():
        raise Malformed("enrolment: not done")
    fields.end()


def read_bundle(data: Buffer) -> tuple[bytes, list[bytes]]:
    """The inviter's proof of possession and the roster statements in a bundle. Raises Malformed."""
    fields = Fields(unpack(data, bytes_max=ENROLMENT_BUNDLE_BYTES_MAX), "enrolment bundle", version=ENROLMENT_VERSION)
    possession = fields.raw(MAC_BYTES)
    statements = fields.array(most=BUNDLE_STATEMENTS_MAX)
    fields.end()
    if any(type(each) is not bytes or len(each) > ROSTER_STATEMENT_BYTES_MAX for each in statements):
        raise Malformed("enrolment: bundle of other things than statements")
    return possession, statements


def encode_done() -> bytes:
    """A newcomer's last word."""
    return pack([ENROLMENT_VERSION, True])


def read_piece(plain: bytes) -> tuple[bool, bytes]:
    """Whether more follow, and one piece of a bundle. Raises Malformed."""
    fields = Fields(unpack(plain, bytes_max=ENROLMENT_FRAME_BYTES_MAX), "bundle piece", version=ENROLMENT_VERSION)
    more, piece = fields.truth(), fields.raw(most=PIECE_BYTES)
    fields.end()
    return more, piece


def encode_bundle(possession: bytes, statements: Sequence[bytes]) -> bytes:
    """The inviter's proof of possession and all roster statements."""
    return pack([ENROLMENT_VERSION, possession, list(statements)])


@dataclass(frozen=True, slots=True)
class InviterIntroduction:
    """Who the inviter is, and what it invites to."""

    public: bytes
    curve_public: bytes
    signature: bytes
    network: NetworkId
    role: str

    def encode(self) -> bytes:
        """Its bytes, to be sealed."""
        return pack([ENROLMENT_VERSION, self.public, self.curve_public, self.signature, self.network, self.role])

    @classmethod
    def decode(cls, plain: bytes) -> InviterIntroduction:
        """The way back. Raises Malformed."""
        fields = Fields(unpack(plain, bytes_max=ENROLMENT_FRAME_BYTES_MAX), "introduction", version=ENROLMENT_VERSION)
        public, curve_public = fields.raw(KEY_BYTES), fields.raw(KEY_BYTES)
        signature, network, role = fields.raw(SIGNATURE_BYTES), network_id(fields.raw(32)), fields.text(most=16)
        fields.end()
        if role not in ROLES:
            raise Malformed("introduction: unknown role")
        return cls(public, curve_public, signature, network, role)


@dataclass(frozen=True, slots=True)
class NewcomerIntroduction:
    """Who the newcomer is, and what it wishes to be called."""

    public: bytes
    curve_public: bytes
    signature: bytes
    possession: bytes
    card: bytes
    wishes: Profile

    def encode(self) -> bytes:
        """Its bytes, to be sealed."""
        keys = [self.public, self.curve_public, self.signature, self.possession, self.card]
        return pack([ENROLMENT_VERSION, *keys, *profile_fields(self.wishes)])

    @classmethod
    def decode(cls, plain: bytes) -> NewcomerIntroduction:
        """The way back. Raises Malformed."""
        fields = Fields(unpack(plain, bytes_max=ENROLMENT_FRAME_BYTES_MAX), "introduction", version=ENROLMENT_VERSION)
        public, curve_public, signature = fields.raw(KEY_BYTES), fields.raw(KEY_BYTES), fields.raw(SIGNATURE_BYTES)
        possession, card = fields.raw(MAC_BYTES), fields.raw(most=CARD_BYTES_MAX)
        wishes = read_profile(fields)
        fields.end()
        return cls(public, curve_public, signature, possession, card, wishes)
