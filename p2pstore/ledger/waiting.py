"""Commits that came before what they build on: a bounded buffer in memory. What falls out is pulled again."""

from __future__ import annotations

from p2pstore.limits import WAITING_BYTES_MAX, WAITING_COMMITS_MAX
from p2pstore.metadata.commits import Commit
from p2pstore.metadata.vector import Writer


class Waiting:
    """At most WAITING_COMMITS_MAX commits and WAITING_BYTES_MAX bytes."""

    def __init__(self) -> None:
        self._commits: dict[tuple[Writer, int], tuple[Commit, int]] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._commits)

    def add(self, commit: Commit) -> bool:
        """Keep `commit`; False if there is no room or one of its place is kept already."""
        key = (commit.writer, commit.first)
        size = sum(len(operation) for operation in commit.operations) + 64 * len(commit.named) + 256
        if key in self._commits or len(self) >= WAITING_COMMITS_MAX or self._bytes + size > WAITING_BYTES_MAX:
            return False
        self._commits[key] = (commit, size)
        self._bytes += size
        return True

    def copy(self) -> Waiting:
        """Another buffer with the same commits."""
        other = Waiting()
        other._commits, other._bytes = dict(self._commits), self._bytes
        return other

    def take_all(self) -> list[Commit]:
        """Every commit kept, by writer and sequence; the buffer is empty afterwards."""
        taken = [self._commits[key][0] for key in sorted(self._commits)]
        self._commits.clear()
        self._bytes = 0
        return taken
