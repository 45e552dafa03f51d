"""The exit codes of the command line: one table for the code, the help page and the documentation."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2
PARTLY: Final = 3
NOT_FOUND: Final = 4
REFUSED: Final = 5
TOO_FEW_MACHINES: Final = 6
UNREADABLE: Final = 7
DAMAGE: Final = 8
FULL: Final = 9
NO_HOUSEHOLD: Final = 10
BUSY: Final = 11
NOT_ALLOWED: Final = 12
TIMED_OUT: Final = 13
VERSIONS: Final = 14
THIN: Final = 20
RISK: Final = 21
LOST: Final = 22
UNKNOWN: Final = 23
NOT_RUNNING: Final = 69
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

MEANINGS: Final = {
    DONE: "done; for `safe` and `doctor`: all is well",
    FAILED: "failed",
    USAGE: "the command was not understood",
    PARTLY: "partly done; the rest is listed",
    NOT_FOUND: "not found",
    REFUSED: "refused for safety; the flag that insists is named",
    TOO_FEW_MACHINES: "not enough machines now; trying again later helps",
    UNREADABLE: "data cannot be read: fewer shards were found than are needed",
    DAMAGE: "a check found damage",
    FULL: "full, or over quota",
    NO_HOUSEHOLD: "no household here",
    BUSY: "busy or locked",
    NOT_ALLOWED: "wrong passphrase, or not allowed",
    TIMED_OUT: "timed out",
    VERSIONS: "the daemon and this program speak different versions",
    THIN: "`safe`, `doctor`: thin, less than promised",
    RISK: "`safe`, `doctor`: at risk, one more failure loses data",
    LOST: "`safe`: some data is lost",
    UNKNOWN: "`safe`: unknown, no other machine was heard lately",
    NOT_RUNNING: "the daemon is not running",
    INTERRUPTED: "interrupted with Ctrl-C",
    BROKEN_PIPE: "the reader of standard output went away",
}
"""What each code means. A code that is not listed is a failure."""

VERDICTS: Final = {"safe": DONE, "thin": THIN, "risk": RISK, "lost": LOST, "unknown": UNKNOWN}
"""The verdict's states as exit codes of `safe`."""
