"""Promises per folder in a simulated household: kept from the first put, raised later, told the truth about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import trio

from p2pstore.daemon.operations_promise import PromiseOperations
from p2pstore.ids import EncodingId
from p2pstore.placement.promise import Promise, failure_sets, promise_of_words, stripe_health
from p2pstore.placement.verdict import State
from simulations.machine import Fitting
from tests.services.test_repairer import House, _Call, play

TWO_HOUSES = [
    Fitting("nas"),
    Fitting("desk", steadiness="desktop"),
    Fitting("lap", steadiness="laptop"),
    Fitting("cabin", site="cabin"),
]
ONE_HOUSE = [Fitting("nas"), Fitting("pi"), Fitting("desk")]


async def ask(house: House, **args: object) -> dict[str, object]:
    node = house.world.machines[0].node
    assert node is not None
    operations = PromiseOperations(node)
    operation = operations.plan if "action" not in args else operations.promise
    return await operation(_Call(args))  # type: ignore[arg-type]


async def burnt_houses_lose(house: House, promised: Promise) -> list[EncodingId]:
    """Stripes that some promised failure would lose, looked up on the disks themselves."""
    node = house.world.living()[0].node
    assert node is not None
    sites = node.membership.sites()
    lost = []
    for stated in await node.ledger.stripes_after(None, 1000):
        held = {each.me: each.shards_of(stated.encoding) or [] for each in house.world.machines}
        if not promise_of_words([stated.promise]).covers(promised):
            continue
        for failed in failure_sets(list(held), promised, sites):
            left = {peer: indices for peer, indices in held.items() if peer not in failed}
            if not stripe_health(stated.needed, left).readable:
                lost.append(stated.encoding)
    return lost


async def state(house: House) -> State:
    node = house.world.machines[0].node
    assert node is not None
    return (await node.verdicts.verdict(fresh=True)).state


def test_a_folder_that_promises_a_house_gets_its_older_files_raised_and_drops_nothing_when_lowered() -> None:
    async def act(house: House) -> None:
        assert await burnt_houses_lose(house, Promise.ANY_1) == []
        said = await ask(house, action="set", path=b"/", promise="any-1+house")
        assert said["promises"] == [
            {"path": b"/", "promise": "house", "possible": True, "behind": None, "unknown": 0}
        ]
        await trio.sleep(60.0)
        assert (await ask(house, action="ls"))["promises"][0]["behind"] == 0  # type: ignore[index]
        node = house["lap"].node
        assert node is not None
        words = [each.promise for each in await node.ledger.stripes_after(None, 1000)]
        assert "house" in words, "every machine knows it"
        assert await burnt_houses_lose(house, Promise.HOUSE) == []
        assert await state(house) is State.SAFE
        held = {each.me: each._look_shards() for each in house.world.machines}
        await ask(house, action="set", path=b"/", promise="any-1")
        await trio.sleep(60.0)
        assert {each.me: each._look_shards() for each in house.world.machines} == held

    play(TWO_HOUSES, act)


def test_what_a_collected_stripe_was_stated_to_owe_keeps_no_promise() -> None:
    """The household has grown and stored the same bytes again, in other stripes; the old ones were signed away."""

    async def act(house: House) -> None:
        node = house["nas"].node
        assert node is not None
        stated = await node.ledger.stripes_after(None, 1000)
        old = [replace(each, encoding=EncodingId(bytes(reversed(each.encoding))), promise="house") for each in stated]
        await node.ledger.commit(old)
        await node.ledger.forsake([each.encoding for each in old])
        await ask(house, action="set", path=b"/", promise="house")
        await trio.sleep(60.0)
        assert (await ask(house, action="ls"))["promises"][0]["behind"] == 0  # type: ignore[index]
        real = [each.encoding for each in stated]
        owed = await node.ledger.stripes_of(real)
        assert all(any(each.promise == "house" for each in owed[encoding]) for encoding in real)
        assert await burnt_houses_lose(house, Promise.HOUSE) == []

    play(TWO_HOUSES, act)


def test_what_is_put_into_a_promising_folder_keeps_it_from_the_start_and_the_house_may_burn() -> None:
    async def act(house: House) -> None:
        await ask(house, action="set", path=b"/", promise="house")
        await trio.sleep(60.0)
        nas = house["nas"]
        content = bytes(range(256)) * 8000
        nas.files.write_file(b"/g", content, mtime_ns=1)
        assert nas.operations is not None
        call = _Call({"sources": [{"path": b"/g", "name": b"g"}], "destination": b"/g", "ack": "safe"})
        result = await nas.operations["put"](call)  # type: ignore[arg-type]
        assert result["level"] == "safe"
        assert result["sentence"] == "Readable now; survives the loss of any one machine or any one house."
        await trio.sleep(30.0)
        for name in ("nas", "desk", "lap"):
            await house[name].crash(power_cut=True)
        cabin = house["cabin"].node
        assert cabin is not None
        for path in ((b"f",), (b"g",)):
            item = await cabin.ledger.resolve(path)
            assert item is not None
            read = bytearray()

            async def sink(piece: memoryview, read: bytearray = read) -> None:
                read.extend(piece)

            await cabin.exporter.read(item, 0, item.size, sink)
            assert len(read) == item.size
        assert bytes(read) == content

    play(TWO_HOUSES, act)


def test_a_house_that_nobody_can_survive_is_said_and_stored_as_safely_as_it_can_be() -> None:
    async def act(house: House) -> None:
        said: Sequence[dict[str, object]] = (await ask(house, action="set", path=b"/", promise="house"))["promises"]  # type: ignore[assignment]
        assert said[0]["possible"] is False
        plan = await ask(house, path=b"/")
        assert (plan["kept"], plan["needed"], plan["total"]) == (False, 2, 3)
        assert plan["missing"] == [
            {
                "part": "any one house",
                "because": "all machines that take shards now stand at one site (home)",
                "wanted": "a machine with room at a second site",
            }
        ]
        site = plan["more"][1]  # type: ignore[index]
        assert plan["usable_bytes"] == 0
        assert site["usable_bytes"] > 0
        await trio.sleep(60.0)
        assert await state(house) is State.THIN
        assert await burnt_houses_lose(house, Promise.ANY_1) == []

    play(ONE_HOUSE, act)
