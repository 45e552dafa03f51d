"""The messages inside sealed datagrams: one shape of request, one shape of reply.

request: [1, kind, nonce, sender, is_client, argument]
reply:   [1, 16 + kind, nonce, sender, closer contacts, [value, ...]]
The first four elements are for ever, so that a later version can be refused politely.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, Final, NamedTuple

import msgpack

from dht.contacts import Contact, pack_contacts, unpack_contacts
from dht.errors import Malformed
from dht.limits import BUCKET_SIZE, ID_BYTES, RECORD_BYTES_MAX, VALUES_MAX
from dht.sealing import BODY_BYTES_MAX

VERSION: Final = 1
_REPLY: Final = 16
_REPLY_HEAD_BYTES: Final = 64  # version, kind, nonce, sender and the array and length marks: 57, rounded up
_CONTACTS_MAX: Final = 2 * BUCKET_SIZE


class Kind(IntEnum):
    """What is asked. Numbers are for ever."""

    PING = 0
    FIND = 1
    ENDPOINT = 2
    HOLDERS = 3
    STORE = 4
    REFUSED = 15


class Request(NamedTuple):
    """A question.

    Attributes:
        kind: a Kind, or a number that this build does not know.
        nonce: random, comes back in the reply.
        sender: the id that the sender says it has.
        is_client: the sender cannot be reached by strangers and wants to be in nobody's table.
        argument: a key, or the record to store.
    """

    kind: int
    nonce: int
    sender: bytes
    is_client: bool
    argument: bytes


class Reply(NamedTuple):
    """An answer.

    Attributes:
        kind: that of the request, or REFUSED.
        nonce: that of the request.
        sender: the id that answers.
        contacts: nodes nearer to the key.
        values: records, payloads or a sequence number, by kind.
    """

    kind: int
    nonce: int
    sender: bytes
    contacts: list[Contact]
    values: list[bytes]


def encode_request(request: Request) -> bytes:
    """The body of a request."""
    packed: bytes = msgpack.packb((VERSION, *request))
    return packed


def encode_reply(kind: int, nonce: int, sender: bytes, contacts: list[Contact], values: list[bytes]) -> bytes:
    """The body of a reply, with as many of `contacts` as fit beside all of `values`."""
    room = BODY_BYTES_MAX - _REPLY_HEAD_BYTES - sum(len(value) + 3 for value in values)
    packed: bytes = msgpack.packb(
        (VERSION, _REPLY + kind, nonce, sender, pack_contacts(contacts, bytes_max=room), values)
    )
    return packed


def decode(body: bytes) -> Request | Reply:
    """The message in `body`.

    A request of another version, or of an unknown kind, comes back with a kind that no Kind has: answer REFUSED.

    Raises:
        Malformed: anything else.
    """
    try:
        fields: Any = msgpack.unpackb(body, raw=False, max_ext_len=0, max_array_len=64, max_map_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError):
        raise Malformed("not msgpack") from None
    if type(fields) is not list or len(fields) < 4:
        raise Malformed("not a message")
    version, kind, nonce, sender = fields[:4]
    if type(version) is not int or type(kind) is not int or not 0 <= kind < 2 * _REPLY:
        raise Malformed("no kind")
    if type(nonce) is not int or not 0 <= nonce < 2**64 or type(sender) is not bytes or len(sender) != ID_BYTES:
        raise Malformed("no nonce or sender")
    if version != VERSION:
        if kind < _REPLY and 0 < version < 2**16:
            return Request(_REPLY, nonce, sender, True, b"")
        raise Malformed("unknown version")
    if kind < _REPLY:
        return _request(kind, nonce, sender, fields)
    return _reply(kind - _REPLY, nonce, sender, fields)


def _request(kind: int, nonce: int, sender: bytes, fields: list[Any]) -> Request:
    if kind > Kind.STORE:
        return Request(_REPLY, nonce, sender, True, b"")
    if len(fields) != 6:
        raise Malformed("request of wrong length")
    is_client, argument = fields[4:]
    if type(is_client) is not bool or type(argument) is not bytes:
        raise Malformed("request of wrong types")
    if kind == Kind.PING:
        fits = not argument
    elif kind == Kind.STORE:
        fits = len(argument) <= RECORD_BYTES_MAX
    else:
        fits = len(argument) == ID_BYTES
    if not fits:
        raise Malformed("argument of wrong length")
    return Request(kind, nonce, sender, is_client, argument)


def _reply(kind: int, nonce: int, sender: bytes, fields: list[Any]) -> Reply:
    if len(fields) != 6:
        raise Malformed("reply of wrong length")
    contacts, values = fields[4:]
    if type(contacts) is not bytes or type(values) is not list or len(values) > VALUES_MAX:
        raise Malformed("reply of wrong types")
    if not all(type(value) is bytes for value in values):
        raise Malformed("values of wrong types")
    return Reply(kind, nonce, sender, unpack_contacts(contacts, count_max=_CONTACTS_MAX), values)
