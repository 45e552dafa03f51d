"""A home folder that was copied, and both copies run at once."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from p2pstore.cli.demo import Machine
from p2pstore.daemon.home import Home
from tests.daemons.conftest import p2p
from tests.daemons.families import family, start, tree_on, wait_until

pytestmark = pytest.mark.daemons


def put(machine: Machine, folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    assert p2p(machine.home, "put", str(folder / name), f"/{name}", "--ack", "here", "--json").code in (0, 6)


def test_both_copies_edits_stay_and_people_are_told(folder: Path) -> None:
    with family(folder, "AB") as found:
        a, b = found.all()
        put(b, folder, "plan", b"0")
        wait_until(lambda: tree_on(a) == {b"/plan"}, "A shows it")
        b.kill()
        copy = Machine("B", folder / "copy")
        shutil.copytree(b.home, copy.home, ignore=shutil.ignore_patterns("*.sock", "log"))
        (copy.home / "log").mkdir(exist_ok=True)
        settings = Home(copy.home).read_settings()
        Home(copy.home).write_settings(dataclasses.replace(settings, port=0))
        try:
            # each by itself first: two histories of one length, which vectors cannot tell apart
            a.kill()
            start(b)
            put(b, folder, "plan", b"by the original")
            b.kill()
            start(copy)
            put(copy, folder, "plan", b"by the copy")
            start(a)
            start(b)
            for machine in (a, b, copy):
                wait_until(lambda machine=machine: len(tree_on(machine)) == 2, "both edits are shown", timeout_s=40)  # type: ignore[misc]
            shown = {p2p(a.home, "cat", path.decode()).out for path in tree_on(a)}
            assert shown == {b"by the original", b"by the copy"}
            assert a.ask("status")["copies"] == ["B"]
            [finding] = [one for one in a.ask("doctor")["checks"] if one["name"] == "copies"]
            assert "p2pstore join" in finding["fix"][0]
            assert "forked /B" in p2p(a.home, "log").out.decode()
            put(b, folder, "later", b"1")
            wait_until(lambda: b"/later" in tree_on(a), "the original goes on writing")
        finally:
            copy.kill()
