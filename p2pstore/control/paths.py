"""Where a household's folder and its control socket lie.

The socket is not in the household's folder: a unix socket's path has 107 bytes, and a home may be on a file system that
has no sockets. Its name is a hash of the home's real path, so that many peers can live on one machine.
"""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from p2pstore.control import exits
from p2pstore.control.faults import Failure, Fault

SOCKET_PATH_BYTES_MAX: Final = 107
"""`sun_path` on Linux has 108 bytes with its closing zero (unix(7)); macOS has 104, which the names below fit."""

HOUSEHOLD_FILE: Final = "settings.json"
"""The file that makes a folder a household's home; `init` and `join` write it last."""

HOME_VARIABLE: Final = "P2PSTORE_HOME"
"""Environment variable that names the home when --home does not."""

READY_VARIABLE: Final = "P2PSTORE_READY_FD"
"""Environment variable with a file descriptor to which the daemon writes one byte once its socket listens."""


def default_home() -> Path:
    """The home when neither --home nor P2PSTORE_HOME is given: the platform's folder for a user's data."""
    import platformdirs

    return Path(platformdirs.user_data_dir("p2pstore", appauthor=False))


def is_household(home: Path) -> bool:
    """Whether `home` holds a household (a machine's identity, keys and ledger)."""
    return (home / HOUSEHOLD_FILE).is_file()


def socket_paths(home: Path) -> list[Path]:
    """Where the control socket of `home` may lie; a server takes the first, a client tries all.

    More than one, because a daemon that cron or a service manager started may lack the XDG_RUNTIME_DIR of a login.
    """
    name = hashlib.blake2b(os.fsencode(os.path.realpath(home)), digest_size=8).hexdigest() + ".sock"
    uid = os.getuid()
    folders = []
    if (runtime := os.environ.get("XDG_RUNTIME_DIR")) and os.path.isabs(runtime):
        folders.append(Path(runtime, "p2pstore"))
    if os.path.isdir(f"/run/user/{uid}"):
        folders.append(Path(f"/run/user/{uid}/p2pstore"))
    folders.append(Path(f"/tmp/p2pstore-{uid}"))  # noqa: S108 - checked by private_folder: owner, mode, no link
    paths = [folder / name for folder in dict.fromkeys(folders)]
    return [path for path in paths if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX]


def socket_path(home: Path) -> Path:
    """Where a daemon for `home` listens."""
    return socket_paths(home)[0]


def private_folder(folder: Path) -> None:
    """Create `folder` for this user alone, or check that it is so.

    Raises:
        Failure: it belongs to somebody else, or is not a real folder: a socket in it could be theirs.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise Failure(
            Fault(
                "unsafe-folder",
                f"{folder} is not a folder of yours",
                "another user could read what passes through a socket in it",
                (f"ls -ld {folder}", "XDG_RUNTIME_DIR=DIR p2pstore ..."),
                exits.NOT_ALLOWED,
            )
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        folder.chmod(0o700)


def is_private(folder: Path) -> bool:
    """Whether `folder` is a real folder that only this user can enter."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not stat.S_IMODE(status.st_mode) & 0o077
