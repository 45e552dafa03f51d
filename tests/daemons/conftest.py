"""A household of real daemons on loopback, started once for all tests that only read and write files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from p2pstore.cli.demo import Machine, household


@dataclass(frozen=True)
class Answer:
    """What one run of the command line said."""

    code: int
    out: bytes
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The last line on standard output."""
        result: dict[str, Any] = json.loads(self.out.decode().strip().splitlines()[-1])
        return result


def p2p(home: Path, *arguments: str | bytes, stdin: bytes | None = None, env: dict[str, str] | None = None) -> Answer:
    """Run `p2pstore` as a person would."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "p2pstore.cli", "--home", str(home), *arguments],
        input=stdin,
        capture_output=True,
        timeout=120,
        env={**os.environ, **(env or {})},
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: unix sockets and people like short paths."""
    path = Path(tempfile.mkdtemp(prefix="p2p-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def six() -> Iterator[list[Machine]]:
    """Six machines that nobody may kill."""
    path = Path(tempfile.mkdtemp(prefix="p2p-six-"))
    try:
        with household(path, "ABCDEF") as machines:
            yield machines
    finally:
        shutil.rmtree(path, ignore_errors=True)
