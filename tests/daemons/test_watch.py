"""Watched folders with real daemons, real files and the system's own news."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.cli.schema import load, problems
from tests.daemons.conftest import p2p
from tests.daemons.families import family, start, tree_on, wait_until

pytestmark = pytest.mark.daemons


def test_a_folder_is_stored_as_it_changes_and_after_a_restart(folder: Path) -> None:
    photos = folder / "photos"
    (photos / "2026").mkdir(parents=True)
    (photos / "2026" / "a.jpg").write_bytes(os.urandom(300_000))
    with family(folder, "AB") as found:
        home = found["A"].home
        added = p2p(home, "watch", "add", str(photos), "/photos", "--ignore", "*.tmp", "--json")
        assert added.code == 0, added
        assert problems(added.json, load("watch-add")) == []
        shown = {b"/photos", b"/photos/2026", b"/photos/2026/a.jpg"}
        for machine in found.all():
            wait_until(lambda machine=machine: tree_on(machine) == shown, f"{machine.name} shows the folder")  # type: ignore[misc]
        (photos / "b").write_bytes(b"new")
        (photos / "c.tmp").write_bytes(b"passed over")
        os.rename(photos / "2026", photos / "2027")
        shown = {b"/photos", b"/photos/2027", b"/photos/2027/a.jpg", b"/photos/b"}
        wait_until(lambda: tree_on(found["B"]) == shown, "what came since is stored")
        assert p2p(home, "trash", "ls", "--json").json["entries"] == []

        found["A"].kill()
        (photos / "b").unlink()
        (photos / "d").write_bytes(b"while away")
        start(found["A"])
        shown = shown - {b"/photos/b"} | {b"/photos/d"}
        wait_until(lambda: tree_on(found["A"]) == shown, "a restart goes on", timeout_s=40)

        listed = p2p(home, "watch", "ls", "--json")
        assert problems(listed.json, load("watch")) == []
        assert [one["state"] for one in listed.json["watches"]] == ["watching"]
        refused = p2p(home, "watch", "add", str(home), "/own", "--json")
        assert (refused.code, refused.json["code"]) == (5, "own-files")
        removed = p2p(home, "watch", "rm", str(photos), "--json")
        assert problems(removed.json, load("watch-rm")) == []
        shutil.rmtree(photos)
        assert p2p(home, "watch", "--json").json["watches"] == []
        assert tree_on(found["A"]) == shown
