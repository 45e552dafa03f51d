"""Figures, health and JSON logs of real daemons."""

from __future__ import annotations

import json
import random
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.daemons.conftest import p2p
from tests.daemons.families import family, wait_until

pytestmark = pytest.mark.daemons


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_figures_and_health_say_what_a_machine_is_worth_now(folder: Path) -> None:
    with family(folder, "ABC") as found:
        a, b, c = found.all()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        a.kill()
        started = p2p(a.home, "up", "--metrics", str(port), "--log-json", "--json")
        assert started.code == 0, started
        try:
            wait_until(lambda: fetch(port, "/health/ready")[0] == 200, "ready")
            assert fetch(port, "/health/live") == (200, "lives\n")
            (folder / "f").write_bytes(random.Random(2).randbytes(700_000))
            assert p2p(a.home, "put", str(folder / "f"), "/f", "--json").json["state"] == "safe"
            wait_until(lambda: fetch(port, "/health/may-stop") == (200, "may stop\n"), "it may stop")
            figures = fetch(port, "/metrics")[1].splitlines()
            assert 'p2pstore_verdict{state="safe"} 1' in figures
            assert 'p2pstore_peer_answers{name="B"} 1' in figures
            assert next(int(line.split()[1]) for line in figures if line.startswith("p2pstore_store_shards ")) > 0
            b.kill()
            c.kill()
            wait_until(lambda: fetch(port, "/health/ready")[0] == 503, "not ready alone", timeout_s=40)
            lines = [json.loads(line) for line in a.home.joinpath("log", "daemon.log").read_text().splitlines()
                     if line.startswith("{")]
            put = next(line for line in lines if line.get("operation") == "put")
            assert put["ended"] == "ok"
            assert put["request"].startswith("r")
        finally:
            p2p(a.home, "down")
