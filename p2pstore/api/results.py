"""What the Python API returns: frozen values with units in their names. Sizes are bytes, times are seconds unless said.

Names in the store are text here. One that is not UTF-8 has its odd bytes as surrogate escapes, as `os.listdir` has
them, and can be given back as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def text_of(name: bytes) -> str:
    """A name or path of the store as text."""
    return name.decode("utf-8", "surrogateescape")


def bytes_of(name: str) -> bytes:
    """The exact bytes of a name or path that this API gave."""
    return name.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in the store and what it stands for.

    Attributes:
        path: absolute, such as "/Photos/x.jpg".
        kind: "file", "folder" or "link".
        size: plain bytes; 0 for a folder.
        mtime_ns: last change in nanoseconds since 1970.
        mode: permission bits, such as 0o644.
        target: where a link points, else None.
        is_conflict: whether it is a conflict copy, shown beside the version that kept the name.
        version: names the state of a file; different after each change. "" in listings.
    """

    path: str
    kind: str
    size: int
    mtime_ns: int
    mode: int
    target: str | None = None
    is_conflict: bool = False
    version: str = ""

    @property
    def name(self) -> str:
        """The last part of the path; "" for the root."""
        return self.path.rpartition("/")[2]

    @property
    def is_file(self) -> bool:
        """Whether it has bytes of its own."""
        return self.kind == "file"

    @property
    def is_folder(self) -> bool:
        """Whether it can have others below it."""
        return self.kind == "folder"

    @property
    def mtime(self) -> datetime:
        """The last change in UTC, to the microsecond."""
        return EPOCH + timedelta(microseconds=self.mtime_ns // 1000)

    @classmethod
    def from_wire(cls, path: str, entry: Mapping[str, Any]) -> Entry:
        """From an element of a listing."""
        target = entry["target"]
        return cls(
            path,
            entry["kind"],
            entry["size"],
            entry["mtime_ns"],
            entry["mode"],
            None if target is None else text_of(target),
            entry["conflict"],
            entry.get("version", ""),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a put or get is, about ten times a second.

    Attributes:
        phase: "counting" until the totals are known, then "sending", then "done".
        files_total, bytes_total: what was counted so far.
        files_done: files that are finished.
        bytes_sent: bytes handed to machines, or fetched.
        bytes_safe: bytes that machines confirmed as on their disks, or that are written here.
        current: the path last begun.
    """

    phase: str
    files_total: int
    bytes_total: int
    files_done: int
    bytes_sent: int
    bytes_safe: int
    current: str

    @classmethod
    def from_wire(cls, item: Mapping[str, Any]) -> Progress:
        """From an element of the stream of a transfer."""
        return cls(
            item["phase"],
            item["files_total"],
            item["bytes_total"],
            item["files_done"],
            item["bytes_sent"],
            item["bytes_safe"],
            text_of(item["current"]),
        )


@dataclass(frozen=True, slots=True)
class FailedPath:
    """One thing that was not stored or fetched.

    Attributes:
        path: on the side it was read from.
        code, what, why: as in StoreError.
    """

    path: str
    code: str
    what: str
    why: str


def _failed(result: Mapping[str, Any]) -> tuple[FailedPath, ...]:
    return tuple(FailedPath(text_of(one["path"]), one["code"], one["what"], one["why"]) for one in result["failed"])


@dataclass(frozen=True, slots=True)
class Stored:
    """What a put or write did.

    Attributes:
        files: files stored.
        bytes: their plain bytes.
        level: how safe they are now: "here" (durable on this machine), "placed" (readable without it), or "safe" (as
            safe as promised).
        state: "safe" or "thin".
        sentence: the same for people.
        seconds: how long it took.
        below_level: files that have not reached the level asked for; the daemon goes on placing them.
        failed: what was not stored.
    """

    files: int
    bytes: int
    level: str
    state: str
    sentence: str
    seconds: float
    below_level: int
    failed: tuple[FailedPath, ...] = ()

    @classmethod
    def from_wire(cls, result: Mapping[str, Any]) -> Stored:
        """From the result of `put`."""
        return cls(
            result["files"],
            result["bytes"],
            result["level"],
            result["state"],
            result["sentence"],
            result["seconds"],
            result["below_level"],
            _failed(result),
        )


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a get did.

    Attributes:
        files: files fetched.
        bytes: their bytes.
        seconds: how long it took.
        failed: what was not fetched.
    """

    files: int
    bytes: int
    seconds: float
    failed: tuple[FailedPath, ...] = ()

    @classmethod
    def from_wire(cls, result: Mapping[str, Any]) -> Fetched:
        """From the result of `get`."""
        return cls(result["files"], result["bytes"], result["seconds"], _failed(result))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the data is safe right now; the worst file decides.

    Attributes:
        state: "safe", "thin", "risk", "lost" or "unknown".
        sentence: the same for people.
        counts: how many stripes are in each state.
    """

    state: str
    sentence: str
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_safe(self) -> bool:
        """Whether everything keeps its promise, as far as was proven."""
        return self.state == "safe"

    @classmethod
    def from_wire(cls, result: Mapping[str, Any]) -> Verdict:
        """From the result of `safe`, or the verdict in `status`."""
        return cls(result["state"], result["sentence"], dict(result.get("counts", {})))


@dataclass(frozen=True, slots=True)
class Peer:
    """One machine of the household.

    Attributes:
        name: what people call it.
        peer_id: 64 hexadecimal digits.
        role: "admin", "member" or "storage".
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        state: "self", "linked" or "away".
        address: HOST:PORT where it was last known to listen, or None.
        last_heard_s: seconds since it was heard, or None if never in this life of the daemon.
        rtt_ms: milliseconds that its last answer took, or None.
        capacity: bytes of disk given, or None.
        used: bytes used of them, or None.
    """

    name: str
    peer_id: str
    role: str
    site: str
    steadiness: str
    state: str
    address: str | None
    last_heard_s: float | None
    rtt_ms: float | None
    capacity: int | None
    used: int | None

    @property
    def answers(self) -> bool:
        """Whether it can be talked to now."""
        return self.state in ("self", "linked")

    @classmethod
    def from_wire(cls, peer: Mapping[str, Any]) -> Peer:
        """From an element of the result of `peers`."""
        return cls(**{name: peer[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """The disk that this machine gives.

    Attributes:
        given, used, free: bytes.
        shards: how many are held.
        state: "accepting", or why not.
    """

    given: int
    used: int
    free: int
    shards: int
    state: str

    @classmethod
    def from_wire(cls, store: Mapping[str, Any]) -> StoreUsage:
        """From `store` in the result of `status`."""
        return cls(**{name: store[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Status:
    """This machine, its household and the verdict.

    Attributes:
        household, name, role, site: as people chose them.
        network_id, peer_id: hexadecimal.
        version: of the daemon.
        uptime_s: seconds since it started.
        owed: stripes that do not keep their promise yet and are being placed.
        usage: the disk given here.
        peers: all machines, this one first.
        verdict: at most 15 seconds old.
    """

    household: str
    name: str
    role: str
    site: str
    network_id: str
    peer_id: str
    version: str
    uptime_s: float
    owed: int
    usage: StoreUsage
    peers: tuple[Peer, ...]
    verdict: Verdict

    @classmethod
    def from_wire(cls, status: Mapping[str, Any]) -> Status:
        """From the result of `status`."""
        plain = {name: status[name] for name in cls.__slots__ if name not in ("usage", "peers", "verdict")}
        return cls(
            **plain,
            usage=StoreUsage.from_wire(status["store"]),
            peers=tuple(Peer.from_wire(peer) for peer in status["peers"]),
            verdict=Verdict.from_wire(status["verdict"]),
        )


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a chunk and who holds it.

    Attributes:
        index: its row of the code, from 0.
        peer: the machine's name.
        state: "here", "linked" or "away".
        verified_at: seconds since 1970 when it was last proven to be there, or None.
    """

    index: int
    peer: str
    state: str
    verified_at: float | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a file.

    Attributes:
        index: from 0.
        offset, length: bytes of the file.
        needed: how many of the shards rebuild it.
        shards: all that are known, by index.
    """

    index: int
    offset: int
    length: int
    needed: int
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """Which machine holds what of a file.

    Attributes:
        is_inline: whether the bytes lie beside the name (a small file).
        commit_on: names of the machines that have the file's name and list of contents.
        chunks: in order; none for a small file.
    """

    is_inline: bool
    commit_on: tuple[str, ...]
    chunks: tuple[Chunk, ...]

    @classmethod
    def from_wire(cls, result: Mapping[str, Any]) -> Placement:
        """From the result of `where`."""
        chunks = tuple(
            Chunk(
                chunk["index"],
                chunk["offset"],
                chunk["length"],
                chunk["needed"],
                tuple(Shard(one["index"], one["peer"], one["state"], one["verified_at"]) for one in chunk["shards"]),
            )
            for chunk in result["chunks"]
        )
        return cls(result["inline"], tuple(result["commit_on"]), chunks)
