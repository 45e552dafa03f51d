"""One finding of `doctor`."""

from __future__ import annotations

from typing import Any


def check(name: str, state: str, what: str, fix: str = "") -> dict[str, Any]:
    """One finding: state is "ok", "warn" or "bad"; `fix` is what to type or do."""
    return {"name": name, "state": state, "what": what, "fix": [fix] if fix else []}
