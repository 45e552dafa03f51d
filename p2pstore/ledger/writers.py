"""How far each writer was seen: the version vector and the ends of the chains, in memory and in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from p2pstore.ids import Dot, Incarnation, PeerId
from p2pstore.metadata.commits import NO_COMMIT
from p2pstore.metadata.vector import Vector, Writer
from p2pstore.seams.disk import Database


@dataclass(slots=True)
class WriterState:
    """One row of the table `writers`.

    Attributes:
        slot: the small number that stands for the writer in other tables.
        writer: author and incarnation.
        sequence: everything up to it was applied; 0 for a writer that was only mentioned.
        commit_hash: of the last commit applied.
        hlc: of the last commit applied.
        frozen: a fork was found; nothing more of it is applied.
        named: the sequence that our own last commit named, or that its predecessors did.
    """

    slot: int
    writer: Writer
    sequence: int
    commit_hash: bytes
    hlc: int
    frozen: bool
    named: int


class Writers:
    """All writers, by name and by slot. Changes go to the database at once, in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._by_writer: dict[Writer, WriterState] = {}
        self._by_slot: dict[int, WriterState] = {}
        self.reload()

    def reload(self) -> None:
        """Read everything anew: after a transaction or savepoint was undone."""
        self._by_writer.clear()
        self._by_slot.clear()
        for slot, author, incarnation, *rest in self._database.execute(
            "SELECT slot, author, incarnation, sequence, commit_hash, hlc, frozen, named FROM writers"
        ):
            sequence, commit_hash, hlc, frozen, named = rest
            self._remember(
                WriterState(
                    slot,
                    Writer(PeerId(author), Incarnation(incarnation)),
                    sequence,
                    commit_hash,
                    hlc,
                    bool(frozen),
                    named,
                )
            )

    def _remember(self, state: WriterState) -> None:
        self._by_writer[state.writer] = state
        self._by_slot[state.slot] = state

    def get(self, writer: Writer) -> WriterState | None:
        """The state of a writer that was seen or mentioned."""
        return self._by_writer.get(writer)

    def ensure(self, writer: Writer) -> WriterState:
        """The state of a writer, new if it was never heard of."""
        if (state := self._by_writer.get(writer)) is None:
            self._database.execute(
                "INSERT INTO writers(author, incarnation, sequence, commit_hash, hlc, frozen, named)"
                " VALUES(?, ?, 0, ?, 0, 0, 0)",
                (*writer, NO_COMMIT),
            )
            [(slot,)] = self._database.execute("SELECT last_insert_rowid()")
            state = WriterState(slot, writer, 0, NO_COMMIT, 0, frozen=False, named=0)
            self._remember(state)
        return state

    def dot(self, slot: int, sequence: int) -> Dot:
        """The dot that the tables write as (slot, sequence)."""
        return Dot(*self._by_slot[slot].writer, sequence)

    def by_slot(self, slot: int) -> WriterState:
        """The writer that `slot` stands for."""
        return self._by_slot[slot]

    def advance(self, state: WriterState, sequence: int, commit_hash: bytes, hlc: int) -> None:
        """A commit was applied; its rows lie in the same transaction."""
        state.sequence, state.commit_hash, state.hlc = sequence, commit_hash, hlc
        self._database.execute(
            "UPDATE writers SET sequence = ?, commit_hash = ?, hlc = ? WHERE slot = ?",
            (sequence, commit_hash, hlc, state.slot),
        )

    def freeze(self, state: WriterState) -> None:
        """A fork was found."""
        state.frozen = True
        self._database.execute("UPDATE writers SET frozen = 1 WHERE slot = ?", (state.slot,))

    def take_unnamed(self, own: WriterState, limits: Mapping[Writer, int]) -> list[tuple[Writer, int]]:
        """The entries that changed since the last own commit, which from now on count as named.

        Args:
            own: our writer.
            limits: of writers with two histories, what everybody can have: no more is named, or a newcomer would wait
                for ever for a branch that nobody has.
        """
        changed = [state for state in self._by_slot.values() if state.sequence > state.named and state is not own]
        for state in changed:
            state.named = state.sequence
        self._database.execute_many(
            "UPDATE writers SET named = ? WHERE slot = ?", [(state.named, state.slot) for state in changed]
        )
        named = [(state.writer, min(state.sequence, limits.get(state.writer, state.sequence))) for state in changed]
        return sorted((writer, sequence) for writer, sequence in named if sequence)

    def unnamed_count(self, own: WriterState) -> int:
        """How many entries `take_unnamed` would return."""
        return sum(1 for state in self._by_slot.values() if state.sequence > state.named and state is not own)

    def forget_named(self) -> None:
        """A new incarnation starts: its first commit names everything."""
        for state in self._by_slot.values():
            state.named = 0
        self._database.execute("UPDATE writers SET named = 0")

    def vector(self) -> Vector:
        """What was applied."""
        return Vector({state.writer: state.sequence for state in self._by_slot.values() if state.sequence})

    def seen(self) -> list[WriterState]:
        """Writers of whom something was applied, by slot."""
        return [state for _, state in sorted(self._by_slot.items()) if state.sequence]

    def frozen(self) -> list[Writer]:
        """Writers with a fork, sorted."""
        return sorted(state.writer for state in self._by_slot.values() if state.frozen)

    def hlc_values(self) -> list[int]:
        """The last timestamp of each writer."""
        return [state.hlc for state in self._by_slot.values()]
