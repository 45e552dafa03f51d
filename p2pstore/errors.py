"""What can go wrong, in three branches that answer a caller's only question: whose fault, and is a retry worth it?

Errors carry fields. The sentence for people (what, why, what to type) is made at the edge, in `control.faults`.
"""

from __future__ import annotations


class P2PStoreError(Exception):
    """The root of every error that this project raises on purpose."""


class Misuse(P2PStoreError):
    """The caller's fault; the same call will fail again."""


class PathFault(Misuse):
    """A path in the tree that is not what the caller took it for.

    Attributes:
        code: "not-found", "taken", "not-a-folder", "is-a-folder", "not-empty", "changed" or "inside-itself".
        path: its names, raw bytes; () for the root.
    """

    def __init__(self, code: str, path: tuple[bytes, ...]) -> None:
        super().__init__(f"{code}: {b'/'.join(path)!r}")
        self.code = code
        self.path = path


class PeerFault(P2PStoreError):
    """A stranger broke the protocol, or its bytes are wrong: drop what it said and ask another."""


class Unavailable(P2PStoreError):
    """Nobody's fault: later, or elsewhere, it may work."""


class Malformed(PeerFault):
    """Bytes from outside that do not parse, or a value out of its range."""


class Forged(PeerFault):
    """A signature, seal or hash that does not verify."""


class Refused(PeerFault):
    """A peer answered with an error of its own: it understood the request and will not do it.

    Attributes:
        code: one word for programs, such as "full", "unknown-kind", "not-found".
    """

    def __init__(self, code: str, text: str = "") -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code


class Unreachable(Unavailable):
    """No connection to the peer now."""


class TimedOut(Unavailable):
    """No reply within the request's deadline; the request may still have been carried out."""


class Busy(Unavailable):
    """The peer has its hands full; back off and retry."""


class NoSpace(Unavailable):
    """A disk, or the size given to a store, is full."""


class DiskAsleep(Unavailable):
    """A store's disk is absent or is not the one it was: its shards are away, not gone."""


class Corrupt(P2PStoreError):
    """Stored bytes that are not what was stored. The reader says which; repair is somebody else's job."""


class DatabaseDamaged(Corrupt):
    """An SQLite file that is not sound: what can be rebuilt from elsewhere is rebuilt, the rest fetched from peers."""


class NotHeld(Unavailable):
    """This store does not hold that shard; another peer may."""


class DifferentPayload(PeerFault):
    """A second payload for a ShardId that is held: somebody's encoder lies or is broken. What is held stays."""


class TooFewShards(Unavailable):
    """Fewer than k shards of a stripe could be read.

    Attributes:
        needed: k.
        found: shards that were read and verified.
    """

    def __init__(self, needed: int, found: int) -> None:
        super().__init__(f"{found} of {needed} shards")
        self.needed = needed
        self.found = found


class MissingKey(Unavailable):
    """Bytes are sealed with a key generation that this machine does not have (yet).

    Attributes:
        generation: its id, 16 bytes.
    """

    def __init__(self, generation: bytes) -> None:
        super().__init__(f"no keys of generation {generation[:4].hex()}")
        self.generation = generation
