"""Every limit, each with the reason for its value. A limit that is not here is not known to anybody."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# --- files and chunks ---------------------------------------------------------------------------------------------

CHUNK_BYTES_MIN: Final = 512 * KIB
"""No chunk is cut shorter (but the last of a file): a shard of it still is worth a message."""

CHUNK_BYTES_CUT: Final = 1536 * KIB
"""FastCDC's "average" parameter; its real average is this plus the minimum, 2 MiB (docs/measurements.md)."""

CHUNK_BYTES_MAX: Final = 8 * MIB
"""No chunk is cut longer: AEAD calls on larger buffers hold the interpreter lock (facts: at 48 MiB, 60 % of the call)."""

INLINE_BYTES_MAX: Final = 4096
"""A file of at most this size lies in its version: a shard header and a placement would cost as much."""

COPIES_BELOW_BYTES: Final = 64 * KIB
"""Sealed chunks shorter than this are stored as identical copies (k = 1): k tiny shards cost k messages and k disk
seeks for nothing."""

PADDED_BYTES_MIN: Final = 4096
"""Sealed chunks are padded to at least this, so that small ones look alike."""

SEALED_BYTES_MAX: Final = CHUNK_BYTES_MAX + CHUNK_BYTES_MAX // 8 + 4 * KIB
"""A chunk of the largest size with Padmé padding (at most 12 %), prefix and tag."""

NAME_BYTES_MAX: Final = 255
"""The longest file name that Linux and macOS file systems take."""

PATH_DEPTH_MAX: Final = 1024
"""Deeper paths cannot be written back to a Linux file system by one path (PATH_MAX is 4,096 bytes)."""

LINK_TARGET_BYTES_MAX: Final = 4096
"""PATH_MAX: a longer symlink target cannot exist on disk."""

MANIFEST_CHUNKS_MAX: Final = 4096
"""Chunks in one manifest page (about 8 GiB of file, 150 KB of manifest): a page fits a control message."""

# --- erasure code -------------------------------------------------------------------------------------------------

MOTHER_PARITY: Final = 32
"""nsym of the mother code: parity rows that can ever be added to a stripe."""

CODE_LENGTH_MAX: Final = 255
"""GF(2^8) has 255 non-zero elements: k + 32 may not exceed this."""

DATA_SHARDS_MAX: Final = CODE_LENGTH_MAX - MOTHER_PARITY
"""The largest k, 223."""

SHARD_LENGTH_STEP: Final = 64
"""Shard lengths are rounded up to this: whole SIMD lanes (ISA-L works on 64 bytes at a time)."""

# --- messages -----------------------------------------------------------------------------------------------------

CONTROL_MESSAGE_BYTES_MAX: Final = 1 * MIB
"""One frame on the control plane. 256 KiB delays a ping on a 20 Mbit/s line by 0.46 s (facts), so senders stay far
below; this is what a receiver tolerates."""

BULK_PAYLOAD_BYTES_MAX: Final = SEALED_BYTES_MAX + 64 * KIB
"""One payload frame on the bulk plane: the largest shard (k = 1, the largest chunk) and its header."""

HEADER_BYTES_MAX: Final = 64 * KIB
"""The msgpack header frame of a message."""

PEER_WINDOW_BYTES: Final = 16 * MIB
"""Payload bytes in flight to one peer: above the bandwidth-delay product of 1 Gbit/s at 100 ms (12 MB)."""

HANDLERS_PER_PEER_MAX: Final = 64
"""Requests of one peer served at once; one more is answered "busy"."""

DATAGRAM_BYTES_MAX: Final = 1200
"""What passes every path without IP fragmentation (IPv6 minimum MTU 1,280 less headers)."""

ENROLMENT_FRAME_BYTES_MAX: Final = 4096
"""Enrolment speaks to strangers: small frames only."""

ENROLMENT_TIMEOUT_S: Final = 10.0
"""A stranger holds the enrolment listener for no longer."""

INVITATION_LIFE_S: Final = 600.0
"""An invitation is valid for ten minutes."""

CONTROL_API_FRAME_BYTES_MAX: Final = 1 * MIB
"""One frame of the local API; listings and byte streams are cut into frames below this."""

# --- metadata -----------------------------------------------------------------------------------------------------

OPERATION_BYTES_MAX: Final = 256 * KIB
"""One operation, sealed: a manifest page is the largest."""

COMMIT_OPERATIONS_MAX: Final = 1000
"""Operations in one commit: one signature (32 µs to make, 105 µs to check) for up to so many files."""

COMMIT_BYTES_MAX: Final = 900 * KIB
"""One commit, so that it fits a control message with room to spare."""

COMMIT_COALESCE_S: Final = 0.1
"""Interactive changes that come within this time share a commit; no person notices a tenth of a second."""

ROSTER_MEMBERS_MAX: Final = 1000
"""Statements about more members than this are refused: a household is 3 to 30."""

# --- storage ------------------------------------------------------------------------------------------------------

PACK_BYTES_MAX: Final = 256 * MIB
"""A pack is closed beyond this size: small enough to compact in seconds, large enough that there are few."""

STORE_ACCEPT_BELOW: Final = 0.85
"""Fill of the given size from which no new placement is accepted (repair still is)."""

STORE_REPAIR_BELOW: Final = 0.95
"""Fill of the given size from which nothing is accepted."""

LEDGER_RESERVE_BYTES: Final = 64 * MIB
"""Free space that shards never take from a disk that also holds the ledger: metadata must always find room."""

CLOCK_SKEW_SHOWN_S: Final = 300.0
"""A peer whose clock is further off than this is shown; nothing is refused for it."""
