"""The bundle has what helps, and nothing that names anybody."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from p2pstore.cli import bundling
from tests.cli.running_cli import Cli
from tests.control.fake_daemon import FakeDaemon

SECRETS = ("Meyer", "nas", "attic", "127.0.0.1", "7700", "ab" * 8, "cd" * 8, "holiday", "/home/", "correct horse")
LOG = """\
2026-11-20 INFO p2pstore: Meyer: nas listens at 127.0.0.1:7700
2026-11-20 WARNING p2pstore: fault of attic: Unreachable: 127.0.0.1:7701
Traceback (most recent call last):
  File "/home/lena/venv/lib/python3.11/site-packages/p2pstore/services/upload.py", line 12, in store
    read("/home/lena/holiday.jpg", "correct horse")
p2pstore.errors.PathFault: not-found: b'holiday.jpg'
KeyError: 'correct horse'
"""


def test_the_bundle_names_nobody_and_says_where_it_failed(fake: FakeDaemon, home: Path, cli: Cli) -> None:
    (home / "log").mkdir()
    (home / "log" / "daemon.log").write_text(LOG)
    fake.checks = [{"name": "machines", "state": "warn", "what": "no answer from attic", "fix": "p2pstore peers"}]
    file = home.parent / "bundle"
    ran = cli("--home", str(home), "doctor", "--bundle", str(file), "--json")
    assert ran.code == 20
    text = file.read_text()
    assert [secret for secret in SECRETS if secret in text] == []
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    bundle: dict[str, Any] = json.loads(text)
    assert bundle["log"]["frames"] == ["p2pstore/services/upload.py:12 store", "p2pstore.errors.PathFault", "KeyError"]
    assert bundle["log"]["levels"] == {"INFO": 1, "WARNING": 1}
    assert bundle["peers"][1] == {
        "last_heard_s": 400.0, "rtt_ms": 1.25, "capacity": 20_000_000_000, "used": 1_500_000,
        "role": "admin", "steadiness": "always-on", "state": "away",
    }
    assert {"name": "machines", "state": "warn"} in bundle["checks"]
    assert cli("--home", str(home), "doctor", "--bundle", str(file)).code == 5


def test_words_that_are_on_no_list_are_left_out() -> None:
    peer = {"role": "Lena's own", "rtt_ms": "soon"}
    status = {"peers": [peer], "verdict": {"state": "Meyer"}, "store": {"used": "x"}}
    bundle = bundling.content(status, [], Path("/nowhere"))
    assert bundle["peers"][0]["role"] is bundle["peers"][0]["rtt_ms"] is bundle["verdict"] is None
    assert bundle["store"] == {"used": None}


def test_a_daemon_of_another_version_is_named_with_what_helps() -> None:
    assert bundling.check_versions("0.0.1")["fix"] == ["p2pstore down; p2pstore up"]
