"""The doctor finds real problems, and names what helps."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pstore.daemon.operations_doctor import check_disk, check_permissions, check_ports


class Disk(NamedTuple):
    """What a disk says of itself."""

    f_bavail: int
    f_frsize: int
    f_blocks: int


def test_a_home_that_others_can_look_into_is_bad_and_chmod_helps(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "keys").touch(0o600)
    assert check_permissions(tmp_path)["state"] == "ok"
    (tmp_path / "keys").chmod(0o640)
    found = check_permissions(tmp_path)
    assert (found["state"], found["fix"]) == ("bad", [f"chmod 600 {tmp_path}/keys"])
    tmp_path.chmod(0o750)
    found = check_permissions(tmp_path)
    assert (found["state"], found["fix"]) == ("bad", [f"chmod 700 {tmp_path}"])


@pytest.mark.parametrize(
    ("free", "total", "state"),
    [(500 << 30, 1000 << 30, "ok"), (40 << 30, 1000 << 30, "warn"), (100 << 20, 1000 << 20, "bad")],
)
def test_a_disk_that_is_nearly_full_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, total: int, state: str
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda path: Disk(free >> 12, 4096, total >> 12))
    assert check_disk(tmp_path)["state"] == state


@pytest.fixture
def ports() -> Iterator[tuple[int, list[socket.socket]]]:
    """Three listening ports in a row, and their sockets."""
    with ExitStack() as stack:
        for base in range(21000, 60000, 7):
            try:
                sockets = [stack.enter_context(socket.create_server(("127.0.0.1", base + n))) for n in range(3)]
            except OSError:
                continue
            yield base, sockets
            return


def test_a_port_that_does_not_answer_is_bad_and_a_restart_helps(ports: tuple[int, list[socket.socket]]) -> None:
    base, sockets = ports
    assert check_ports("127.0.0.1", base)["state"] == "ok"
    assert check_ports("*", base)["state"] == "ok"
    sockets[1].close()
    found = check_ports("127.0.0.1", base)
    assert (found["state"], found["fix"]) == ("bad", ["p2pstore down; p2pstore up"])
    assert f"{base + 1} (bulk)" in found["what"]
