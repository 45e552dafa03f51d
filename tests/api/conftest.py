"""A household of one real machine for all tests of the Python API; each test has a folder of its own in it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from p2pstore.api import Store, connect
from p2pstore.cli.demo import Machine, household

_numbers = count()


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The machine. Its disk is memory where there is such a thing: fsspec's suite makes two thousand small changes, and
    each of them is an fsync."""
    path = Path(tempfile.mkdtemp(prefix="p2p-api-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    try:
        with household(path, "A") as machines:
            yield machines[0]
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def store(machine: Machine) -> Iterator[Store]:
    """A connection to it."""
    with connect(machine.home) as store:
        yield store


@pytest.fixture
def folder(store: Store) -> str:
    """A new folder in the store."""
    path = f"/test-{next(_numbers)}"
    store.mkdir(path)
    return path
