"""The home folder: what one installation keeps on this machine, and the lock that lets one daemon at a time use it.

```
HOME/settings.json   name, site, size, ports: what a person chose
HOME/keys            identity and key generations, mode 0600
HOME/ledger/         the metadata database and the side file that detects a rollback
HOME/store/          packs, index, sentinel
HOME/log/daemon.log
HOME/retired.json    what is left of an installation that left its household: which, and when
HOME/daemon.lock     held (flock) by the running daemon; holds its pid
```
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from p2pstore.errors import Misuse

SETTINGS_VERSION: Final = 1

RETIRED_FILE: Final = "retired.json"

LEFT_BEHIND: Final = frozenset({"log", RETIRED_FILE, "daemon.lock"})
"""What may lie in a folder that is no installation's home any more, and not yet another's."""


class NoHousehold(Misuse):
    """The folder is not the home of an installation."""


class AlreadyHome(Misuse):
    """The folder already is the home of an installation."""


class Retired(Misuse):
    """The installation left its household and erased itself."""


class NotEmpty(Misuse):
    """The folder to restore to has something in it."""


class AlreadyRunning(Misuse):
    """Another daemon holds the lock.

    Attributes:
        pid: its process, 0 if it could not be read.
    """

    def __init__(self, pid: int) -> None:
        super().__init__(f"a daemon runs here already (pid {pid})")
        self.pid = pid


@dataclass(frozen=True, slots=True)
class Settings:
    """What a person chose for this machine.

    Attributes:
        household: the household's name.
        name: this machine's name.
        site: where it stands.
        steadiness: "always-on", "desktop" or "laptop".
        size_bytes: how much of its disk is given.
        listen: the address to listen on; "*" is every interface.
        port: P of the control plane (bulk P+1, enrolment P+2, DHT UDP P); 0 until the first start chose one.
    """

    household: str
    name: str
    site: str
    steadiness: str
    size_bytes: int
    listen: str = "*"
    port: int = 0


class Home:
    """Paths and small files of one installation."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def keys_path(self) -> Path:
        """Identity and key generations."""
        return self.path / "keys"

    @property
    def ledger_path(self) -> Path:
        """The ledger's folder."""
        return self.path / "ledger"

    @property
    def store_path(self) -> Path:
        """The folder of shards."""
        return self.path / "store"

    @property
    def log_path(self) -> Path:
        """The daemon's log file."""
        return self.path / "log" / "daemon.log"

    @property
    def exists(self) -> bool:
        """Whether a household was made or joined here."""
        return (self.path / "settings.json").is_file()

    def refuse_installation(self) -> None:
        """Raises AlreadyHome if a household was made or joined here."""
        if self.exists:
            raise AlreadyHome(str(self.path))

    def create(self) -> None:
        """Make the folder. Raises AlreadyHome for an installation, Misuse for a folder with anything else in it."""
        self.refuse_installation()
        if self.path.is_dir() and any(entry.name not in LEFT_BEHIND for entry in self.path.iterdir()):
            raise Misuse(f"{self.path} is not empty")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.chmod(0o700)
        (self.path / RETIRED_FILE).unlink(missing_ok=True)

    def read_settings(self) -> Settings:
        """The settings. Raises NoHousehold, or Misuse for a file that does not parse."""
        try:
            text = (self.path / "settings.json").read_text("utf-8")
        except (FileNotFoundError, NotADirectoryError):
            raise NoHousehold(str(self.path)) from None
        try:
            values: dict[str, Any] = json.loads(text)
            if values.pop("version") != SETTINGS_VERSION:
                raise Misuse(f"{self.path}/settings.json was written by another version")
            return Settings(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Misuse(f"{self.path}/settings.json does not parse: {error}") from None

    def write_settings(self, settings: Settings) -> None:
        """Replace the settings, durably."""
        text = json.dumps({"version": SETTINGS_VERSION, **asdict(settings)}, indent=2, sort_keys=True) + "\n"
        self.write_private("settings.json", text.encode())

    def remember_port(self, settings: Settings, *, listen: str, port: int) -> Settings:
        """Keep the address of the first start, so that the others find this machine after a restart."""
        if (settings.listen, settings.port) == (listen, port):
            return settings
        changed = replace(settings, listen=listen, port=port)
        self.write_settings(changed)
        return changed

    def write_private(self, name: str, data: bytes) -> None:
        """Write a small file of mode 0600 so that after a power cut it is the old one or the new one."""
        part = self.path / f".{name}.part"
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.replace(self.path / name)
        _fsync_folder(self.path)

    # --- leaving ------------------------------------------------------------------------------------------------------

    @property
    def is_retired(self) -> bool:
        """Whether the installation left its household; what is left of it may have to be erased yet."""
        return (self.path / RETIRED_FILE).is_file()

    def retire(self, *, household: str, name: str, at_s: float) -> None:
        """Note durably that everything here is to be erased."""
        text = json.dumps({"version": 1, "household": household, "name": name, "at": at_s}, indent=2) + "\n"
        self.write_private(RETIRED_FILE, text.encode())

    def erase(self) -> None:
        """Erase what the household left here, keys first; may be done again after a crash anywhere.

        Raises:
            Misuse: `retire` was not called.
        """
        if not self.is_retired:
            raise Misuse("not retired")
        for part in (self.keys_path, self.path / ".keys.part"):
            _overwrite(part)
        _fsync_folder(self.path)
        for folder in (self.ledger_path, self.store_path):
            _empty(folder)
        for entry in sorted(self.path.iterdir()):
            if entry.name not in LEFT_BEHIND and not entry.is_dir():
                entry.unlink()
        _fsync_folder(self.path)

    def lock(self) -> int:
        """Take the lock for as long as the process lives; returns the descriptor. Raises AlreadyRunning."""
        descriptor = os.open(self.path / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = _pid_in(descriptor)
            os.close(descriptor)
            raise AlreadyRunning(pid) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def _fsync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _overwrite(path: Path) -> None:
    """Write zeros over a small secret file and remove it. A disk that writes elsewhere each time may keep the old
    bytes: what they open is erased too."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, bytes(os.fstat(descriptor).st_size))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    path.unlink()


def _empty(folder: Path) -> None:
    """Remove a folder and what is in it; a disk's own folder, or a link to one, is emptied and left."""
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    if folder.is_symlink():
        folder.unlink()
    elif not folder.is_mount():
        folder.rmdir()


def _pid_in(descriptor: int) -> int:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else 0
