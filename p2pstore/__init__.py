"""p2pstore: a household's machines become one private, durable store.

Programs begin with `connect` (docs/python-api.md). Readers of the code begin with ARCHITECTURE.md; then
`services/upload.py` (bytes > chunk > seal > encode > place) and `services/download.py` (the same sentence backwards).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from p2pstore.api import AsyncStore, Store, StoreError, connect, connect_async

__all__ = ["AsyncStore", "Store", "StoreError", "connect", "connect_async"]


def __getattr__(name: str) -> Any:
    """The Python API, imported when it is first used: the command line and the daemon do not pay for it."""
    if name in __all__:
        from p2pstore import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
