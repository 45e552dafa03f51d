"""What a watched folder costs its daemon: the first import, idling, and the look at everything after a start.

Usage: python -m benchmarks.watched_folder [--files 10000]
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from p2pstore.cli.demo import Machine
from p2pstore.daemon.setup import create_household

FOLDERS = 200
IDLE_S = 10.0
PATIENCE_S = 300.0


def cpu_s(machine: Machine) -> float:
    """CPU seconds that the daemon has used."""
    stat = Path(f"/proc/{machine.ask('status')['pid']}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def wait_scanned(machine: Machine, entries: int) -> None:
    """Return when everything was looked at and is stored."""
    ends_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < ends_s:
        watch = machine.ask("watch")["watches"][0]
        if watch["scanned_s"] is not None and watch["entries"] >= entries and not watch["waiting"]:
            return
        time.sleep(0.1)
    raise TimeoutError("the folder was not stored")


def measure(folder: Path, count: int) -> None:
    """Print the figures."""
    local = folder / "files"
    for number in range(count):
        place = local / f"{number % FOLDERS:03}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.txt").write_bytes(b"%d" % number * 50)
    entries = count + min(count, FOLDERS)
    machine = Machine("A", folder / "A")
    create_household(
        machine.home, household="Bench", name="A", site="home", size_bytes=2**33, steadiness="always-on"
    )
    try:
        machine.start()
        machine.wait_ready()
        before_s, began_s = cpu_s(machine), time.monotonic()
        machine.ask("watch.add", {"local": os.fsencode(local), "target": b"/files", "ignored": []})
        wait_scanned(machine, entries)
        print(f"first import of {count:,}: {time.monotonic() - began_s:.1f} s, {cpu_s(machine) - before_s:.2f} s CPU")
        before_s = cpu_s(machine)
        time.sleep(IDLE_S)
        print(f"idle for {IDLE_S:g} s: {cpu_s(machine) - before_s:.2f} s CPU")
        machine.kill()
        machine.start()
        machine.wait_ready()
        before_s, began_s = cpu_s(machine), time.monotonic()
        wait_scanned(machine, entries)
        print(f"look after a start: {time.monotonic() - began_s:.1f} s, {cpu_s(machine) - before_s:.2f} s CPU")
    finally:
        machine.kill()


def main() -> None:
    """Measure in a folder that is removed afterwards."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    folder = Path(tempfile.mkdtemp(prefix="p2p-"))
    try:
        measure(folder, parser.parse_args().files)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
