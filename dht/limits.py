"""Every limit of the DHT, each with the reason for its value."""

from __future__ import annotations

from typing import Final

ID_BYTES: Final = 32
"""A node id and a key: a 256-bit hash."""

ID_BITS: Final = 8 * ID_BYTES

DATAGRAM_BYTES_MAX: Final = 1200
"""What passes every path without IP fragmentation (IPv6 minimum MTU 1,280 less headers)."""

DATAGRAM_KEYS_MAX: Final = 4
"""Key generations that are tried on a datagram: an outsider's datagram costs so many failed decryptions (2 µs each)."""

RECORD_BYTES_MAX: Final = 900
"""An endpoint record, so that a reply carries it and a few closer contacts."""

RECORD_BODY_BYTES_MAX: Final = 600
"""The opaque part of a record: what is left beside key, signature and addresses."""

RECORD_ADDRESSES_MAX: Final = 8
"""Addresses in one record: IPv4 and IPv6, at home and outside, two planes."""

ADDRESS_CHARACTERS_MAX: Final = 64
"""One address as text: an IPv6 address with port, or a short host name."""

RECORD_LIFE_S: Final = 2 * 3600.0
"""How long a published record is valid; published again at half of it. Where a sleeping laptop was two hours ago is
still worth a try, yesterday's address is not."""

RECORD_LIFE_MAX_S: Final = 24 * 3600.0
"""Records that claim to be valid for longer are refused: a wrong clock must not make an address immortal. Wide enough
for hosts that take local time for UTC."""

RECORDS_HELD_MAX: Final = 512
"""Records kept for others (about 0.5 MB); beyond it those furthest from our id go. Each node is given about k."""

RECORDS_PER_SOURCE_MAX: Final = 4
"""Records kept from one source address: a machine has one identity, or two in the hour in which it was set up anew."""

VERIFIED_RECORDS_MAX: Final = 64
"""Verified records remembered by their bytes: a lookup meets the same record at several holders; checking it costs
100 µs."""

VALUES_MAX: Final = 16
"""Payloads in one reply about holders."""

VALUES_BYTES_MAX: Final = 600
"""Bytes of payloads in one reply about holders, so that closer contacts find room beside them."""

HOLDER_ANSWERS_MAX: Final = 256
"""Payloads that one `find_holders` gathers at most, whatever is asked for."""

BUCKET_SIZE: Final = 20
"""k of the Kademlia paper: so many that all of a bucket failing within an hour is unlikely."""

PARALLEL_ASKS: Final = 3
"""alpha of the Kademlia paper."""

LOOKUP_WIDTH_MAX: Final = 255
"""The most nodes that one find_node may ask for."""

LOOKUP_CANDIDATES_MAX: Final = 4 * LOOKUP_WIDTH_MAX
"""Contacts that one lookup remembers; further ones are dropped, they could not be among the nearest."""

REPLACEMENTS_PER_BUCKET_MAX: Final = 5
"""Contacts kept in reserve for a full bucket: after two failures one of them is promoted."""

FAILURES_TO_EVICT: Final = 2
"""Requests (each sent twice) without answer until a contact leaves the table: one lost burst is not a death."""

REPLY_TIMEOUT_FIRST_S: Final = 1.0
"""Timeout while no round trip has been measured."""

REPLY_TIMEOUT_LEAST_S: Final = 0.25
"""No shorter timeout: a daemon that is hashing a chunk answers late (event-loop pauses reach 40 ms)."""

REPLY_TIMEOUT_MOST_S: Final = 3.0
"""No longer timeout: a link that slow is better asked again."""

FRESH_S: Final = 30.0
"""A contact that answered within this time is taken to be there without asking again."""

SILENT_S: Final = 30.0
"""For so long an address that did not answer is not asked again on hearsay."""

SILENT_MAX: Final = 256
"""Addresses remembered as silent."""

LOST_MAX: Final = 64
"""Evicted contacts remembered, to find each other again after a partition."""

VERIFICATIONS_MAX: Final = 32
"""Pings under way to nodes that asked us and that we do not know yet."""

REPLAY_SENDERS_MAX: Final = 64
"""Senders (boots) whose request counters are remembered; a replay that slips through is answered once more, no harm."""

REPLAY_WINDOW: Final = 256
"""Requests of one sender that may overtake each other."""

MAINTAIN_EVERY_S: Final = 60.0
"""How often tables are looked after; each round sends a handful of datagrams at most."""

PING_AFTER_S: Final = 600.0
"""A contact unheard for so long is pinged, so that tables do not fill with the dead (30: 0.5 KB a minute)."""

PINGS_PER_ROUND: Final = 3
"""Stale contacts pinged in one round of maintenance."""

REFRESH_AFTER_S: Final = 3600.0
"""A bucket in which nothing was looked up for so long is refreshed (the paper's hour)."""

LOOKUP_TIMEOUT_S: Final = 30.0
"""No lookup takes longer; what was found until then is the answer."""

BATCH_MAX: Final = 64
"""Datagrams taken from the network per wake-up, so that a flood does not starve the other tasks."""

BOOTSTRAP_ADDRESSES_MAX: Final = 64
"""Addresses remembered to join through."""
