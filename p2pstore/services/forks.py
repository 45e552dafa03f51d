"""Finds out whether two copies of one installation write: the ends of all chains are compared with every linked peer's.

Vectors alone cannot tell: two histories of one length have equal vectors. A difference is believed once a commit of the
other branch was seen that its author signed; then the fork is stated, and everybody acts alike (`metadata/forked.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

import trio

from p2pstore.errors import Forged, Malformed, P2PStoreError, PeerFault, Unavailable
from p2pstore.ids import PeerId, incarnation, peer_id
from p2pstore.ledger.branches import Head, Link
from p2pstore.ledger.ledger import Ledger
from p2pstore.limits import CONTROL_MESSAGE_BYTES_MAX, WRITERS_MAX
from p2pstore.metadata.commits import NO_COMMIT, check_commit, decode_commit
from p2pstore.metadata.vector import SEQUENCE_MAX, Writer
from p2pstore.packing import Fields, pack, unpack
from p2pstore.seams.clock import Clock
from p2pstore.seams.network import Message, Network

HEADS: Final = "fork.heads"
LINKS: Final = "fork.links"
COMMIT: Final = "fork.commit"
KINDS: Final = frozenset({HEADS, LINKS, COMMIT})

EVERY_S: Final = 3600.0
"""Heads are compared when a link comes up; 80 bytes a writer, once an hour, find what began while it was up."""

TIMEOUT_S: Final = 20.0
LINKS_PAGE: Final = 500
"""Commits of a chain told in one message: 22 KB."""

PAGES_MAX: Final = 10_000
"""Pages asked for to find where two chains part: five million commits, more than a household writes."""

_HASH_BYTES: Final = 32


class Forks:
    """Mount `handle` for KINDS, call `link_changed` when a link comes or goes, and run `run`."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        network: Network,
        clock: Clock,
        rng: random.Random,
        public_of: Callable[[PeerId], bytes | None],
        verify: Callable[[bytes, bytes, bytes], None],
        can_write: Callable[[], bool],
        may_hear: Callable[[PeerId], bool],
    ) -> None:
        self._ledger = ledger
        self._network = network
        self._clock = clock
        self._rng = rng
        self._public_of = public_of
        self._verify = verify
        self._can_write = can_write
        self._may_hear = may_hear
        self._due: set[PeerId] = set()
        self._bell = trio.Event()

    def link_changed(self, peer: PeerId, up: bool) -> None:
        """A peer's first link is up, or its last one down. Never waits."""
        if up:
            self._due.add(peer)
            self._bell.set()
        else:
            self._due.discard(peer)

    async def run(self) -> None:
        """Compare heads with every peer that comes, and with all now and then, until cancelled."""
        frozen: frozenset[Writer] = frozenset()
        while True:
            with self._clock.move_on_after(EVERY_S * (0.75 + self._rng.random() / 2)):
                await self._wait_for_reason(frozen)
            self._bell = trio.Event()
            stopped = frozenset(self._ledger.frozen_writers())
            everybody = not self._due or stopped != frozen
            frozen = stopped
            for peer in sorted(self._network.linked_peers()) if everybody else sorted(self._due):
                self._due.discard(peer)
                if not self._may_hear(peer):
                    continue
                try:
                    await self.compare(peer)
                except (Unavailable, PeerFault):
                    continue  # gone, or talking nonsense: another time
                except P2PStoreError:
                    break  # a full disk

    async def _wait_for_reason(self, frozen: frozenset[Writer]) -> None:
        """Until a link comes up, or a commit came that fits no chain."""
        if self._due:
            return
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                with self._ledger.subscribe() as news:
                    async for _ in news:
                        if frozenset(self._ledger.frozen_writers()) != frozen:
                            nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._bell.wait()
            nursery.cancel_scope.cancel()

    async def compare(self, peer: PeerId) -> int:
        """Compare all chains with one peer's; how many forks were stated."""
        if not self._can_write():
            return 0
        reply = await self._network.request(peer, Message(HEADS), timeout_s=TIMEOUT_S)
        theirs = _read_heads(reply)
        known = await self._ledger.forked_writers()
        differing = {head.writer for head in await self._ledger.differing(theirs)}
        # one whose commits fit no chain was met before: whoever has it may tell where they part
        differing |= {head.writer for head in theirs if head.writer in self._ledger.frozen_writers()}
        stated = 0
        for writer in sorted(differing - known.keys()):
            if (upto := await self._parting(peer, writer)) is not None:
                await self._ledger.state_fork(writer, upto)
                stated += 1
        return stated

    async def _parting(self, peer: PeerId, writer: Writer) -> int | None:
        """The last operation that our chain of `writer` and a peer's share; None if it showed no other branch."""
        before, follower = SEQUENCE_MAX, None
        for _ in range(PAGES_MAX):
            asked = Message(LINKS, payload=pack([1, *writer, before]))
            page = _read_links(await self._network.request(peer, asked, timeout_s=TIMEOUT_S))
            for link in page:
                if await self._ledger.link_at(writer, link.first) == link:
                    return await self._confirmed(peer, writer, link, follower)
                follower, before = link, link.first
            if not page or before == 1:
                return await self._confirmed(peer, writer, Link(0, 0, NO_COMMIT), follower)
        return None

    async def _confirmed(self, peer: PeerId, writer: Writer, shared: Link, follower: Link | None) -> int | None:
        """Where chains part, after a look at the signature of the commit that is not ours."""
        ours = await self._ledger.link_at(writer, shared.last + 1)
        if follower is None or ours is None or follower.first != shared.last + 1:
            return None  # one of us is only behind
        asked = Message(COMMIT, payload=pack([1, *writer, follower.first]))
        reply = await self._network.request(peer, asked, timeout_s=TIMEOUT_S)
        commit, public = decode_commit(reply.payload), self._public_of(writer.author)
        if public is None or commit.writer != writer or commit.first != follower.first:
            raise Malformed("fork: not the commit that was asked for")
        check_commit(commit, public, self._verify)
        if commit.previous != shared.hash or commit.hash == ours.hash:
            raise Forged("fork: no other branch")
        return shared.last

    # --- the other side -------------------------------------------------------------------------------------------

    async def handle(self, message: Message) -> Message:
        """Answer a peer's question about chains. Raises Malformed."""
        if message.kind == HEADS:
            heads = await self._ledger.heads()
            return Message(HEADS, payload=pack([1, [[*head.writer, head.sequence, head.hash] for head in heads]]))
        fields = Fields(unpack(message.payload, bytes_max=1024), "fork question", version=1)
        writer = Writer(peer_id(fields.raw(32)), incarnation(fields.raw(8)))
        at = fields.integer(1, SEQUENCE_MAX)
        fields.end()
        if message.kind == LINKS:
            links = await self._ledger.links(writer, at, LINKS_PAGE)
            return Message(LINKS, payload=pack([1, [[link.first, link.last, link.hash] for link in links]]))
        raw = await self._ledger.raw_commit_at(writer, at)
        return Message(COMMIT, payload=b"" if raw is None else raw)


def _read_heads(message: Message) -> list[Head]:
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "heads", version=1)
    heads = []
    for value in fields.array(most=WRITERS_MAX):
        each = Fields(value, "head")
        writer = Writer(peer_id(each.raw(32)), incarnation(each.raw(8)))
        heads.append(Head(writer, each.integer(1, SEQUENCE_MAX), each.raw(_HASH_BYTES)))
        each.end()
    fields.end()
    return heads


def _read_links(message: Message) -> list[Link]:
    fields = Fields(unpack(message.payload, bytes_max=CONTROL_MESSAGE_BYTES_MAX), "links", version=1)
    links: list[Link] = []
    values: list[Any] = fields.array(most=LINKS_PAGE)
    for value in values:
        each = Fields(value, "link")
        first = each.integer(1, SEQUENCE_MAX)
        links.append(Link(first, each.integer(first, SEQUENCE_MAX), each.raw(_HASH_BYTES)))
        each.end()
        if len(links) > 1 and links[-2].first <= first:
            raise Malformed("links: out of order")
    fields.end()
    return links
