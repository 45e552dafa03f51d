"""`p2pstore demo --tui`: the demo's household with the screens open; machines die and return from there."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pstore.cli import text
from p2pstore.cli.demo import NAMES, Machine, Story, _Demo
from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.listening import remove_left_socket
from p2pstore.errors import P2PStoreError

if TYPE_CHECKING:
    from p2pstore.cli.session import Session
    from tui.stage import Actor


class DemoStage:
    """Real daemons on this machine, as `tui.stage.Stage` wants them.

    Args:
        machines: running.
    """

    title = "DEMO"

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = {machine.name: machine for machine in machines}
        self._wiped: set[str] = set()
        self._changing = threading.Lock()
        self.event = ""

    def actors(self) -> Sequence[Actor]:
        """Every machine."""
        from tui.stage import Actor

        return [Actor(name, machine.runs, name in self._wiped) for name, machine in self._machines.items()]

    def kill(self, name: str) -> None:
        """SIGKILL."""
        with self._changing:
            self._machines[name].kill()
            self._tell(f"{name} was killed")

    def wipe(self, name: str) -> None:
        """The machine is gone, and its disk with it."""
        with self._changing:
            machine = self._machines[name]
            machine.kill()
            self._wiped.add(name)
            shutil.rmtree(machine.home, ignore_errors=True)
            self._tell(f"{name} burned with its disk")

    def bring_back(self, name: str) -> None:
        """Start it again. Raises Failure: what burned does not come back."""
        with self._changing:
            machine = self._machines[name]
            if name in self._wiped:
                why = "its disk burned; the household rebuilds what was on it"
                raise Failure(Fault("gone", f"{name} cannot come back", why, (), exits.REFUSED))
            if not machine.runs:
                machine.start()
                machine.wait_ready()
                self._tell(f"{name} is back")

    def store(self, sources: Sequence[Path]) -> None:
        """Store files through the first machine; for a thread of its own."""
        first = next(iter(self._machines.values()))
        args = {
            "sources": [{"path": os.fsencode(path.resolve()), "name": os.fsencode(path.name)} for path in sources],
            "destination": b"/", "recursive": True, "ack": "safe", "wait": False, "into": True,
        }  # fmt: skip
        try:
            result = first.ask("put", args)
        except (P2PStoreError, OSError) as error:
            self._tell(f"the upload stopped: {error}")
            return
        self._tell(f"stored {text.count(result['files'], 'file')}: {result['state']}")

    def _tell(self, what: str) -> None:
        self.event = f"{time.strftime('%H:%M:%S')} {what}"


def run(paths: list[Path], *, peers: int, session: Session) -> int:
    """Start the household, show the screens of its first machine, and end everything when a person leaves them."""
    from tui.app import run as run_screens

    story = Story(session)
    folder = Path(tempfile.mkdtemp(prefix="p2pstore-demo-"))
    machines = [Machine(name, folder / name) for name in NAMES[:peers]]
    try:
        demo = _Demo(folder, machines, 0, story, session)
        demo.raise_household()
        stage = DemoStage(machines)
        sources = paths or demo.make_files()
        threading.Thread(target=stage.store, args=(sources,), name="upload", daemon=True).start()
        return run_screens(machines[0].home, stage=stage)
    finally:
        for machine in machines:
            machine.stop()
            remove_left_socket(machine.home)
        shutil.rmtree(folder, ignore_errors=True)
        story.tell("all machines are stopped, and nothing is left of them")
