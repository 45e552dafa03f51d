"""What is known of the household right now: news go into dicts, screens read them when they paint. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from p2pstore.control.faults import Fault
from tui import words

LOG_LINES_MAX: Final = 1000
"""Lines of the log that are kept; older ones are in the daemon's log file."""

RATES_KEPT: Final = 20
"""Points of the rates' curve."""

TOPICS: Final = ("overview", "transfers", "log")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the connection stands.

    Attributes:
        kind: "connecting", "live", "gone" (no daemon answers), "mismatch" (it speaks another version), "none" (there is
            no household here).
        since_s: wall time since when.
        fault: what went wrong, if anything did.
    """

    kind: str
    since_s: float
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The headline.

    Attributes:
        state: "safe", "thin", "risk", "lost" or "unknown".
        sentence: what it means.
        age_s: how old it is.
    """

    state: str
    sentence: str
    age_s: float


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine of the household, as far as it is known."""

    name: str
    site: str
    role: str
    state: str
    steadiness: str
    address: str
    heard_s: float | None
    rtt_ms: float | None
    capacity: int | None
    used: int | None
    peer_id: str
    leaving: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Machine:
        """From the daemon's word for it."""
        return cls(
            str(raw.get("name", "?")),
            str(raw.get("site", "")),
            str(raw.get("role", "")),
            str(raw.get("state", "away")),
            str(raw.get("steadiness", "")),
            str(raw.get("address") or ""),
            raw.get("last_heard_s"),
            raw.get("rtt_ms"),
            raw.get("capacity"),
            raw.get("used"),
            str(raw.get("peer_id", "")),
            raw.get("leaving"),
        )

    @property
    def is_here(self) -> bool:
        """Whether it answers (or is this machine)."""
        return self.state in ("self", "linked")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One put or get."""

    number: int
    verb: str
    phase: str
    total_known: bool
    files_total: int
    files_done: int
    bytes_total: int
    bytes_sent: int
    bytes_safe: int
    current: bytes
    command: str
    began: float
    ended: float | None
    failed: int
    can_stop: bool

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> Transfer:
        """From the daemon's word for it."""
        return cls(
            int(raw.get("number", 0)),
            str(raw.get("verb", "")),
            str(raw.get("phase", "")),
            raw.get("total_known") is True,
            int(raw.get("files_total", 0)),
            int(raw.get("files_done", 0)),
            int(raw.get("bytes_total", 0)),
            int(raw.get("bytes_sent", 0)),
            int(raw.get("bytes_safe", 0)),
            raw.get("current") or b"",
            str(raw.get("command", "")),
            float(raw.get("began", 0.0)),
            raw.get("ended"),
            int(raw.get("failed", 0)),
            raw.get("can_stop") is True,
        )

    @property
    def title(self) -> str:
        """What is moved: the command without the program's name, or the file at hand."""
        parts = self.command.split(" ", 2)
        return parts[2].removeprefix("-r ") if len(parts) == 3 else words.shown(words.name_of(self.current))

    @property
    def runs(self) -> bool:
        """Whether it is under way."""
        return self.ended is None

    def share(self, amount: int) -> float:
        """`amount` of the total."""
        return amount / self.bytes_total if self.bytes_total else float(not self.runs)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of the daemon's log."""

    number: int
    at: float
    level: str
    text: str


@dataclass
class Model:
    """Everything that is shown beside listings. Changed by `Link` only.

    Attributes:
        standing: the connection.
        overview: the daemon's status, as it last said.
        overview_at_s: wall time of that.
        transfers: by number.
        log: by number.
        safe: the answer to `safe`, as last asked.
        up, down: bytes a second.
        rates: what they were.
    """

    standing: Standing
    overview: dict[str, Any] = field(default_factory=dict)
    overview_at_s: float | None = None
    transfers: dict[int, Transfer] = field(default_factory=dict)
    log: dict[int, LogLine] = field(default_factory=dict)
    safe: dict[str, Any] = field(default_factory=dict)
    up: float = 0.0
    down: float = 0.0
    rates: deque[float] = field(default_factory=lambda: deque(maxlen=RATES_KEPT))
    _moved: dict[int, tuple[str, int]] = field(default_factory=dict)
    _measured_s: float | None = None

    def take(self, item: Mapping[str, Any], now_s: float) -> None:
        """Take in one item of the subscription."""
        topic = item.get("topic")
        value = item["snapshot"] if "snapshot" in item else item.get("delta")
        if not isinstance(value, Mapping):
            return
        if topic == "overview":
            self.overview = dict(value) if "snapshot" in item else {**self.overview, **value}
            self.overview_at_s = now_s
        elif topic == "transfers":
            found = [Transfer.read(raw) for raw in value.get("transfers", ())]
            self.transfers = {transfer.number: transfer for transfer in found}
        elif topic == "log":
            if "snapshot" in item:
                self.log.clear()  # another daemon counts anew
            for raw in value.get("lines", ()):
                number = int(raw["number"])
                self.log[number] = LogLine(number, float(raw["at"]), str(raw["level"]), str(raw["text"]))
            while len(self.log) > LOG_LINES_MAX:
                del self.log[next(iter(self.log))]

    def measure(self, now_s: float) -> None:
        """Compute the rates from how far transfers got since the last time."""
        elapsed_s = None if self._measured_s is None else now_s - self._measured_s
        if elapsed_s is not None and elapsed_s < 0.9:
            return
        moved = {number: (one.verb, one.bytes_sent) for number, one in self.transfers.items()}
        if elapsed_s is not None:
            sums = {"put": 0, "get": 0}
            for number, (verb, done) in moved.items():
                before = self._moved.get(number, (verb, 0))[1]
                sums[verb] = sums.get(verb, 0) + max(0, done - before)
            self.up, self.down = sums["put"] / elapsed_s, sums["get"] / elapsed_s
            self.rates.append(self.up + self.down)
        self._moved, self._measured_s = moved, now_s

    def hush(self) -> None:
        """Nothing moves any more: the daemon is gone."""
        self.up = self.down = 0.0
        self._measured_s = None

    @property
    def machines(self) -> list[Machine]:
        """This machine first, then by name."""
        return [Machine.read(raw) for raw in self.overview.get("peers", ())]

    @property
    def running(self) -> list[Transfer]:
        """Transfers under way, oldest first."""
        return [self.transfers[number] for number in sorted(self.transfers) if self.transfers[number].runs]

    @property
    def revision(self) -> int:
        """Rises whenever the tree may have changed."""
        return int(self.overview.get("revision", 0))

    def knows(self, op: str) -> bool:
        """Whether the daemon can be asked for `op`: what it cannot do is not offered."""
        return op in self.overview.get("operations", ())

    @property
    def news(self) -> int:
        """Rises whenever a verdict may have changed."""
        return int(self.overview.get("news", self.revision))

    def age_s(self, now_s: float) -> float:
        """How old what is shown is; zero while the daemon tells of every change."""
        if self.overview_at_s is None or self.standing.kind == "live":
            return 0.0
        return max(0.0, now_s - self.overview_at_s)

    def verdict(self, now_s: float) -> Verdict:
        """The headline; unknown when nothing was heard for too long, and never rosier than what was said."""
        raw = self.overview.get("verdict")
        if not isinstance(raw, Mapping):
            asking = self.standing.kind in ("connecting", "live")
            return Verdict("unknown", "asking the daemon" if asking else "nobody can know while no daemon answers", 0.0)
        age_s = self.age_s(now_s)
        if age_s > words.UNKNOWN_AFTER_S:
            return Verdict("unknown", "the daemon has not been heard for too long", age_s)
        state = str(raw.get("state"))
        return Verdict(state if state in words.VARIABLES else "unknown", str(raw.get("sentence", "")), age_s)
