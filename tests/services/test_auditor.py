"""Audits among real nodes in virtual time: who has what it says proves it; who has not is named, and nobody else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import trio

from p2pstore.errors import Malformed, NotHeld
from p2pstore.ids import EncodingId, ShardId
from p2pstore.seams.network import Message
from p2pstore.services.auditor import PROVE, Audits, proof_of
from p2pstore.storage.entries import StoredBytes
from tests.services.test_repairer import SIX, House, play


class Liar:
    """A store that says it holds what it does not."""

    def __init__(self, store: Any, *, silent: bool) -> None:
        self._store = store
        self._silent = silent

    async def get(self, shard: ShardId) -> StoredBytes:
        if self._silent:
            raise NotHeld
        stored: StoredBytes = await self._store.get(shard)
        return replace(stored, payload=memoryview(bytes(len(stored.payload))))


def test_whoever_has_what_it_says_proves_it() -> None:
    async def act(house: House) -> None:
        nas = house["nas"].node
        assert nas is not None
        found = [await nas.auditor.audit_one() for _ in range(12)]
        assert set(found) <= {True, None}
        assert found.count(True) > 6
        assert nas.auditor.named == []
        assert nas.auditor.audits.last_s > 0
        assert Audits.decode(await nas.ledger.setting("audit")) == nas.auditor.audits

    play(SIX, act)


@pytest.mark.parametrize("silent", [False, True])
def test_who_lies_or_rots_is_named_until_it_has_proven_something(silent: bool) -> None:
    async def act(house: House) -> None:
        nas, pi = house["nas"].node, house["pi"].node
        assert nas is not None
        assert pi is not None
        store = pi.auditor._store
        pi.auditor._store = Liar(store, silent=silent)  # type: ignore[assignment]
        for _ in range(40):
            await nas.auditor.audit_one()
        assert nas.auditor.named == ["pi"]
        assert house["pi"].is_up, "it is named, and that is all"
        pi.auditor._store = store
        for _ in range(60):
            await nas.auditor.audit_one()
        assert nas.auditor.named == []

    play(SIX, act)


def test_it_goes_on_by_itself() -> None:
    async def act(house: House) -> None:
        await trio.sleep(1000.0)
        for machine in house.world.machines:
            assert machine.node is not None
            assert machine.node.auditor.audits.proven >= 1

    play(SIX[:3], act)


def test_a_proof_depends_on_every_byte_the_nonce_and_the_shard() -> None:
    shard, payload, nonce = ShardId(EncodingId(b"e" * 32), 3), b"p" * 1000, b"n" * 32
    proofs = {
        proof_of(payload, nonce, shard),
        proof_of(payload[:-1] + b"q", nonce, shard),
        proof_of(payload, b"m" * 32, shard),
        proof_of(payload, nonce, ShardId(shard.encoding, 4)),
        proof_of(payload, nonce, ShardId(EncodingId(b"f" * 32), 3)),
    }
    assert len(proofs) == 5
    assert proof_of(payload, nonce, shard).hex() == "59ea5b90044f899712fdb00ad3b1614bb0f0a0a0bedf1709e6c031ec7e336f2d"


def test_nonsense_is_refused() -> None:
    async def act(house: House) -> None:
        nas = house["nas"].node
        assert nas is not None
        good = {"encoding": bytes(32), "index": 0, "nonce": bytes(32)}
        for bad in ({"nonce": b"short"}, {"nonce": None}, {"index": -1}, {"index": "0"}, {"encoding": 7}):
            with pytest.raises(Malformed):
                await nas.auditor.handle(Message(PROVE, {**good, **bad}))

    play(SIX[:2], act)
