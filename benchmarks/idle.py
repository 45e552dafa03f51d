"""What an idle household sends: bytes on the wire of each machine, with CURVE, heartbeats and TCP's payload, a minute.

    python -m benchmarks.idle [--peers 6] [--minutes 3]

Counted by the kernel (`ss -tip`, Linux): every byte that TCP carried of each daemon's sockets. Datagrams are the DHT's
and not in it.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
import time
from pathlib import Path

from p2pstore.cli.demo import Machine
from p2pstore.control.listening import remove_left_socket
from p2pstore.daemon.setup import create_household, join_household


def carried(pid: int) -> dict[str, tuple[int, int]]:
    """(sent, received) bytes of each TCP connection of a process."""
    text = subprocess.run(["ss", "-tipnH"], capture_output=True, text=True, check=True).stdout
    found = {}
    for head, details in zip(*[iter(text.splitlines())] * 2, strict=False):
        if f"pid={pid}," not in head:
            continue
        words = head.split()
        sent = re.search(r"bytes_sent:(\d+)", details)
        received = re.search(r"bytes_received:(\d+)", details)
        found[f"{words[3]}-{words[4]}"] = (
            int(sent.group(1)) if sent else 0,
            int(received.group(1)) if received else 0,
        )
    return found


def main() -> None:
    """Start a household, let it come to rest, count."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=3.0)
    arguments = parser.parse_args()
    machines: list[Machine] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for number in range(arguments.peers):
                machine = Machine(f"m{number}", Path(folder) / f"m{number}")
                if not machines:
                    create_household(
                        machine.home, household="idle", name="m0", site="home", size_bytes=1 << 30,
                        steadiness="always-on",
                    )
                else:
                    first = machines[0]
                    host, _, port = str(first.ask("status")["address"]).rpartition(":")
                    code = first.ask("invite", {"role": "member", "ttl_s": 600})["code"]
                    join_household(
                        machine.home, code=code, at=(host, int(port)), name=machine.name, site="home",
                        size_bytes=1 << 30, steadiness="always-on", timeout_s=30,
                    )
                machines.append(machine)
                machine.start()
                machine.wait_ready()
            time.sleep(30)
            before = {machine.name: carried(machine.ask("status")["pid"]) for machine in machines}
            time.sleep(arguments.minutes * 60)
            for machine in machines:
                after = carried(machine.ask("status")["pid"])
                sent = received = 0
                for name, (out, back) in after.items():
                    was = before[machine.name].get(name, (0, 0))
                    sent, received = sent + out - was[0], received + back - was[1]
                minute = arguments.minutes * 1000
                print(f"{machine.name}  sent {sent / minute:.1f} kB/min  received {received / minute:.1f} kB/min")
        finally:
            for machine in machines:
                machine.kill()
                remove_left_socket(machine.home)


if __name__ == "__main__":
    main()
