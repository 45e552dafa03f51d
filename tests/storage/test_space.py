"""The space ladder and the choice of what to compact, as tables."""

from __future__ import annotations

import pytest

from p2pstore.storage.space import PackUse, StoreState, admits, choose_compaction, space_state


@pytest.mark.parametrize(
    ("used", "free", "state"),
    [
        (0, 500, StoreState.ACCEPTING),
        (849, 500, StoreState.ACCEPTING),
        (850, 500, StoreState.REPAIR_ONLY),
        (949, 500, StoreState.REPAIR_ONLY),
        (950, 500, StoreState.FULL),
        (0, 100, StoreState.FULL),
        (0, 101, StoreState.ACCEPTING),
    ],
)
def test_each_fill_has_its_rung(used: int, free: int, state: StoreState) -> None:
    assert space_state(used_bytes=used, given_bytes=1000, free_bytes=free, reserve_bytes=100) is state


@pytest.mark.parametrize(
    ("more", "used", "free", "placed", "repaired"),
    [
        (10, 0, 500, True, True),
        (10, 850, 500, False, True),
        (10, 950, 500, False, False),
        (200, 840, 500, False, False),  # would pass the given size
        (450, 0, 500, False, False),  # would pass the reserve
        (400, 0, 500, True, True),
    ],
)
def test_admits_by_rung_size_and_reserve(more: int, used: int, free: int, placed: bool, repaired: bool) -> None:
    for for_repair, expected in ((False, placed), (True, repaired)):
        assert (
            admits(
                more, for_repair=for_repair, used_bytes=used, given_bytes=1000, free_bytes=free, reserve_bytes=100
            )
            is expected
        )


def test_compacts_the_deadest_pack_that_is_less_than_half_alive() -> None:
    packs = [PackUse(1, 100, 60), PackUse(2, 100, 40), PackUse(3, 100, 10), PackUse(4, 100, 0)]
    assert choose_compaction(packs, active=4, pressed=False) == 3
    assert choose_compaction(packs, active=None, pressed=False) == 4
    assert choose_compaction(packs[:1], active=None, pressed=False) is None
    assert choose_compaction(packs[:1], active=None, pressed=True) == 1
    assert choose_compaction([], active=None, pressed=False) is None
