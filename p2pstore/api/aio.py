"""The same store for asyncio. Each call runs in a thread of the store's own; cancelling the task ends it in the daemon.

Requests are a round trip on a local socket, where a thread costs 0.1 ms; in return every call has the blocking
client's flow control, so that a slow reader or writer is waited for and nothing piles up in memory.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, ParamSpec, Self, TypeVar

from p2pstore.api.connections import Scope, current_scope
from p2pstore.api.results import Entry, Fetched, Peer, Placement, Progress, Status, Stored, Verdict
from p2pstore.api.store import REPLY_TIMEOUT_S, Ack, LocalPath, OnProgress, Store, StorePath, connect

P = ParamSpec("P")
T = TypeVar("T")

THREADS: Final = 16
"""Requests under way at once; more wait. The daemon takes 64 connections in all."""

END: Final = object()


async def connect_async(
    home: str | os.PathLike[str] | None = None, *, timeout_s: float = REPLY_TIMEOUT_S
) -> AsyncStore:
    """The store of the household on this machine, for asyncio: `async with await connect_async() as store`.

    Args and errors: as `connect`.
    """
    threads = _Threads()
    try:
        return AsyncStore(await threads.run(connect, home, timeout_s=timeout_s), threads)
    except BaseException:
        threads.close()
        raise


class _Threads:
    """Runs blocking calls so that they end when their task is cancelled."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "p2pstore")

    async def run(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        scope = Scope()
        context = contextvars.copy_context()
        context.run(current_scope.set, scope)
        call = partial(context.run, partial(function, *args, **kwargs))
        future = asyncio.get_running_loop().run_in_executor(self._pool, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            scope.cancel()
            await asyncio.wait([future])  # soon: the daemon answers a cancel when it has stopped the work
            if not future.cancelled():
                future.exception()  # seen: it is "cancelled", or came too late to matter
            raise

    def close(self) -> None:
        self._pool.shutdown(wait=False)


class AsyncStore:
    """A household's store for asyncio: the methods of `Store`, awaited. Any number of tasks may use one.

    Close it, or use it in an `async with` block. Cancelling a task cancels what it asked for.
    """

    def __init__(self, store: Store, threads: _Threads) -> None:
        self._store = store
        self._run = threads.run
        self._threads = threads

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def home(self) -> Path:
        """The household's folder on this machine."""
        return self._store.home

    async def close(self) -> None:
        """Hang up."""
        self._store.close()
        self._threads.close()

    async def read_bytes(self, path: StorePath, offset: int = 0, length: int | None = None) -> bytes:
        """As `Store.read_bytes`."""
        return await self._run(self._store.read_bytes, path, offset, length)

    async def write_bytes(
        self, path: StorePath, data: bytes | bytearray | memoryview, *, ack: Ack = "safe", exclusive: bool = False
    ) -> Stored:
        """As `Store.write_bytes`."""
        return await self._run(self._store.write_bytes, path, data, ack=ack, exclusive=exclusive)

    async def open(self, path: StorePath, mode: str = "r", *, ack: Ack = "safe", encoding: str = "utf-8") -> AsyncFile:
        """As `Store.open`, with a file object whose methods are awaited."""
        opening: Callable[..., Any] = self._store.open
        options = {"ack": ack} if "b" in mode else {"ack": ack, "encoding": encoding}
        return AsyncFile(await self._run(opening, path, mode, **options), self._threads)

    async def put(
        self,
        sources: LocalPath | Sequence[LocalPath],
        destination: StorePath,
        *,
        ack: Ack = "safe",
        wait: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Stored:
        """As `Store.put`; `on_progress` is called in the event loop's thread."""
        told = _in_loop(on_progress)
        return await self._run(self._store.put, sources, destination, ack=ack, wait=wait, on_progress=told)

    async def get(
        self,
        sources: StorePath | Sequence[StorePath],
        destination: LocalPath = ".",
        *,
        verify: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Fetched:
        """As `Store.get`; `on_progress` is called in the event loop's thread."""
        told = _in_loop(on_progress)
        return await self._run(self._store.get, sources, destination, verify=verify, on_progress=told)

    async def stat(self, path: StorePath) -> Entry:
        """As `Store.stat`."""
        return await self._run(self._store.stat, path)

    async def exists(self, path: StorePath) -> bool:
        """As `Store.exists`."""
        return await self._run(self._store.exists, path)

    async def is_file(self, path: StorePath) -> bool:
        """As `Store.is_file`."""
        return await self._run(self._store.is_file, path)

    async def is_folder(self, path: StorePath) -> bool:
        """As `Store.is_folder`."""
        return await self._run(self._store.is_folder, path)

    async def scandir(self, path: StorePath = "/") -> AsyncIterator[Entry]:
        """As `Store.scandir`, for `async for`; the folder is read as a whole before its first entry."""
        for entry in await self._run(lambda: list(self._store.scandir(path))):
            yield entry

    async def listdir(self, path: StorePath = "/") -> list[str]:
        """As `Store.listdir`."""
        return await self._run(self._store.listdir, path)

    async def walk(self, top: StorePath = "/") -> AsyncIterator[tuple[str, list[str], list[str]]]:
        """As `Store.walk`, for `async for`."""
        steps = self._store.walk(top)
        while True:
            step: Any = await self._run(next, steps, END)
            if step is END:
                return
            yield step

    async def mkdir(self, path: StorePath, *, parents: bool = False, exist_ok: bool = False) -> None:
        """As `Store.mkdir`."""
        await self._run(self._store.mkdir, path, parents=parents, exist_ok=exist_ok)

    async def rename(self, source: StorePath, target: StorePath, *, replace: bool = False) -> None:
        """As `Store.rename`."""
        await self._run(self._store.rename, source, target, replace=replace)

    async def copy(self, source: StorePath, target: StorePath, *, replace: bool = False) -> None:
        """As `Store.copy`."""
        await self._run(self._store.copy, source, target, replace=replace)

    async def remove(self, path: StorePath, *, recursive: bool = False) -> None:
        """As `Store.remove`."""
        await self._run(self._store.remove, path, recursive=recursive)

    async def safe(self) -> Verdict:
        """As `Store.safe`."""
        return await self._run(self._store.safe)

    async def status(self) -> Status:
        """As `Store.status`."""
        return await self._run(self._store.status)

    async def peers(self) -> list[Peer]:
        """As `Store.peers`."""
        return await self._run(self._store.peers)

    async def where(self, path: StorePath) -> Placement:
        """As `Store.where`."""
        return await self._run(self._store.where, path)


class AsyncFile:
    """An open file of the store for asyncio; one task at a time.

    Attributes:
        file: the blocking file object behind it.
    """

    def __init__(self, file: Any, threads: _Threads) -> None:
        self.file = file
        self._run = threads.run

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._run(self.file.__exit__, *raised)

    async def read(self, size: int = -1) -> Any:
        """Bytes or text, at most `size` of it; all for -1."""
        return await self._run(self.file.read, size)

    async def readline(self) -> Any:
        """One line with its end, or nothing at the end of the file."""
        return await self._run(self.file.readline)

    async def write(self, data: Any) -> int:
        """Bytes or text; how much of it."""
        count: int = await self._run(self.file.write, data)
        return count

    async def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a byte."""
        position: int = await self._run(self.file.seek, offset, whence)
        return position

    async def close(self) -> None:
        """Close; a file that was written now gets its name."""
        await self._run(self.file.close)

    async def abandon(self) -> None:
        """Forget what was written to a binary file, and close."""
        await self._run(self.file.abandon)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


def _in_loop(on_progress: OnProgress | None) -> OnProgress | None:
    if on_progress is None:
        return None
    loop = asyncio.get_running_loop()

    def tell(progress: Progress) -> None:
        loop.call_soon_threadsafe(on_progress, progress)

    return tell
