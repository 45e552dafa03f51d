"""Where files are cut."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.limits import CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, KIB, MIB
from p2pstore.pipeline.chunking import cut_lengths
from tests.pipeline.samples import noise, vectors

KEY = bytes(range(32))
FILE = noise(24 * MIB) + bytes(20 * MIB) + noise(4 * MIB, "tail")


def cut_in_windows(file: bytes, windows: list[int]) -> list[int]:
    """What a reader does: keep the undecided rest, read on, ask again."""
    lengths: list[int] = []
    done = have = turn = 0
    while have < len(file):
        have = min(len(file), have + windows[turn % len(windows)])
        turn += 1
        decided = cut_lengths(memoryview(file)[done:have], dedupe_key=KEY, final=have == len(file))
        lengths += decided
        done += sum(decided)
    return lengths


@settings(max_examples=8)
@given(st.lists(st.integers(700 * KIB, 20 * MIB), min_size=1, max_size=6))
def test_cuts_do_not_depend_on_how_the_file_was_read(windows: list[int]) -> None:
    assert cut_in_windows(FILE, windows) == cut_lengths(FILE, dedupe_key=KEY, final=True)


@settings(max_examples=20)
@given(st.integers(0, 3 * MIB))
def test_every_length_is_cut_whole_and_within_bounds(length: int) -> None:
    lengths = cut_lengths(FILE[:length], dedupe_key=KEY, final=True)
    assert sum(lengths) == length
    assert all(CHUNK_BYTES_MIN <= each <= CHUNK_BYTES_MAX for each in lengths[:-1])
    assert all(0 < each <= CHUNK_BYTES_MAX for each in lengths)


def test_a_window_of_the_longest_chunk_always_decides_one() -> None:
    for begin in range(0, len(FILE) - CHUNK_BYTES_MAX, 3 * MIB):
        window = memoryview(FILE)[begin : begin + CHUNK_BYTES_MAX]
        assert cut_lengths(window, dedupe_key=KEY, final=False)


def test_sameness_is_cut_into_the_longest_chunks() -> None:
    assert cut_lengths(bytes(20 * MIB), dedupe_key=KEY, final=True) == [8 * MIB, 8 * MIB, 4 * MIB]


def test_an_insertion_moves_only_the_cuts_near_it() -> None:
    before = cut_lengths(FILE[: 24 * MIB], dedupe_key=KEY, final=True)
    after = cut_lengths(b"inserted" + FILE[: 24 * MIB], dedupe_key=KEY, final=True)
    assert before[-3:] == after[-3:]


def test_another_household_cuts_elsewhere() -> None:
    ours = cut_lengths(FILE[: 8 * MIB], dedupe_key=KEY, final=True)
    theirs = cut_lengths(FILE[: 8 * MIB], dedupe_key=bytes(32), final=True)
    assert ours != theirs


def test_any_key_makes_a_seed_that_the_cutter_takes() -> None:
    for key in (bytes(32), b"\xff" * 32, *(noise(32, str(number)) for number in range(50))):
        assert cut_lengths(b"x", dedupe_key=key, final=True) == [1]


def test_nothing_has_no_chunks() -> None:
    assert cut_lengths(b"", dedupe_key=KEY, final=True) == []


def test_cuts_are_as_frozen() -> None:
    for vector in vectors("chunking"):
        file = noise(vector["length"], vector["seed"])
        assert cut_lengths(file, dedupe_key=bytes.fromhex(vector["dedupe_key"]), final=True) == vector["lengths"]
