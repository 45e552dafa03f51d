"""The command line starts fast: nothing heavy is imported for help, and no event loop for a verb."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"trio", "asyncio", "zmq", "numpy", "cryptography", "textual", "rich", "PIL", "blake3", "hypothesis", "logging"}


def modules_after(code: str) -> set[str]:
    """Modules of a fresh interpreter after `code`."""
    tail = "\nimport sys\nsys.stderr.write('\\n'.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code + tail], check=True, capture_output=True, text=True)
    return set(ran.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["put", "--help"], ["help", "exit-codes"]])
def test_help_imports_click_and_nothing_of_weight(arguments: list[str]) -> None:
    loaded = modules_after(f"from p2pstore.cli.main import main\nmain({arguments!r})")
    assert not loaded & (HEAVY | {"msgpack", "json", "socket", "subprocess", "p2pstore.control.blocking"})


def test_a_verb_imports_no_event_loop() -> None:
    loaded = modules_after("from p2pstore.cli.main import main\nmain(['--home', '/nowhere', '--json', 'status'])")
    assert "p2pstore.control.blocking" in loaded
    assert not loaded & (HEAVY | {"p2pstore.control.server"})
