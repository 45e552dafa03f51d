"""Runs the command line in this process, and starts what it talks to."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from p2pstore.cli.main import main


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        return self.out.decode()

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Standard output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        """The last line of standard output, which is an object with --json."""
        last: dict[str, Any] = json.loads(self.out.splitlines()[-1])
        return last


Cli = Callable[..., Ran]


def runner(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """A function that runs `p2pstore ARGUMENTS...` with standard input from a pipe."""

    def run(*arguments: str | bytes, stdin: bytes = b"") -> Ran:
        reading, writing = os.pipe()
        os.write(writing, stdin)
        os.close(writing)
        with os.fdopen(reading) as pipe, monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", pipe)
            capfdbinary.readouterr()
            code = main([os.fsdecode(argument) for argument in arguments])
            sys.stdout.flush()
            captured = capfdbinary.readouterr()
        return Ran(code, captured.out, captured.err.decode())

    return run
