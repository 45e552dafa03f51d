"""A unix socket that only this user can reach, and that a crash does not leave in the way."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault
from p2pstore.control.paths import READY_VARIABLE, private_folder, socket_paths

BACKLOG: Final = 64
"""Connections that may wait to be accepted."""


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """A socket (mode 0600, in a 0700 folder) that listens at `path`; both end with the block.

    A lock beside the socket says whether its owner lives, so a socket left by a crash is replaced and a living
    daemon's never is.

    Raises:
        Failure: another daemon serves there (code "already-running"), or the folder is not this user's alone.
    """
    private_folder(path.parent)
    lock = path.with_suffix(".lock")
    lock_fd = _locked(lock)
    try:
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            umask = os.umask(0o177)
            try:
                sock.bind(os.fspath(path))
            finally:
                os.umask(umask)
            sock.listen(BACKLOG)
            sock.setblocking(False)
            yield sock
        finally:
            sock.close()
            path.unlink(missing_ok=True)
    finally:
        lock.unlink(missing_ok=True)
        os.close(lock_fd)


def remove_left_socket(home: Path) -> None:
    """Remove the socket that a killed daemon of `home` left, before `home` itself is removed. Leaves one in use alone.

    Not for a home whose daemon may be starting just now: it would find its lock taken for a moment.
    """
    for path in socket_paths(home):
        lock = path.with_suffix(".lock")
        if not lock.exists():
            continue
        try:
            descriptor = _locked(lock)
        except Failure:
            continue
        path.unlink(missing_ok=True)
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(lock: Path) -> int:
    """The descriptor of the lock file, locked until it is closed."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(descriptor, lock):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise Failure(
                Fault(
                    "already-running",
                    "another daemon serves this household here already",
                    f"it holds {lock}",
                    ("p2pstore status", "p2pstore down"),
                    exits.BUSY,
                )
            ) from None
        # Its owner removed it between our open and our lock; the next round finds or makes the new one.
        os.close(descriptor)


def _is_same(descriptor: int, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def announce_ready() -> None:
    """Tell the process that started this one (`p2pstore up`) that the socket listens: one byte to the descriptor that
    P2PSTORE_READY_FD names, once. Nothing happens when it names none, or nobody listens any more."""
    descriptor = os.environ.pop(READY_VARIABLE, "")
    if descriptor.isdecimal():
        with suppress(OSError):
            os.write(int(descriptor), b"\n")
        with suppress(OSError):
            os.close(int(descriptor))
