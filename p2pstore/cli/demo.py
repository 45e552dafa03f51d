"""`p2pstore demo`: a household on one machine, real daemons on loopback, machines killed in the middle, every byte
compared.

```
six machines > files > kill A and B while they are being stored > B returns > A's disk is wiped > a bit flips on C
> no stripe lost more than it may > everything read back > compared > verdict
```
"""

from __future__ import annotations

import hashlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from p2pstore.cli.session import Session
from p2pstore.control import exits
from p2pstore.control.blocking import Client
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.listening import remove_left_socket
from p2pstore.control.paths import READY_VARIABLE

NAMES: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcd"
GIVEN_BYTES: Final = 8 * 1024**3
PHOTO_COUNT: Final = 40
PHOTO_BYTES: Final = (3_000_000, 7_500_000)
"""Forty files of the size of photos: about 200 MiB."""

KILL_AT: Final = 0.4
"""The share of the bytes that is stored when the machines are killed."""

START_TIMEOUT_S: Final = 60.0
SETTLE_TIMEOUT_S: Final = 30.0
READ_BYTES: Final = 1 << 20


class DemoFailed(Failure):
    """Something that must hold did not."""

    def __init__(self, what: str, why: str = "") -> None:
        super().__init__(Fault("demo-failed", what, why, (), exits.FAILED))


@dataclass(slots=True)
class Machine:
    """One daemon of the demo: a home folder and a process."""

    name: str
    home: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the daemon; `wait_ready` says when it answers."""
        log = self.home / "log" / "daemon.log"
        ready, said = os.pipe()
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # noqa: S603  the same interpreter, a fixed module
                [sys.executable, "-P", "-m", "p2pstore.daemon", "--home", str(self.home), "--listen", "127.0.0.1"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, READY_VARIABLE: str(said)},
                pass_fds=[said],
            )
        os.close(said)
        self._ready = ready

    _ready: int = -1

    def wait_ready(self) -> None:
        """Return when the daemon answers. Raises DemoFailed with the end of its log."""
        try:
            heard, _, _ = select.select([self._ready], [], [], START_TIMEOUT_S)
            if not heard or not os.read(self._ready, 1):
                log = (self.home / "log" / "daemon.log").read_text("utf-8", "replace")
                raise DemoFailed(f"machine {self.name} did not start", log[-2000:])
        finally:
            os.close(self._ready)

    def ask(
        self,
        op: str,
        args: Mapping[str, Any] | None = None,
        *,
        on_item: Callable[[Any], object] | None = None,
    ) -> Any:
        """Ask this machine's daemon."""
        with Client.connect(self.home) as client:
            return client.call(op, args, on_item=on_item)

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """SIGKILL: no cleanup code runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """End it cleanly, or not so cleanly."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()


@dataclass(slots=True)
class Story:
    """Tells what happens as it happens, each line with the second it happened in."""

    session: Session
    started_s: float = field(default_factory=time.monotonic)

    def tell(self, text: str) -> None:
        """One line."""
        if self.session.json:
            self.session.note(text)
            return
        self.session.write(f"{time.monotonic() - self.started_s:5.1f} s  {text}\n")


def run(paths: list[Path], *, kill: int, keep: bool, peers: int, session: Session) -> int:
    """Run the demo. Returns an exit code: 0 only if every byte came back, 7 if files could not be read.

    Raises:
        Failure: something that must hold did not.
    """
    if kill >= peers:
        raise Failure(
            Fault("usage", f"{kill} of {peers} machines cannot be killed", "one must be left to ask", (), exits.USAGE)
        )
    story = Story(session)
    folder = Path(tempfile.mkdtemp(prefix="p2pstore-demo-"))
    machines = [Machine(name, folder / name) for name in NAMES[:peers]]
    try:
        code = _Demo(folder, machines, kill, story, session).play(paths)
        if keep:
            alive = next(machine for machine in machines if machine.runs)
            for machine in machines:
                machine.process = None
            session.note(f"left running in {folder}; look around: p2pstore --home {alive.home} status")
            session.note(f"end it: for m in {folder}/*/; do p2pstore --home $m down; done; rm -r {folder}")
        return code
    finally:
        for machine in machines:
            machine.stop()
        if not keep:
            for machine in machines:
                remove_left_socket(machine.home)
            shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    """The acts of the demo, in order."""

    def __init__(self, folder: Path, machines: list[Machine], kill: int, story: Story, session: Session) -> None:
        self._folder = folder
        self._machines = machines
        self._kill = kill
        self._story = story
        self._session = session
        self._wiped: list[str] = []
        self._flipped: tuple[str, str, int] | None = None
        self._put_at_s = 0.0

    def play(self, paths: list[Path]) -> int:
        """All acts. Returns the exit code."""
        self.raise_household()
        sources = paths or self.make_files()
        self._put_at_s = time.time()
        put = self._store(sources)
        self._bring_back_and_break()
        report = self._check_stripes()
        got = self._fetch()
        identical, different = self._compare(sources)
        verdict = self._machines[-1].ask("safe")
        unreadable = [one for one in got["failed"] if one["code"] == "unreadable"]
        self._tell_end(put, got, identical, unreadable, verdict)
        if different:
            raise DemoFailed(f"{len(different)} files came back different", ", ".join(different[:10]))
        if put["failed"]:
            raise DemoFailed(f"{len(put['failed'])} files were not stored", str(put["failed"][0]))
        if not unreadable and got["failed"]:
            raise DemoFailed(f"{len(got['failed'])} files were not fetched", str(got["failed"][0]))
        if self._kill <= 2 and unreadable:
            raise DemoFailed(f"{len(unreadable)} files cannot be read though no more failed than was promised")
        code = exits.UNREADABLE if unreadable else exits.DONE
        self._session.show(
            {
                "files": identical,
                "unreadable": [one["path"] for one in unreadable],
                "verdict": verdict["state"],
                "sentence": verdict["sentence"],
                "put_bytes_per_s": _rate(put),
                "get_bytes_per_s": _rate(got),
                "worst_stripe": report,
                "seconds": time.monotonic() - self._story.started_s,
                "exit": code,
            },
            (),
        )
        return code

    def raise_household(self) -> None:
        from p2pstore.daemon.setup import create_household, join_household

        first, *rest = self._machines
        create_household(
            first.home, household="demo", name=first.name, site="home", size_bytes=GIVEN_BYTES, steadiness="always-on"
        )
        first.start()
        first.wait_ready()
        host, _, port = str(first.ask("status")["address"]).rpartition(":")
        for machine in rest:
            code = first.ask("invite", {"role": "member", "ttl_s": 600})["code"]
            join_household(
                machine.home,
                code=code,
                at=(host, int(port)),
                name=machine.name,
                site="home",
                size_bytes=GIVEN_BYTES,
                steadiness="always-on",
                timeout_s=30,
            )
            machine.start()
        for machine in rest:
            machine.wait_ready()
        self._wait_linked(self._machines)
        self._story.tell(f"{len(self._machines)} machines, {', '.join(m.name for m in self._machines)}: one household")

    def _wait_linked(self, machines: list[Machine]) -> None:
        """Wait until every one of `machines` is heard by every other."""
        names = {machine.name for machine in machines}
        deadline = time.monotonic() + SETTLE_TIMEOUT_S
        for machine in machines:
            while True:
                peers = machine.ask("peers")["peers"]
                if names <= {peer["name"] for peer in peers if peer["state"] != "away"}:
                    break
                if time.monotonic() > deadline:
                    raise DemoFailed(f"machine {machine.name} does not hear all others")
                time.sleep(0.05)

    def make_files(self) -> list[Path]:
        """This project's own sources, and files of the size of photos."""
        source = Path(__file__).resolve().parents[1]
        photos = self._folder / "photos"
        photos.mkdir()
        rng = random.Random(2026)
        total = 0
        for number in range(PHOTO_COUNT):
            size = rng.randrange(*PHOTO_BYTES)
            (photos / f"IMG_{number:04}.jpg").write_bytes(rng.randbytes(size))
            total += size
        self._story.tell(f"made {PHOTO_COUNT} files of photo size, {total / 2**20:,.0f} MiB, beside p2pstore's sources")
        return [source, photos]

    def _store(self, sources: list[Path]) -> dict[str, Any]:
        """Store everything through the last machine; kill some others in the middle."""
        uploader = self._machines[-1]
        victims = self._machines[: self._kill]
        killed = False

        def watch(item: Mapping[str, Any]) -> None:
            nonlocal killed
            if killed or not victims or not item["bytes_total"]:
                return
            if item["bytes_safe"] >= KILL_AT * item["bytes_total"] and item["total_known"]:
                killed = True
                for victim in victims:
                    victim.kill()
                names = " and ".join(victim.name for victim in victims)
                part = item["bytes_safe"] / item["bytes_total"]
                self._story.tell(f"killed {names} (SIGKILL) with {part:.0%} stored; the upload goes on")

        args = {
            "sources": [{"path": os.fsencode(path.resolve()), "name": os.fsencode(path.name)} for path in sources],
            "destination": b"/",
            "recursive": True,
            "ack": "safe",
            "wait": False,
            "into": True,
        }
        result: dict[str, Any] = uploader.ask("put", args, on_item=watch)
        if victims and not killed:
            for victim in victims:
                victim.kill()
            names = ", ".join(victim.name for victim in victims)
            self._story.tell(f"killed {names} after the upload: it was too quick")
        self._story.tell(
            f"stored {result['files']:,} files, {result['bytes'] / 2**20:,.0f} MiB in {result['seconds']:.1f} s:"
            f" {result['state']}. {result['sentence']}"
        )
        return result

    def _bring_back_and_break(self) -> None:
        """Two victims: the second returns, the first's disk is wiped. More victims: all are gone for good."""
        victims = self._machines[: self._kill]
        lost = victims[:1] if self._kill <= 2 else victims
        for machine in lost:
            shutil.rmtree(machine.home)
            self._wiped.append(machine.name)
        if lost:
            self._story.tell(f"wiped the disk of {', '.join(machine.name for machine in lost)}")
        back = [machine for machine in victims if machine not in lost]
        for machine in back:
            machine.start()
            machine.wait_ready()
        alive = [machine for machine in self._machines if machine.runs]
        self._wait_linked(alive)
        if back:
            self._story.tell(f"{', '.join(machine.name for machine in back)} is back")
        self._flip_a_bit(alive)

    def _flip_a_bit(self, alive: list[Machine]) -> None:
        """Change one bit of one shard on the disk of the first machine that was never killed."""
        target = next((machine for machine in alive if machine not in self._machines[: self._kill]), None)
        if target is None or self._kill == 0:
            return
        for path in sorted((target.home / "store" / "packs").iterdir()):
            found = _find_shard(path)
            if found is None:
                continue
            position, encoding, index = found
            with path.open("r+b") as pack:
                pack.seek(position)
                byte = pack.read(1)[0]
                pack.seek(position)
                pack.write(bytes([byte ^ 0x10]))
            self._flipped = (target.name, encoding, index)
            self._story.tell(f"flipped one bit in a shard on {target.name}'s disk")
            return

    def _check_stripes(self) -> dict[str, Any]:
        """Look at every stripe of every file: how many shards it lost, and whether that is within the promise."""
        asker = self._machines[-1]
        entries: list[dict[str, Any]] = []
        asker.ask("tree", {"path": b"/", "depth": None}, on_item=lambda page: entries.extend(page["entries"]))
        stripes = 0
        worst_lost = 0
        least_margin: int | None = None
        with Client.connect(asker.home) as client:
            for entry in entries:
                if entry["kind"] != "file":
                    continue
                for chunk in client.call("where", {"path": entry["path"]})["chunks"]:
                    good = {
                        shard["index"]
                        for shard in chunk["shards"]
                        if shard["peer"] not in self._wiped
                        and (shard["peer"], chunk["encoding"], shard["index"]) != self._flipped
                    }
                    everything = {shard["index"] for shard in chunk["shards"]}
                    stripes += 1
                    lost_machines = {
                        shard["peer"] for shard in chunk["shards"] if shard["index"] not in good
                    }
                    worst_lost = max(worst_lost, len(lost_machines))
                    margin = len(good) - chunk["needed"]
                    least_margin = margin if least_margin is None else min(least_margin, margin)
                    assert everything >= good
        self._story.tell(
            f"{stripes:,} stripes: the worst lost shards on {worst_lost} machines,"
            f" the least margin left is {least_margin}"
        )
        if self._kill <= 2 and (worst_lost > 2 or (least_margin or 0) < 0):
            raise DemoFailed("a stripe lost more than two machines' shards")
        return {"stripes": stripes, "machines_lost": worst_lost, "margin": least_margin}

    def _fetch(self) -> dict[str, Any]:
        """Read everything back through a machine that did not store it."""
        reader = next(
            (machine for machine in self._machines[:-1] if machine.runs), self._machines[-1]
        )
        target = self._folder / "back"
        target.mkdir()
        result: dict[str, Any] = reader.ask(
            "get",
            {
                "sources": [b"/"],
                "destination": os.fsencode(target),
                "recursive": True,
                "verify": False,
                "into": True,
            },
        )
        self._story.tell(
            f"{reader.name} read back {result['files']:,} files, {result['bytes'] / 2**20:,.0f} MiB"
            f" in {result['seconds']:.1f} s"
        )
        return result

    def _compare(self, sources: list[Path]) -> tuple[int, list[str]]:
        """How many files are identical, and which are there but are not."""
        identical = 0
        different = []
        edited = 0
        for source in sources:
            for original, name in _files_below(source):
                copy = self._folder / "back" / name
                if not copy.is_file():
                    continue
                if original.stat().st_mtime > self._put_at_s:
                    edited += 1  # by somebody else, after it was stored: what came back cannot be what is there now
                elif _digest(copy) == _digest(original):
                    identical += 1
                else:
                    different.append(str(name))
        if edited:
            self._story.tell(f"{edited} files were edited meanwhile and are not compared")
        leftovers = [str(path) for path in (self._folder / "back").rglob(".p2pstore-*")]
        if leftovers:
            raise DemoFailed("unfinished files were left behind", leftovers[0])
        return identical, different

    def _tell_end(
        self,
        put: Mapping[str, Any],
        got: Mapping[str, Any],
        identical: int,
        unreadable: list[Mapping[str, Any]],
        verdict: Mapping[str, Any],
    ) -> None:
        tell = self._story.tell
        tell(f"{identical:,} files compared, byte for byte: identical")
        if unreadable:
            tell(f"{len(unreadable):,} files cannot be read; nothing wrong was written for them:")
            for one in unreadable:
                tell(f"  {os.fsdecode(one['path'])}")
        tell(f"put {_rate(put) / 2**20:,.0f} MiB/s, get {_rate(got) / 2**20:,.0f} MiB/s")
        tell(f"verdict: {str(verdict['state']).upper()}. {verdict['sentence']}")


def _rate(result: Mapping[str, Any]) -> float:
    return float(result["bytes"]) / float(result["seconds"]) if result["seconds"] else 0.0


def _files_below(source: Path) -> Iterator[tuple[Path, Path]]:
    """Every regular file of a source, and its name in the store."""
    if source.is_file() and not source.is_symlink():
        yield source, Path(source.name)
        return
    for path in sorted(source.rglob("*")):
        if path.is_file() and not path.is_symlink() and not path.name.startswith(".p2pstore-"):
            yield path, Path(source.name) / path.relative_to(source)


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            digest.update(block)
    return digest.digest()


def _find_shard(pack: Path) -> tuple[int, str, int] | None:
    """A byte in the payload of the first large shard of a pack: its position, and which shard it is."""
    from p2pstore.errors import Malformed
    from p2pstore.pipeline.shard import MAGIC, SHARD_HEADER_BYTES, parse_header

    data = pack.read_bytes()
    position = data.find(MAGIC)
    while position >= 0:
        with suppress(Malformed):
            header = parse_header(data[position : position + SHARD_HEADER_BYTES])
            if header.needed > 1:
                offset = position + SHARD_HEADER_BYTES + header.shard_length // 2
                return offset, header.encoding.hex(), header.index
        position = data.find(MAGIC, position + 1)
    return None


@contextmanager
def household(folder: Path, names: str) -> Iterator[list[Machine]]:
    """Running machines of one new household below `folder`, ended with the block: for tests and benchmarks."""
    machines = [Machine(name, folder / name) for name in names]
    demo = _Demo(folder, machines, 0, Story(_silent()), _silent())
    try:
        demo.raise_household()
        yield machines
    finally:
        for machine in machines:
            machine.stop()
            remove_left_socket(machine.home)


def _silent() -> Session:
    session = Session()
    session.json = True
    session.quiet = True
    return session
