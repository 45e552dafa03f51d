"""Signed endpoint records: where a peer is now, said by itself. The higher sequence number wins.

`[[1, public key, sequence, expiry, [address, ...], body], signature]` in msgpack; the signature covers a context and
the bytes of the inner array. Signing, verifying and hashing are passed in, so this knows no algorithm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgpack

from dht.errors import Forged, Malformed, Misuse
from dht.limits import (
    ADDRESS_CHARACTERS_MAX,
    RECORD_ADDRESSES_MAX,
    RECORD_BODY_BYTES_MAX,
    RECORD_BYTES_MAX,
    RECORD_LIFE_MAX_S,
    RECORDS_HELD_MAX,
    RECORDS_PER_SOURCE_MAX,
    VERIFIED_RECORDS_MAX,
)
from dht.seams import Address

Sign = Callable[[bytes], bytes]
"""The 64-byte signature of a message under our own key."""

Verify = Callable[[bytes, bytes, bytes], bool]
"""(public key, signature, message): whether it is a signature; never raises."""

IdOf = Callable[[bytes], bytes]
"""The 32-byte id of a public key: its hash."""

VERSION: Final = 1
_CONTEXT: Final = b"dht endpoint record 1\0"


@dataclass(frozen=True, slots=True)
class EndpointRecord:
    """Where a peer can be reached. One that came from outside has been verified.

    Attributes:
        peer: its id, the hash of `public`.
        public: its public key, 32 bytes.
        sequence: the higher wins.
        expires_s: seconds since 1970 after which it says nothing.
        addresses: text, best first; what it means is the callers' business.
        body: opaque, at most 600 bytes.
        encoded: the signed bytes, as they travel.
    """

    peer: bytes
    public: bytes
    sequence: int
    expires_s: int
    addresses: tuple[str, ...]
    body: bytes
    encoded: bytes


def make_record(
    public: bytes, *, sequence: int, expires_s: int, addresses: tuple[str, ...], body: bytes, sign: Sign, id_of: IdOf
) -> EndpointRecord:
    """A record signed with our own key.

    Raises:
        Misuse: too many or too long addresses, or more than 900 bytes in all.
    """
    if len(addresses) > RECORD_ADDRESSES_MAX or any(len(text) > ADDRESS_CHARACTERS_MAX for text in addresses):
        raise Misuse(f"at most {RECORD_ADDRESSES_MAX} addresses of {ADDRESS_CHARACTERS_MAX} characters")
    if len(body) > RECORD_BODY_BYTES_MAX:
        raise Misuse(f"a body of {len(body)} bytes, at most {RECORD_BODY_BYTES_MAX}")
    said: bytes = msgpack.packb((VERSION, public, sequence, expires_s, addresses, body))
    encoded: bytes = msgpack.packb((said, sign(_CONTEXT + said)))
    if len(encoded) > RECORD_BYTES_MAX:
        raise Misuse(f"a record of {len(encoded)} bytes, at most {RECORD_BYTES_MAX}")
    return EndpointRecord(id_of(public), public, sequence, expires_s, addresses, body, encoded)


def read_record(encoded: bytes, *, verify: Verify, id_of: IdOf) -> EndpointRecord:
    """The record in `encoded`.

    Raises:
        Malformed: it does not parse.
        Forged: its signature is not its key's.
    """
    if len(encoded) > RECORD_BYTES_MAX:
        raise Malformed("record too long")
    outer = _array(encoded, 2)
    said, signature = outer
    if type(said) is not bytes or type(signature) is not bytes or len(signature) != 64:
        raise Malformed("record without signature")
    version, public, sequence, expires_s, addresses, body = _array(said, 6)
    if version != VERSION or type(version) is not int or type(public) is not bytes or len(public) != 32:
        raise Malformed("record of unknown version or without key")
    if not _is_count(sequence) or not _is_count(expires_s) or type(body) is not bytes:
        raise Malformed("record of wrong types")
    if len(body) > RECORD_BODY_BYTES_MAX or type(addresses) is not list or len(addresses) > RECORD_ADDRESSES_MAX:
        raise Malformed("record with too much in it")
    if not all(type(text) is str and len(text) <= ADDRESS_CHARACTERS_MAX for text in addresses):
        raise Malformed("record of wrong addresses")
    if not verify(public, signature, _CONTEXT + said):
        raise Forged("endpoint record")
    return EndpointRecord(id_of(public), public, sequence, expires_s, tuple(addresses), body, encoded)


def _array(data: bytes, length: int) -> list[Any]:
    try:
        value = msgpack.unpackb(data, raw=False, max_ext_len=0, max_array_len=16, max_map_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError):
        raise Malformed("record is not msgpack") from None
    if type(value) is not list or len(value) != length:
        raise Malformed("record of wrong shape")
    return value


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


@dataclass(frozen=True, slots=True)
class _Held:
    record: EndpointRecord
    source: Address | None


class RecordStore:
    """Records kept for others, and the memory of what was verified. Bounded in all, and by source."""

    def __init__(self, own_id: bytes, *, verify: Verify, id_of: IdOf) -> None:
        self._own = int.from_bytes(own_id)
        self._verify = verify
        self._id_of = id_of
        self._held: dict[bytes, _Held] = {}
        self._verified: dict[bytes, EndpointRecord] = {}

    def __len__(self) -> int:
        return len(self._held)

    def read(self, encoded: bytes, *, wall_s: float) -> EndpointRecord:
        """The verified record in `encoded`; the same bytes are verified once.

        Raises:
            Malformed: it does not parse, has expired, or claims to live too long.
            Forged: its signature is not its key's.
        """
        record = self._verified.get(encoded)
        if record is None:
            record = read_record(encoded, verify=self._verify, id_of=self._id_of)
            self._verified[encoded] = record
            if len(self._verified) > VERIFIED_RECORDS_MAX:
                del self._verified[next(iter(self._verified))]
        if not is_current(record, wall_s):
            raise Malformed("record out of its time")
        return record

    def get(self, peer: bytes, *, wall_s: float) -> EndpointRecord | None:
        """The record held for `peer`, unless it expired."""
        held = self._held.get(peer)
        if held is None:
            return None
        if not is_current(held.record, wall_s):
            del self._held[peer]
            return None
        return held.record

    def keep(self, record: EndpointRecord, source: Address | None) -> EndpointRecord | None:
        """Keep a verified record if it is newer than what is held. Returns the one held afterwards, if any.

        None: there is no room, because `source` filled its share or because others are nearer to us.
        """
        held = self._held.get(record.peer)
        if held is not None:
            if record.sequence <= held.record.sequence:
                return held.record
        elif source is not None and self._count_from(source) >= RECORDS_PER_SOURCE_MAX:
            return None
        self._held[record.peer] = _Held(record, source)
        if len(self._held) > RECORDS_HELD_MAX:
            furthest = max(self._held, key=lambda peer: int.from_bytes(peer) ^ self._own)
            del self._held[furthest]
            if furthest == record.peer:
                return None
        return record

    def _count_from(self, source: Address) -> int:
        return sum(held.source == source for held in self._held.values())

    def expire(self, wall_s: float) -> None:
        """Drop what expired."""
        for peer in [peer for peer, held in self._held.items() if not is_current(held.record, wall_s)]:
            del self._held[peer]


def is_current(record: EndpointRecord, wall_s: float) -> bool:
    """Whether the record has not expired, nor claims to be valid for absurdly long."""
    return wall_s < record.expires_s <= wall_s + RECORD_LIFE_MAX_S
