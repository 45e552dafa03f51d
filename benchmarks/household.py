"""A whole household of real daemons: throughput, CPU, memory, bytes on disk, idle cost.

    python -m benchmarks.household [--peers 6] [--mib 256] [--rounds 3] [--small 500] [--idle 20] [--large-gib 0]

Put and get are timed as a client of the local API sees them, `--ack safe`. CPU is that of all daemons together. Every
figure stands beside a limit taken in the same run: what copying the same bytes to the same disk with fsync does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from p2pstore.cli.demo import Machine, household

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(machines: list[Machine]) -> float:
    """CPU seconds of all daemons so far."""
    total = 0
    for machine in machines:
        if machine.runs and machine.process is not None:
            fields = Path(f"/proc/{machine.process.pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory_mib(machine: Machine, key: str) -> float:
    """VmRSS or VmHWM of a daemon."""
    assert machine.process is not None
    for line in Path(f"/proc/{machine.process.pid}/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    return 0.0


def timed(machines: list[Machine], work: Callable[[], Any]) -> tuple[float, float]:
    """(wall seconds, CPU seconds of all daemons)."""
    cpu, wall = cpu_s(machines), time.perf_counter()
    work()
    return time.perf_counter() - wall, cpu_s(machines) - cpu


def write_random(path: Path, size: int) -> None:
    with path.open("wb") as file:
        while size:
            piece = min(size, 1 << 24)
            file.write(os.urandom(piece))
            size -= piece


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def put(machine: Machine, path: Path, target: bytes) -> dict[str, Any]:
    result: dict[str, Any] = machine.ask(
        "put",
        {
            "sources": [{"path": os.fsencode(path), "name": os.fsencode(path.name)}],
            "destination": target,
            "recursive": True,
            "ack": "safe",
            "wait": False,
            "into": False,
        },
    )
    assert not result["failed"], result["failed"][:1]
    assert result["state"] == "safe", result
    return result


def get(machine: Machine, source: bytes, path: Path) -> None:
    result = machine.ask(
        "get",
        {"sources": [source], "destination": os.fsencode(path), "recursive": True, "verify": False, "into": False},
    )
    assert not result["failed"], result["failed"][:1]


def copy_limit(folder: Path, source: Path) -> float:
    """Seconds to copy `source` on this disk, synced."""
    started = time.perf_counter()
    with source.open("rb") as reader, (folder / "limit").open("wb") as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)
        writer.flush()
        os.fsync(writer.fileno())
    seconds = time.perf_counter() - started
    (folder / "limit").unlink()
    return seconds


def large_files(folder: Path, machines: list[Machine], mib: int, rounds: int) -> dict[str, Any]:
    writer, reader = machines[-1], machines[1]
    rows: dict[str, list[float]] = {key: [] for key in ("put", "get", "put_cpu", "get_cpu", "copy")}
    for number in range(rounds):
        source = folder / "source.bin"
        write_random(source, mib << 20)
        rows["copy"].append(copy_limit(folder, source))
        name = f"/large-{number}".encode()
        wall, cpu = timed(machines, partial(put, writer, source, name))
        rows["put"].append(wall)
        rows["put_cpu"].append(cpu)
        back = folder / "back.bin"
        wall, cpu = timed(machines, partial(get, reader, name, back))
        rows["get"].append(wall)
        rows["get_cpu"].append(cpu)
        assert digest(source) == digest(back)
        back.unlink()
    middle = {key: statistics.median(values) for key, values in rows.items()}
    gib = mib / 1024
    return {
        "put_mib_s": mib / middle["put"],
        "get_mib_s": mib / middle["get"],
        "put_cpu_s_per_gib": middle["put_cpu"] / gib,
        "get_cpu_s_per_gib": middle["get_cpu"] / gib,
        "copy_limit_mib_s": mib / middle["copy"],
        "put_over_copy": middle["copy"] / middle["put"],
        "all_put_mib_s": [mib / value for value in rows["put"]],
        "all_get_mib_s": [mib / value for value in rows["get"]],
    }


def small_files(folder: Path, machines: list[Machine], count: int, rounds: int) -> dict[str, Any]:
    puts, gets = [], []
    for number in range(rounds):
        source = folder / f"small-{number}"
        source.mkdir()
        for file in range(count):
            (source / f"{file:05}").write_bytes(os.urandom(4096))
        name = b"/small-%d" % number
        puts.append(timed(machines, partial(put, machines[-1], source, name))[0])
        gets.append(timed(machines, partial(get, machines[1], name, folder / "back"))[0])
        shutil.rmtree(folder / "back")
    return {"put_files_s": count / statistics.median(puts), "get_files_s": count / statistics.median(gets)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=6)
    parser.add_argument("--mib", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--idle", type=float, default=20.0)
    parser.add_argument("--large-gib", type=float, default=0.0, help="also put and get one file of this size")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="p2pstore-bench-"))
    try:
        started = time.perf_counter()
        with household(folder, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: arguments.peers]) as machines:
            figures: dict[str, Any] = {"start_household_s": time.perf_counter() - started, "peers": arguments.peers}
            if arguments.idle:
                time.sleep(5)
                before = cpu_s(machines)
                time.sleep(arguments.idle)
                figures["idle_cpu_percent"] = (cpu_s(machines) - before) / arguments.idle / arguments.peers * 100
                figures["idle_rss_mib"] = statistics.median(memory_mib(m, "VmRSS") for m in machines)
            figures["large"] = large_files(folder, machines, arguments.mib, arguments.rounds)
            if arguments.small:
                figures["small"] = small_files(folder, machines, arguments.small, arguments.rounds)
            if arguments.large_gib:
                figures["huge"] = large_files(folder, machines, int(arguments.large_gib * 1024), 1)
            figures["peak_rss_mib"] = {m.name: memory_mib(m, "VmHWM") for m in machines}
            used = sum(m.ask("status")["store"]["used"] for m in machines)
            figures["bytes_on_disk"] = used
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.json:
        print(json.dumps(figures))
    else:
        for key, value in figures.items():
            print(f"{key}: {json.dumps(value)}")


if __name__ == "__main__":
    main()
