"""What the Python API raises: one root, and the built-in class beside it that a reader of files expects."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from p2pstore.api.results import Fetched, Stored
from p2pstore.control.exits import PARTLY
from p2pstore.control.faults import Failure, Fault
from p2pstore.errors import P2PStoreError


class StoreError(P2PStoreError, OSError):
    """Something that was asked of the store did not happen. It is an OSError, as for local files.

    Attributes:
        code: one word for programs, the same as in `--json` output; words are for ever.
        what: what happened, one sentence without a full stop.
        why: the reason, as far as it is known; may be "".
        fix: commands or actions that help, best first.
    """

    ERRNO: int = errno.EIO

    def __init__(self, fault: Fault) -> None:
        super().__init__(self.ERRNO, fault.what)
        self.fault = fault
        self.code = fault.code
        self.what = fault.what
        self.why = fault.why
        self.fix = fault.fix

    def __str__(self) -> str:
        """What, why, and what to type, on one line."""
        text = self.what + (f" ({self.why})" if self.why else "")
        return text + ("; type: " + " or ".join(self.fix) if self.fix else "")

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes."""
        return type(self), (self.fault,)


class NotFound(StoreError, FileNotFoundError):
    """There is nothing at that path."""

    ERRNO = errno.ENOENT


class Exists(StoreError, FileExistsError):
    """Something is there, and nothing is overwritten unasked."""

    ERRNO = errno.EEXIST


class IsAFolder(StoreError, IsADirectoryError):
    """A folder was named where only a file will do."""

    ERRNO = errno.EISDIR


class NotAFolder(StoreError, NotADirectoryError):
    """Only a folder will do."""

    ERRNO = errno.ENOTDIR


class NotAllowed(StoreError, PermissionError):
    """This machine, or this user, may not do that."""

    ERRNO = errno.EACCES


class TimedOut(StoreError, TimeoutError):
    """No answer in time; what was asked may still be carried out."""

    ERRNO = errno.ETIMEDOUT


class NotConnected(StoreError, ConnectionError):
    """No daemon answers: none runs, there is no household, or it ended meanwhile."""

    ERRNO = errno.ECONNREFUSED


class Unreadable(StoreError):
    """Fewer shards were found than are needed, or bytes are damaged. Wrong bytes are never returned."""


class BadPath(StoreError, ValueError):
    """That does not name anything in the store: paths begin with `/` or `p2p:/`."""

    ERRNO = errno.EINVAL


class PartlyDone(StoreError):
    """Some of several files were not stored or fetched; the others were.

    Attributes:
        result: what was done, and in `result.failed` what was not.
    """

    def __init__(self, fault: Fault, result: Stored | Fetched) -> None:
        super().__init__(fault)
        self.result = result

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors travel between processes."""
        return type(self), (self.fault, self.result)


_BY_CODE: Final[dict[str, type[StoreError]]] = {
    "not-found": NotFound,
    "exists": Exists,
    "is-a-folder": IsAFolder,
    "not-a-folder": NotAFolder,
    "not-allowed": NotAllowed,
    "timed-out": TimedOut,
    "not-running": NotConnected,
    "no-household": NotConnected,
    "daemon-gone": NotConnected,
    "versions": NotConnected,
    "unreadable": Unreadable,
    "damaged": Unreadable,
    "bad-path": BadPath,
}


def error_of(fault: Fault) -> StoreError:
    """The error for a fault; a code without a class of its own becomes a plain StoreError."""
    return _BY_CODE.get(fault.code, StoreError)(fault)


@contextmanager
def as_store_error() -> Iterator[None]:
    """What clients of the local API raise, as what this API raises."""
    try:
        yield
    except Failure as failure:
        raise error_of(failure.fault) from None


def check_failed(result: Stored | Fetched) -> None:
    """Raise for what failed: the one error if nothing was done and there is but one kind, else PartlyDone."""
    if not result.failed:
        return
    first = result.failed[0]
    if not result.files and len({one.code for one in result.failed}) == 1:
        raise error_of(Fault(first.code, first.what, first.why))
    verb = "stored" if isinstance(result, Stored) else "fetched"
    what = f"{len(result.failed)} files were not {verb}, {result.files} were; the first: {first.what}"
    raise PartlyDone(Fault("partly", what, first.why, (), PARTLY), result)
