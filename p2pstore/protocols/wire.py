"""Message frames between peers: a versioned msgpack header, and beside it at most one payload frame.

docs/formats/wire.md describes every byte. Bytes from outside become frames here, once, with every bound checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from p2pstore.errors import (
    Busy,
    Corrupt,
    DiskAsleep,
    Forged,
    Malformed,
    Misuse,
    NoSpace,
    P2PStoreError,
    PeerFault,
    Refused,
    TimedOut,
    TooFewShards,
    Unreachable,
)
from p2pstore.limits import (
    BULK_PAYLOAD_BYTES_MAX,
    CONTROL_MESSAGE_BYTES_MAX,
    ERROR_TEXT_CHARS_MAX,
    HEADER_BYTES_MAX,
    KIND_CHARS_MAX,
)
from p2pstore.packing import Buffer, Fields, pack, unpack
from p2pstore.seams.network import Message, Plane

VERSION_LEAST: Final = 1
"""The oldest version this build reads and writes: one below VERSION_MOST as soon as there is a second."""

VERSION_MOST: Final = 1
"""The newest version this build reads and writes."""

ID_MOST: Final = 2**63 - 1
EXPIRES_MS_MOST: Final = 2**53
"""Milliseconds since a link's hello: larger numbers are no times."""

PAYLOAD_BYTES_MAX: Final = {Plane.CONTROL: CONTROL_MESSAGE_BYTES_MAX, Plane.BULK: BULK_PAYLOAD_BYTES_MAX}

_KIND: Final = re.compile(r"[a-z0-9]+([._-][a-z0-9]+)*")


class FrameKind(IntEnum):
    """The second element of a header. Numbers are for ever."""

    HELLO = 0
    REQUEST = 1
    REPLY = 2
    REFUSAL = 3
    RECEIVED = 4


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame each way on a link, and again whenever the link's time must be set anew.

    Attributes:
        least: oldest version the sender reads; hellos themselves are always written in version 1.
        most: newest version the sender reads.
    """

    least: int = VERSION_LEAST
    most: int = VERSION_MOST


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        id: named by the requester; no other request in flight on the link has it.
        expires_ms: the request's deadline in milliseconds since the requester's last hello on this link.
        message: what is asked.
    """

    id: int
    expires_ms: int
    message: Message


@dataclass(frozen=True, slots=True)
class Reply:
    """What the handler answered; `message.kind` is empty."""

    id: int
    message: Message


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the handler, or the transport before it, refused."""

    id: int
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Received:
    """A reply's payload arrived: its bytes no longer count as in flight."""

    id: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A frame of a kind that this build does not know, but whose id it can answer."""

    id: int


Frame = Hello | Request | Reply | Refusal | Received | Unknown


def encode(frame: Frame, *, version: int = VERSION_MOST) -> bytes:
    """The header of `frame`; a request's or reply's payload travels beside it.

    Raises:
        Misuse: The message's kind or args do not fit a header.
    """
    match frame:
        case Hello(least, most):
            return pack((1, FrameKind.HELLO, least, most))
        case Request(id_, expires_ms, message):
            if not is_kind(message.kind):
                raise Misuse(f"message kind {message.kind!r}")
            return _bounded((version, FrameKind.REQUEST, id_, expires_ms, message.kind, _plain(message.args)))
        case Reply(id_, message):
            return _bounded((version, FrameKind.REPLY, id_, _plain(message.args)))
        case Refusal(id_, code, text):
            return pack((version, FrameKind.REFUSAL, id_, code, text[:ERROR_TEXT_CHARS_MAX]))
        case Received(id_):
            return pack((version, FrameKind.RECEIVED, id_))
        case Unknown():
            raise Misuse("an unknown frame is only ever received")


def check_payload(payload: Buffer, plane: Plane) -> int:
    """The payload's size in bytes. Raises Misuse if a link of `plane` would be cut for it."""
    size = memoryview(payload).nbytes
    if size > PAYLOAD_BYTES_MAX[plane]:
        raise Misuse(f"payload of {size} bytes, at most {PAYLOAD_BYTES_MAX[plane]} on the {plane.name.lower()} plane")
    return size


def decode(header: Buffer, payload: Buffer = b"", *, plane: Plane = Plane.BULK) -> Frame:
    """The frame that a peer sent.

    Args:
        header: The first message part.
        payload: The second, or empty; not copied.
        plane: Where it came from: bounds the payload.

    Raises:
        Malformed: Anything out of shape or out of bounds, or of a version this build does not read.
    """
    if len(payload) > PAYLOAD_BYTES_MAX[plane]:
        raise Malformed(f"payload of {len(payload)} bytes")
    fields = Fields(unpack(header, bytes_max=HEADER_BYTES_MAX), "frame")
    fields.integer(VERSION_LEAST, VERSION_MOST)
    kind = fields.integer(0, 255)
    if kind == FrameKind.HELLO:
        _no_payload(payload)
        least = fields.integer(1, 2**16)
        hello = Hello(least, fields.integer(least, 2**16))
        fields.end()
        return hello
    id_ = fields.integer(1, ID_MOST)
    frame: Frame
    match kind:
        case FrameKind.REQUEST:
            expires_ms = fields.integer(0, EXPIRES_MS_MOST)
            name = fields.text(most=KIND_CHARS_MAX)
            if not is_kind(name):
                raise Malformed("frame: not a message kind")
            frame = Request(id_, expires_ms, Message(name, fields.mapping(), payload))
        case FrameKind.REPLY:
            frame = Reply(id_, Message("", fields.mapping(), payload))
        case FrameKind.REFUSAL:
            _no_payload(payload)
            code = fields.text(most=KIND_CHARS_MAX)
            if not is_kind(code):
                raise Malformed("frame: not a code")
            frame = Refusal(id_, code, fields.text(most=ERROR_TEXT_CHARS_MAX))
        case FrameKind.RECEIVED:
            _no_payload(payload)
            frame = Received(id_)
        case _:
            return Unknown(id_)
    fields.end()
    return frame


def is_kind(text: str) -> bool:
    """Whether `text` can name a kind of message or a code: lower-case ASCII words joined by '.', '-' or '_'."""
    return len(text) <= KIND_CHARS_MAX and _KIND.fullmatch(text) is not None


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    if not all(type(key) is str for key in args):
        raise Misuse("args with a key that is not text")
    return dict(args)


def _bounded(value: tuple[Any, ...]) -> bytes:
    try:
        header = pack(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Misuse(f"args that msgpack cannot write: {error}") from None
    if len(header) > HEADER_BYTES_MAX:
        raise Misuse(f"args of {len(header)} bytes, at most {HEADER_BYTES_MAX}; use the payload")
    return header


def _no_payload(payload: Buffer) -> None:
    if len(payload):
        raise Malformed("frame: a payload that its kind does not have")


# --- errors as codes ----------------------------------------------------------------------------------------------

UNKNOWN_KIND: Final = "unknown-kind"
"""Code for a kind of message that nobody here serves."""

UNKNOWN_FRAME: Final = "unknown-frame"
"""Code for a kind of frame of a later version."""

EXPIRED: Final = "expired"
"""Code for a request that came after its deadline: it was not carried out."""

BUSY: Final = "busy"
"""Code for more requests at once than a peer serves."""

INTERNAL: Final = "internal"
"""Code for a bug in the handler; the peer's log has it."""

_CODES: Final[tuple[tuple[type[P2PStoreError], str], ...]] = (
    (Busy, BUSY),
    (NoSpace, "full"),
    (DiskAsleep, "disk-asleep"),
    (Corrupt, "corrupt"),
    (Forged, "forged"),
    (Malformed, "malformed"),
    (TooFewShards, "too-few-shards"),
    (Unreachable, "unreachable"),
    (TimedOut, "timed-out"),
    (Misuse, "misuse"),
)
"""The first class that fits names the code."""


def refusal(id_: int, error: P2PStoreError) -> Refusal:
    """How a handler's error is told to the requester.

    Only errors about the requester's own bytes, and refusals made on purpose, carry their text: others may name files.
    """
    if isinstance(error, Refused):
        code = error.code if is_kind(error.code) else "failed"
        return Refusal(id_, code, str(error).removeprefix(f"{error.code}: ").removeprefix(error.code))
    code = next((code for kind, code in _CODES if isinstance(error, kind)), "failed")
    return Refusal(id_, code, str(error) if isinstance(error, PeerFault) else "")


def refusal_error(refused: Refusal) -> P2PStoreError:
    """What the requester raises for a refusal: Busy, TimedOut for one that came too late, else Refused."""
    if refused.code == BUSY:
        return Busy(refused.text)
    if refused.code == EXPIRED:
        return TimedOut("the request reached the peer after its deadline")
    return Refused(refused.code, refused.text)
