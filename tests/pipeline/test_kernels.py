"""Every kernel against reedsolo and against each other."""

from __future__ import annotations

import random
import sys
import threading

import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pstore.errors import Misuse
from p2pstore.limits import KIB, MOTHER_PARITY
from p2pstore.pipeline.erasure import kernels
from p2pstore.pipeline.erasure.kernels import Kernel, Rows, kernel_named, multiply, usable_kernels
from p2pstore.pipeline.erasure.matrix import Matrix, mother_rows
from tests.pipeline.samples import noise

KERNELS = usable_kernels()
BY_NAME = [kernel.name for kernel in KERNELS]


@pytest.mark.parametrize("kernel", KERNELS, ids=BY_NAME)
@pytest.mark.parametrize(("needed", "parity"), [(1, 1), (1, 5), (2, 1), (4, 2), (6, 3), (10, 4), (16, 32), (223, 32)])
def test_each_column_is_a_reedsolo_word(kernel: Kernel, needed: int, parity: int) -> None:
    length = 64 + 7
    data = [noise(length, f"row {row}") for row in range(needed)]
    found = [bytearray(length) for _ in range(parity)]
    multiply(mother_rows(needed)[:parity], data, found, kernel=kernel)
    codec = reedsolo.RSCodec(MOTHER_PARITY)
    for column in (0, 1, 31, 63, 64, length - 1):
        word = codec.encode(bytes(row[column] for row in data))
        assert bytes(row[column] for row in found) == bytes(word[needed : needed + parity])


@settings(max_examples=25)
@given(
    st.integers(1, 9),
    st.integers(1, 5),
    st.one_of(st.integers(0, 300), st.just(128 * KIB + 13)),
    st.randoms(use_true_random=False),
)
def test_kernels_agree_on_any_matrix(width: int, height: int, length: int, rng: random.Random) -> None:
    matrix = tuple(rng.choice([bytes(width), rng.randbytes(width)]) for _ in range(height))
    sources = [rng.randbytes(length) for _ in range(width)]
    found = []
    for kernel in KERNELS:
        targets = [bytearray(b"\xaa" * length) for _ in range(height)]
        multiply(matrix, sources, targets, kernel=kernel)
        found.append(targets)
    assert all(each == found[0] for each in found)


@pytest.mark.parametrize("kernel", KERNELS, ids=BY_NAME)
def test_any_buffer_will_do_and_no_other_byte_is_touched(kernel: Kernel) -> None:
    arena = bytearray(b"\x55" * 1000)
    view = memoryview(arena)
    sources = [noise(100), bytearray(noise(100, "b")), memoryview(noise(102, "c"))[1:101]]
    multiply(mother_rows(3)[:2], sources, [view[101:201], view[301:401]], kernel=kernel)
    assert arena[:101] == b"\x55" * 101
    assert arena[201:301] == b"\x55" * 100
    assert arena[401:] == b"\x55" * 599


@pytest.mark.parametrize("kernel", KERNELS, ids=BY_NAME)
def test_buffers_are_let_go_of(kernel: Kernel) -> None:
    source, target = bytearray(64), bytearray(64)
    references = sys.getrefcount(source)
    for _ in range(3):
        multiply((b"\x02",), [source], [target], kernel=kernel)
    source.append(1)  # would raise BufferError if a view were still held
    assert sys.getrefcount(source) == references


@pytest.mark.parametrize("kernel", KERNELS, ids=BY_NAME)
def test_a_target_that_cannot_be_written_is_refused(kernel: Kernel) -> None:
    with pytest.raises((BufferError, TypeError, ValueError)):
        multiply((b"\x02",), [bytes(64)], [bytes(64)], kernel=kernel)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        multiply((b"\1\1",), [bytes(5), bytes(6)], [bytearray(5)])
    with pytest.raises(ValueError, match="length"):
        multiply((b"\1",), [bytes(5)], [bytearray(4)])
    with pytest.raises(ValueError, match="fit"):
        multiply((b"\1",), [bytes(5), bytes(5)], [bytearray(5)])
    with pytest.raises(ValueError, match="fit"):
        multiply((b"\1",), [bytes(5)], [])


def test_a_kernel_that_computes_wrongly_is_not_used() -> None:
    def wrong(matrix: Matrix, sources: Rows, targets: Rows) -> None:
        for target in targets:
            target[:] = sources[0]

    assert not kernels.passes_self_test(Kernel("wrong", wrong))


def test_a_file_that_is_no_library_is_not_used() -> None:
    assert kernels._isal(__file__, "not one") is None


def test_a_kernel_can_be_named_and_a_wrong_name_says_which_there_are() -> None:
    assert kernel_named("pure").name == "pure"
    with pytest.raises(Misuse, match="pure"):
        kernel_named("abacus")


def test_the_choice_is_made_once_and_the_fastest_is_taken() -> None:
    assert kernels.best_kernel() is kernels.best_kernel()
    assert kernels.kernel_name() == BY_NAME[0]
    assert BY_NAME[-2:] == ["numpy", "pure"]


def test_linux_has_the_fast_kernel() -> None:
    assert BY_NAME[0].startswith("isa-l") or sys.platform != "linux"  # only Linux wheels of pyeclib carry ISA-L


@pytest.mark.parametrize("kernel", KERNELS, ids=BY_NAME)
def test_threads_may_use_a_kernel_at_once(kernel: Kernel) -> None:
    matrix = mother_rows(4)[:2]
    sources = [noise(20_000, str(row)) for row in range(4)]
    wanted = [bytearray(20_000) for _ in matrix]
    multiply(matrix, sources, wanted, kernel=kernel)
    wrong = []

    def work() -> None:
        for _ in range(5):
            found = [bytearray(20_000) for _ in matrix]
            multiply(matrix, sources, found, kernel=kernel)
            if found != wanted:
                wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
