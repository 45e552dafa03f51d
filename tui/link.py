"""Keeps one connection to the daemon: connects, listens to news, and connects again when the daemon comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, Protocol

from p2pstore.control import exits, faults
from p2pstore.control.faults import Failure, Fault
from p2pstore.errors import Malformed
from tui.model import TOPICS, Model, Standing

RETRY_FIRST_S: Final = 0.2
RETRY_MOST_S: Final = 5.0
"""A daemon that restarts is back within a second; one that is off should cost nothing."""


class Client(Protocol):
    """What is needed of a connection: `p2pstore.control.aio.AsyncClient`, or a fake."""

    async def call(self, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = 30.0) -> Any:
        """Ask and wait for the result."""
        ...

    def stream(self, op: str, args: Mapping[str, Any] | None = None) -> AsyncGenerator[Any, None]:
        """The elements of a stream."""
        ...

    def subscribe(self, *topics: str) -> AsyncGenerator[Any, None]:
        """News of topics."""
        ...

    async def close(self) -> None:
        """Hang up."""
        ...


Connect = Callable[[], Awaitable[Client]]


class Link:
    """The connection as the screens see it: ask, or be told that nobody is there.

    Args:
        connect: makes a connection; raises Failure.
        model: gets the news.
        now: wall time.
        changed: called after each change of the model.
    """

    def __init__(
        self, connect: Connect, model: Model, *, now: Callable[[], float], changed: Callable[[], None]
    ) -> None:
        self._connect = connect
        self._model = model
        self._now = now
        self._changed = changed
        self._client: Client | None = None
        self._hurry = asyncio.Event()

    async def run(self) -> None:
        """Stay connected until cancelled."""
        wait_s = RETRY_FIRST_S
        while True:
            try:
                self._client = await self._connect()
            except Failure as failure:
                self._stand(_kind(failure.fault), failure.fault)
            except (OSError, Malformed) as error:
                self._stand("gone", faults.fault_of(error))
            else:
                wait_s = RETRY_FIRST_S
                await self._listen(self._client)
            await self._pause(wait_s)
            wait_s = min(RETRY_MOST_S, 2 * wait_s)

    async def _pause(self, wait_s: float) -> None:
        self._hurry.clear()
        try:
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()
        except TimeoutError:
            return

    def hurry(self) -> None:
        """Try again at once: somebody has just started a daemon."""
        self._hurry.set()

    async def _listen(self, client: Client) -> None:
        """Feed the model until the daemon is gone."""
        fault: Fault | None = None
        try:
            while fault is None:
                try:
                    async with aclosing(client.subscribe(*TOPICS)) as news:
                        async for item in news:
                            if self._model.standing.kind != "live":
                                self._stand("live")
                            self._model.take(item, self._now())
                            self._changed()
                    fault = faults.went_away().fault
                except Failure as failure:
                    if failure.fault.code not in ("resync", "reader-too-slow"):
                        fault = failure.fault
        finally:
            self._client = None
            await client.close()
        self._model.hush()
        self._stand("mismatch" if fault.code == "unknown-op" else "gone", fault)

    def _stand(self, kind: str, fault: Fault | None = None) -> None:
        if kind != self._model.standing.kind:
            self._model.standing = Standing(kind, self._now(), fault)
            self._changed()

    async def call(self, op: str, args: Mapping[str, Any] | None = None, *, timeout_s: float | None = 30.0) -> Any:
        """Ask the daemon. Raises Failure, code "not-running" while there is none."""
        return await self._there().call(op, args, timeout_s=timeout_s)

    def stream(self, op: str, args: Mapping[str, Any] | None = None) -> AsyncGenerator[Any, None]:
        """The elements of a stream. Raises as `call` does."""
        return self._there().stream(op, args)

    def _there(self) -> Client:
        if self._client is None:
            known = self._model.standing.fault
            fix = ("p2pstore up",)
            raise Failure(known or Fault("not-running", "the daemon is not running", "", fix, exits.NOT_RUNNING))
        return self._client


def _kind(fault: Fault) -> str:
    if fault.exit == exits.NO_HOUSEHOLD:
        return "none"
    return "mismatch" if fault.exit == exits.VERSIONS else "gone"
