"""Memory that is used again."""

from __future__ import annotations

from p2pstore.pipeline.arena import Arena, Arenas, room


def test_the_same_memory_comes_again() -> None:
    arena = Arena()
    arena.take(100)[:5] = b"hello"
    assert bytes(arena.take(50)[:5]) == b"hello"


def test_grows_and_never_shrinks() -> None:
    arena = Arena()
    assert len(arena.take(3_000_000)) == 3_000_000
    capacity = arena.capacity
    arena.take(10)
    assert arena.capacity == capacity >= 3_000_000


def test_old_views_outlive_growth() -> None:
    arena = Arena()
    old = arena.take(10)
    old[:] = b"0123456789"
    arena.take(5_000_000)
    assert bytes(old) == b"0123456789"


def test_keeps_no_more_idle_arenas_than_told() -> None:
    arenas = Arenas(idle_max=2)
    borrowed = [arenas.borrow() for _ in range(5)]
    for arena in borrowed:
        arena.take(1)
        arenas.give_back(arena)
    assert arenas.idle_bytes == 2 * borrowed[0].capacity
    assert arenas.borrow() in borrowed[:2]


def test_without_an_arena_the_room_is_exact() -> None:
    assert len(room(None, 77).obj) == 77  # type: ignore[arg-type]


def test_an_arena_that_grew_beyond_the_bound_is_not_kept() -> None:
    arenas = Arenas(idle_max=2, kept_bytes_max=2 * 1024 * 1024)
    large = arenas.borrow()
    large.take(3_000_000)
    arenas.give_back(large)
    assert arenas.idle_bytes == 0
