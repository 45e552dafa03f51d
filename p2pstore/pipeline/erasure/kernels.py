"""The product of a small matrix and long rows of bytes, by the fastest code that this machine has.

ISA-L by ctypes (from the pyeclib wheel, else the system's), then NumPy, then the standard library alone. All give the
same bytes; each must pass a self-test before it is used.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from p2pstore.errors import Misuse
from p2pstore.pipeline.erasure.matrix import Matrix, added, mother_rows, scaled

Rows = Sequence[Any]
"""Contiguous buffers of one length; those that are written must be writable."""

_NUMPY_BLOCK: Final = 128 * 1024
"""NumPy works through rows in blocks of this size: the working set stays in 1 MiB of second-level cache. Blocks of
4 KiB are six times slower (call overhead). Measured by benchmarks/pipeline.py --kernel numpy."""

_PURE_BLOCK: Final = 128 * 1024


class Kernel(NamedTuple):
    """One way to take the product.

    Attributes:
        name: for people, shown by `doctor`.
        multiply: (matrix, sources, targets): target i becomes the sum of matrix[i][j] times source j. Lengths are
            checked by `multiply` below, not here; targets overlap neither sources nor each other.
    """

    name: str
    multiply: Callable[[Matrix, Rows, Rows], None]


def multiply(matrix: Matrix, sources: Rows, targets: Rows, *, kernel: Kernel | None = None) -> None:
    """Write to each target the sum of the sources weighted by its row of the matrix.

    Raises:
        ValueError: The rows differ in length, or are not as many as the matrix says.
    """
    if len(matrix) != len(targets) or any(len(row) != len(sources) for row in matrix):
        raise ValueError("the matrix does not fit the rows")
    if len({len(row) for row in (*sources, *targets)}) > 1:
        raise ValueError("rows differ in length")
    if targets and len(targets[0]):
        (kernel or best_kernel()).multiply(matrix, sources, targets)


def kernel_name() -> str:
    """Which kernel this process uses, for `doctor`."""
    return best_kernel().name


@lru_cache(maxsize=1)
def best_kernel() -> Kernel:
    """The first kernel that loads and passes the self-test; found once per process."""
    return next(_usable())


def usable_kernels() -> tuple[Kernel, ...]:
    """All kernels that load and pass the self-test here, fastest first; the last one always does."""
    return tuple(_usable())


def _usable() -> Iterator[Kernel]:
    # One after the other, so that NumPy (0.1 s, 25 MiB) is imported only where it is the best there is.
    for load in (_isal_of_wheel, _isal_of_system, _numpy, _pure):
        kernel = load()
        if kernel is not None and passes_self_test(kernel):
            yield kernel


def kernel_named(name: str) -> Kernel:
    """The usable kernel of that name. Raises Misuse if there is none."""
    for kernel in usable_kernels():
        if kernel.name == name:
            return kernel
    raise Misuse(f"no kernel {name!r} here; there are {', '.join(kernel.name for kernel in usable_kernels())}")


def passes_self_test(kernel: Kernel) -> bool:
    """Whether the kernel agrees with the pure one on lengths with and without a tail; takes about a millisecond."""
    matrix = mother_rows(5)[:3]
    for length in (1, 64, 1024 + 37):
        sources = [bytes((7 * column + 31 * row + 1) % 256 for column in range(length)) for row in range(5)]
        wanted, found = ([bytearray(length) for _ in matrix] for _ in range(2))
        _multiply_pure(matrix, sources, wanted)
        kernel.multiply(matrix, sources, found)
        if found != wanted:
            return False
    return True


# --- the standard library alone -----------------------------------------------------------------------------------


def _multiply_pure(matrix: Matrix, sources: Rows, targets: Rows) -> None:
    length = len(sources[0])
    for begin in range(0, length, _PURE_BLOCK):
        end = min(length, begin + _PURE_BLOCK)
        blocks = [bytes(source[begin:end]) for source in sources]
        for row, target in zip(matrix, targets, strict=True):
            total = bytes(end - begin)
            for factor, block in zip(row, blocks, strict=True):
                if factor:
                    total = added(total, block if factor == 1 else scaled(block, factor))
            memoryview(target)[begin:end] = total


def _pure() -> Kernel:
    return Kernel("pure", _multiply_pure)


# --- NumPy --------------------------------------------------------------------------------------------------------


def _numpy() -> Kernel | None:
    try:
        import numpy as np
    except ImportError:
        return None

    reduction = np.uint8(0x1D)
    triples = 3

    def doubled(total: Any, carry: Any) -> None:
        """`total` times x, in place: shift, and reduce where the top bit was set."""
        np.less(total.view(np.int8), 0, out=carry.view(np.bool_))
        np.multiply(carry, reduction, out=carry)
        np.add(total, total, out=total)
        np.bitwise_xor(total, carry, out=total)

    def multiply_numpy(matrix: Matrix, sources: Rows, targets: Rows) -> None:
        # Horner's rule over the bits of the coefficients, highest first: double, then add every source whose
        # coefficient has the bit. Sources go in threes whose four sums are made once and shared by all rows.
        reads = [np.frombuffer(source, np.uint8) for source in sources]
        writes = [np.frombuffer(target, np.uint8) for target in targets]
        groups = [range(first, min(first + triples, len(reads))) for first in range(0, len(reads), triples)]
        width = min(_NUMPY_BLOCK, reads[0].size)
        room = np.empty((len(groups), 1 << triples, width), np.uint8)
        carry_room = np.empty(width, np.uint8)
        for begin in range(0, reads[0].size, width):
            end = min(reads[0].size, begin + width)
            carry = carry_room[: end - begin]
            sums: list[dict[int, Any]] = []
            for group, space in zip(groups, room, strict=True):
                known: dict[int, Any] = {1 << bit: reads[column][begin:end] for bit, column in enumerate(group)}
                for mask in range(1, 1 << len(group)):
                    if mask not in known:
                        known[mask] = space[mask][: end - begin]
                        np.bitwise_xor(known[mask & (mask - 1)], known[mask & -mask], out=known[mask])
                sums.append(known)
            for row, write in zip(matrix, writes, strict=True):
                total = write[begin:end]
                total[:] = 0
                started = False
                for bit in range(7, -1, -1):
                    if started:
                        doubled(total, carry)
                    for group, known in zip(groups, sums, strict=True):
                        mask = sum((row[column] >> bit & 1) << place for place, column in enumerate(group))
                        if mask:
                            np.bitwise_xor(total, known[mask], out=total)
                            started = True

    return Kernel("numpy", multiply_numpy)


# --- ISA-L --------------------------------------------------------------------------------------------------------


class _BufferInfo(ctypes.Structure):
    """CPython's Py_buffer. ctypes has no other way to the address of a read-only buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_WRITABLE: Final = 1
_TABLE_BYTES: Final = 32
"""What ISA-L keeps per coefficient, at most (its GFNI tables take 8)."""

_get_buffer = ctypes.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes = [ctypes.py_object, ctypes.POINTER(_BufferInfo), ctypes.c_int]
_release_buffer = ctypes.pythonapi.PyBuffer_Release
_release_buffer.argtypes = [ctypes.POINTER(_BufferInfo)]
_release_buffer.restype = None


class _Isal:
    """ISA-L's dispatching entry points; tables and product must come from the same pair."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        self._init_tables = library.ec_init_tables
        self._init_tables.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p]
        self._init_tables.restype = None
        self._encode = library.ec_encode_data
        self._encode.argtypes = [ctypes.c_int] * 3 + [ctypes.c_void_p] * 3
        self._encode.restype = None
        self._tables = lru_cache(maxsize=256)(self._make_tables)

    def _make_tables(self, matrix: Matrix) -> Any:
        count = len(matrix) * len(matrix[0])
        tables = ctypes.create_string_buffer(_TABLE_BYTES * count)
        self._init_tables(len(matrix[0]), len(matrix), b"".join(matrix), tables)
        return tables

    def multiply(self, matrix: Matrix, sources: Rows, targets: Rows) -> None:
        held: list[_BufferInfo] = []  # holding them pins each buffer: none can be resized or freed during the call
        try:
            reads = _addresses(sources, 0, held)
            writes = _addresses(targets, _WRITABLE, held)
            self._encode(len(sources[0]), len(sources), len(targets), self._tables(matrix), reads, writes)
        finally:
            for info in held:
                _release_buffer(ctypes.byref(info))


def _addresses(rows: Rows, flags: int, held: list[_BufferInfo]) -> Any:
    first = len(held)
    for row in rows:
        info = _BufferInfo()
        _get_buffer(row, ctypes.byref(info), flags)
        held.append(info)
    return (ctypes.c_void_p * len(rows))(*(info.buf for info in held[first:]))


def _isal_of_wheel() -> Kernel | None:
    spec = importlib.util.find_spec("pyeclib")  # found, not imported: only the library beside it is wanted
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in sorted((Path(folder).parent / "pyeclib.libs").glob("libisal*.so*")):
            if kernel := _isal(str(path), "isa-l (pyeclib)"):
                return kernel
    return None


def _isal_of_system() -> Kernel | None:
    found = ctypes.util.find_library("isal")
    return _isal(found, "isa-l (system)") if found else None


def _isal(path: str, name: str) -> Kernel | None:
    try:
        return Kernel(name, _Isal(path).multiply)
    except (OSError, AttributeError):  # another processor's library, or one without these entry points
        return None
