"""up and down: the daemon's process."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import click

from p2pstore.cli.session import Session
from p2pstore.cli.verb import Verb
from p2pstore.control import exits, faults
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.paths import READY_VARIABLE, is_household

UP_TIMEOUT_S: Final = 60.0
"""A start checks the ledger and the packs' tails; minutes only after a crash of a huge store."""

DOWN_TIMEOUT_S: Final = 20.0
"""A clean end finishes what is being written."""

TERMINATE_TIMEOUT_S: Final = 5.0
"""After SIGTERM."""

LOG_TAIL_LINES: Final = 15


@click.command(cls=Verb)
@click.option("--foreground", is_flag=True, help="Stay in this terminal; Ctrl-C stops it.")
@click.option("--port", type=click.IntRange(1, 65533), help="First of the ports to use  [default: as before, or free]")
@click.option("--listen", metavar="ADDR", help="Address to listen on  [default: as before, or all]")
@click.option(
    "--metrics", type=click.IntRange(1, 65535), metavar="PORT", help="Prometheus figures and health there, on loopback."
)
@click.option("--log-json", is_flag=True, help="Log JSON lines, with an id for each request.")
@click.option("--boot", is_flag=True, help="Start it with this user's session from now on; down --boot ends that.")
@click.pass_obj
def up(
    session: Session,
    *,
    foreground: bool,
    port: int | None,
    listen: str | None,
    metrics: int | None,
    log_json: bool,
    boot: bool,
) -> int:
    """Start the daemon.

    Returns when it answers. Fine if it is running already. With --boot a service of this user is written (systemd on
    Linux, launchd on macOS) that starts it with the same options.
    """
    from p2pstore.cli.verbs.overview import status_lines

    home = session.home
    if not is_household(home):
        raise faults.no_household(str(home))
    options = ["--port", str(port)] if port is not None else []
    options += ["--listen", listen] if listen is not None else []
    options += ["--metrics", str(metrics)] if metrics is not None else []
    options += ["--log-json"] if log_json else []
    if boot:
        from p2pstore.cli import booting

        for line in booting.install(home, options):
            session.note(line)
    if (running := _running_pid(session)) is None:
        arguments = [sys.executable, "-P", "-m", "p2pstore.daemon", "--home", os.fspath(home), *options]
        if foreground:
            os.execv(arguments[0], arguments)  # noqa: S606 - the same interpreter, a fixed module
        _start(arguments, home, session.timeout_s or UP_TIMEOUT_S)
    else:
        session.note(f"the daemon is running already (pid {running})")
    status: dict[str, Any] = session.ask("status")
    session.show({**status, "already_running": running is not None}, status_lines(session, status))
    return exits.DONE


@click.command(cls=Verb)
@click.option("--boot", is_flag=True, help="Also do not start it with the session any more.")
@click.pass_obj
def down(session: Session, *, boot: bool) -> int:
    """Stop the daemon."""
    if boot:
        from p2pstore.cli import booting

        for line in booting.remove(session.home):
            session.note(line)
    try:
        client = session.connect()
    except Failure as failure:
        if failure.fault.code != "not-running":
            raise
        session.show({"stopped": False, "pid": None}, ["the daemon is not running"])
        return exits.DONE
    pid = client.hello.pid
    with client, _Process(pid) as process:
        with suppress(Failure):  # it may end before its reply is out
            client.call("shutdown", timeout_s=session.timeout_s or DOWN_TIMEOUT_S)
        client.close()
        clean = process.wait_end(session.timeout_s or DOWN_TIMEOUT_S)
        if not clean:
            session.note("the daemon takes long; asking it with SIGTERM")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            if not process.wait_end(TERMINATE_TIMEOUT_S):
                why = "it may be writing to a disk that does not answer"
                raise Failure(
                    Fault("still-running", f"the daemon (pid {pid}) did not end", why, (f"kill -9 {pid}",), exits.BUSY)
                )
    session.show({"stopped": True, "pid": pid, "clean": clean}, [f"stopped (pid {pid})"])
    return exits.DONE


def _running_pid(session: Session) -> int | None:
    try:
        with session.connect() as client:
            return client.hello.pid
    except Failure as failure:
        if failure.fault.code == "not-running":
            return None
        raise


def _start(arguments: list[str], home: Path, timeout_s: float) -> None:
    """Start the daemon in a session of its own and return when its socket listens.

    Raises:
        Failure: it ended, or did not listen in time; the end of its log says why.
    """
    log = home / "log" / "daemon.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    ready, said = os.pipe()
    try:
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            log_start = output.tell()
            child = subprocess.Popen(  # noqa: S603 - the same interpreter, a fixed module
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home,
                env={**os.environ, READY_VARIABLE: str(said)},
                pass_fds=[said],
                start_new_session=True,  # a closed terminal must not take the daemon with it
            )
        os.close(said)
        said = -1
        heard, _, _ = select.select([ready], [], [], timeout_s)
        if heard and os.read(ready, 1):
            return
    finally:
        os.close(ready)
        if said >= 0:
            os.close(said)
    if heard:
        # It closed the pipe without a word: it has ended, or is about to.
        with suppress(subprocess.TimeoutExpired):
            child.wait(TERMINATE_TIMEOUT_S)
        raise _did_not_start(f"it ended with code {child.returncode}", log, log_start)
    raise _did_not_start(f"no answer in {timeout_s:g} s; pid {child.pid} goes on trying", log, log_start)


def _did_not_start(why: str, log: Path, start: int) -> Failure:
    with log.open("rb") as file:
        file.seek(start)
        tail = file.read()[-8000:].decode("utf-8", "backslashreplace").splitlines()[-LOG_TAIL_LINES:]
    last = "".join(f"\n    {line}" for line in tail)
    return Failure(
        Fault(
            "start-failed",
            "the daemon did not start",
            why + (f"; its log ends:{last}" if tail else ""),
            ("p2pstore up --foreground", f"less {log}"),
            exits.FAILED,
        )
    )


class _Process:
    """A process that is not our child, and its end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = -1
        self._ended = False
        if hasattr(os, "pidfd_open"):
            try:
                self._descriptor = os.pidfd_open(pid)
            except ProcessLookupError:
                self._ended = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def wait_end(self, timeout_s: float) -> bool:
        """Wait for its end; whether it came in time."""
        if self._descriptor >= 0 and not self._ended:
            self._ended = bool(select.select([self._descriptor], [], [], timeout_s)[0])
        deadline = time.monotonic() + timeout_s
        while self._descriptor < 0 and not self._ended and time.monotonic() < deadline:
            # No pidfd (macOS): look ten times a second.
            try:
                os.kill(self.pid, 0)
                time.sleep(0.1)
            except ProcessLookupError:
                self._ended = True
        return self._ended
