"""A home and a runtime folder for each test, short enough for a unix socket's path."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.running_cli import Cli, runner
from tests.control.fake_daemon import FakeDaemon, serving


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home; sockets lie in a runtime folder beside it."""
    root = Path(tempfile.mkdtemp(prefix="p2p-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(root))
    monkeypatch.delenv("P2PSTORE_HOME", raising=False)
    yield root / "home"
    shutil.rmtree(root)


@pytest.fixture
def cli(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Runs the command line."""
    return runner(capfdbinary, monkeypatch)


@pytest.fixture
def fake(home: Path) -> Iterator[FakeDaemon]:
    """A fake daemon that serves `home`."""
    daemon = FakeDaemon()
    with serving(daemon.handlers(), home):
        yield daemon
