"""A contact: the id of a node and the address where it can be asked, and its bytes on the wire."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from kademlia.node import Node

from dht.errors import Malformed
from dht.limits import ID_BYTES
from dht.seams import Address

_HOST_BYTES: Final = {4: 4, 6: 16}
_INTERNED_MAX: Final = 16384
_IPV4_CONTACT_BYTES: Final = ID_BYTES + 1 + 4 + 2


class Contact(Node):  # type: ignore[misc]
    """A value: never changed after birth. Equal when id and address are.

    Attributes:
        id: 32 bytes.
        long_id: the id as an integer, for distances.
        ip: numeric host.
        port: UDP port.
        address: both.
        packed: the wire form.
    """

    id: bytes
    long_id: int
    ip: str
    port: int

    def __init__(self, node_id: bytes, address: Address) -> None:
        super().__init__(node_id, *address)
        self.address = address
        self.packed = node_id + pack_address(address)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Contact) and self.packed == other.packed

    def __hash__(self) -> int:
        return hash(self.packed)

    def __repr__(self) -> str:
        return f"Contact({self.id[:4].hex()} at {self.ip}:{self.port})"


def pack_address(address: Address) -> bytes:
    """4 or 6, the host's bytes, the port (big-endian). Raises Malformed for a host that is no numeric address."""
    host, port = address
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        raise Malformed("no numeric address") from None
    if not 0 <= port < 65536:
        raise Malformed("no port")
    return bytes([parsed.version]) + parsed.packed + port.to_bytes(2)


@lru_cache(maxsize=_INTERNED_MAX)
def contact_of(node_id: bytes, address: Address) -> Contact:
    """The contact with this id and address; equal ones are one object: thousands of nodes in one process share them."""
    return _contact_from(node_id + pack_address(address))


@lru_cache(maxsize=_INTERNED_MAX)
def _contact_from(packed: bytes) -> Contact:
    host = ipaddress.ip_address(packed[ID_BYTES + 1 : -2])
    return Contact(packed[:ID_BYTES], (str(host), int.from_bytes(packed[-2:])))


def pack_contacts(contacts: Iterable[Contact], *, bytes_max: int) -> bytes:
    """The contacts one after the other, as many as fit."""
    parts = []
    left = bytes_max
    for contact in contacts:
        left -= len(contact.packed)
        if left < 0:
            break
        parts.append(contact.packed)
    return b"".join(parts)


def unpack_contacts(data: bytes, *, count_max: int) -> list[Contact]:
    """The contacts in `data`. Raises Malformed."""
    if not len(data) % _IPV4_CONTACT_BYTES and len(data) <= count_max * _IPV4_CONTACT_BYTES:
        pieces = [data[at : at + _IPV4_CONTACT_BYTES] for at in range(0, len(data), _IPV4_CONTACT_BYTES)]
        if all(piece[ID_BYTES] == 4 for piece in pieces):  # the usual case, several times faster
            return [_contact_from(piece) for piece in pieces]
    contacts: list[Contact] = []
    offset = 0
    while offset < len(data):
        if len(contacts) == count_max:
            raise Malformed("too many contacts")
        version_at = offset + ID_BYTES
        host_bytes = _HOST_BYTES.get(data[version_at]) if version_at < len(data) else None
        if host_bytes is None:
            raise Malformed("contact without address")
        end = version_at + 1 + host_bytes + 2
        if end > len(data):
            raise Malformed("contact cut short")
        contacts.append(_contact_from(data[offset:end]))
        offset = end
    return contacts


@lru_cache(maxsize=_INTERNED_MAX)
def is_usable(address: Address, *, told_by_loopback: bool) -> bool:
    """Whether a datagram to this address can mean a node: no port 0, no multicast, nothing reserved or unspecified, no
    link-local address without its link, and loopback only as told by somebody on loopback."""
    host, port = address
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return False
    if not 0 < port < 65536 or parsed.is_multicast or parsed.is_unspecified:
        return False
    if parsed.is_loopback:
        return told_by_loopback
    if parsed.version == 6:
        return not parsed.is_link_local and parsed.ipv4_mapped is None
    return not parsed.is_reserved and host != "255.255.255.255"


@lru_cache(maxsize=_INTERNED_MAX)
def is_loopback(host: str) -> bool:
    """Whether `host` is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
