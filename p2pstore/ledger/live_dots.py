"""Which operations are live, kept with the rows they are about: the fingerprint that peers compare.

Of each writer everything up to its sequence number was applied. Two tables say what of that is not live: `dead` (a
superseding operation was applied) and `missing` (the ledger lost the operation and knows it). An operation that is
dead before it comes is born dead, so the order of application does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal

from p2pstore.ids import Dot
from p2pstore.ledger.writers import Writers, WriterState
from p2pstore.metadata.fingerprint import (
    BITS_BYTES,
    BLOCK_DOTS,
    BUCKETS,
    NO_SUMS,
    SUM_BYTES,
    Block,
    DotRange,
    applied_bits,
    bit_ranges,
    block_of,
    block_value,
    bucket_of,
    fingerprint,
    joined,
    sum_after,
)
from p2pstore.metadata.vector import writer_of
from p2pstore.seams.disk import Database

_Table = Literal["dead", "missing"]

_TABLES: Final[tuple[_Table, _Table]] = ("dead", "missing")


class LiveDots:
    """The tables `dead`, `missing` and `fingerprint`; changes are written in the caller's transaction by `write`."""

    def __init__(self, database: Database, writers: Writers) -> None:
        self._database = database
        self._writers = writers
        self._sums = bytearray(NO_SUMS)
        self._changed: set[int] = set()
        self._digest: bytes | None = None
        self.missing_count = 0
        """Operations that the ledger knows it has lost."""
        self.reload()

    def reload(self) -> None:
        """Read everything anew: after a transaction or savepoint was undone."""
        self._changed.clear()
        self._digest = None
        self._sums = bytearray(NO_SUMS)
        for bucket, total in self._database.execute("SELECT bucket, sum FROM fingerprint"):
            if 0 <= bucket < BUCKETS and len(total) == SUM_BYTES:
                self._sums[bucket * SUM_BYTES : (bucket + 1) * SUM_BYTES] = total
        self._count_missing()

    def write(self) -> None:
        """Bring the table up to date: before the end of each transaction and of each savepoint."""
        if self._changed:
            self._database.execute_many(
                "INSERT OR REPLACE INTO fingerprint VALUES(?, ?)",
                [(bucket, bytes(self._sums[bucket * SUM_BYTES :][:SUM_BYTES])) for bucket in sorted(self._changed)],
            )
            self._changed.clear()

    @property
    def sums(self) -> bytes:
        """All buckets."""
        return bytes(self._sums)

    @property
    def digest(self) -> bytes:
        """The fingerprint, 16 bytes."""
        if self._digest is None:
            self._digest = fingerprint(self._sums)
        return self._digest

    # --- what changes -------------------------------------------------------------------------------------------------

    def extend(self, state: WriterState, last: int) -> None:
        """Operations of a writer up to `last` are being applied; before its sequence number moves."""
        for number in range(block_of(state.sequence + 1)[0], block_of(last)[0] + 1):
            hidden = self._hidden(state.slot, number)
            self._change(
                Block(state.writer, number),
                applied_bits(number, state.sequence) & ~hidden,
                applied_bits(number, last) & ~hidden,
            )

    def bury(self, dots: Iterable[Dot]) -> None:
        """Something that supersedes `dots` is applied."""
        for dot in dots:
            state = self._writers.ensure(writer_of(dot))
            self._mark("dead", state, dot.sequence, dot.sequence, present=True)

    def is_dead(self, slot: int, sequence: int) -> bool:
        """Whether something superseded an operation."""
        number, bit = block_of(sequence)
        return bool(self._bits("dead", slot, number) >> bit & 1)

    def lose(self, state: WriterState, first: int, last: int) -> int:
        """The ledger has found that it lost applied operations; how many of them it did not know of."""
        return self._mark("missing", state, first, last, present=True)

    def find(self, state: WriterState, first: int, last: int) -> int:
        """They are back; how many of them were missing."""
        return self._mark("missing", state, first, last, present=False)

    def is_missing(self, state: WriterState, first: int, last: int) -> bool:
        """Whether all of these are known to be lost."""
        for number in range(block_of(first)[0], block_of(last)[0] + 1):
            wanted = applied_bits(number, last) & ~applied_bits(number, first - 1)
            if wanted & ~self._bits("missing", state.slot, number):
                return False
        return True

    def _mark(self, table: _Table, state: WriterState, first: int, last: int, *, present: bool) -> int:
        """Set or clear bits; how many changed."""
        count = 0
        for number in range(block_of(first)[0], block_of(last)[0] + 1):
            touched = applied_bits(number, last) & ~applied_bits(number, first - 1)
            old = self._bits(table, state.slot, number)
            new = old | touched if present else old & ~touched
            if new == old:
                continue
            applied = applied_bits(number, state.sequence)
            before = applied & ~self._hidden(state.slot, number)
            self._set_bits(table, state.slot, number, new)
            if table == "missing":
                self.missing_count += new.bit_count() - old.bit_count()
            self._change(Block(state.writer, number), before, applied & ~self._hidden(state.slot, number))
            count += (old ^ new).bit_count()
        return count

    def _change(self, block: Block, before: int, after: int) -> None:
        if before == after:
            return
        bucket = bucket_of(block)
        at = slice(bucket * SUM_BYTES, (bucket + 1) * SUM_BYTES)
        total = sum_after(
            int.from_bytes(self._sums[at], "big"), block_value(block, before), block_value(block, after)
        )
        self._sums[at] = total.to_bytes(SUM_BYTES, "big")
        self._changed.add(bucket)
        self._digest = None

    # --- rows -----------------------------------------------------------------------------------------------------

    def _bits(self, table: _Table, slot: int, number: int) -> int:
        rows = self._database.execute(
            f"SELECT bits FROM {table} WHERE slot = ? AND block = ?",  # noqa: S608 - our own table's name
            (slot, number),
        )
        return int.from_bytes(rows[0][0][:BITS_BYTES], "big") if rows else 0

    def _hidden(self, slot: int, number: int) -> int:
        hidden = self._bits("dead", slot, number)
        return hidden | self._bits("missing", slot, number) if self.missing_count else hidden

    def _set_bits(self, table: _Table, slot: int, number: int, bits: int) -> None:
        if bits:
            self._database.execute(
                f"INSERT OR REPLACE INTO {table} VALUES(?, ?, ?)",
                (slot, number, bits.to_bytes(BITS_BYTES, "big")),
            )
        else:
            self._database.execute(
                f"DELETE FROM {table} WHERE slot = ? AND block = ?",  # noqa: S608 - our own table's name
                (slot, number),
            )

    def _count_missing(self) -> None:
        rows = self._database.execute("SELECT bits FROM missing")
        self.missing_count = sum(int.from_bytes(bits, "big").bit_count() for (bits,) in rows)

    # --- questions ----------------------------------------------------------------------------------------------------

    def _all_bits(self, table: _Table, slot: int) -> dict[int, int]:
        rows = self._database.execute(
            f"SELECT block, bits FROM {table} WHERE slot = ?",  # noqa: S608 - our own table's name
            (slot,),
        )
        return {number: int.from_bytes(bits[:BITS_BYTES], "big") for number, bits in rows}

    def _live_blocks(self, state: WriterState) -> Iterator[tuple[Block, int]]:
        dead, missing = self._all_bits("dead", state.slot), self._all_bits("missing", state.slot)
        for number in range(-(-state.sequence // BLOCK_DOTS)):
            bits = applied_bits(number, state.sequence) & ~dead.get(number, 0) & ~missing.get(number, 0)
            yield Block(state.writer, number), bits

    def blocks(self, buckets: Iterable[int]) -> dict[Block, int]:
        """What is live in some buckets."""
        wanted = frozenset(buckets)
        return {
            block: bits
            for state in self._writers.seen()
            for block, bits in self._live_blocks(state)
            if bits and bucket_of(block) in wanted
        }

    def missing(self) -> list[DotRange]:
        """All that is known to be lost, in rising order."""
        return joined(
            each
            for state in self._writers.seen()
            for number, bits in self._all_bits("missing", state.slot).items()
            for each in bit_ranges(Block(state.writer, number), bits)
        )

    def recompute(self) -> bool:
        """Make the fingerprint anew from what is applied, dead and missing; whether it was another than the one that
        is stored."""
        self.write()
        self.reload()
        stored = self.sums
        self._sums = bytearray(NO_SUMS)
        for state in self._writers.seen():
            for block, bits in self._live_blocks(state):
                self._change(block, 0, bits)
        self._digest = None
        differs = self.sums != stored
        self._changed = set(range(BUCKETS)) if differs else set()
        return differs
