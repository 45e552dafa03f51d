"""Errors of the Python API: each is also the built-in class that a reader of files expects."""

from __future__ import annotations

import pickle

import pytest

from p2pstore.api.errors import PartlyDone, StoreError, check_failed, error_of
from p2pstore.api.results import FailedPath, Stored
from p2pstore.control.faults import Fault
from tests.cli.test_imports import modules_after

FAILED = FailedPath("/x", "not-found", "there is nothing at '/x'", "")


@pytest.mark.parametrize(
    ("code", "builtin"),
    [
        ("not-found", FileNotFoundError),
        ("exists", FileExistsError),
        ("is-a-folder", IsADirectoryError),
        ("not-a-folder", NotADirectoryError),
        ("not-allowed", PermissionError),
        ("timed-out", TimeoutError),
        ("not-running", ConnectionError),
        ("unreadable", OSError),
        ("bad-path", ValueError),
        ("never-heard-of", OSError),
    ],
)
def test_a_code_becomes_its_class_and_travels_between_processes(code: str, builtin: type[Exception]) -> None:
    error = error_of(Fault(code, "it failed", "of old age", ("p2pstore status",)))
    assert isinstance(error, StoreError)
    assert isinstance(error, builtin)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.what, again.why, again.fix) == (
        type(error), code, "it failed", "of old age", ("p2pstore status",),
    )
    assert str(again) == "it failed (of old age); type: p2pstore status"


def test_one_kind_of_failure_is_raised_as_itself_and_a_mixture_as_partly_done() -> None:
    nothing = Stored(0, 0, "safe", "safe", "", 0.1, 0, (FAILED, FAILED))
    with pytest.raises(FileNotFoundError):
        check_failed(nothing)
    some = Stored(3, 30, "safe", "safe", "", 0.1, 0, (FAILED,))
    with pytest.raises(PartlyDone, match="1 files were not stored, 3 were") as caught:
        check_failed(some)
    assert pickle.loads(pickle.dumps(caught.value)).result == some


def test_import_p2pstore_is_cheap_and_connect_needs_no_event_loop() -> None:
    assert not [name for name in modules_after("import p2pstore") if name.startswith("p2pstore.")]
    heavy = {"trio", "zmq", "numpy", "cryptography", "textual", "click", "fsspec"}
    assert not heavy & modules_after("from p2pstore import connect")
