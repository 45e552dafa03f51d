"""Placing: receipts count, failures are made up for elsewhere, what lies there already is not sent again."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import trio

from p2pstore.errors import Forged, NoSpace, Refused, Unreachable
from p2pstore.ids import EncodingId, GenerationId, PeerId, ShardId
from p2pstore.pipeline.sealing import SealingKeys
from p2pstore.pipeline.shard import ShardHeader
from p2pstore.pipeline.stripe import EncodedChunk, EncodedShard, encode_chunk, encode_more
from p2pstore.placement.promise import Promise
from p2pstore.placement.ranking import Candidate
from p2pstore.services.placing import PATIENCE_S, PlacedStripe, Placing

KEYS = SealingKeys(GenerationId(b"g" * 16), b"c" * 32, b"d" * 32)
PEERS = [PeerId(bytes([number + 1]) * 32) for number in range(6)]
ME = PEERS[0]


@dataclass
class Machines:
    """Six fake machines: the shard client, the liveness and the candidates in one."""

    held: dict[PeerId, set[int]] = field(default_factory=dict)
    failing: dict[PeerId, Exception] = field(default_factory=dict)
    frozen: set[PeerId] = field(default_factory=set)
    distrusted: set[PeerId] = field(default_factory=set)
    sent: list[tuple[PeerId, int]] = field(default_factory=list)
    confirmed: list[tuple[PeerId, int]] = field(default_factory=list)

    async def put(
        self,
        holder: PeerId,
        header: ShardHeader,
        header_bytes: bytes,
        payload: memoryview,
        *,
        for_repair: bool = False,
    ) -> object:
        self.sent.append((holder, header.index))
        if holder in self.frozen:
            await trio.sleep_forever()
        await trio.sleep(0.01)
        if holder in self.failing:
            raise self.failing[holder]
        self.held.setdefault(holder, set()).add(header.index)
        return object()

    async def confirm(self, holder: PeerId, shard: ShardId, payload_hash: bytes) -> object:
        self.confirmed.append((holder, shard.index))
        if shard.index not in self.held.get(holder, ()):
            raise Refused("not-found")
        return object()

    def answers(self, peer: PeerId) -> bool:
        return peer not in self.frozen

    def distrust(self, peer: PeerId) -> None:
        self.distrusted.add(peer)

    async def stalled(self, peer: PeerId) -> bool:
        await trio.sleep(0.5)
        return peer in self.frozen

    async def near(self, encoding: EncodingId, *, for_repair: bool = False) -> list[Candidate]:
        return [Candidate(peer, 10**12) for peer in PEERS if peer not in self.distrusted]


def placing(machines: Machines, known: Mapping[PeerId, Sequence[int]] | None = None) -> Placing:
    async def known_holders(_: EncodingId) -> Mapping[PeerId, Sequence[int]]:
        return known or {}

    return Placing(
        me=ME,
        shards=machines,  # type: ignore[arg-type]
        liveness=machines,  # type: ignore[arg-type]
        candidates=machines,
        known_holders=known_holders,
        move_on_after=trio.move_on_after,
    )


@pytest.fixture(scope="module")
def encoded() -> EncodedChunk:
    return encode_chunk(random.Random(3).randbytes(600_000), KEYS, needed=4, total=6)


def more_of(encoded: EncodedChunk) -> object:
    async def more(indices: Sequence[int]) -> Sequence[EncodedShard]:
        return encode_more(encoded, indices)

    return more


async def place(
    machines: Machines, encoded: EncodedChunk, known: Mapping[PeerId, Sequence[int]] | None = None
) -> PlacedStripe:
    return await placing(machines, known).place(encoded, Promise.ANY_2, more_of(encoded))  # type: ignore[arg-type]


async def test_each_machine_gets_one_shard(autojump_clock: trio.abc.Clock, encoded: EncodedChunk) -> None:
    machines = Machines()
    placed = await place(machines, encoded)
    assert placed.safe
    assert sorted(map(len, machines.held.values())) == [1] * 6
    assert len(machines.sent) == 6


async def test_two_dead_machines_are_made_up_for_by_more_rows_on_the_others(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines(failing={PEERS[1]: Unreachable("gone"), PEERS[4]: Unreachable("gone")})
    placed = await place(machines, encoded)
    assert placed.safe
    assert set(machines.held) == set(PEERS) - {PEERS[1], PEERS[4]}
    assert sum(map(len, machines.held.values())) == 8
    assert machines.distrusted == {PEERS[1], PEERS[4]}


async def test_a_full_or_lying_machine_is_passed_over_but_still_trusted_to_be_there(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines(failing={PEERS[2]: Refused("full"), PEERS[3]: Forged("no receipt")})
    placed = await place(machines, encoded)
    assert placed.safe
    assert machines.distrusted == set()


async def test_a_full_disk_here_is_no_reason_to_fail(autojump_clock: trio.abc.Clock, encoded: EncodedChunk) -> None:
    machines = Machines(failing={ME: NoSpace("full")})
    placed = await place(machines, encoded)
    assert placed.safe
    assert ME not in machines.held


async def test_a_frozen_machine_costs_patience_and_a_question_not_a_deadline(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines(frozen={PEERS[5]})
    started = trio.current_time()
    placed = await place(machines, encoded)
    assert placed.safe
    assert trio.current_time() - started < PATIENCE_S + 1.0


async def test_what_lies_there_already_is_confirmed_and_not_sent_again(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines(held={PEERS[1]: {0}, PEERS[2]: {5}})
    placed = await place(machines, encoded, known={PEERS[1]: [0], PEERS[2]: [5], PEERS[3]: [2]})
    assert placed.safe
    assert sorted(machines.confirmed) == [(PEERS[1], 0), (PEERS[2], 5), (PEERS[3], 2)]
    assert len(machines.sent) == 4, "the claim that was not confirmed does not count"
    assert (PEERS[1], 0) not in machines.sent


async def test_with_nobody_left_it_says_how_far_it_came(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines(failing={peer: Unreachable("gone") for peer in PEERS[1:]})
    placed = await place(machines, encoded)
    assert not placed.safe
    assert set(placed.held) == {ME}


async def test_here_keeps_k_shards_on_this_machine_alone(
    autojump_clock: trio.abc.Clock, encoded: EncodedChunk
) -> None:
    machines = Machines()
    placed = await placing(machines).place_here(encoded, Promise.ANY_2)
    assert {peer: sorted(indices) for peer, indices in placed.held.items()} == {ME: [0, 1, 2, 3]}
    assert placed.health().readable
    assert not placed.safe
