"""The Python API: a household's store for scripts and notebooks. docs/python-api.md shows it in use.

It is a client of the daemon on this machine and imports nothing of the daemon; read `store` first, `results` for what
comes back, `errors` for what is raised. `filesystem` (for fsspec) is imported by fsspec alone.
"""

from p2pstore.api.aio import AsyncFile, AsyncStore, connect_async
from p2pstore.api.errors import (
    Exists,
    IsAFolder,
    NotAFolder,
    NotAllowed,
    NotConnected,
    NotFound,
    PartlyDone,
    StoreError,
    TimedOut,
    Unreadable,
)
from p2pstore.api.results import (
    Chunk,
    Entry,
    FailedPath,
    Fetched,
    Peer,
    Placement,
    Progress,
    Shard,
    Status,
    Stored,
    StoreUsage,
    Verdict,
)
from p2pstore.api.store import Store, connect

__all__ = [
    "AsyncFile",
    "AsyncStore",
    "Chunk",
    "Entry",
    "Exists",
    "FailedPath",
    "Fetched",
    "IsAFolder",
    "NotAFolder",
    "NotAllowed",
    "NotConnected",
    "NotFound",
    "PartlyDone",
    "Peer",
    "Placement",
    "Progress",
    "Shard",
    "Status",
    "Store",
    "StoreError",
    "StoreUsage",
    "Stored",
    "TimedOut",
    "Unreadable",
    "Verdict",
    "connect",
    "connect_async",
]
