"""Connections to the daemon of this machine, shared by any number of threads: each request has one to itself."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

from p2pstore.api.errors import as_store_error
from p2pstore.control.blocking import Client
from p2pstore.control.faults import CANCELLED, Failure

IDLE_MAX: Final = 4
"""Connections kept for the next request; making one takes 0.3 ms."""


class Scope:
    """What one call has under way, so that another thread can end it early."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self._cancelled = False

    def cancel(self) -> None:
        """End it: what is under way fails with "cancelled", and nothing new is begun."""
        with self._lock:
            self._cancelled = True
            for client in self._clients:
                client.cancel()

    def enter(self, client: Client) -> None:
        """`client` works for this call from now on. Raises Failure when the call was cancelled."""
        with self._lock:
            if self._cancelled:
                raise Failure(CANCELLED)
            self._clients.append(client)

    def leave(self, client: Client) -> None:
        """`client` is done."""
        with self._lock:
            if client in self._clients:
                self._clients.remove(client)


current_scope: ContextVar[Scope | None] = ContextVar("current_scope", default=None)
"""Set by whoever may want to end what runs in this context."""


@contextmanager
def watched(client: Client) -> Iterator[None]:
    """For the length of a block, whoever may end the current call early can end what `client` does. What clients raise
    becomes a StoreError."""
    scope = current_scope.get()
    with as_store_error():
        if scope is None:
            yield
            return
        scope.enter(client)
        try:
            yield
        finally:
            scope.leave(client)


class Connections:
    """A few connections to one daemon.

    Args:
        home: the household's folder on this machine.
        timeout_s: for connecting, and for requests that do no bulk work.
    """

    def __init__(self, home: Path, timeout_s: float) -> None:
        self.home = home
        self.timeout_s = timeout_s
        self._lock = threading.Lock()
        self._idle: list[Client] = []
        self._process = os.getpid()

    def take(self) -> Client:
        """A connection that nobody else uses; `give_back` it. Raises StoreError."""
        with as_store_error():
            return self._idle_client() or Client.connect(self.home, timeout_s=self.timeout_s)

    def _idle_client(self) -> Client | None:
        with self._lock:
            if self._process != os.getpid():  # a fork: these belong to the parent
                self._idle.clear()
                self._process = os.getpid()
            while self._idle:
                client = self._idle.pop()
                if client.is_fresh:
                    return client
                client.close()
        return None

    def give_back(self, client: Client) -> None:
        """Keep a connection for the next request, if it is good for one."""
        with self._lock:
            if client.is_fresh and len(self._idle) < IDLE_MAX:
                self._idle.append(client)
                return
        client.close()

    @contextmanager
    def borrowed(self) -> Iterator[Client]:
        """A connection for the length of a block; what clients raise becomes a StoreError."""
        client = self.take()
        try:
            with watched(client):
                yield client
        finally:
            self.give_back(client)

    def ask(
        self,
        op: str,
        args: Mapping[str, Any],
        *,
        on_item: Callable[[Any], object] | None = None,
        unbounded: bool = False,
    ) -> Any:
        """The result of a request; with `unbounded`, it may take as long as the daemon works. Raises StoreError."""
        with self.borrowed() as client:
            return client.call(op, args, on_item=on_item, timeout_s=None if unbounded else self.timeout_s)

    def stream(self, op: str, args: Mapping[str, Any]) -> Generator[Any, None, None]:
        """The elements of a request's stream; closing it early cancels the request. Raises StoreError."""
        client = self.take()
        elements = client.stream(op, args)
        try:
            while True:
                with watched(client):  # for each element: another call than the one that began may ask for it
                    try:
                        element = next(elements)
                    except StopIteration:
                        return
                yield element
        finally:
            elements.close()
            self.give_back(client)

    def close(self) -> None:
        """Hang up where nothing is under way."""
        with self._lock:
            for client in self._idle:
                client.close()
            self._idle.clear()
