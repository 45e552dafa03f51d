"""A daemon process with a fake inside: stands in for the interpreter that `up` starts."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import trio

from p2pstore.control.paths import socket_path
from p2pstore.control.server import Call, ControlServer
from tests.control.fake_daemon import FakeDaemon


def main() -> int:
    """Serve until `shutdown`; FAKE_DAEMON says how to misbehave."""
    behaviour = os.environ.get("FAKE_DAEMON", "")
    home = Path(sys.argv[sys.argv.index("--home") + 1])
    (home / "arguments").write_text("\n".join(sys.argv[1:]))
    if behaviour == "dies":
        print("no: the port is taken", file=sys.stderr)
        return 3
    if behaviour == "stuck":
        signal.pause()
    trio.run(serve, home, behaviour)
    return 0


async def serve(home: Path, behaviour: str) -> None:
    """The fake's operations, with a real end."""
    ended = trio.Event()

    async def shutdown(call: Call) -> Any:
        if behaviour != "deaf":
            ended.set()
        return {}

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ControlServer(FakeDaemon().handlers() | {"shutdown": shutdown}).run, socket_path(home))
        await ended.wait()
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    sys.exit(main())
