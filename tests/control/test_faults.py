"""Errors as people read them: one sentence for each, and no byte that a terminal or UTF-8 cannot carry."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import p2pstore
from p2pstore import errors
from p2pstore.control import exits, faults
from p2pstore.control.faults import Failure, Fault, fault_of
from p2pstore.errors import Malformed, P2PStoreError


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (errors.TooFewShards(4, 3), "unreadable", exits.UNREADABLE),
        (errors.NoSpace("disk"), "full", exits.FULL),
        (errors.DiskAsleep(), "disk-asleep", exits.TOO_FEW_MACHINES),
        (errors.Unreachable(), "unreachable", exits.TOO_FEW_MACHINES),
        (errors.TimedOut(), "timed-out", exits.TIMED_OUT),
        (errors.Busy(), "busy", exits.BUSY),
        (errors.Forged(), "forged", exits.DAMAGE),
        (errors.Corrupt(), "damaged", exits.DAMAGE),
        (errors.Malformed(), "malformed", exits.FAILED),
        (errors.Misuse(), "misuse", exits.USAGE),
        (errors.PathFault("not-found", (b"a",)), "not-found", exits.NOT_FOUND),
        (errors.PathFault("taken", (b"a",)), "exists", exits.REFUSED),
        (errors.PathFault("is-a-folder", ()), "is-a-folder", exits.USAGE),
        (errors.PathFault("not-a-folder", (b"a",)), "not-a-folder", exits.USAGE),
        (errors.PathFault("not-empty", (b"a",)), "not-empty", exits.REFUSED),
        (errors.PathFault("changed", (b"a",)), "changed", exits.BUSY),
        (errors.PathFault("inside-itself", (b"a",)), "inside-itself", exits.USAGE),
        (errors.PathFault("odd", (b"a",)), "odd", exits.USAGE),
        (errors.Refused("full"), "full", exits.FULL),
        (errors.Refused("odd"), "odd", exits.FAILED),
        (errors.Refused("wrong-code"), "wrong-code", exits.NOT_ALLOWED),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x"), "not-found", exits.NOT_FOUND),
        (PermissionError(errno.EACCES, "Permission denied", b"/x"), "not-allowed", exits.NOT_ALLOWED),
        (OSError(errno.ENOSPC, "No space left"), "full", exits.FULL),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "/x"), "is-a-folder", exits.USAGE),
        (OSError("odd"), "failed", exits.FAILED),
        (KeyError("bug"), "internal", exits.FAILED),
        (ExceptionGroup("", [KeyError("bug"), ExceptionGroup("", [errors.NoSpace()])]), "full", exits.FULL),
        (faults.not_found(b"/x"), "not-found", exits.NOT_FOUND),
    ],
)
def test_every_error_has_a_code_and_an_exit_code(error: BaseException, code: str, exit_code: int) -> None:
    fault = fault_of(error)
    assert (fault.code, fault.exit) == (code, exit_code)
    assert fault.what


def _all_errors(kind: type[P2PStoreError]) -> list[type[P2PStoreError]]:
    return [kind, *(inner for child in kind.__subclasses__() for inner in _all_errors(child))]


def test_no_error_of_this_project_is_unknown_to_the_table() -> None:
    for kind in _all_errors(P2PStoreError):
        if kind.__module__ == "p2pstore.errors" and kind.__init__ is Exception.__init__:
            assert fault_of(kind("detail")).code != "internal"
            assert fault_of(kind("detail")).why == "detail" or kind is P2PStoreError


def test_every_name_in_the_table_is_an_error_of_this_project() -> None:
    for module in pkgutil.walk_packages(p2pstore.__path__, "p2pstore."):
        if module.name.startswith(("p2pstore.services", "p2pstore.keys", "p2pstore.metadata", "p2pstore.protocols")):
            importlib.import_module(module.name)
    importlib.import_module("p2pstore.daemon.home")
    names = {kind.__name__ for kind in _all_errors(P2PStoreError)}
    assert sorted(set(faults._BY_NAME) - names) == []


@given(st.builds(Fault, st.text(), st.text(), st.text(), st.lists(st.text()).map(tuple), st.integers(0, 255)))
def test_a_fault_survives_the_wire(fault: Fault) -> None:
    assert Fault.from_wire(fault.to_wire()) == fault


def test_names_that_are_not_utf8_do_not_break_an_error() -> None:
    fault = fault_of(FileNotFoundError(errno.ENOENT, "No such file", os.fsdecode(b"/caf\xe9\n")))
    assert fault.what == "not found: '/caf\\xe9\\n'"
    Fault("x", "\udce9").to_wire()["what"].encode()


@pytest.mark.parametrize("value", [None, [], {"what": 1}, {"fix": [1]}, {"exit": -1}, {"exit": True}])
def test_what_is_no_fault_is_refused(value: object) -> None:
    with pytest.raises(Malformed):
        Fault.from_wire(value)


def test_a_failure_carries_its_fault() -> None:
    assert isinstance(faults.already_there(b"/x"), Failure)
    assert faults.is_a_folder(b"/x").fault.exit == exits.USAGE
    assert faults.not_a_folder(b"/x").fault.code == "not-a-folder"
