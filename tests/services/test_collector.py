"""Garbage collection in a household of real nodes in virtual time: nothing goes without everybody's signature."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import Random

import pytest
import trio

from p2pstore.daemon.operations_collection import CollectionOperations
from p2pstore.ids import Dot, EncodingId
from p2pstore.ledger.changes import Change
from p2pstore.ledger.drafts import MakeSnapshot, Remove
from p2pstore.metadata.collection import Condemned, Consent
from p2pstore.placement.levels import Level
from p2pstore.placement.verdict import State
from p2pstore.services.collector import Pace
from simulations import mutants
from simulations.invariants import collection
from simulations.machine import Fitting, Machine
from simulations.people import call
from simulations.trace import Trace
from simulations.virtual import run_virtual
from simulations.world import World

HURRY = Pace(first_after_s=20.0, every_s=60.0, answer_after_s=2.0, settle_s=30.0)
QUARANTINE_S = 300.0
"""A second stands for about half an hour."""

THREE = [Fitting("nas"), Fitting("desk"), Fitting("lap", steadiness="laptop")]
BLIND_CABIN = [*THREE[:2], Fitting("vault", site="cabin", role="storage")]

Act = Callable[["House"], Awaitable[None]]


class House:
    """A world, and what tests want of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.puts = 0

    def __getitem__(self, name: str) -> Machine:
        return next(machine for machine in self.world.machines if machine.fitting.name == name)

    async def put(self, by: str, path: bytes = b"/f", *, seed: int = 5, size: int = 1_500_000) -> None:
        machine = self[by]
        self.puts += 1
        local = b"/f%d" % self.puts
        machine.files.write_file(local, Random(seed).randbytes(size), mtime_ns=self.puts)
        assert machine.operations is not None
        result = await machine.operations["put"](
            call(sources=[{"path": local, "name": b"f"}], destination=path, ack=Level.SAFE.value)
        )
        assert result["state"] == "safe", result

    async def abandon(self, by: str, *, seed: int = 9, size: int = 1_500_000) -> set[EncodingId]:
        """An upload that dies before its commit; the stripes that it leaves."""
        before = self.held()
        machine = self[by]
        assert machine.node is not None
        node = machine.node

        class Dies(Exception):
            pass

        class Source:
            size_hint = size

            def __init__(self) -> None:
                self._left = memoryview(Random(seed).randbytes(size))

            def read_into(self, buffer: memoryview) -> int:
                count = min(len(buffer), len(self._left))
                buffer[:count], self._left = self._left[:count], self._left[count:]
                return count

            def unchanged(self) -> bool:
                return True

        class Watcher:
            def read(self, size: int) -> None:
                pass

            def placed(self, size: int) -> None:
                pass

        with pytest.raises(Dies):
            async with node.uploads.begin() as upload:
                await node.uploader.store(Source(), node.promise(), Watcher(), note=upload.note)
                raise Dies
        await trio.sleep(10.0)
        left = self.held() - before
        assert left
        return left

    def held(self) -> set[EncodingId]:
        """Every stripe of which a shard lies anywhere."""
        return {encoding for machine in self.world.machines for encoding in machine._look_shards() or {}}

    async def gone(self, stripes: set[EncodingId], *, within_s: float = 2500.0) -> bool:
        """Whether no shard of them is left anywhere, after a while."""
        for _ in range(int(within_s / 10.0)):
            if not self.held() & stripes:
                break
            await trio.sleep(10.0)
        return not self.held() & stripes

    async def read(self, by: str, path: bytes = b"/f", *, seed: int = 5, size: int = 1_500_000) -> None:
        machine = self[by]
        assert machine.operations is not None
        result = await machine.operations["get"](call(sources=[path], destination=b"/got"))
        assert result["files"] == 1, result
        assert machine.files.read_file(b"/got")[0] == Random(seed).randbytes(size)
        machine.files.remove(b"/got")

    async def verdict(self, by: str) -> State:
        node = self[by].node
        assert node is not None
        return (await node.verdicts.verdict(fresh=True)).state


def hurry(machine: Machine) -> None:
    """Scale a machine's patience down, in each of its lives."""
    assert machine.node is not None
    machine.node.collector.pace = HURRY
    machine.node.collector.hurry()
    machine.node.quarantine.tick_s = 20.0
    machine.node.quarantine.quarantine_s = QUARANTINE_S


async def _hurried(machine: Machine) -> None:
    hurry(machine)
    await trio.sleep_forever()


def play(fittings: Sequence[Fitting], act: Act, *, seed: int = 1, breaks: bool = False) -> None:
    """Found a household, store a file, do what the test wants; the checker of invariant 5 looks on, and finds nothing,
    or something if a planted bug `breaks` it."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            world = World(seed, nursery, trace=Trace(keep=False))
            world.habits += [_hurried, collection.watcher(world)]
            await world.found(fittings)
            house = House(world)
            await trio.sleep(10.0)
            await house.put("nas")
            await act(house)
            for machine in world.machines:
                if not machine.gone:
                    await machine.stop()
            assert world.bugs == []
            assert breaks == any(each.invariant == "collection" for each in world.oracle.violations)
            nursery.cancel_scope.cancel()

    run_virtual(main, seed=seed)


def test_what_an_abandoned_upload_left_goes_and_everything_else_stays() -> None:
    async def act(house: House) -> None:
        kept = house.held()
        left = await house.abandon("desk")
        node = house["nas"].node
        assert node is not None
        operations = CollectionOperations(node)
        await trio.sleep(60.0)
        told = await operations.gc(call(dry_run=True))
        assert (told["stripes"] or told["lists"][0]["stripes"], told["why_not"]) == (len(left), "")
        await trio.sleep(100.0)
        told = await operations.gc(call(dry_run=False))
        assert (told["stripes"], len(told["lists"])) == (0, 1)
        waiting = told["lists"][0]
        assert (waiting["stripes"], waiting["spared"], waiting["waits_for"]) == (len(left), 0, [])
        assert waiting["bytes"] > 1_000_000
        assert 0 < waiting["days_left"] * 86400 <= QUARANTINE_S
        assert await house.gone(left)
        assert house.held() == kept
        await trio.sleep(30.0)
        told = await operations.gc(call(dry_run=True))
        assert (told["stripes"], told["lists"], told["uploads"], told["purged"]) == (0, [], [], len(left))
        await house.read("lap")
        assert await house.verdict("nas") is State.SAFE

    play(THREE, act)


def test_nothing_goes_while_a_house_is_cut_off_and_all_of_it_goes_afterwards() -> None:
    async def act(house: House) -> None:
        left = await house.abandon("desk")
        cut = house.world.cut([(a, b) for a in range(3) for b in range(3) if (a == 2) != (b == 2)])
        await trio.sleep(30 * 48.0)  # a month, where a second is half an hour
        assert left <= house.held(), "one has not signed"
        node = house["nas"].node
        assert node is not None
        assert node.quarantine.waiting == {}
        house.world.mend(cut)
        assert await house.gone(left)
        await house.read("lap")

    play(THREE, act)


def test_a_blind_machine_cut_off_from_all_readers_deletes_nothing_on_what_it_has_heard() -> None:
    async def act(house: House) -> None:
        left = await house.abandon("desk")
        vault = house["vault"]
        assert vault.node is not None
        mine = left & set(vault._look_shards() or {})
        assert mine, "the blind machine holds some of it"
        assert vault.node.membership.myself is not None
        assert vault.node.membership.myself.role == "storage"
        for _ in range(100):
            if not vault.node.quarantine.waiting:
                await trio.sleep(5.0)
        assert vault.node.quarantine.waiting
        await vault.crash(power_cut=True)
        house.world.cut([(a, b) for a in range(3) for b in range(3) if (a == 2) != (b == 2)])
        await house.world.restart(vault)
        await trio.sleep(3 * QUARANTINE_S)
        assert mine <= set(vault._look_shards() or {}), "it has met nobody since it woke"
        await house.world.heal()
        assert await house.gone(left)
        await house.read("desk")
        assert await house.verdict("nas") is State.SAFE

    play(BLIND_CABIN, act)


def test_a_lying_member_can_neither_condemn_what_others_need_nor_sign_for_them() -> None:
    async def act(house: House) -> None:
        kept = house.held()
        liar, honest = house["lap"].node, house["nas"].node
        assert liar is not None
        assert honest is not None
        await liar.ledger.commit([Condemned(tuple(sorted(kept)))])
        (said,) = await liar.ledger.open_lists()
        other = Condemned(tuple(sorted(kept))[:1])

        def lie() -> Dot:
            return liar.ledger._store._append(Consent(said.name, said.condemned.hash, ()), ())

        def lie_about_another() -> Dot:
            return liar.ledger._store._append(Consent(said.name, other.hash, ()), ())

        for words in (lie, lie_about_another):
            await liar.ledger._submit(words, 1, lambda _: Change(own=True))
        await trio.sleep(200.0)
        lists = await honest.ledger.open_lists()
        assert lists == [], "everybody has spared everything, so nobody has anything to do with it"
        await trio.sleep(2 * QUARANTINE_S)
        assert house.held() == kept
        await house.read("nas")

    play(THREE, act)


@pytest.mark.parametrize("after_s", [0.0, 60.0, 66.0, 72.0, 76.0, 90.0, 360.0, 372.0, 385.0])
@pytest.mark.parametrize("by", ["lap"])
def test_who_stores_the_same_bytes_again_takes_them_off_the_list(by: str, after_s: float) -> None:
    async def act(house: House) -> None:
        left = await house.abandon("desk")
        await trio.sleep(after_s)
        await house.put(by, b"/again", seed=9)
        await trio.sleep(3 * QUARANTINE_S)
        await house.read("desk", b"/again", seed=9)
        for name in ("nas", "desk", "lap"):
            assert await house.verdict(name) is State.SAFE
        assert left <= house.held()

    play(THREE, act, seed=int(after_s) + 1)


def test_a_deduplicating_upload_that_sees_its_holders_before_the_signatures_keeps_what_it_counted_on() -> None:
    async def act(house: House) -> None:
        left = await house.abandon("desk")
        lap = house["lap"].node
        assert lap is not None
        async with lap.uploads.begin() as upload:
            for encoding in sorted(left):
                upload.note(encoding)
                assert await lap.catalog.announced(encoding)
            await trio.sleep(3 * QUARANTINE_S)
            assert left <= house.held(), "it takes its time, and signs nothing away that it counts on"
        assert await house.gone(left)

    play(THREE, act)


@pytest.mark.parametrize("name", ["nas", "desk"])
@pytest.mark.parametrize(("disk", "step"), [("ledger", 1), ("ledger", 3), ("ledger", 8), ("store", 1), ("store", 2)])
def test_a_power_cut_at_any_step_deletes_nothing_that_is_needed_and_ends_with_the_garbage_gone(
    name: str, disk: str, step: int
) -> None:
    async def act(house: House) -> None:
        kept = house.held()
        left = await house.abandon("desk")
        machine = house[name]
        victim = machine.ledger_disk if disk == "ledger" else machine.store_disk
        for again in range(4):
            victim.dies_at_step = victim.steps + step + again
            with trio.move_on_after(150.0):
                await machine.wait_ended()
            victim.dies_at_step = None
            await machine.wait_settled()
            if machine.can_begin:
                await machine.crash(power_cut=True)
                await house.world.restart(machine)
            await trio.sleep(20.0)
        assert await house.gone(left, within_s=5000.0)
        assert kept <= house.held()
        await house.read(name)

    play(THREE, act, seed=step)


def test_what_a_month_in_the_trash_has_let_go_is_collected_once_it_has_been_let_go_everywhere() -> None:
    async def act(house: House) -> None:
        kept = house.held()
        await house.put("desk", b"/old", seed=11)
        await house.put("desk", b"/named", seed=12)
        both = house.held() - kept
        desk = house["desk"].node
        assert desk is not None
        await desk.ledger.commit([Remove((b"old",))])
        await desk.ledger.commit([MakeSnapshot("before"), Remove((b"named",))])
        await trio.sleep(20.0)
        later_ms = int((desk.seams.clock.wall_s() + 40 * 86400) * 1000)
        for name in ("nas", "desk", "lap"):
            assert both <= house.held(), "somebody still has it in the trash"
            node = house[name].node
            assert node is not None
            for trash in (False, True):
                await node.ledger.drop_history(later_ms, trash=trash, after=None)
            await trio.sleep(2 * QUARANTINE_S)
        left = house.held()
        assert kept < left < kept | both, "the snapshot keeps one of the two"
        await house.read("lap")
        assert await house.verdict("nas") is State.SAFE

    play(THREE, act)


async def _cut_off_with_a_file(house: House) -> None:
    """One machine stores the bytes again that the others are about to sign away, and cannot tell them."""
    left = await house.abandon("desk")
    house.world.cut([(a, b) for a in range(3) for b in range(3) if (a == 2) != (b == 2)])
    lap = house["lap"]
    lap.files.write_file(b"/mine", Random(9).randbytes(1_500_000), mtime_ns=99)
    assert lap.operations is not None
    await lap.operations["put"](call(sources=[{"path": b"/mine", "name": b"f"}], destination=b"/mine", ack="here"))
    await trio.sleep(3 * QUARANTINE_S)
    await house.world.heal()
    await trio.sleep(2 * QUARANTINE_S)
    assert left & house.held()


def test_bytes_stored_in_a_house_that_is_cut_off_are_collected_nowhere() -> None:
    async def act(house: House) -> None:
        await _cut_off_with_a_file(house)
        await house.read("nas", b"/mine", seed=9)

    play(THREE, act)


def test_the_checker_sees_a_holder_that_does_not_wait_for_everybody() -> None:
    with mutants.one_signature_suffices():
        play(THREE, _cut_off_with_a_file, breaks=True)


def test_the_checker_sees_a_holder_for_whom_a_list_is_final() -> None:
    async def act(house: House) -> None:
        await house.abandon("desk")
        await trio.sleep(200.0)
        lap = house["lap"].node
        assert lap is not None
        await house.put("lap", b"/again", seed=9)
        await trio.sleep(2 * QUARANTINE_S)

    with mutants.lists_are_final():
        play(THREE, act, breaks=True)


def test_files_cost_what_their_shards_take_and_what_they_share_is_counted_once() -> None:
    async def act(house: House) -> None:
        desk = house["desk"]
        assert desk.operations is not None
        await desk.operations["mkdir"](call(path=b"/copies", parents=True))
        await house.put("desk", b"/copies/same", seed=5)
        await house.put("desk", b"/copies/other", seed=6)
        await trio.sleep(30.0)
        node = house["lap"].node
        assert node is not None
        operations = CollectionOperations(node)
        told = await operations.du(call(path=b"/", by="folder"))
        assert [each["path"] for each in told["folders"]] == [b"/copies", b"/f"]
        assert (told["total"]["files"], told["total"]["bytes"], told["total"]["unknown"]) == (3, 4_500_000, 0)
        on_disks = sum(
            entry.payload_bytes
            for machine in house.world.living()
            if machine.node is not None
            for entry in machine.node.store._shelf.index.after(0, 2**31)
        )
        assert told["total"]["stored"] == sum(each["stored"] for each in told["folders"]) == on_disks
        by_machine = await operations.du(call(path=b"/", by="machine"))
        assert sum(each["stored"] for each in by_machine["machines"]) == on_disks
        assert [each["besides"] for each in by_machine["machines"]] == [0, 0, 0]
        alone = await operations.du(call(path=b"/f", by="folder"))
        assert [each["path"] for each in alone["folders"]] == [b"/f"]
        assert 0 < alone["total"]["stored"] < on_disks

    play(THREE, act)
