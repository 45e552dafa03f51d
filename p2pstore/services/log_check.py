"""Checks the log: every signature, every link of every writer's chain, from the first commit to the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Forged, Malformed
from p2pstore.ids import PeerId
from p2pstore.ledger.ledger import Ledger
from p2pstore.ledger.log import Chain
from p2pstore.metadata.commits import NO_COMMIT, Verify, check_commit, decode_commit
from p2pstore.seams.workers import Workers

PAGE: Final = 200
"""Commits checked in one job: 30 ms."""

_COMMIT_COST_S: Final = 150e-6


@dataclass(slots=True)
class Checked:
    """What became of checking one writer's chain.

    Attributes:
        chain: whose it is, and where it ends here.
        sequence, commit_hash: how far it holds.
        commits: how many commits hold.
        problem: what is wrong after that; None for nothing.
    """

    chain: Chain
    sequence: int = 0
    commit_hash: bytes = NO_COMMIT
    commits: int = 0
    problem: str | None = None


def follow(checked: Checked, raw_commits: Sequence[bytes], public: bytes | None, verify: Verify) -> None:
    """Go on along a chain; stops at the first commit that does not hold."""
    for raw in raw_commits:
        try:
            commit = decode_commit(raw)
            if public is None:
                raise Forged("nobody knows the author's key")  # noqa: TRY301
            check_commit(commit, public, verify)
        except (Malformed, Forged) as error:
            checked.problem = f"the commit after number {checked.sequence}: {error}"
            return
        if commit.writer != checked.chain.writer or commit.first != checked.sequence + 1:
            checked.problem = f"a gap after number {checked.sequence}"
            return
        if commit.previous != checked.commit_hash:
            checked.problem = f"the chain is broken after number {checked.sequence}"
            return
        checked.sequence, checked.commit_hash = commit.last, commit.hash
        checked.commits += 1


async def check_log(
    ledger: Ledger, workers: Workers, *, public_of: Callable[[PeerId], bytes | None], verify: Verify
) -> list[Checked]:
    """Check all that is in the log now, writer by writer. Two machines with equal ends have equal logs."""
    found = []
    for chain in await ledger.chains():
        checked = Checked(chain)
        public = public_of(chain.writer.author)
        while checked.problem is None and checked.sequence < chain.sequence:
            page = await ledger.raw_commits(chain.slot, checked.sequence, PAGE)
            if not page:
                checked.problem = f"nothing is here after number {checked.sequence}"
                break
            await workers.run(follow, checked, page, public, verify, cost_s=len(page) * _COMMIT_COST_S)
        if checked.problem is None and checked.sequence == chain.sequence and checked.commit_hash != chain.commit_hash:
            checked.problem = "the last commit is not the one that was applied last"
        found.append(checked)
    return found
