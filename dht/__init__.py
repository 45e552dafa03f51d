"""Kademlia over sealed datagrams: who is near a key, where is a peer now, who holds what. Hints, never the truth.

Knows nothing of p2pstore: ids are opaque 32 bytes, signing and hashing are passed in. Only `udp` does IO. Read
`service` (what callers use) first, then `core` (the machine that decides), `lookup`, `table`, `wire` and
docs/formats/datagram.md.
"""

from dht.contacts import Contact
from dht.core import Settings, Stats
from dht.records import EndpointRecord
from dht.seams import Address, Clock, Datagrams
from dht.service import Dht

__all__ = ["Address", "Clock", "Contact", "Datagrams", "Dht", "EndpointRecord", "Settings", "Stats"]
