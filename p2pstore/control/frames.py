"""What is said over the local API, as bytes: a 4-byte big-endian length, then one msgpack map. Sans-IO, both sides.

A connection begins with the daemon's `Hello`. Then the client sends `Request`s under ids of its own; each ends with
exactly one `Result` or `Failed` of that id, after any number of `Item`s. A client that streams bytes to the daemon
(standard input) sends `Data` pieces and `End`, at most as many pieces ahead as the window plus what `Want` granted.
`Cancel` asks for an early end, which is still answered. Byte-for-byte: docs/formats/control.md.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from p2pstore.control.faults import Fault
from p2pstore.errors import Malformed, Misuse
from p2pstore.limits import CONTROL_API_FRAME_BYTES_MAX, CONTROL_API_PIECE_BYTES, CONTROL_API_UPLOAD_WINDOW
from p2pstore.packing import Buffer, pack, unpack

API: Final = 1
"""The version of the local API that this build speaks."""

API_MIN: Final = 1
"""The oldest version that this build still understands."""

ID_MAX: Final = 2**53
"""Ids fit a JavaScript number."""

OP_LENGTH_MAX: Final = 64
"""No operation has a longer name."""

TEXT_LENGTH_MAX: Final = 200
"""The longest version string."""

LENGTH_BYTES: Final = 4
"""The length prefix."""


class Hello(NamedTuple):
    """The daemon's first words.

    Attributes:
        api: version of the API it speaks.
        api_min: the oldest it understands.
        version: of the program, for people.
        pid: its process id.
    """

    api: int
    api_min: int
    version: str
    pid: int


class Request(NamedTuple):
    """Client: please do `op`."""

    id: int
    op: str
    args: dict[str, Any]


class Result(NamedTuple):
    """Daemon: done; the last word about `id`."""

    id: int
    value: Any


class Failed(NamedTuple):
    """Daemon: it failed; the last word about `id`."""

    id: int
    fault: Fault


class Item(NamedTuple):
    """Daemon: one element of a stream."""

    id: int
    value: Any


class Data(NamedTuple):
    """Client: a piece of the bytes that belong to request `id`."""

    id: int
    data: bytes


class End(NamedTuple):
    """Client: those were all bytes of request `id`."""

    id: int


class Want(NamedTuple):
    """Daemon: so many more pieces may be sent for request `id`."""

    id: int
    pieces: int


class Cancel(NamedTuple):
    """Client: stop request `id`."""

    id: int


Message = Hello | Request | Result | Failed | Item | Data | End | Want | Cancel


def encode(message: Message) -> bytes:
    """The frame of `message`, length prefix included.

    Raises:
        Misuse: the frame would be longer than 1 MiB; streams are to be cut into smaller items.
    """
    body: dict[str, Any]
    match message:
        case Hello(api, api_min, version, pid):
            body = {"hello": {"api": api, "min": api_min, "version": version, "pid": pid}}
        case Request():
            body = {"id": message.id, "op": message.op, "args": message.args}
        case Result():
            body = {"id": message.id, "ok": message.value}
        case Failed():
            body = {"id": message.id, "err": message.fault.to_wire()}
        case Item():
            body = {"id": message.id, "item": message.value}
        case Data():
            body = {"id": message.id, "data": message.data}
        case End():
            body = {"id": message.id, "end": True}
        case Want():
            body = {"id": message.id, "want": message.pieces}
        case Cancel():
            body = {"cancel": message.id}
    packed = pack(body)
    if len(packed) > CONTROL_API_FRAME_BYTES_MAX:
        raise Misuse(f"a frame of {len(packed)} bytes, at most {CONTROL_API_FRAME_BYTES_MAX}")
    return len(packed).to_bytes(LENGTH_BYTES, "big") + packed


def decode(body: Buffer) -> Message:
    """The message in a frame's body. Keys that this version does not know are ignored.

    Raises:
        Malformed: not a message of this API.
    """
    value = unpack(body, bytes_max=CONTROL_API_FRAME_BYTES_MAX)
    if not isinstance(value, dict):
        raise Malformed("control frame: not a map")
    if "hello" in value:
        return _hello(value["hello"])
    if "cancel" in value:
        return Cancel(_integer(value["cancel"], ID_MAX))
    call_id = _integer(value.get("id"), ID_MAX)
    if "op" in value:
        op, args = value["op"], value.get("args", {})
        if type(op) is not str or not 0 < len(op) <= OP_LENGTH_MAX:
            raise Malformed("control request: not an operation's name")
        if not isinstance(args, dict) or any(type(key) is not str for key in args):
            raise Malformed("control request: arguments are not a map of names")
        return Request(call_id, op, args)
    if "ok" in value:
        return Result(call_id, value["ok"])
    if "err" in value:
        return Failed(call_id, Fault.from_wire(value["err"]))
    if "item" in value:
        return Item(call_id, value["item"])
    if "data" in value:
        data = value["data"]
        if type(data) is not bytes or len(data) > CONTROL_API_PIECE_BYTES:
            raise Malformed("control data: not bytes, or too many")
        return Data(call_id, data)
    if "end" in value:
        return End(call_id)
    if "want" in value:
        return Want(call_id, _integer(value["want"], CONTROL_API_UPLOAD_WINDOW))
    raise Malformed("control frame: of no known kind")


def _hello(value: Any) -> Hello:
    if not isinstance(value, dict):
        raise Malformed("control hello: not a map")
    version = value.get("version")
    if type(version) is not str or len(version) > TEXT_LENGTH_MAX:
        raise Malformed("control hello: no version")
    return Hello(
        _integer(value.get("api"), 2**16), _integer(value.get("min"), 2**16), version, _integer(value.get("pid"), 2**31)
    )


def _integer(value: Any, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise Malformed(f"control frame: wanted an integer from 0 to {most}")
    return value


class Decoder:
    """Cuts a byte stream into messages."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: Buffer) -> list[Message]:
        """The messages that `data` completes, in order.

        Raises:
            Malformed: the stream is no longer to be trusted; close the connection.
        """
        self._buffer += data
        messages: list[Message] = []
        start = 0
        while len(self._buffer) - start >= LENGTH_BYTES:
            length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
            if not 0 < length <= CONTROL_API_FRAME_BYTES_MAX:
                raise Malformed(f"control frame: {length} bytes announced")
            end = start + LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            with memoryview(self._buffer) as view, view[start + LENGTH_BYTES : end] as body:
                messages.append(decode(body))
            start = end
        if start:
            del self._buffer[:start]
        return messages

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that has not arrived completely."""
        return len(self._buffer)
