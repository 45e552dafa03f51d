"""The store for everything that speaks fsspec: `p2pstore:///x.csv` in pandas, pyarrow, dask, zarr and others.

Registered through the entry point group `fsspec.specs`; needs the extra `p2pstore[fsspec]`. Nothing is cached: every
question is answered by the daemon on this machine, which has the whole tree.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
from contextlib import suppress
from datetime import datetime
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.utils import stringify_path

from p2pstore.api.errors import Exists, NotAFolder
from p2pstore.api.reading import BUFFER_BYTES
from p2pstore.api.results import Entry, bytes_of
from p2pstore.api.store import REPLY_TIMEOUT_S, Ack, Store, connect
from p2pstore.api.writing import RawUpload

KINDS = {"file": "file", "folder": "directory", "link": "link"}
"""What fsspec calls them."""


class StoreFileSystem(AbstractFileSystem):  # type: ignore[misc]
    """A household's store as an fsspec file system.

    Args:
        home: the household's folder on this machine; by default what P2PSTORE_HOME says, else the platform's.
        ack: when a write returns: "here", "placed" or "safe".
        timeout_s: for connecting, and for requests that do no bulk work.
    """

    protocol = "p2pstore"
    root_marker = "/"

    def __init__(
        self, home: str | None = None, *, ack: Ack = "safe", timeout_s: float = REPLY_TIMEOUT_S, **options: Any
    ) -> None:
        super().__init__(home=home, ack=ack, timeout_s=timeout_s, **options)
        self._home = home
        self._ack = ack
        self._timeout_s = timeout_s
        self._connected: Store | None = None

    @property
    def store(self) -> Store:
        """The store behind it, connected at first use. Raises NotConnected."""
        if self._connected is None:
            self._connected = connect(self._home, timeout_s=self._timeout_s)
        return self._connected

    @property
    def fsid(self) -> str:
        """Names the household, wherever it is asked for."""
        return f"p2pstore-{self.store.status().network_id}"

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        """`p2pstore:///a/b/`, `p2pstore://a/b` and `a/b` are all `/a/b`."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        path = stringify_path(path)
        for mark in ("p2pstore://", "p2pstore::"):
            path = path.removeprefix(mark)
        return "/" + path.strip("/")

    # --- looking --------------------------------------------------------------------------------------------------

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """{name, size, type, mtime, mode, version, islink, destination} of one path."""
        return _info(self.store.stat(_raw(self._strip_protocol(path))))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """A folder's entries, or the one entry of a file."""
        path = self._strip_protocol(path)
        try:
            found = [_info(entry) for entry in self.store.scandir(_raw(path))]
        except NotAFolder:
            found = [self.info(path)]
        return found if detail else [one["name"] for one in found]

    def modified(self, path: str) -> datetime:
        """When a file was last changed, in UTC."""
        return self.store.stat(_raw(self._strip_protocol(path))).mtime

    def ukey(self, path: str) -> str:
        """Differs after each change of a file."""
        version = self.store.stat(_raw(self._strip_protocol(path))).version
        return hashlib.sha256(version.encode()).hexdigest()

    def checksum(self, path: str) -> int:
        """The same as a number."""
        return int(self.ukey(path), 16)

    # --- bytes ----------------------------------------------------------------------------------------------------

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,  # noqa: ARG002 - ranges grow by themselves
        autocommit: bool = True,
        cache_options: Any = None,  # noqa: ARG002 - nothing is cached
        **_: Any,
    ) -> Any:
        if mode == "rb":
            return io.BufferedReader(self.store.open_raw(_raw(path)), BUFFER_BYTES)
        if mode not in ("wb", "xb"):
            raise ValueError(f"mode {mode!r}: a stored file is a version that never changes; one of rb, wb, xb")
        if autocommit:
            return self.store.open(_raw(path), mode, ack=self._ack)  # type: ignore[call-overload]
        return DeferredUpload(self.store.begin_upload(_raw(path), ack=self._ack, exclusive=mode == "xb"))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes from `start` to before `end`; negative ones count from the end."""
        path = self._strip_protocol(path)
        if (start or 0) < 0 or (end or 0) < 0:
            start, end, _step = slice(start, end).indices(self.store.stat(_raw(path)).size)
        first = start or 0
        return self.store.read_bytes(_raw(path), first, None if end is None else max(0, end - first))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        """Store bytes as a file; with mode "create", only if there is none."""
        self.store.write_bytes(
            _raw(self._strip_protocol(path)), value, ack=self._ack, exclusive=mode == "create"
        )

    # --- names ----------------------------------------------------------------------------------------------------

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Make a folder. Raises FileExistsError."""
        self.store.mkdir(_raw(self._strip_protocol(path)), parents=create_parents)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder and those above."""
        self.store.mkdir(_raw(self._strip_protocol(path)), parents=True, exist_ok=exist_ok)

    def rmdir(self, path: str) -> None:
        """Put an empty folder into the trash."""
        path = self._strip_protocol(path)
        if next(self.store.scandir(_raw(path)), None) is not None:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
        self.store.remove(_raw(path), recursive=True)

    def _rm(self, path: str) -> None:
        if self.isdir(path):
            self.rmdir(path)
        else:
            self.store.remove(_raw(self._strip_protocol(path)))

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """A second name for a file; no bytes move. A folder becomes an empty one."""
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if self.isdir(source):
            with suppress(Exists):
                self.mkdir(target)
        else:
            self.store.copy(_raw(source), _raw(target), replace=True)

    def mv(self, path1: Any, path2: Any, recursive: bool = False, maxdepth: int | None = None, **options: Any) -> None:
        """Move or rename, into `path2` if it is a folder; no bytes move. Patterns and lists as fsspec does them."""
        if not isinstance(path1, str) or not isinstance(path2, str) or maxdepth is not None or _has_magic(path1):
            super().mv(path1, path2, recursive=recursive, maxdepth=maxdepth, **options)
            return
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        if path2.endswith("/") or self.isdir(target):
            target = target.rstrip("/") + "/" + source.rpartition("/")[2]
        self.makedirs(self._parent(target), exist_ok=True)
        self.store.rename(_raw(source), _raw(target), replace=True)


class DeferredUpload(io.BufferedWriter):
    """A file that is written in a transaction: closing it sends its bytes, `commit` gives it its name."""

    def __init__(self, raw: RawUpload) -> None:
        super().__init__(raw, BUFFER_BYTES)
        self._upload = raw

    def close(self) -> None:
        """Send what is left."""
        if not self.closed:
            self.flush()

    def commit(self) -> None:
        """Make it a file. Raises StoreError."""
        super().close()

    def discard(self) -> None:
        """Forget what was written."""
        self._upload.abandon()
        self._upload.close()

    def __del__(self) -> None:
        """Neither committed nor discarded."""
        if not self._upload.closed:
            self.discard()


def _info(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.path,
        "size": entry.size,
        "type": KINDS[entry.kind],
        "mtime": entry.mtime_ns / 1e9,
        "mode": entry.mode,
        "version": entry.version,
        "islink": entry.kind == "link",
        "destination": entry.target,
    }


def _raw(path: str) -> bytes:
    """Names such as "p2p:" keep their letters."""
    return bytes_of(path)


def _has_magic(path: str) -> bool:
    return any(mark in path for mark in "*?[")
