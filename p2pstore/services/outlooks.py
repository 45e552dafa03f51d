"""Answers what-ifs: what would be left without some machines, who can leave, and which files bear least."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from p2pstore.errors import Corrupt
from p2pstore.ids import ChunkId, PeerId
from p2pstore.ledger.drafts import Path
from p2pstore.ledger.ledger import Ledger
from p2pstore.metadata.version import ManifestRef
from p2pstore.placement.ranking import plain_offers
from p2pstore.placement.repair import Standing, plan_repair
from p2pstore.placement.what_if import CountedStripe, Leaving, Outlook, Worst, can_drain, can_leave
from p2pstore.services.chunk_lists import ChunkLists
from p2pstore.services.liveness import Condition, Liveness
from p2pstore.services.membership import Membership
from p2pstore.services.verdict import VerdictService

MANIFESTS_MAX: Final = 50_000
"""Files whose manifests are read to name those that a few stripes belong to: some seconds of this machine's time."""


@dataclass(frozen=True, slots=True)
class WorstStripe:
    """One of the stripes that bear least.

    Attributes:
        stripe: which.
        path: the first file found that needs it; None if none was, or too many were looked at.
    """

    stripe: CountedStripe
    path: Path | None


class Outlooks:
    """Looks at all stripes with some machines counted out."""

    def __init__(
        self,
        *,
        membership: Membership,
        ledger: Ledger,
        verdicts: VerdictService,
        liveness: Liveness,
        chunk_lists: ChunkLists,
    ) -> None:
        self._membership = membership
        self._ledger = ledger
        self._verdicts = verdicts
        self._liveness = liveness
        self._chunk_lists = chunk_lists

    async def without(self, lost: Collection[PeerId]) -> tuple[Outlook, Outlook]:
        """How all stripes stand now, and would stand without `lost`."""
        now, then = Outlook(), Outlook()
        async for stripes in self._verdicts.stripes():
            for stripe in stripes:
                now.add(stripe)
                then.add(stripe.without(lost))
        return now, then

    async def leaving(self, leaving: Collection[PeerId], own_condition: Condition) -> Leaving:
        """Whether machines can leave for good."""
        roster = self._membership.roster
        conditions = {self._membership.me: own_condition}
        conditions |= {peer: self._liveness.known()[peer].condition for peer in self._liveness.answering()}
        ranked = [peer for peer in sorted(conditions) if peer not in leaving]
        staying = {
            member.peer_id: Standing.ANSWERS for member in roster.members() if member.peer_id not in leaving
        }
        offers = plain_offers(ranked, self._membership.sites())
        now, then = Outlook(), Outlook()
        rebuilt_bytes = short = 0
        async for stripes in self._verdicts.stripes():
            for stripe in stripes:
                after = stripe.without(leaving)
                now.add(stripe)
                then.add(after)
                if after.health.keeps(stripe.promise) or not after.health.readable:
                    continue
                plan = plan_repair(stripe.needed, stripe.held, staying, offers, stripe.promise, stripe.sites)
                rebuilt_bytes += len(plan.added) * stripe.shard_length
                short += not plan.keeps and stripe.health.keeps(stripe.promise)
        return can_leave(
            then,
            before=now,
            rebuilt_bytes=rebuilt_bytes,
            room_bytes=sum(conditions[peer].accepts_bytes for peer in ranked),
            short=short,
            admins_left=sum(member.peer_id not in leaving for member in roster.admins()),
        )

    async def draining(self, leaving: PeerId, own_condition: Condition) -> Leaving:
        """Whether a machine can leave in good order: what it holds is rebuilt elsewhere while it is still there."""
        roster = self._membership.roster
        going = {leaving, *self._membership.leaving()}
        conditions = {self._membership.me: own_condition}
        conditions |= {peer: self._liveness.known()[peer].condition for peer in self._liveness.answering()}
        ranked = [peer for peer in sorted(conditions) if peer not in going]
        standing = {
            member.peer_id: Standing.LEAVING if member.peer_id in going else Standing.ANSWERS
            for member in roster.members()
        }
        offers = plain_offers(ranked, self._membership.sites())
        pieces = rebuilt_bytes = short = lost = 0
        async for stripes in self._verdicts.stripes():
            for stripe in stripes:
                pieces += 1
                plan = plan_repair(stripe.needed, stripe.held, standing, offers, stripe.promise, stripe.sites)
                rebuilt_bytes += len(plan.added) * stripe.shard_length
                short += not plan.keeps and stripe.health.keeps(stripe.promise)
                lost += not plan.health.readable and stripe.health.readable
        return can_drain(
            pieces=pieces,
            rebuilt_bytes=rebuilt_bytes,
            room_bytes=sum(conditions[peer].accepts_bytes for peer in ranked),
            short=short,
            lost=lost,
            admins_left=sum(member.peer_id not in going for member in roster.admins()),
        )

    # --- the worst ----------------------------------------------------------------------------------------------------

    async def worst(self, count: int) -> list[WorstStripe]:
        """The stripes that bear least and do not keep their promise, with a file that needs each."""
        worst = Worst(count)
        async for stripes in self._verdicts.stripes():
            for stripe in stripes:
                worst.add(stripe)
        found = worst.stripes()
        paths = await self._files_of({stripe.chunk for stripe in found})
        return [WorstStripe(stripe, paths.get(stripe.chunk)) for stripe in found]

    async def _files_of(self, chunks: Collection[ChunkId]) -> dict[ChunkId, Path]:
        """A file for each chunk, manifest after manifest, until all are found or MANIFESTS_MAX were read."""
        missing = set(chunks)
        found: dict[ChunkId, Path] = {}
        looked_at = 0
        if not missing:
            return found
        async for path, item in self._ledger.walk():
            if not isinstance(item.content, ManifestRef):
                continue
            looked_at += 1
            try:
                async for chunk in self._chunk_lists.chunks_of(item.content):
                    if chunk in missing:
                        missing.discard(chunk)
                        found[chunk] = path
            except Corrupt:
                continue  # a manifest that has not arrived here, or that we have no key for
            if not missing or looked_at >= MANIFESTS_MAX:
                break
        return found


def named(roster_names: Sequence[tuple[str, str, PeerId]], wanted: str) -> list[PeerId]:
    """The machines that a word means: a name, or all of `site:SITE`; none if there is no such.

    Args:
        roster_names: (name, site, peer) of every member.
        wanted: what a person typed.
    """
    if wanted.startswith("site:"):
        site = wanted.removeprefix("site:").casefold()
        return sorted(peer for _, where, peer in roster_names if where.casefold() == site)
    return sorted(peer for name, _, peer in roster_names if name.casefold() == wanted.casefold())
