"""The blocking store: files, folders and how safe they are, for scripts and notebooks."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self, TextIO, overload

from p2pstore.api.connections import Connections
from p2pstore.api.errors import Exists, check_failed, error_of
from p2pstore.api.reading import BUFFER_BYTES, StoredFile
from p2pstore.api.results import (
    Entry,
    Fetched,
    Peer,
    Placement,
    Progress,
    Status,
    Stored,
    Verdict,
    bytes_of,
    text_of,
)
from p2pstore.api.writing import RawUpload, UploadFile, UploadText
from p2pstore.control import exits
from p2pstore.control.faults import Fault, already_there, not_a_folder
from p2pstore.control.paths import HOME_VARIABLE, default_home
from p2pstore.control.store_paths import store_path

REPLY_TIMEOUT_S: Final = 30.0
"""For requests that do no bulk work; a busy daemon answers within a second."""

StorePath = str | bytes
"""A path in the store: "/Photos/x.jpg" or "p2p:/Photos/x.jpg". Bytes for a name that is not UTF-8."""

LocalPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A path on this machine."""

Ack = Literal["here", "placed", "safe"]
"""When a write returns: durable on this machine; readable without it; as safe as promised."""

OnProgress = Callable[[Progress], object]
"""Called about ten times a second, in the thread that waits."""


def connect(home: str | os.PathLike[str] | None = None, *, timeout_s: float = REPLY_TIMEOUT_S) -> Store:
    """The store of the household on this machine.

    Args:
        home: the household's folder here; by default what P2PSTORE_HOME says, else the platform's.
        timeout_s: for connecting, and for requests that do no bulk work.

    Raises:
        NotConnected: there is no household, or its daemon does not run (it is never started from here).
    """
    given = os.environ.get(HOME_VARIABLE) if home is None else os.fspath(home)
    connections = Connections(Path(given).absolute() if given else default_home(), timeout_s)
    with connections.borrowed():
        return Store(connections)


class Store:
    """A household's store, as the daemon on this machine shows it. Any number of threads may use one.

    Close it, or use it in a `with` block. All methods raise StoreError with `code`, `what`, `why` and `fix`; the
    classes in `p2pstore.api.errors` are also the built-in ones (NotFound is a FileNotFoundError).
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {os.fspath(self.home)!r}>"

    @property
    def home(self) -> Path:
        """The household's folder on this machine."""
        return self._connections.home

    def close(self) -> None:
        """Hang up. Files that are still open keep their connections until they are closed."""
        self._connections.close()

    # --- bytes in and out -----------------------------------------------------------------------------------------

    def read_bytes(self, path: StorePath, offset: int = 0, length: int | None = None) -> bytes:
        """The bytes of a file, or of a part of it.

        Args:
            path: a file; of a link, its target.
            offset: first byte, from 0. Beyond the end there are no bytes.
            length: at most so many; None for all.

        Raises:
            NotFound, IsAFolder, Unreadable: no wrong byte is ever returned.
        """
        found = bytearray()
        args = {"path": _path(path), "offset": offset, "length": length}
        self._connections.ask("cat", args, on_item=lambda item: found.extend(item["data"]), unbounded=True)
        return bytes(found)

    def write_bytes(
        self, path: StorePath, data: bytes | bytearray | memoryview, *, ack: Ack = "safe", exclusive: bool = False
    ) -> Stored:
        """Store bytes as a file: a new one, or a new version of what is there. Missing folders above are made.

        Args:
            path: of the file.
            data: all of it.
            ack: when to return. Not reaching it within 30 s without progress is no error: look at the result's `level`
                and `below_level`.
            exclusive: raise Exists if something has that path already.

        Raises:
            IsAFolder, Exists, StoreError: nothing was stored.
        """
        with self.begin_upload(path, ack=ack, exclusive=exclusive) as raw:
            raw.write(data)
        assert raw.stored is not None
        return raw.stored

    @overload
    def open(
        self,
        path: StorePath,
        mode: Literal["r", "w", "x", "rt", "wt", "xt"] = "r",
        *,
        ack: Ack = "safe",
        encoding: str = "utf-8",
        errors: str | None = None,
        newline: str | None = None,
    ) -> TextIO: ...

    @overload
    def open(self, path: StorePath, mode: Literal["rb", "wb", "xb"], *, ack: Ack = "safe") -> BinaryIO: ...

    def open(
        self,
        path: StorePath,
        mode: str = "r",
        *,
        ack: Ack = "safe",
        encoding: str = "utf-8",
        errors: str | None = None,
        newline: str | None = None,
    ) -> TextIO | BinaryIO:
        """A file object, as the built-in `open` gives one.

        Reading: buffered, seekable, and always of the version that was there when it was opened. Writing: streams, and
        becomes a file at `close`; a `with` block that ends with an exception stores nothing.

        Args:
            path: of the file.
            mode: "r", "w" (create or replace) or "x" (create only), and "b" for bytes. There is no appending: a stored
                file is a version that never changes.
            ack: for writing, as in `write_bytes`; what was reached is in the `stored` of the binary file object.
            encoding, errors, newline: for text, as in the built-in `open`; but UTF-8 everywhere.

        Raises:
            NotFound, IsAFolder, Exists: at once. Whatever else stands in the way of writing: at `write` or `close`.
            ValueError: a mode that there is not.
        """
        kind, rest = mode[:1], mode[1:]
        if kind not in ("r", "w", "x") or rest not in ("", "b", "t"):
            raise ValueError(f"mode {mode!r}: one of r, w, x, with b for bytes")
        if kind == "r":
            reader = io.BufferedReader(self.open_raw(path), BUFFER_BYTES)
            return reader if rest == "b" else io.TextIOWrapper(reader, encoding, errors, newline)
        writer = UploadFile(self.begin_upload(path, ack=ack, exclusive=kind == "x"))
        return writer if rest == "b" else UploadText(writer, encoding, errors, newline)

    def open_raw(self, path: StorePath) -> StoredFile:
        """A file for reading without a buffer; its `entry` says what was opened. Raises as `open` does."""
        wanted = _path(path)
        answer = self._connections.ask("stat", {"path": wanted, "content": True})
        return StoredFile(self._connections, Entry.from_wire(text_of(wanted), answer), answer["content"])

    def begin_upload(self, path: StorePath, *, ack: Ack = "safe", exclusive: bool = False) -> RawUpload:
        """A file for writing without a buffer, which can be abandoned. Raises as `open` does."""
        wanted = _path(path)
        there = self._stat(wanted)
        if there is not None and there.is_folder:
            raise error_of(Fault("is-a-folder", f"{there.path!r} is a folder", "", (), exits.USAGE))
        if there is not None and exclusive:
            raise error_of(already_there(wanted).fault)
        return RawUpload(self._connections, wanted, {"ack": ack, "wait": False, "exclusive": exclusive})

    def put(
        self,
        sources: LocalPath | Sequence[LocalPath],
        destination: StorePath,
        *,
        ack: Ack = "safe",
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Stored:
        """Store local files and folders, with all below them, as `cp -r` would: into `destination` if it is a folder or
        ends with "/", under that name otherwise.

        Args:
            sources: one local path or several.
            destination: in the store.
            ack: when to return.
            wait: wait for that level for ever, not only while there is progress.
            on_progress: told how far it is.

        Raises:
            PartlyDone: some were not stored; its `result` has both.
            StoreError: nothing was stored.
        """
        paths = _several(sources)
        args = {
            "sources": [_source(path) for path in paths],
            "destination": _path(destination),
            "recursive": True,
            "ack": ack,
            "wait": wait,
            "into": len(paths) > 1 or _ends_with_slash(destination),
        }
        result = Stored.from_wire(self._connections.ask("put", args, on_item=_listener(on_progress), unbounded=True))
        check_failed(result)
        return result

    def get(
        self,
        sources: StorePath | Sequence[StorePath],
        destination: LocalPath = ".",
        *,
        verify: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Fetched:
        """Fetch files and folders to this machine, as `cp -r` would. A file appears under its name only when it is
        whole.

        Args:
            sources: one path in the store or several.
            destination: local: a folder to put them in, or the new name of one of them.
            verify: read back and compare what was written to this disk.
            on_progress: told how far it is.

        Raises:
            PartlyDone: some were not fetched; its `result` has both.
            NotFound, Unreadable, StoreError: nothing was fetched.
        """
        paths: Sequence[StorePath] = [sources] if isinstance(sources, str | bytes) else list(sources)
        local = os.fsencode(destination)
        args = {
            "sources": [_path(path) for path in paths],
            "destination": _local(local),
            "recursive": True,
            "verify": verify,
            "into": len(paths) > 1 or local.endswith(b"/") or local == b".",
        }
        result = Fetched.from_wire(self._connections.ask("get", args, on_item=_listener(on_progress), unbounded=True))
        check_failed(result)
        return result

    # --- names ----------------------------------------------------------------------------------------------------

    def stat(self, path: StorePath) -> Entry:
        """What is at a path. Raises NotFound."""
        wanted = _path(path)
        return Entry.from_wire(text_of(wanted), self._connections.ask("stat", {"path": wanted}))

    def _stat(self, wanted: bytes) -> Entry | None:
        try:
            return self.stat(wanted)
        except FileNotFoundError:
            return None

    def exists(self, path: StorePath) -> bool:
        """Whether there is anything at a path."""
        return self._stat(_path(path)) is not None

    def is_file(self, path: StorePath) -> bool:
        """Whether there is a file at a path."""
        there = self._stat(_path(path))
        return there is not None and there.is_file

    def is_folder(self, path: StorePath) -> bool:
        """Whether there is a folder at a path."""
        there = self._stat(_path(path))
        return there is not None and there.is_folder

    def scandir(self, path: StorePath = "/") -> Iterator[Entry]:
        """The entries of a folder, sorted by the bytes of their names, fetched as they are asked for.

        Raises:
            NotFound, NotAFolder: at once, not at the first entry.
        """
        wanted = _path(path)
        if not self.stat(wanted).is_folder:
            raise error_of(not_a_folder(wanted).fault)
        return self._entries(wanted)

    def _entries(self, folder: bytes) -> Iterator[Entry]:
        above = text_of(folder).rstrip("/") + "/"
        for page in self._connections.stream("ls", {"path": folder, "all": True, "long": True}):
            for entry in page["entries"]:
                yield Entry.from_wire(above + text_of(entry["name"]), entry)

    def listdir(self, path: StorePath = "/") -> list[str]:
        """The names in a folder, sorted. Raises NotFound, NotAFolder."""
        return [entry.name for entry in self.scandir(path)]

    def walk(self, top: StorePath = "/") -> Iterator[tuple[str, list[str], list[str]]]:
        """Every folder from `top` down, as `os.walk`: (its path, names of folders in it, names of other things in it).
        Take names out of the list of folders to leave them out. Raises NotFound, NotAFolder."""
        waiting = [text_of(_path(top))]
        while waiting:
            path = waiting.pop()
            folders: list[str] = []
            others: list[str] = []
            for entry in self.scandir(bytes_of(path)):
                (folders if entry.is_folder else others).append(entry.name)
            yield path, folders, others
            waiting += [path.rstrip("/") + "/" + name for name in reversed(folders)]

    def mkdir(self, path: StorePath, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder.

        Args:
            path: of it.
            parents: make missing folders above.
            exist_ok: fine if there is a folder.

        Raises:
            Exists, NotFound (of the folder above), NotAFolder.
        """
        wanted = _path(path)
        if parents:
            if not exist_ok and self._stat(wanted) is not None:
                raise error_of(already_there(wanted).fault)
        else:
            above = wanted.rpartition(b"/")[0] or b"/"
            if not self.stat(above).is_folder:
                raise error_of(not_a_folder(above).fault)
        try:
            self._connections.ask("mkdir", {"path": wanted, "parents": parents})
        except Exists:
            if not exist_ok or not self.is_folder(wanted):
                raise

    def rename(self, source: StorePath, target: StorePath, *, replace: bool = False) -> None:
        """Give something exactly the path `target`, in this folder or another. No bytes move; its history goes with it.

        Args:
            source: what.
            target: its new path; the folder above it must be there. (Unlike `mv`, never "into" a folder.)
            replace: put a file or link that has that path into the trash; else that raises Exists.

        Raises:
            NotFound, Exists, NotAFolder.
        """
        self._connections.ask("rename", {"source": _path(source), "target": _path(target), "replace": replace})

    def copy(self, source: StorePath, target: StorePath, *, replace: bool = False) -> None:
        """Give a file a second name, with the same content, time and mode. No bytes move, and none are stored twice.

        Raises:
            NotFound, IsAFolder, Exists (unless `replace`).
        """
        self._connections.ask("copy", {"source": _path(source), "target": _path(target), "replace": replace})

    def remove(self, path: StorePath, *, recursive: bool = False) -> None:
        """Put a file or link, or with `recursive` a folder with all below it, into the trash.

        Raises:
            NotFound, IsAFolder (without `recursive`).
        """
        self._connections.ask("rm", {"paths": [_path(path)], "recursive": recursive}, unbounded=True)

    # --- how things stand -----------------------------------------------------------------------------------------

    def safe(self) -> Verdict:
        """Is the data safe right now? Computed anew, which takes a second for a million files."""
        return Verdict.from_wire(self._connections.ask("safe", {}, unbounded=True))

    def status(self) -> Status:
        """This machine, its household and the verdict, which may be 15 seconds old."""
        return Status.from_wire(self._connections.ask("status", {}))

    def peers(self) -> list[Peer]:
        """The household's machines, this one first."""
        return [Peer.from_wire(peer) for peer in self._connections.ask("peers", {})["peers"]]

    def where(self, path: StorePath) -> Placement:
        """Which machine holds what of a file. Raises NotFound."""
        return Placement.from_wire(self._connections.ask("where", {"path": _path(path)}))


def _path(path: StorePath) -> bytes:
    """Bytes of an absolute path without a slash at its end."""
    try:
        found = store_path(text_of(path) if isinstance(path, bytes) else path)
    except ValueError as error:
        raise error_of(Fault("bad-path", str(error), "", (), exits.USAGE)) from None
    return found.rstrip(b"/") or b"/"


def _ends_with_slash(path: StorePath) -> bool:
    return path.endswith(b"/") if isinstance(path, bytes) else path.endswith("/")


def _several(paths: LocalPath | Sequence[LocalPath]) -> list[LocalPath]:
    return [paths] if isinstance(paths, str | bytes | os.PathLike) else list(paths)


def _local(path: bytes) -> bytes:
    return os.path.join(os.getcwdb(), path).rstrip(b"/") or b"/"


def _source(path: LocalPath) -> dict[str, bytes | None]:
    """{path, name} of something to store; no name where the contents are meant ("."), as with `cp -r`."""
    absolute = _local(os.fsencode(path))
    name = os.path.basename(absolute)
    return {"path": absolute, "name": None if name in (b"", b".", b"..") else name}


def _listener(on_progress: OnProgress | None) -> Callable[[Any], object] | None:
    if on_progress is None:
        return None
    return lambda item: on_progress(Progress.from_wire(item))
