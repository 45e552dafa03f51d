"""What happened in a run, as a digest; and the last events themselves, to name where two runs part."""

from __future__ import annotations

from hashlib import blake2b

import trio


class Trace:
    """Every delivery, commit, fault and answer in the order of the run.

    Args:
        keep: also keep every event's text, for `first_difference`.
    """

    def __init__(self, *, keep: bool = False) -> None:
        self.count = 0
        self.lines: list[str] | None = [] if keep else None
        self._hash = blake2b(digest_size=16)

    def note(self, kind: str, *what: object) -> None:
        """Something happened now."""
        self.count += 1
        line = f"{trio.current_time():.6f} {kind} {' '.join(map(_text, what))}"
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        if self.lines is not None:
            self.lines.append(line)

    def digest(self) -> str:
        """32 hexadecimal digits, equal for equal runs."""
        return self._hash.hexdigest()


def _text(what: object) -> str:
    return what.hex() if isinstance(what, bytes) else str(what)
