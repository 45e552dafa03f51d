"""Two machines ask each other how they are: as often as promised, and no oftener than one of them has to."""

from __future__ import annotations

from collections.abc import Mapping

import trio

from p2pstore.errors import TimedOut
from p2pstore.ids import PeerId
from p2pstore.seams.network import Message, Plane
from p2pstore.services.liveness import HEARD_WITHIN_S, Condition, Liveness
from simulations.clock import SimulatedClock
from simulations.virtual import run_virtual

LOW, HIGH = PeerId(bytes(32)), PeerId(b"\xff" * 32)


class Wire:
    """What joins two machines; counts questions by who asked."""

    def __init__(self) -> None:
        self.ends: dict[PeerId, Liveness] = {}
        self.asked: dict[PeerId, int] = {LOW: 0, HIGH: 0}
        self.dead: set[PeerId] = set()

    def end(self, me: PeerId) -> End:
        return End(self, me)


class End:
    """One machine's network."""

    def __init__(self, wire: Wire, me: PeerId) -> None:
        self._wire = wire
        self._me = me

    def linked_peers(self) -> list[PeerId]:
        return []

    async def request(
        self, peer: PeerId, message: Message, *, plane: Plane = Plane.CONTROL, timeout_s: float = 15.0
    ) -> Message:
        wire = self._wire
        wire.asked[self._me] += 1
        await trio.sleep(0.01)
        if {peer, self._me} & wire.dead:
            await trio.sleep(timeout_s)
            raise TimedOut
        return await wire.ends[peer].handle(self._me, message)


async def _two(wire: Wire, nursery: trio.Nursery) -> Mapping[PeerId, Liveness]:
    for me, other in ((LOW, HIGH), (HIGH, LOW)):
        wire.ends[me] = Liveness(
            me=me,
            network=wire.end(me),
            clock=SimulatedClock(),
            others=lambda other=other: [other],  # type: ignore[misc]
            own_condition=lambda: Condition(1, 2, 1),
        )
    for each in wire.ends.values():
        nursery.start_soon(each.run)
    return wire.ends


def test_of_two_one_asks_and_both_know() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            wire = Wire()
            ends = await _two(wire, nursery)
            await trio.sleep(5.0)
            before = dict(wire.asked)
            for _ in range(120):
                await trio.sleep(5.0)
                assert ends[LOW].answers(HIGH)
                assert ends[HIGH].answers(LOW)
            assert wire.asked[LOW] - before[LOW] in range(58, 62), "one each ten seconds"
            assert wire.asked[HIGH] - before[HIGH] <= 3, "now and then, for the way's length"
            nursery.cancel_scope.cancel()

    run_virtual(main, seed=1)


def test_whoever_dies_is_found_out_by_either() -> None:
    for dead, other in ((LOW, HIGH), (HIGH, LOW)):

        async def main(dead: PeerId = dead, other: PeerId = other) -> None:
            async with trio.open_nursery() as nursery:
                wire = Wire()
                ends = await _two(wire, nursery)
                await trio.sleep(31.0)
                assert ends[other].answers(dead)
                wire.dead.add(dead)
                await trio.sleep(HEARD_WITHIN_S)
                assert not ends[other].answers(dead)
                wire.dead.clear()
                await trio.sleep(20.0)
                assert ends[other].answers(dead)
                nursery.cancel_scope.cancel()

        run_virtual(main, seed=1)
