"""Errors as people read them: what happened, why, and what to type.

One `Fault` makes the CLI's text, its `--json` error and the TUI's notice, so that they never disagree. `fault_of` is
the one place where an error with fields becomes a sentence.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final, NamedTuple

from p2pstore import errors
from p2pstore.control import exits
from p2pstore.control.wording import shown
from p2pstore.errors import Malformed, P2PStoreError


class Fault(NamedTuple):
    """One error for people and for programs.

    Attributes:
        code: one word for programs, e.g. "not-found"; numbers and words are for ever.
        what: what happened, one sentence without a full stop.
        why: the reason, as far as it is known; may be empty.
        fix: commands or actions that help, best first.
        exit: the CLI's exit code.
    """

    code: str
    what: str
    why: str = ""
    fix: tuple[str, ...] = ()
    exit: int = exits.FAILED

    def to_wire(self) -> dict[str, Any]:
        """The map that travels in a reply and stands in `--json` output."""
        return {
            "code": _clean(self.code),
            "what": _clean(self.what),
            "why": _clean(self.why),
            "fix": [_clean(line) for line in self.fix],
            "exit": self.exit,
        }

    @classmethod
    def from_wire(cls, value: Any) -> Fault:
        """The fault in a decoded map; what is missing is empty. Raises Malformed when a field has a wrong type."""
        if not isinstance(value, dict):
            raise Malformed("fault: not a map")
        code, what, why = (value.get(key, "") for key in ("code", "what", "why"))
        fix = value.get("fix", [])
        exit_code = value.get("exit", exits.FAILED)
        if not (type(code) is str and type(what) is str and type(why) is str):
            raise Malformed("fault: wanted text")
        if not isinstance(fix, list) or any(type(line) is not str for line in fix):
            raise Malformed("fault: wanted a list of commands")
        if type(exit_code) is not int or not 0 <= exit_code <= 255:
            raise Malformed("fault: exit code out of range")
        return cls(code, what, why, tuple(fix), exit_code)


class Failure(P2PStoreError):
    """An error that already knows its fault: raised by a client for a daemon's reply, and by handlers that have the
    better sentence at hand.

    Attributes:
        fault: the error for people.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.code}: {fault.what}")
        self.fault = fault


def _clean(text: str) -> str:
    """Text that UTF-8 can carry: a name that was not UTF-8 shows its bytes as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def shown_path(path: bytes) -> str:
    """A path as it stands in a sentence: quoted, with control characters and foreign bytes as escapes."""
    return f"'{shown(path)}'"


def not_found(path: bytes) -> Failure:
    """There is nothing at `path` in the store."""
    parent = path.rstrip(b"/").rpartition(b"/")[0] or b"/"
    return Failure(
        Fault(
            "not-found",
            f"there is nothing at {shown_path(path)}",
            "",
            (f"p2pstore ls {shown_path(parent)}",),
            exits.NOT_FOUND,
        )
    )


def already_there(path: bytes) -> Failure:
    """Something is at `path` already, and would be overwritten."""
    return Failure(
        Fault("exists", f"{shown_path(path)} exists already", "nothing is overwritten unasked", (), exits.REFUSED)
    )


def is_a_folder(path: bytes) -> Failure:
    """A folder was named where the verb works on files only, unless `-r` is given."""
    return Failure(Fault("is-a-folder", f"{shown_path(path)} is a folder", "add -r to mean it", (), exits.USAGE))


def not_a_folder(path: bytes) -> Failure:
    """Several sources, or a trailing slash, need a folder as destination."""
    return Failure(
        Fault(
            "not-a-folder",
            f"{shown_path(path)} is not a folder",
            "several sources, or a name that ends with '/', need one",
            (f"p2pstore mkdir {shown_path(path)}",),
            exits.USAGE,
        )
    )


def not_running(home: str) -> Failure:
    """A household lies at `home`, but no daemon answers."""
    return Failure(
        Fault(
            "not-running",
            "the p2pstore daemon is not running on this machine",
            f"nothing answers for {home}",
            ("p2pstore up",),
            exits.NOT_RUNNING,
        )
    )


def no_household(home: str) -> Failure:
    """No household lies at `home`, or none any more."""
    if os.path.isfile(os.path.join(home, "retired.json")):
        return Failure(
            Fault(
                "retired",
                "this machine has left its household",
                "what it held is on the machines that stayed; its keys and shards here are erased",
                ("p2pstore join CODE", "p2pstore init"),
                exits.NO_HOUSEHOLD,
            )
        )
    return Failure(
        Fault(
            "no-household",
            f"there is no household in {home}",
            "this machine has not started or joined one, or --home names another folder",
            ("p2pstore init", "p2pstore join CODE"),
            exits.NO_HOUSEHOLD,
        )
    )


def went_away() -> Failure:
    """The daemon ended, or closed the connection, before it answered."""
    return Failure(
        Fault(
            "daemon-gone",
            "the daemon stopped before it answered",
            "it was shut down, or met an error that its log shows",
            ("p2pstore up", "p2pstore doctor"),
            exits.NOT_RUNNING,
        )
    )


def versions_differ(daemon_api: int, own_api: int, daemon_version: str) -> Failure:
    """The daemon and this program have no version of the local API in common."""
    return Failure(
        Fault(
            "versions",
            f"the daemon (version {daemon_version}) speaks API {daemon_api}, this program API {own_api}",
            "one of them was upgraded while the other kept running",
            ("p2pstore down", "p2pstore up"),
            exits.VERSIONS,
        )
    )


def timed_out(what: str, limit_s: float) -> Failure:
    """No answer within `limit_s` seconds."""
    return Failure(
        Fault("timed-out", f"{what} did not answer within {limit_s:g} s", "", ("p2pstore status",), exits.TIMED_OUT)
    )


CANCELLED: Final = Fault("cancelled", "stopped as asked", "", (), exits.INTERRUPTED)
READER_TOO_SLOW: Final = Fault("reader-too-slow", "the reader of this stream fell behind", "ask again", (), exits.BUSY)

_SENTENCES: Final[tuple[tuple[type[P2PStoreError], Fault], ...]] = (
    (
        errors.NoSpace,
        Fault(
            "full",
            "there is no room for this",
            "a disk, or the size given to a store, is full",
            ("p2pstore status",),
            exits.FULL,
        ),
    ),
    (
        errors.DiskAsleep,
        Fault(
            "disk-asleep",
            "the disk that holds this is absent",
            "it is asleep, unplugged or another disk",
            ("p2pstore doctor",),
            exits.TOO_FEW_MACHINES,
        ),
    ),
    (
        errors.Unreachable,
        Fault(
            "unreachable",
            "a machine that is needed does not answer",
            "it is off, asleep or offline",
            ("p2pstore peers",),
            exits.TOO_FEW_MACHINES,
        ),
    ),
    (
        errors.TimedOut,
        Fault(
            "timed-out", "a machine did not answer in time", "", ("p2pstore peers",), exits.TIMED_OUT
        ),
    ),
    (errors.Busy, Fault("busy", "a machine has its hands full", "try again in a moment", (), exits.BUSY)),
    (
        errors.Unavailable,
        Fault("unavailable", "this is not possible right now", "", ("p2pstore status",), exits.TOO_FEW_MACHINES),
    ),
    (
        errors.Forged,
        Fault("forged", "a signature or seal does not verify", "what was received is not believed", (), exits.DAMAGE),
    ),
    (errors.Malformed, Fault("malformed", "a message was not understood", "", (), exits.FAILED)),
    (errors.PeerFault, Fault("peer-fault", "another machine broke the protocol", "", ("p2pstore peers",))),
    (
        errors.Corrupt,
        Fault(
            "damaged",
            "stored bytes are not what was stored",
            "repair rebuilds them from other machines",
            ("p2pstore doctor",),
            exits.DAMAGE,
        ),
    ),
    (errors.Misuse, Fault("misuse", "this cannot be done", "", (), exits.USAGE)),
)
"""Sentences for errors that carry nothing but their text, the more special class first."""

_BY_NAME: Final = {
    "NoHousehold": Fault(
        "no-household", "there is no household here", "", ("p2pstore init", "p2pstore join CODE"), exits.NO_HOUSEHOLD
    ),
    "AlreadyHome": Fault("exists", "this folder already belongs to a household", "", (), exits.REFUSED),
    "AlreadyRunning": Fault("already-running", "the daemon is running already", "", ("p2pstore status",), exits.BUSY),
    "NotAllowed": Fault("not-allowed", "only an admin can do this", "", ("p2pstore peers",), exits.NOT_ALLOWED),
    "WrongPassphrase": Fault("wrong-passphrase", "this is not the passphrase", "", (), exits.NOT_ALLOWED),
    "PassphraseNeeded": Fault("passphrase-needed", "the keys are under a passphrase", "", (), exits.NOT_ALLOWED),
    "NobodyInvites": Fault(
        "nobody-invites",
        "no machine on this network holds this invitation",
        "the code may be old or mistyped, or the machine is on another network",
        ("p2pstore join CODE --at HOST:PORT",),
        exits.TOO_FEW_MACHINES,
    ),
    "SeveralInvite": Fault(
        "several-invite",
        "more than one machine says that it holds this invitation",
        "",
        ("p2pstore join CODE --at HOST:PORT",),
        exits.REFUSED,
    ),
    "WrongCodeShape": Fault(
        "usage", "this is not a code", "a code is a number and two words, such as 7-guitar-sunset", (), exits.USAGE
    ),
    "WrongWord": Fault("usage", "this is not a word of the list", "", (), exits.USAGE),
    "ChangedWhileRead": Fault("changed", "it changed while it was read", "", (), exits.PARTLY),
    "Cannot": Fault("cannot-store", "this cannot be stored", "", (), exits.PARTLY),
    "NotPlaced": Fault(
        "too-few-machines",
        "not enough machines can take this now",
        "",
        ("p2pstore peers",),
        exits.TOO_FEW_MACHINES,
    ),
    "WrongPaper": Fault(
        "other-household",
        "these words do not belong to the household that was asked",
        "",
        ("p2pstore recovery-kit check",),
        exits.NOT_ALLOWED,
    ),
    "NobodyAnswers": Fault(
        "unreachable",
        "no machine of the household answers there",
        "",
        ("p2pstore recovery-kit use --at HOST:PORT --to FOLDER",),
        exits.TOO_FEW_MACHINES,
    ),
    "NotEmpty": Fault(
        "exists", "the folder to restore to is not empty", "", ("--to OTHER", "--yes"), exits.REFUSED
    ),
    "NoKeyToWrite": Fault(
        "no-key",
        "nothing can be stored until an admin machine was here",
        "the members have changed, and only an admin can make the key for the new ones",
        ("p2pstore peers",),
        exits.TOO_FEW_MACHINES,
    ),
}
"""Sentences for errors of upper floors, by the class's name: this module is imported by every client and stays light.
A test looks that each name is a class."""

_REFUSALS: Final = {
    "not-found": Fault("not-found", "another machine does not have this", "", (), exits.NOT_FOUND),
    "full": Fault("full", "another machine is full", "", ("p2pstore peers",), exits.FULL),
    "busy": Fault("busy", "another machine has its hands full", "", (), exits.BUSY),
    "not-allowed": Fault("not-allowed", "another machine does not allow this", "", (), exits.NOT_ALLOWED),
    "wrong-code": Fault(
        "wrong-code",
        "that is not the code",
        "one wrong guess burns an invitation: ask for a new code",
        ("p2pstore invite",),
        exits.NOT_ALLOWED,
    ),
    "no-invitation": Fault(
        "no-invitation",
        "that machine holds no such invitation",
        "it was used, has run out, or was made elsewhere",
        ("p2pstore invite",),
        exits.NOT_FOUND,
    ),
}
"""Sentences for a peer's refusal, by its code."""


def fault_of(error: BaseException) -> Fault:
    """The fault for people of any error that reached the edge.

    A group of errors is described by its first one that is not a mere consequence. An error that this project does not
    raise on purpose is code "internal" (the daemon's log has the traceback).
    """
    match error:
        case BaseExceptionGroup():
            leaves = [fault_of(inner) for inner in error.exceptions]
            return next((fault for fault in leaves if fault.code != "internal"), leaves[0])
        case Failure():
            return error.fault
        case errors.PathFault():
            return _path_fault(error.code, b"/" + b"/".join(error.path))
        case errors.TooFewShards():
            return Fault(
                "unreadable",
                f"the data cannot be read now: {error.found} of {error.needed} shards needed were found",
                "too many of the machines that hold it are away or lost",
                ("p2pstore peers", "p2pstore safe"),
                exits.UNREADABLE,
            )
        case errors.Refused():
            return _REFUSALS.get(error.code) or Fault(error.code, f"another machine refused: {error}")
        case P2PStoreError():
            if (by_name := _BY_NAME.get(type(error).__name__)) is not None:
                return by_name._replace(why=str(error) or by_name.why)
            for kind, fault in _SENTENCES:
                if isinstance(error, kind):
                    return fault._replace(why=str(error) or fault.why)
            return Fault("failed", str(error) or type(error).__name__)
        case OSError():
            return _os_fault(error)
    return Fault(
        "internal",
        f"the daemon met an error it does not know: {type(error).__name__}",
        str(error)[:500],
        ("p2pstore doctor",),
    )


_OF_THE_PAST: Final = {
    "no-version": (
        "has no such version",
        "after @ stands a version's number, a date as in 2026-10-01, or the name of a snapshot",
        "p2pstore history PATH",
        exits.NOT_FOUND,
    ),
    "not-then": ("was not there then", "", "p2pstore history PATH", exits.NOT_FOUND),
    "removed-then": ("was removed then", "that version has no content", "p2pstore history PATH", exits.NOT_FOUND),
    "not-removed": (
        "is there",
        "name the version that shall be the newest: PATH@2, PATH@2026-10-01",
        "p2pstore history PATH",
        exits.USAGE,
    ),
    "no-conflict": ("is in no conflict", "", "p2pstore conflicts", exits.USAGE),
}


def _path_fault(code: str, path: bytes) -> Fault:
    match code:
        case "not-found":
            return not_found(path).fault
        case "taken":
            return already_there(path).fault
        case "is-a-folder":
            return is_a_folder(path).fault
        case "not-a-folder":
            return not_a_folder(path).fault
        case "not-empty":
            return Fault(code, f"{shown_path(path)} is not empty", "add -r to mean all of it", (), exits.REFUSED)
        case "changed":
            return Fault(code, f"{shown_path(path)} changed meanwhile", "look again, and repeat", (), exits.BUSY)
        case "inside-itself":
            return Fault(code, f"{shown_path(path)} cannot be moved into itself", "", (), exits.USAGE)
        case "no-version" | "not-then" | "removed-then" | "not-removed" | "no-conflict":
            what, why, fix, exit_code = _OF_THE_PAST[code]
            return Fault(code, f"{shown_path(path)} {what}", why, (fix.replace("PATH", shown_path(path)),), exit_code)
    return Fault(code, f"{shown_path(path)}: {code}", "", (), exits.USAGE)


def _os_fault(error: OSError) -> Fault:
    name = error.filename
    if isinstance(name, int) or name is None:
        where = ""
    else:
        where = ": " + shown_path(name if isinstance(name, bytes) else str(name).encode("utf-8", "surrogateescape"))
    reason = (error.strerror or str(error)) + where
    match error.errno:
        case errno.ENOENT:
            return Fault("not-found", f"not found{where}", error.strerror or "", (), exits.NOT_FOUND)
        case errno.EACCES | errno.EPERM:
            return Fault("not-allowed", f"not allowed{where}", error.strerror or "", (), exits.NOT_ALLOWED)
        case errno.EEXIST | errno.ENOTEMPTY:
            return Fault("exists", f"exists already{where}", error.strerror or "", (), exits.REFUSED)
        case errno.EISDIR:
            return Fault("is-a-folder", f"is a folder{where}", "add -r to mean it", (), exits.USAGE)
        case errno.ENOTDIR:
            return Fault("not-a-folder", f"is not a folder{where}", error.strerror or "", (), exits.USAGE)
        case errno.ENOSPC | errno.EDQUOT:
            return Fault("full", f"there is no room{where}", error.strerror or "", (), exits.FULL)
    return Fault("failed", reason)
