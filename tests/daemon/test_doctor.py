"""The doctor finds real problems, and names what helps."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from p2pstore.cli.mending import mend
from p2pstore.daemon.doctor_network import check_clock, check_firewall, check_router
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


DAY = 86400.0
NOW = 1_800_000_000.0


def test_a_clock_is_compared_with_those_of_the_others() -> None:
    assert check_clock(NOW, {})["state"] == "ok"
    assert check_clock(NOW, {"nas": 2.0, "pi": -30.0})["state"] == "ok"
    found = check_clock(NOW, {"nas": 2 * DAY, "pi": 2 * DAY + 5})
    assert (found["state"], found["what"]) == ("bad", "it is 2 days behind the other machines'")
    assert "timedatectl" in found["fix"][0]
    found = check_clock(NOW, {"nas": 2.0, "pi": -3 * 3600.0, "tv": 1.0})
    assert (found["state"], found["what"]) == ("warn", "the one of pi is 3 hours behind this one")
    assert found["fix"] == ["on pi: sudo timedatectl set-ntp true"]
    assert check_clock(3600.0, {})["state"] == "bad", "a board without a battery"


def test_a_firewall_is_told_only_while_nobody_came_through(tmp_path: Path) -> None:
    assert check_firewall(7700, [], 2, tmp_path)["state"] == "ok"
    (tmp_path / "etc" / "ufw").mkdir(parents=True)
    (tmp_path / "etc" / "ufw" / "ufw.conf").write_text("# set to yes\nENABLED=yes\nLOGLEVEL=low\n")
    found = check_firewall(7700, [], 2, tmp_path)
    assert (found["state"], found["fix"]) == ("warn", ["sudo ufw allow 7700:7703/tcp; sudo ufw allow 7700/udp"])
    assert check_firewall(7700, ["nas"], 2, tmp_path)["state"] == "ok"
    (tmp_path / "etc" / "ufw" / "ufw.conf").write_text("ENABLED=no\n")
    (tmp_path / "run" / "firewalld").mkdir(parents=True)
    assert "firewall-cmd" in check_firewall(7700, [], 0, tmp_path)["fix"][0]


def test_a_machine_in_another_house_that_never_was_heard_points_at_the_router() -> None:
    assert check_router(["192.168.1.20"], [], 7700)["state"] == "ok"
    found = check_router(["192.168.1.20", "10.0.0.4"], ["cabin-pi"], 7700)
    assert found["state"] == "warn"
    assert "forward TCP 7700 to 7703" in found["fix"][0]
    assert check_router(["192.168.1.20", "93.184.216.34"], ["cabin-pi"], 7700)["state"] == "ok"
    assert check_router(["nas.example.org"], ["cabin-pi"], 7700)["state"] == "ok", "a name may lead anywhere"


def test_what_is_harmless_is_done_and_the_rest_is_left_to_people(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o755)
    (home / "keys").touch(0o644)
    done = mend(home, [check_permissions(home), {"state": "bad", "fix": ["rm -rf /", f"chmod 777 {home}"]}])
    assert done == [f"chmod 700 {home}"]
    assert home.stat().st_mode & 0o777 == 0o700
    assert mend(home, [check_permissions(home)]) == [f"chmod 600 {home}/keys"]
    assert check_permissions(home)["state"] == "ok"
    assert mend(home, [check_permissions(home)]) == []
