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
"""No chunk is cut longer: AEAD calls on larger buffers hold the interpreter lock (at 48 MiB for 60 % of the call)."""

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

LINK_TARGET_BYTES_MAX: Final = 4096
"""PATH_MAX: a longer symlink target cannot exist on disk."""

MANIFEST_CHUNKS_MAX: Final = 4096
"""Chunks in one manifest page (about 8 GiB of file, 150 KB of manifest): a page fits a control message."""

MANIFEST_PAGES_MAX: Final = 4096
"""Pages under one manifest root: files of about 32 TiB, and a root of 180 KB, which fits an operation like a page."""

MANIFEST_BYTES_MAX: Final = 256 * KIB
"""One encoded page or root: the larger of both above, with room to spare."""

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

SHARDS_PER_REQUEST_MAX: Final = 256
"""Shards handed over in one request: their headers, and the receipt for them, fit a message's header."""

SHARD_BATCH_BYTES: Final = 2 * MIB
"""Payload bytes after which a request for several shards is full: two requests to each of five machines then hold
20 MiB of copies, and a request and a group commit still serve four usual shards."""

HANDLERS_PER_PEER_MAX: Final = 64
"""Requests of one peer served at once; one more is answered "busy"."""

CONTROL_WINDOW_BYTES: Final = 4 * MIB
"""Payload bytes in flight to one peer on the control plane: a few commits; whoever has more to say waits its turn."""

REQUESTS_IN_FLIGHT_MAX: Final = HANDLERS_PER_PEER_MAX
"""Requests of ours in flight to one peer on one plane; further ones wait in line. As many as the peer serves at once,
so that honest peers are told "busy" only after requests that timed out here and not yet there."""

LINK_QUEUE_MESSAGES: Final = 2 * (REQUESTS_IN_FLIGHT_MAX + 2 * HANDLERS_PER_PEER_MAX)
"""Send high-water mark of a link: libzmq counts in batches of half the mark, so twice what can be in flight (requests,
replies and their acknowledgements) never meets it on a link that moves (facts: transport, A2)."""

LINK_BACKLOG_MESSAGES: Final = 32
"""Receive high-water mark of a bulk link: what a stalled event loop lets a fast peer pile up, 32 x 9 MiB at worst."""

LINKS_PER_PEER_MAX: Final = 4
"""Live links of one peer on one plane: one each way and their successors after a change of address; more are cut."""

KIND_CHARS_MAX: Final = 64
"""The longest kind of a message, or code of a refusal."""

ERROR_TEXT_CHARS_MAX: Final = 200
"""The longest text of a refusal: one line for a developer."""

EXPIRY_SLACK_S: Final = 2.0
"""How long past its deadline a request is still served: clocks of two machines drift, and serving late is harmless."""

HEARTBEAT_INTERVAL_S: Final = 15.0
"""A quiet control link is asked for a sign of life so often (about 1 KB a minute, both ways)."""

HEARTBEAT_TIMEOUT_S: Final = 30.0
"""A link silent for so long is dead: two heartbeats lost in a row are no accident on TCP."""

DIAL_TIMEOUT_S: Final = 5.0
"""TCP, CURVE and the first exchange at one address: 3 ms on a LAN, under a second across the world; a lost SYN is sent
again after one second and after three."""

REDIAL_FIRST_S: Final = 0.5
"""Pause after the first failed dial; doubles up to REDIAL_MAX_S."""

REDIAL_MAX_S: Final = 60.0
"""Longest pause between dials of a peer that we keep linked: a machine that wakes is found within a minute, and it
dials us as well."""

PAYLOAD_RELEASE_S: Final = 10.0
"""How long an abandoned request waits for its payload to leave the machine before the link is cut: the whole window at
13 Mbit/s. Its buffer may belong to somebody else (and hold plain text) the moment the request returns."""

DATAGRAM_BYTES_MAX: Final = 1200
"""What passes every path without IP fragmentation (IPv6 minimum MTU 1,280 less headers)."""

ENROLMENT_FRAME_BYTES_MAX: Final = 4096
"""Enrolment speaks to strangers: small frames only."""

ENROLMENT_TIMEOUT_S: Final = 10.0
"""A stranger holds the enrolment listener for no longer."""

INVITATION_LIFE_S: Final = 600.0
"""An invitation is valid for ten minutes."""

ENROLMENT_BUNDLE_BYTES_MAX: Final = 8 * MIB
"""All roster statements that a newcomer is sent: 30 machines with 50 key generations are 0.5 MB."""

INVITATIONS_MAX: Final = 8
"""Open at once: a family that sets up its machines in one afternoon opens two or three."""

ENROLMENT_SESSIONS_MAX: Final = 8
"""Strangers spoken to at once; the oldest that has not shown the code makes room for the next."""

BULK_PORT_OFFSET: Final = 1
"""A daemon at HOST:P has its bulk plane at P + 1, enrolment at P + 2 (TCP), the DHT at UDP P."""

ENROLMENT_PORT_OFFSET: Final = 2
"""See BULK_PORT_OFFSET."""

RECOVERY_PORT_OFFSET: Final = 3
"""The recovery door is at P + 3, see BULK_PORT_OFFSET."""

RECOVERY_QUESTIONS_MAX: Final = 8
"""Connections to the recovery door at once; the oldest makes room. One honest question is one packet each way."""

RECOVERY_TIMEOUT_S: Final = 5.0
"""For one question and its answer, over a slow line."""

BEACON_INTERVAL_S: Final = 30.0
"""A beacon of 300 bytes so often is 600 B a minute; a machine that comes speaks at once, and is answered."""

BEACON_DATAGRAMS_PER_S: Final = 50.0
"""Beacon datagrams looked at: each costs a few AEAD tries (microseconds); a flood costs no more than this."""

BEACON_ANSWERS_PER_S: Final = 10.0
"""Answers to newcomers that ask who invited them; an answer is no longer than the question."""

BEACON_SIGHTINGS_MAX: Final = 1000
"""Machines remembered from beacons: as many as a household can have."""

INVITER_SEARCH_S: Final = 4.0
"""How long a newcomer asks the local network who invited it: a few lost datagrams, and time for a second answer."""

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

COMMIT_GAP_S: Final = 0.005
"""Waiting for more changes ends early when none came for this long: one change is not held up for nothing."""

OPERATION_PADDED_BYTES_MIN: Final = 128
"""The body of a version without content is 90 bytes and its name: most look alike at this length."""

PROMISE_CHARS_MAX: Final = 64
"""The text of a promise: "any-2", "house", a union of a few."""

MARK_CHARS_MAX: Final = 64
"""Characters of a tag or of a snapshot's name: a line of a list."""

SNAPSHOT_VECTOR_BYTES_MAX: Final = 192 * KIB
"""The cut of a snapshot, in one operation: 3,500 writers."""

WRITERS_MAX: Final = 10_000
"""Entries in one version vector: ROSTER_MEMBERS_MAX peers with ten lives each."""

VECTOR_BYTES_MAX: Final = 560 * KIB
"""An encoded vector of WRITERS_MAX entries (at most 55 bytes each)."""

WAITING_COMMITS_MAX: Final = 1000
"""Commits held until what they build on arrives; beyond it they are dropped and pulled again later."""

WAITING_BYTES_MAX: Final = 16 * MIB
"""Bytes of those commits."""

FORK_COMMITS_MAX: Final = 1000
"""Commits kept of the other side of one fork: evidence and contents, but no way to fill our disk."""

LEDGER_JOBS_MAX: Final = 1024
"""Callers that may wait for the ledger's writer at once; more wait before it."""

LEDGER_BATCH_OPERATIONS: Final = 2000
"""Operations in one transaction, about: readers wait for at most 0.3 s behind it (docs/measurements.md)."""

SYNC_BATCH_BYTES: Final = 192 * KIB
"""Commits in one message, unless a single one is longer: 256 KiB delay a ping on a 20 Mbit/s line by 0.46 s (facts)."""

PACKED_BATCH_BYTES: Final = 768 * KIB
"""Commits in one reply to a member, before their seals are off and they are compressed to two fifths: a week of a
thousand changes in one reply, and never more than a control message holds."""

PACKED_PLAIN_BYTES_MAX: Final = 2 * MIB
"""The same before compression, with room for what does not open."""

PACKED_COMMITS_MAX: Final = 8192
"""Commits in it: at 200 bytes at least."""

RECONCILE_RANGES_MAX: Final = 4096
"""Ranges of lost operations asked for in one message: 55 bytes each, 220 KB."""

RECONCILE_BLOCKS_MAX: Final = 8192
"""Blocks of live operations told in one message: at 80 bytes each 640 KB, of 1 MB that a message may have."""

STATEMENT_BYTES_MAX: Final = 64 * KIB
"""One roster statement: the envelopes of a generation for ROSTER_MEMBERS_MAX members are the longest."""

STATEMENTS_MAX: Final = 100_000
"""Roster statements that one household can have: a hundred for each member there may be."""

INVENTORY_CHANGES_MAX: Final = 2000
"""Shards in one inventory message: at 45 bytes each 90 KB, well below SYNC_BATCH_BYTES."""

STORES_PER_PEER_MAX: Final = 64
"""Stores that one peer may have: more disks than a household machine takes."""

ROSTER_STATEMENT_BYTES_MAX: Final = 384 * KIB
"""One roster statement: a key generation sealed to 1,001 recipients is 270 KB."""

ROSTER_UNPLACED_MAX: Final = 256
"""Well-signed statements by somebody without the right to make them (yet) that are kept, in case the right arrives."""

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

STORE_QUEUE_BYTES: Final = 64 * MIB
"""Bytes of shards waiting for a group commit or in one; more wait at the door. One fdatasync per 16 MiB already gives
the disk's speed (facts), so half of this in flight and half behind it keeps the disk busy."""

GROUP_COMMIT_BYTES_MAX: Final = 32 * MIB
"""Shards in one group commit: a larger one is no faster (facts: from 16 MiB on), and the first caller waits longer."""

STORE_QUEUE_ITEM_BYTES_MIN: Final = 4 * KIB
"""What the smallest change counts for in that queue: its length is bounded too (16,384 changes)."""

SHARD_HEADER_BYTES_MAX: Final = 4 * KIB
"""The longest shard header that a pack takes; today's are under 200 bytes."""

PACK_ALIVE_BELOW: Final = 0.5
"""A pack less alive than this is compacted: moving a byte then frees at least one."""

PACK_ALIVE_BELOW_PRESSED: Final = 0.9
"""The same for a store that refuses placements: room is worth ten bytes moved for one freed."""

PACK_FILES_OPEN_MAX: Final = 32
"""Packs kept open for reading (8 GiB of shards): far below any limit on descriptors."""

DROPS_REMEMBERED_MIN: Final = 10_000
"""Drops that the change feed of a store always remembers; more only up to the number of shards held."""

WATCHED_FOLDERS_MAX: Final = 32
"""Local folders watched by one machine: each holds a thread that sleeps, and its news."""

CLOCK_SKEW_SHOWN_S: Final = 300.0
"""A peer whose clock is further off than this is shown; nothing is refused for it."""

# --- history ------------------------------------------------------------------------------------------------------

HISTORY_DAYS: Final = 30
"""How long superseded and removed versions are kept where nobody said anything else: a month is how long a mistake in
a family's files takes to be noticed, and what most services with a trash do."""

HISTORY_DAYS_MAX: Final = 36_500
"""The longest that can be said in days: a hundred years; beyond it there is `forever`."""

HISTORY_FLOOR_DAYS: Final = 14
"""A quota never drops a version younger than this: a fortnight's holiday must not be too late to undo damage."""

# --- the brake ----------------------------------------------------------------------------------------------------

BRAKE_ENTRIES_MIN: Final = 50
"""Fewer entries than this removed or rewritten are everyday work, however small their folder is."""

BRAKE_SHARES: Final = ((3_600_000, 0.2), (86_400_000, 0.3), (7 * 86_400_000, 0.5))
"""(Milliseconds, share of a folder's entries): more by one machine in that time is a mass change."""

BRAKE_CHANGES_MAX: Final = 1000
"""Mass changes that are remembered; one that holds is enough to hold everything."""

# --- garbage collection -------------------------------------------------------------------------------------------

CONDEMNED_STRIPES_MAX: Final = 1000
"""Stripes on one condemned list: 32 KB in a commit, 2 GiB of files; a member that spares one does not hold up more."""

LISTS_NAMING_MAX: Final = 256
"""Condemned lists that name one stripe: a stripe that was garbage so often is sent again rather than argued about."""

QUARANTINE_S: Final = 7 * 86400.0
"""What everybody has signed away lies so long, restorable, in its holder's own running time, before it is purged."""

GARBAGE_REMEMBERED_MAX: Final = 20_000
"""Stripes without a reference that one machine remembers between two looks; the others wait for the next."""

COPIES_SHOWN_DAYS: Final = 14
"""Two copies of one installation are shown so long after they were last seen to part: whoever has put it right is not
told for ever."""

# --- local API ----------------------------------------------------------------------------------------------------

CONTROL_API_PIECE_BYTES: Final = 256 * KIB
"""A byte stream over the local API is cut into pieces of this size: a frame's cost (one wake-up, about 100 µs) is
small against 256 KiB, and eight of them in flight are 2 MiB."""

CONTROL_API_UPLOAD_WINDOW: Final = 8
"""Pieces that a client may have sent before the daemon asked for more: its socket is always read, so a cancel is
never stuck behind data."""

CONTROL_API_OUTBOX_FRAMES: Final = 16
"""Frames that wait for one client beyond the kernel's socket buffer; then streams to it wait, progress is dropped."""

CONTROL_API_CALLS_MAX: Final = 64
"""Requests of one client under way at once; a TUI has about ten."""

CONTROL_API_CLIENTS_MAX: Final = 64
"""Local programs connected at once: scripts in parallel, and a few TUIs."""

CONTROL_API_FEED_DELTAS_MAX: Final = 256
"""Deltas that wait for one subscriber (a minute of 4 paints a second); then its subscription is dropped."""

CONTROL_API_FEED_PATIENCE_S: Final = 1.0
"""A subscriber that takes longer to make room loses its subscription and asks for a new snapshot."""

CONTROL_API_STREAM_PATIENCE_S: Final = 3600.0
"""How long a listing or byte stream waits for its reader (`p2pstore cat X | less`): only its own task waits."""

HTTP_HEAD_BYTES_MAX: Final = 8 * KIB
"""A request for figures: a line and some headers; what a browser sends fits."""

HTTP_CONNECTIONS_MAX: Final = 16
"""At once, for figures and health; the seventeenth is hung up on."""

# --- sim what-if ----------------------------------------------------------------------------------------------------

HOUSEHOLD_FILE_BYTES_MAX: Final = 256 * KIB
"""A file that describes a household: thirty machines with all their keys and comments are 10 KB."""

PLANNED_MACHINES_MAX: Final = 30
"""Machines in it: a household is 3 to 30, and every three losses at once are looked at."""

PLANNED_BYTES_MAX: Final = 10**18
"""The largest disk in it, an exabyte: beyond it is a slip of the finger."""
