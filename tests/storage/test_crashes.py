"""A store on a disk that loses power, or whose process is killed, in the middle of anything."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from p2pstore.errors import NotHeld
from p2pstore.ids import ShardId
from p2pstore.limits import KIB
from p2pstore.storage import compaction
from p2pstore.storage.entries import Alteration, Drop, Move, Put, ShardState, StoredShard
from p2pstore.storage.opening import make_store, opening, rebuilding_index
from p2pstore.storage.recovery import RecoveryReport
from p2pstore.storage.shelf import Shelf, StoreLimits
from simulations.disk import PowerCut, SimulatedDisk
from tests.storage.houses import shard_id

LIMITS = StoreLimits(given_bytes=10**9, reserve_bytes=0, pack_bytes_max=48 * KIB)
SHARDS = 12
Version = int | None
"""Which payload a shard has, or None: it is not held."""


def put_of(shard: ShardId, version: int, rng: random.Random) -> Put:
    payload = bytes_of(shard, version)
    return Put(shard, b"header %d" % version, payload, blake3(payload).digest(), for_repair=rng.random() < 0.5)


def bytes_of(shard: ShardId, version: int) -> bytes:
    rng = random.Random(f"{shard.encoding.hex()} {version}")
    return rng.randbytes(rng.choice((0, 1, 100, 4000, 4096, rng.randrange(20_000))))


class History:
    """Random work on a store, and what may be found after each crash.

    Attributes:
        known: what each shard is known to be: acknowledged, or seen after the last crash.
        perhaps: what else it may be, because a change was under way.
        feed: what a reader of the change feed believes, with its epoch and counter.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.disk = SimulatedDisk(random.Random(self.rng.random()))
        self.known: dict[ShardId, Version] = {shard_id(number): None for number in range(SHARDS)}
        self.perhaps: dict[ShardId, set[Version]] = {}
        self.versions = 0
        self.feed: dict[ShardId, bool] = {}
        self.epoch = b""
        self.counter = 0
        make_store(self.disk, self.rng)
        self.shelf = self.open()

    def open(self) -> Shelf:
        *_, shelf = opening(self.disk, LIMITS, self.rng, None, RecoveryReport())
        assert shelf is not None
        return shelf

    def live(self, steps: int) -> None:
        """Random work; whatever is under way when PowerCut is raised stays in `perhaps`."""
        for _ in range(steps):
            match self.rng.choices(("change", "compact", "read", "feed", "rebuild"), (12, 3, 3, 2, 0.3))[0]:
                case "change":
                    self.change()
                case "compact":
                    self.compact()
                case "read":
                    self.check_one(self.rng.choice(sorted(self.known)))
                case "feed":
                    self.follow_feed()
                case "rebuild":
                    for _ in rebuilding_index(self.disk, self.shelf, self.rng, RecoveryReport()):
                        pass

    def change(self, moves: Sequence[Move] = ()) -> None:
        """Commit random changes, with the moves of a compaction somewhere among them."""
        alterations: list[Alteration] = []
        after: dict[ShardId, Version] = {}
        for _ in range(self.rng.choice((1, 1, 2, 5, 9))):
            shard = self.rng.choice(sorted(self.known))
            held = after.get(shard, self.known[shard])
            if held is None:
                self.versions += 1
                alterations.append(put_of(shard, self.versions, self.rng))
                after[shard] = self.versions
            elif self.rng.random() < 0.2:
                alterations.append(put_of(shard, held, self.rng))  # once more
            else:
                alterations.append(Drop(shard))
                after[shard] = None
            self.perhaps.setdefault(shard, {self.known[shard]}).add(after.get(shard, held))
        for move in moves:
            alterations.insert(self.rng.randint(0, len(alterations)), move)
        outcomes = self.shelf.commit(alterations)
        for alteration, outcome in zip(alterations, outcomes, strict=True):
            assert isinstance(outcome, StoredShard) == isinstance(alteration, Put), outcome
        self.known.update(after)
        self.perhaps.clear()

    def compact(self) -> None:
        while (pack := compaction.choose_pack(self.shelf)) is not None:
            self.shelf.close_pack(pack)
            while moves := compaction.read_batch(self.shelf, pack):
                self.change(moves)
                compaction.verify_batch(self.shelf, moves)
            self.shelf.remove_pack(pack)
        self.shelf.forget_drops(self.rng, more_than=3)

    def crash(self) -> None:
        """Die at a random write, with or without losing power; perhaps several times in a row while recovering."""
        power_cut = self.rng.random() < 0.7
        self.disk.restart(power_cut=power_cut)
        while True:
            if self.rng.random() < 0.4:
                self.disk.dies_at_step = self.disk.steps + self.rng.randrange(1, 20)
            try:
                self.shelf = self.open()
                self.disk.dies_at_step = None
                return
            except PowerCut:
                self.disk.restart(power_cut=self.rng.random() < 0.7)

    def read(self, shard: ShardId) -> Version:
        try:
            stored = self.shelf.read(shard)
        except NotHeld:
            return None
        version = int(bytes(stored.header).split()[1])
        assert bytes(stored.payload) == bytes_of(shard, version)
        return version

    def check_one(self, shard: ShardId) -> None:
        assert self.read(shard) == self.known[shard]

    def check_after_crash(self) -> None:
        """Every shard is what it was acknowledged to be, or what an interrupted change would have made it. What is seen
        now must stay so: the caller of an interrupted put may ask, and is told."""
        for shard in self.known:
            found = self.read(shard)
            assert found in self.perhaps.get(shard, {self.known[shard]}), "an acknowledged change is lost"
            self.known[shard] = found
        self.perhaps.clear()
        self.check_figures()

    def check_figures(self) -> None:
        usage = self.shelf.usage()
        assert usage.damaged_count == 0
        assert usage.shard_count == sum(version is not None for version in self.known.values())
        before = self.shelf.index.packs()
        self.shelf.index.recount_packs()
        assert self.shelf.index.packs() == before == {use.pack: use for use in self.shelf.packs()}
        for shard, version in self.known.items():
            entry = self.shelf.index.find(shard)
            assert (entry is not None and entry.state is ShardState.HELD) == (version is not None)

    def follow_feed(self) -> None:
        if self.shelf.epoch != self.epoch:
            self.epoch, self.counter, self.feed = self.shelf.epoch, 0, {}
        while entries := self.shelf.index.after(self.counter, 5):
            for entry in entries:
                self.feed[entry.shard] = entry.state is ShardState.HELD
                self.counter = entry.change

    def check_feed(self) -> None:
        self.follow_feed()
        held = {shard for shard, version in self.known.items() if version is not None}
        assert {shard for shard, held in self.feed.items() if held} == held


def lives(seed: int, count: int) -> Iterator[History]:
    """A history of several lives; yields after each recovery."""
    history = History(seed)
    for _ in range(count):
        history.disk.dies_at_step = history.disk.steps + history.rng.randrange(1, 150)
        try:
            history.live(40)
            history.disk.kill()
        except PowerCut:
            pass
        history.crash()
        yield history


@given(seed=st.integers(0, 2**32))
def test_what_was_acknowledged_is_there_after_a_crash_anywhere_and_nothing_else_is(seed: int) -> None:
    for history in lives(seed, 4):
        history.check_after_crash()


@given(seed=st.integers(0, 2**32))
def test_a_reader_of_the_change_feed_knows_what_is_held_however_often_the_store_crashes(seed: int) -> None:
    for history in lives(seed, 4):
        history.check_after_crash()
        if history.rng.random() < 0.5:
            history.check_feed()


@given(seed=st.integers(0, 2**32))
def test_a_rebuilt_index_says_what_the_lost_one_said(seed: int) -> None:
    for history in lives(seed, 2):
        history.check_after_crash()
        for _ in rebuilding_index(history.disk, history.shelf, history.rng, RecoveryReport()):
            pass
        history.check_after_crash()
        history.check_feed()


@given(seed=st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_disk(seed: int) -> None:
    runs: list[list[dict[str, bytes]]] = [[], []]
    for images in runs:
        for history in lives(seed, 2):
            history.check_after_crash()
            images.append(history.disk.snapshot())
    assert runs[0] == runs[1]


@pytest.mark.parametrize("step", range(1, 14))
def test_a_store_is_made_whole_or_can_be_made_again(step: int) -> None:
    for seed in range(10):
        disk = SimulatedDisk(random.Random(seed))
        disk.dies_at_step = step
        store = None
        with suppress(PowerCut):
            store = make_store(disk, random.Random(seed))
        disk.restart(power_cut=True)
        if store is None and "store.id" not in disk.names():
            store = make_store(disk, random.Random(seed))
        *_, shelf = opening(disk, LIMITS, random.Random(seed), store, RecoveryReport())
        assert shelf is not None
