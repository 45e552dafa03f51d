"""Real clocks, sockets, threads, files and randomness raise while a virtual run lasts: whatever reaches for them is no
longer a function of the seed.
"""

from __future__ import annotations

import builtins
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final, NoReturn
from unittest.mock import patch

import trio


class Unsimulated(BaseException):
    """Something reached past the seams. No Exception, so that no handler of the code under test swallows it."""


_CLOCKS: Final = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")
_DICE: Final = (
    "random", "randbytes", "randint", "randrange", "choice", "choices", "shuffle", "sample", "uniform", "getrandbits",
)  # fmt: skip

_WATCHED: Final[tuple[tuple[Any, str], ...]] = (
    *((time, name) for name in _CLOCKS),
    *((random, name) for name in _DICE),
    (random, "_urandom"),  # what SystemRandom and secrets draw from
    (os, "urandom"),
    (os, "getrandom"),
    (os, "open"),
    (builtins, "open"),
    (socket, "socket"),
    (threading.Thread, "start"),
    (trio.to_thread, "run_sync"),
    (trio.socket, "socket"),
)


def _wire(owner: Any, name: str) -> Callable[..., NoReturn]:
    what = f"{getattr(owner, '__name__', owner)}.{name}"

    def raising(*_args: object, **_kwargs: object) -> NoReturn:
        raise Unsimulated(f"{what} was called in virtual time")

    return raising


@contextmanager
def tripwires() -> Iterator[None]:
    """Armed for the length of the block. Arm them inside `trio.run`, which itself needs a socket pair to start."""
    with ExitStack() as stack:
        for owner, name in _WATCHED:
            if hasattr(owner, name):
                stack.enter_context(patch.object(owner, name, _wire(owner, name)))
        yield
